"""The fee wallet against the chain itself, whatever happens in which order."""

from __future__ import annotations

import contextlib
import random

import pytest
import sqlalchemy as sa

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.server.issuer import assets
from amp0.server.issuer.upkeep import Upkeep
from amp0.server.refusal import ChainUnavailable, FeeWalletEmpty
from amp0.server.store import asset_schema
from tests.server.issuer.house import House

_coins, _scripts = asset_schema.fee_wallet_coins, asset_schema.fee_wallet_scripts


def _in_books(house: House) -> dict[OutPoint, int]:
    """Coins that are there and that nothing on the chain spends, as the database has them."""
    with house.store.snapshot() as db:
        rows = db.execute(sa.select(_coins).where(_coins.c.state.in_((0, 1)), _coins.c.spent_by.is_(None)))
        return {OutPoint(Txid(row.txid), row.vout): row.satoshi for row in rows}


def _on_chain(house: House) -> dict[OutPoint, int]:
    """The same, as the chain has them."""
    found = {}
    with house.store.snapshot() as db:
        scripts = [bytes(script) for script in db.execute(sa.select(_scripts.c.script_pubkey)).scalars()]
    for script in scripts:
        record = house.chain.script(script)
        for outpoint in [] if record is None else record.funded:
            coin = house.chain.coin(outpoint)
            if coin is not None:
                opening = house.wallet.open(coin.txout)
                assert opening is not None
                found[outpoint] = opening.satoshi
    return found


def _states(house: House) -> set[str]:
    with house.store.snapshot() as db:
        return set(db.execute(sa.select(asset_schema.assets.c.state)).scalars())


def _drop(house: House, chance: random.Random) -> None:
    """An issuance leaves the mempool with all that follows it, as one does that is evicted."""
    with house.store.snapshot() as db:
        ours = {bytes(txid) for txid in db.execute(sa.select(asset_schema.assets.c.issue_txid)).scalars()}
    waiting = [txid for txid in house.chain.mempool.entries if bytes(txid) in ours]
    gone = [chance.choice(waiting)] if waiting else []
    with house.chain.lock:
        while gone:
            txid = gone.pop()
            followers = house.chain.mempool.entries.values()
            gone += [e.txid for e in followers if any(txin.prevout.txid() == txid for txin in e.tx.vin)]
            if txid in house.chain.mempool.entries:
                house.chain._forget(house.chain.mempool.remove(txid))
    house.sync()


@pytest.mark.parametrize("seed", range(3))
def test_books_and_chain_agree(seed: int) -> None:
    chance = random.Random(seed)
    house = House()
    house.fund(20_000, 3_000)
    upkeep = Upkeep(house.desk)
    for step in range(40):
        match chance.choice(["issue", "issue", "fund", "mine", "mine", "reorg", "drop", "away", "back"]):
            case "issue":
                with contextlib.suppress(ChainUnavailable, FeeWalletEmpty):
                    house.issue(ticker=f"T{step:03}", key=str(step))
            case "fund":
                house.fund(chance.randrange(500, 5_000), confirm=chance.random() < 0.5)
            case "mine":
                house.mine()
            case "reorg" if house.chain.height > 4:
                depth = chance.randrange(1, 3)
                house.chain.reorg(depth, blocks=depth + 1)
                house.sync()
            case "drop":
                _drop(house, chance)
            case "away":
                house.is_down = True
            case "back":
                house.is_down = False
                house.now += 60
                upkeep.run()
        promised = {assets.SIGNED} & _states(house)
        if not promised:
            assert _in_books(house) == _on_chain(house), f"step {step}"
    house.is_down = False
    for _ in range(3):
        house.mine()
        house.now += 60
        upkeep.run()
    house.mine()
    assert _states(house) <= {assets.SENT}
    assert _in_books(house) == _on_chain(house)
    assert house.funds().promised == 0
    assert house.funds().confirmed == sum(_on_chain(house).values())
    house.close()
