"""Whatever happens on the chain, and whenever blinding factors are told: every unit is where the ledger says.

A model plays an issuer's node, holders and strangers at random: payments hidden and in the open, cosigned transfers
that are sent, dropped or replaced, reissues, burns, double spends, blocks and reorganisations, openings early, late
and never; two assets, now and then in one transaction, and outputs that hide only one of their fields. It knows the
truth, because it made every output, and walks its own chain to see what is unspent.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amp0.elements.hashes import Txid
from amp0.elements.script import is_unspendable
from amp0.elements.transaction import OutPoint, Transaction
from amp0.server import behind, chainindex
from amp0.server.ledger.book import CONFIRMED, GONE
from amp0.server.store import asset_schema as tables
from amp0.server.store.engine import Store

from .scene import (
    ASSET,
    BURN,
    ISSUED,
    NODE_CHANGE,
    OTHER_ASSET,
    POLICY,
    POLICY_HEX,
    STRANGER,
    TOKEN,
    TOKEN_TREASURY,
    TREASURY,
    Ledger,
    Made,
    Out,
    gaid,
    make,
    reissuance,
)

HOLDERS = 3
ASSETS = {ASSET: 1, OTHER_ASSET: 2}


@dataclass
class Model:
    """The truth, and dice."""

    dice: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    made: dict[Txid, Made] = field(default_factory=dict)
    told: set[OutPoint] = field(default_factory=set)
    mempool: list[Made] = field(default_factory=list)
    signed: list[Made] = field(default_factory=list)
    reissued: dict[Txid, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scripts = {self.ledger.account(number): number for number in range(1, HOLDERS + 1)}
        self.issuances = {ASSET: self.ledger.issuance, OTHER_ASSET: self.ledger.issue_other()}
        self.told |= {self.ledger.issuance.at(1)}
        for issuance in self.issuances.values():
            self.told |= {issuance.at(0)}
            self._send(issuance)

    # -- the truth ------------------------------------------------------------------------------

    def unspent(self, *, height: int | None = None, mempool: bool = False) -> dict[OutPoint, tuple[bytes, bytes, int]]:
        """Outpoint → (script, asset, satoshi) of what blocks, and perhaps the mempool, have not spent."""
        blocks = self.ledger.blocks if height is None else self.ledger.blocks[: height + 1]
        txs = [tx for block in blocks for tx in block.transactions] + [made.tx for made in self.mempool if mempool]
        found: dict[OutPoint, tuple[bytes, bytes, int]] = {}
        for tx in txs:
            for txin in tx.vin:
                found.pop(txin.prevout, None)
            for vout, opening in enumerate(self.made[tx.txid()].openings):
                if not is_unspendable(tx.vout[vout].script):
                    found[OutPoint(tx.txid(), vout)] = (tx.vout[vout].script, opening.asset, opening.satoshi)
        return found

    def is_known(self, outpoint: OutPoint) -> bool:
        made = self.made[outpoint.txid()]
        out = made.tx.vout[outpoint.vout()]
        return outpoint in self.told or (out.explicit_value is not None and out.explicit_asset is not None)

    def confirmed(self) -> set[Txid]:
        return {tx.txid() for block in self.ledger.blocks for tx in block.transactions}

    # -- what happens ---------------------------------------------------------------------------

    def step(self) -> None:
        moves = [
            self.node_pays, self.node_pays, self.holder_pays, self.holder_pays, self.node_spends_change, self.reissue,
            self.burn, self.tell, self.tell, self.mine, self.mine, self.mine, self.undo, self.drop, self.broadcast,
            self.double_spend,
        ]  # fmt: skip
        self.dice.choice(moves)()

    def _coins(self, asset: bytes, scripts: set[bytes]) -> list[tuple[OutPoint, int]]:
        taken = {txin.prevout for made in self.mempool for txin in made.tx.vin}
        return [
            (outpoint, satoshi)
            for outpoint, (script, held, satoshi) in self.unspent(mempool=True).items()
            if held == asset and script in scripts and outpoint not in taken
        ]

    def _keep(self, made: Made) -> Made:
        self.made[made.txid] = made
        return made

    def _send(self, made: Made) -> None:
        self._keep(made)
        self.mempool.append(made)
        self.ledger.send(made)

    def _split(self, total: int, parts: int) -> list[int]:
        cuts = sorted(self.dice.randint(0, total) for _ in range(parts - 1))
        return [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True) if b > a]

    def _assets(self) -> list[bytes]:
        """One of them, or both."""
        return self.dice.choice([[ASSET], [ASSET], [OTHER_ASSET], [OTHER_ASSET, ASSET]])

    def _out(self, script: bytes, satoshi: int, asset: bytes) -> Out:
        """Mostly hidden, sometimes half, sometimes not."""
        shows = self.dice.choice(["", "", "", "", "", "all", "asset", "amount"])
        return Out(script, satoshi, asset, explicit=shows == "all", shows=shows)

    def node_pays(self) -> None:
        chosen: list[tuple[OutPoint, int]] = []
        outs: list[Out] = []
        targets = [*self.scripts, TREASURY, TREASURY, STRANGER]
        for asset in self._assets():
            coins = self._coins(asset, {TREASURY})
            some = self.dice.sample(coins, min(self.dice.randint(1, 2), len(coins)))
            parts = self._split(sum(satoshi for _, satoshi in some), 3)
            outs += [self._out(self.dice.choice(targets), satoshi, asset) for satoshi in parts]
            chosen += some
        if not chosen:
            return
        outs += [Out(NODE_CHANGE, 5, POLICY) for _ in range(self.dice.randint(0, 2))]
        self.dice.shuffle(outs)
        made = make([outpoint for outpoint, _ in chosen], outs)
        self._send(made)
        if self.dice.random() < 0.6:
            self._tell(made, [vout for vout in range(len(outs)) if self.dice.random() < 0.8])

    def node_spends_change(self) -> None:
        coins = self._coins(POLICY, {NODE_CHANGE})
        if coins:
            outpoint, satoshi = self.dice.choice(coins)
            if satoshi > 1:
                self._send(make([outpoint], [Out(NODE_CHANGE, satoshi - 1, POLICY), Out(STRANGER, 1, POLICY)]))

    def holder_pays(self) -> None:
        """Only what the cosigner could open: here any own coin, as the nonces come with the request."""
        script, number = self.dice.choice(list(self.scripts.items()))
        held = {txin.prevout for made in self.signed for txin in made.tx.vin}
        replacing = self.dice.random() < 0.2
        chosen: list[tuple[OutPoint, int]] = []
        outs: list[Out] = []
        for asset in self._assets():
            coins = [coin for coin in self._coins(asset, {script}) if replacing or coin[0] not in held]
            some = self.dice.sample(coins, min(self.dice.randint(1, 2), len(coins)))
            treasury = self._coins(asset, {TREASURY})
            if some and treasury and self.dice.random() < 0.2:
                # Together with the issuer, or so they say: nobody looks at the signatures of others.
                some.append(self.dice.choice(treasury))
            parts = self._split(sum(satoshi for _, satoshi in some), 2)
            outs += [Out(self.dice.choice([*self.scripts, TREASURY, script]), satoshi, asset) for satoshi in parts]
            chosen += some
        if not chosen:
            return
        made = self._keep(make([outpoint for outpoint, _ in chosen], [*outs, Out(script, 3, POLICY)]))
        self.ledger.cosign(made, number)
        self.told |= {made.at(vout) for vout in range(len(made.openings))}
        replaced = {txin.prevout for txin in made.tx.vin}
        self.signed = [one for one in self.signed if not replaced & {txin.prevout for txin in one.tx.vin}]
        self.signed.append(made)

    def broadcast(self) -> None:
        there = self.unspent(mempool=True)
        ready = [made for made in self.signed if {txin.prevout for txin in made.tx.vin[:-1]} <= there.keys()]
        if ready:
            made = self.dice.choice(ready)
            self.mempool.append(made)
            self.ledger.send(made)

    def reissue(self) -> None:
        coins = self._coins(TOKEN, {TOKEN_TREASURY})
        if coins:
            outpoint, tokens = self.dice.choice(coins)
            amount = self.dice.randint(1, 50)
            outs = [Out(TREASURY, amount), Out(TOKEN_TREASURY, tokens, TOKEN), Out(NODE_CHANGE, 2, POLICY)]
            made = make([outpoint], outs, issuance=reissuance(amount))
            self.reissued[made.txid] = amount
            self._send(made)

    def burn(self) -> None:
        asset = self.dice.choice([*ASSETS])
        coins = self._coins(asset, {TREASURY})
        if coins:
            outpoint, satoshi = self.dice.choice(coins)
            burned = self.dice.randint(1, satoshi)
            outs = [Out(BURN, burned, asset, explicit=True)]
            outs += [Out(TREASURY, satoshi - burned, asset)] if burned < satoshi else []
            self._send(make([outpoint], [*outs, Out(NODE_CHANGE, 2, POLICY)]))

    def double_spend(self) -> None:
        """A block has another transaction than the mempool, for a coin of the node."""
        rivals = [
            (made, txin.prevout)
            for made in self.mempool
            for txin in made.tx.vin
            if txin.prevout in self.unspent() and self.unspent()[txin.prevout][0] == TREASURY
        ]
        if not rivals:
            return
        _, outpoint = self.dice.choice(rivals)
        script, asset, satoshi = self.unspent()[outpoint]
        made = self._keep(make([outpoint], [Out(script, satoshi, asset), Out(NODE_CHANGE, 2, POLICY)]))
        self.ledger.mine(made)
        self._forget(lambda one: outpoint in {txin.prevout for txin in one.tx.vin})

    def tell(self) -> None:
        followed = self.confirmed() | {made.txid for made in self.mempool}
        hidden = [
            (made, vout)
            for txid, made in self.made.items()
            if txid in followed
            for vout in range(len(made.openings))
            if not self.is_known(made.at(vout)) and self.ledger.rows(made)
        ]
        if hidden:
            made, vout = self.dice.choice(hidden)
            self._tell(made, [vout] if self.dice.random() < 0.5 else list(range(len(made.openings))))

    def _tell(self, made: Made, vouts: list[int]) -> None:
        if vouts and self.ledger.rows(made):
            self.ledger.tell(made, *vouts)
            self.told |= {made.at(vout) for vout in vouts}

    def mine(self) -> None:
        count = self.dice.randint(0, len(self.mempool))
        chosen, self.mempool = self.mempool[:count], self.mempool[count:]
        self.ledger.mine(*chosen)

    def undo(self) -> None:
        if self.ledger.height > 1:
            deepest = self.dice.choice([1, 2, 3, 10])
            txs = self.ledger.undo(self.dice.randint(1, min(deepest, self.ledger.height - 1)))
            self.mempool = [*(self.made[tx.txid()] for tx in txs), *self.mempool]

    def drop(self) -> None:
        if self.mempool and self.dice.random() < 0.7:
            chosen = self.dice.choice(self.mempool)
            self._forget(lambda one: one is chosen, tell=True)

    def _forget(self, gone: Callable[[Made], bool], *, tell: bool = False) -> None:
        """Out of the mempool, and what was built on it."""
        lost: set[Txid] = set()
        for made in list(self.mempool):
            if gone(made) or any(txin.prevout.txid() in lost for txin in made.tx.vin):
                lost.add(made.txid)
        self.mempool = [made for made in self.mempool if made.txid not in lost]
        if tell:
            self.ledger.drop(*lost)

    # -- what must hold -------------------------------------------------------------------------

    def check(self) -> None:
        with self.ledger.store.snapshot() as db:
            assert behind.found(db) is None, "everything was signed for here"
        rows = self.ledger.rows()
        self._check_units(rows)
        self._check_states(rows)
        for height in (None, self.dice.randint(0, self.ledger.height)):
            for asset in ASSETS:
                self._check_holders(asset, height)

    def _check_units(self, rows: list[sa.Row[tuple[object, ...]]]) -> None:
        for asset, number, is_token in ((ASSET, 1, 0), (TOKEN, 1, 1), (OTHER_ASSET, 2, 0)):
            truth = {at: held for at, held in self.unspent().items() if held[1] == asset}
            present = [
                row
                for row in rows
                if (row.asset, row.is_token) == (number, is_token)
                and row.state == CONFIRMED
                and row.spent_state != CONFIRMED
            ]
            known = {
                OutPoint(Txid(row.txid), row.vout): row.satoshi
                for row in present
                if row.satoshi is not None and not row.is_burnt
            }
            assert known == {at: held[2] for at, held in truth.items() if self.is_known(at)}
            hidden = {at: held[2] for at, held in truth.items() if not self.is_known(at)}
            suspects = {OutPoint(Txid(row.txid), row.vout) for row in present if row.satoshi is None}
            assert hidden.keys() <= suspects, "whatever is hidden is a suspect"
            assert self.ledger.hidden(is_token=bool(is_token), asset=number) == sum(hidden.values())

    def _check_states(self, rows: list[sa.Row[tuple[object, ...]]]) -> None:
        txs = tables.asset_txs
        with self.ledger.store.snapshot() as db:
            states = {(bytes(row.txid), row.asset): row for row in db.execute(sa.select(txs))}
        blocks, mempool = self.confirmed(), {made.txid for made in self.mempool}
        for row in rows:
            own = states[bytes(row.txid), row.asset]
            assert (row.state, row.height) == (own.state, own.height)
            assert (row.state == CONFIRMED) == (Txid(row.txid) in blocks)
            if Txid(row.txid) in mempool:
                assert row.state == 0
            if row.spent_by is not None:
                spender = states[bytes(row.spent_by), row.asset]
                assert spender.state != GONE
                assert (row.spent_state, row.spent_height) == (spender.state, spender.height)

    def _check_holders(self, of: bytes, height: int | None) -> None:
        truth: dict[str | None, int] = {}
        strangers = total = 0
        for outpoint, (script, asset, satoshi) in self.unspent(height=height).items():
            if asset != of:
                continue
            total += satoshi
            if not self.is_known(outpoint):
                continue
            if script in self.scripts or script == TREASURY:
                holder = gaid(self.scripts[script]) if script in self.scripts else None
                truth[holder] = truth.get(holder, 0) + satoshi
            else:
                strangers += satoshi
        number = ASSETS[of]
        holders = self.ledger.holders(height, asset=number)
        assert holders == truth
        assert sum(holders.values()) + strangers + self.ledger.hidden(height=height, asset=number) == total
        blocks = self.ledger.blocks if height is None else self.ledger.blocks[: height + 1]
        txids = {tx.txid() for block in blocks for tx in block.transactions}
        made = sum(amount for txid, amount in self.reissued.items() if txid in txids and of == ASSET)
        burned = sum(
            opening.satoshi
            for txid in txids
            for vout, opening in enumerate(self.made[txid].openings)
            if opening.asset == of and self.made[txid].tx.vout[vout].script == BURN
        )
        assert total == (ISSUED if self.issuances[of].txid in txids else 0) + made - burned


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_every_unit_is_where_the_ledger_says(seed: int, steps: int) -> None:
    model = Model(random.Random(seed))
    for _ in range(steps):
        model.step()
        model.check()
    # At the end all of the asset is told, and nothing else: then the register is whole, and nobody is a suspect.
    model.mine()
    for txid in sorted(model.confirmed()):
        openings = model.made[txid].openings
        model._tell(model.made[txid], [vout for vout, opening in enumerate(openings) if opening.asset != POLICY])
    model.check()
    assert model.ledger.hidden() == model.ledger.hidden(is_token=True) == model.ledger.hidden(asset=2) == 0
    assert [row for row in model.ledger.rows() if row.satoshi is None and row.state == CONFIRMED] == []


@pytest.mark.parametrize("seed", range(5))
def test_g05_an_older_database_finds_on_the_chain_what_is_there(seed: int, tmp_path: Path) -> None:
    """A copy is put back, and reads the chain from where it was made: what was told since is not known any more, and
    all of it is accounted for as such, until it is told again."""
    dice = random.Random(seed)
    model = Model(dice, Ledger(Store.open(f"sqlite:///{tmp_path / 'now.sqlite'}")))
    for _ in range(dice.randint(5, 30)):
        model.step()
    with sqlite3.connect(tmp_path / "now.sqlite") as source, sqlite3.connect(tmp_path / "then.sqlite") as copy:
        source.backup(copy)
    told = set(model.told)
    for _ in range(dice.randint(5, 30)):
        model.step()
    model.ledger.store.close()
    model.ledger.store = Store.open(f"sqlite:///{tmp_path / 'then.sqlite'}")
    model.told = told
    follow(model.ledger, [made.tx for made in model.mempool])
    with model.ledger.store.transaction() as db:
        behind.acknowledge(db)
    model.check()
    for txid in sorted(model.confirmed()):
        openings = model.made[txid].openings
        model._tell(model.made[txid], [vout for vout, opening in enumerate(openings) if opening.asset != POLICY])
    model.check()
    assert model.ledger.hidden() == model.ledger.hidden(is_token=True) == model.ledger.hidden(asset=2) == 0
    model.ledger.store.close()


def follow(ledger: Ledger, mempool: list[Transaction]) -> None:
    """Read the chain from wherever the store is, as the watcher does."""
    with ledger.store.transaction() as db:
        tip = chainindex.tip(db)
        while tip is not None and (tip.height > ledger.height or ledger.blocks[tip.height].hash != tip.hash):
            chainindex.remove_block(db, tip.height, ledger.now)
            tip = chainindex.tip(db)
        for block in ledger.blocks[0 if tip is None else tip.height + 1 :]:
            chainindex.add_block(db, block, POLICY_HEX, ledger.now)
        chainindex.add_unconfirmed(db, mempool, POLICY_HEX, ledger.now)
        gone = chainindex.unconfirmed(db) - {tx.txid() for tx in mempool}
        chainindex.mark_gone(db, gone, ledger.now)
