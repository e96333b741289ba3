from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.devchain.faucet import Payment
from amp0.devchain.node.wallet import RECEIVE
from amp0.elements.address import Address
from amp0.elements.confidential import DomainEntry, PlainOutput, blind, issued_asset
from amp0.elements.hashes import Txid, asset_id_to_bytes, sha256
from amp0.elements.issuance import open_issuance
from amp0.elements.transaction import MAX_SATOSHI, OutPoint, Transaction, TxIn
from amp0.network import Network
from amp0.server.issuer import assets, fee_coins, issuance, treasury
from amp0.server.issuer.endpoint import Runs
from amp0.server.issuer.fee_coins import Funds
from amp0.server.issuer.fee_wallet import FeeCoin, Place, Wanted
from amp0.server.issuer.refusals import Detail, OperationRefused, WrongFields
from amp0.server.issuer.upkeep import Upkeep
from amp0.server.refusal import ChainUnavailable, FeeWalletEmpty
from amp0.server.store import asset_schema
from tests.server.issuer.house import NETWORK, PUBKEY, House, address, reissuable


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    made.fund(100_000, 50_000)
    yield made
    made.close()


def _count(house: House, table: sa.Table) -> int:
    with house.store.snapshot() as db:
        return int(db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _asset(house: House) -> assets.AssetRow:
    with house.store.snapshot() as db:
        newest = db.execute(sa.select(sa.func.max(asset_schema.assets.c.id))).scalar_one()
        return assets.load(db, newest)


# --- for real --------------------------------------------------------------------------------------------------------


def test_b14_a_login_that_is_locked_while_its_issuance_is_built_issues_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = house.desk.wallet.build

    def and_meanwhile(*arguments: Any, **more: Any) -> Any:
        table = asset_schema.principals
        with house.store.transaction() as db:
            db.execute(sa.update(table).where(table.c.id == house.who.id).values(is_locked=1))
        return build(*arguments, **more)

    monkeypatch.setattr(house.desk.wallet, "build", and_meanwhile)
    with pytest.raises(Detail) as refused:
        house.issue()
    assert refused.value.status == 403
    assert _count(house, asset_schema.assets) == 0


@pytest.mark.parametrize("is_confidential", [False, True])
def test_the_chain_takes_an_issuance_and_the_treasury_can_spend_it(house: House, is_confidential: bool) -> None:
    node = house.node_wallet()
    to = [Address.from_script(NETWORK, own.script, node.blinding_pubkey(own.script)) for own in _scripts(node, 2)]
    issued = house.issue(
        amount=1_000_000,
        destination_address=str(to[0]),
        is_confidential=is_confidential,
        **reissuable(5, reissuance_address=str(to[1])),
    )
    house.mine(2)
    held = {coin.opening.asset: coin for coin in node.coins()}
    asset, token = asset_id_to_bytes(issued.asset_id), asset_id_to_bytes(issued.reissuance_token_id or "")
    assert {asset: 1_000_000, token: 5} == {key: coin.opening.satoshi for key, coin in held.items()}
    assert held[asset].outpoint == OutPoint(Txid(issued.txid), issued.asset_vout)
    assert held[token].outpoint == OutPoint(Txid(issued.txid), issued.reissuance_vout)
    # The node's wallet pays the asset on, with L-BTC of its own for the fee.
    (fees,) = _scripts(node, 1)
    house.devchain.faucet.pay(Payment(fees.script, node.blinding_pubkey(fees.script), 10_000))
    house.mine()
    node.send([PlainOutput(address(9).script, asset, 400_000, address(9).blinding_pubkey)])
    house.mine()


def _scripts(node: Any, count: int) -> list[Any]:
    return [node.new_script(RECEIVE) for _ in range(count)]


def test_the_answer_has_every_key_and_no_null_where_clients_cannot_read_one(house: House) -> None:
    issued = house.issue(reissuance_amount=0, reissuance_address=str(address(3)), is_reissuable=False)
    assert (issued.reissuance_amount, issued.reissuance_address) == (0, "")
    assert (issued.reissuance_token_id, issued.reissuance_vout, issued.issuance_tokenblinder) == (None, None, None)
    assert issued.issuance_assetblinder == "00" * 32
    assert (issued.precision, issued.transfer_restricted, issued.vin) == (0, True, 0)
    assert issued.issuer_authorization_endpoint is None
    assert issued.destination_address == str(address(1))


def test_ids_and_contract_are_the_chain_s(house: House) -> None:
    issued = house.issue(precision=2, **reissuable())
    tx = house.chain.entry(Txid(issued.txid)).tx  # type: ignore[union-attr]
    asset, token = issued_asset(tx.vin[issued.vin])
    assert (asset_id_to_bytes(issued.asset_id), asset_id_to_bytes(issued.reissuance_token_id or "")) == (asset, token)
    contract = json.dumps(
        {
            "entity": {"domain": "silver.example"},
            "issuer_pubkey": PUBKEY,
            "name": "Silver bars",
            "precision": 2,
            "ticker": "SLVR",
            "version": 0,
        },
        separators=(",", ":"),
    )
    assert tx.vin[0].issuance is not None
    assert tx.vin[0].issuance.entropy == sha256(contract.encode())
    assert _asset(house).contract == contract


def test_a_hidden_amount_is_hidden_and_the_answer_has_its_blinders(house: House) -> None:
    issued = house.issue(is_confidential=True, **reissuable())
    tx = house.chain.entry(Txid(issued.txid)).tx  # type: ignore[union-attr]
    assert tx.vin[0].issuance is not None
    assert len(tx.vin[0].issuance.amount_field) == len(tx.vin[0].issuance.tokens_field) == 33
    known = open_issuance(tx.vin[0], house.wallet._nonces(tx.vin[0].prevout))
    assert known.asset is not None
    assert known.token is not None
    assert issued.issuance_assetblinder == known.asset.vbf[::-1].hex()
    assert issued.issuance_tokenblinder == known.token.vbf[::-1].hex()


@pytest.mark.parametrize("is_confidential", [False, True])
def test_the_ledger_knows_every_unit_from_the_first_moment(house: House, is_confidential: bool) -> None:
    house.issue(amount=777, is_confidential=is_confidential, **reissuable(3))
    outs, txs = asset_schema.asset_outputs, asset_schema.asset_txs
    for state in (0, 1):
        with house.store.snapshot() as db:
            held = db.execute(sa.select(outs.c.is_token, outs.c.satoshi, outs.c.state).order_by(outs.c.is_token)).all()
            moved = db.execute(sa.select(txs.c.kind, txs.c.issued, txs.c.state)).all()
        assert [tuple(row) for row in held] == [(0, 777, state), (1, 3, state)]
        assert [tuple(row) for row in moved] == [("issuance", 777, state)]
        house.mine()


def test_an_issuance_that_the_database_does_not_know_is_an_alarm(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """A database restored from a back-up that is older than the asset: nobody would police it."""
    built = house.wallet.build(
        Wanted(sha256(b"x"), 5, address(1)), _coins(house), Place(99, is_change=True), fee_rate=100, random=os.urandom
    )
    house.chain.submit(built.tx)
    house.sync()
    assert str(built.tx.txid()) in caplog.text
    assert said(caplog) == ["CRITICAL"]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Levels of what was logged by this thread: a server that another test keeps alive logs under the same name."""
    return [record.levelname for record in caplog.records if record.thread == threading.get_ident()]


def _coins(house: House) -> list[FeeCoin]:
    with house.store.snapshot() as db:
        return fee_coins.spendable(db, house.wallet)


def test_addresses_become_the_treasury_s_at_once(house: House) -> None:
    issued = house.issue(**reissuable())
    listed = house.call(treasury.list_addresses, runs=Runs.READ, asset_uuid=issued.asset_uuid)
    assert sorted(listed) == sorted([str(address(1)), str(address(2))])


def test_what_the_wallet_paid_is_gone_and_the_rest_came_back(house: House) -> None:
    issued = house.issue()
    fee = house.chain.entry(Txid(issued.txid)).tx.fee(NETWORK.policy_asset_hex)  # type: ignore[union-attr]
    assert house.funds() == Funds(150_000, 100_000 - fee, 100_000)
    house.mine()
    assert house.funds() == Funds(150_000 - fee, 0, 0)


def test_many_issuances_before_one_block_spend_what_comes_back() -> None:
    house = House()
    house.fund(20_000)
    issued = [house.issue(ticker=f"T{number:03}") for number in range(5)]
    assert len({one.txid for one in issued}) == len({one.asset_id for one in issued}) == 5
    house.mine()
    assert all(house.chain.entry(Txid(one.txid)).height is not None for one in issued)  # type: ignore[union-attr]
    house.close()


def test_g08_parallel_issuances_share_no_coin(house: House) -> None:
    house.fund(40_000, 30_000)
    with ThreadPoolExecutor(4) as pool:
        issued = list(pool.map(lambda number: house.issue(ticker=f"T{number:03}"), range(4)))
    house.mine()
    spent = [txin.prevout for one in issued for txin in house.chain.entry(Txid(one.txid)).tx.vin]  # type: ignore[union-attr]
    assert len(spent) == len(set(spent))


def test_g08_somebody_else_s_promise_makes_it_choose_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second server on the database was faster with a coin: nothing of the first try is left."""
    promise, calls = fee_coins.promise, 0

    def rival(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            db, coins = arguments[0], arguments[3]
            table = asset_schema.fee_wallet_coins
            here = table.c.txid == bytes(coins[0].outpoint.txid())
            assert db.execute(table.update().where(here).values(spent_by=b"\x99" * 32)).rowcount == 1
        promise(*arguments)

    monkeypatch.setattr(fee_coins, "promise", rival)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(issuance, "_CHOICES", 1)
        with pytest.raises(FeeWalletEmpty):
            house.issue()
    assert _count(house, asset_schema.assets) == 0
    calls = 0
    house.issue()
    assert calls == 2


def test_every_database_keeps_an_issuance(database_url: str) -> None:
    house = House(database_url)
    house.fund(100_000)
    issued = house.issue(key="one", is_confidential=True, **reissuable())
    house.mine()
    house.chain.reorg(1, blocks=2)
    house.sync()
    house.mine()
    assert house.issue(key="one", is_confidential=True, **reissuable()) == issued
    assert house.funds().confirmed == house.funds().spendable > 99_000
    with house.store.transaction() as db:
        fee_coins.deposit_address(db, house.wallet, house.now)
    house.close()


# --- the rules of a request ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("destination_address", {"destination_address": "rubbish"}),
        ("destination_address", {"destination_address": str(address(1).to_unconfidential())}),
        (
            "destination_address",
            {
                "destination_address": str(
                    Address.from_script(Network.mainnet(), address(1).script, b"\x02" + b"\x11" * 32)
                )
            },
        ),
        ("domain", {"domain": "https://silver.example"}),
        ("domain", {"domain": "silver"}),
        ("domain", {"domain": "silver.example/path"}),
        ("pubkey", {"pubkey": "02" + "00" * 32}),
        ("reissuance_amount", reissuable(reissuance_amount=0)),
        ("reissuance_amount", reissuable(reissuance_amount=None)),
        ("reissuance_address", reissuable(reissuance_address=None)),
        ("reissuance_address", reissuable(reissuance_address="")),
        ("reissuance_address", reissuable(reissuance_address=str(address(2).to_unconfidential()))),
        ("reissuance_address", reissuable(reissuance_address=str(address(1)))),
        (
            "reissuance_address",
            reissuable(
                reissuance_address=str(Address.from_script(NETWORK, address(1).script, address(2).blinding_pubkey))
            ),
        ),
        ("investors_restricted", {"investors_restricted": True, "transfer_restricted": False}),
    ],
)
def test_a_wrong_request_issues_nothing(house: House, field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(WrongFields) as refusal:
        house.issue(**changes)
    assert list(refusal.value.errors) == [field]
    assert _count(house, asset_schema.assets) == 0
    assert house.funds() == Funds(150_000, 0, 0)


def test_everything_that_is_wrong_is_said_at_once(house: House) -> None:
    with pytest.raises(WrongFields) as refusal:
        house.issue(domain="silver", destination_address="x", **reissuable(0))
    assert set(refusal.value.errors) == {"domain", "destination_address", "reissuance_amount"}


def test_the_old_name_of_the_restriction_is_known(house: House) -> None:
    assert not house.issue(investors_restricted=False).transfer_restricted
    assert not house.issue(transfer_restricted=False, investors_restricted=False).transfer_restricted
    assert house.issue(investors_restricted=True).transfer_restricted


def test_the_largest_amounts_can_be_issued(house: House) -> None:
    issued = house.issue(amount=MAX_SATOSHI, is_confidential=True, **reissuable(MAX_SATOSHI))
    assert (issued.amount, issued.reissuance_amount) == (MAX_SATOSHI, MAX_SATOSHI)
    house.mine()


def test_an_address_that_the_server_gave_out_is_no_treasury(house: House) -> None:
    with house.store.transaction() as db:
        own = fee_coins.deposit_address(db, house.wallet, house.now)
    with pytest.raises(WrongFields, match="account of this server"):
        house.issue(destination_address=str(own))
    with pytest.raises(WrongFields, match="reissuance_address"):
        house.issue(**reissuable(reissuance_address=str(own)))


# --- money that is not there -----------------------------------------------------------------------------------------


def test_an_empty_wallet_refuses_and_stores_nothing() -> None:
    house = House()
    house.fund(20)
    with pytest.raises(FeeWalletEmpty):
        house.issue()
    assert _count(house, asset_schema.assets) == 0
    house.fund(10, 2_000)
    house.issue()
    house.close()


def test_an_unconfirmed_deposit_pays_for_nothing_because_it_could_be_replaced() -> None:
    house = House()
    house.fund(20_000, confirm=False)
    with pytest.raises(FeeWalletEmpty, match="confirmations"):
        house.issue()
    house.close()


# --- retries ---------------------------------------------------------------------------------------------------------


def test_g07_the_same_key_gives_the_same_answer_and_issues_once(house: House) -> None:
    first = house.issue(key="one", is_confidential=True, **reissuable())
    assert house.issue(key="one", is_confidential=True, **reissuable()) == first
    house.mine()
    assert house.issue(key="one", is_confidential=True, **reissuable()) == first
    assert len(house.sent) == _count(house, asset_schema.assets) == 1


def test_without_a_key_every_request_issues(house: House) -> None:
    assert house.issue().asset_id != house.issue().asset_id


def test_g10_a_key_with_another_body_is_refused(house: House) -> None:
    house.issue(key="one")
    with pytest.raises(WrongFields, match="another request"):
        house.issue(key="one", amount=10_001)
    assert _count(house, asset_schema.assets) == 1


def test_a_key_belongs_to_who_used_it(house: House) -> None:
    other = house.hire("another issuer")
    mine, theirs = house.issue(key="one"), house.issue(key="one", who=other)
    assert mine.asset_uuid != theirs.asset_uuid


def test_g07_parallel_requests_with_one_key_issue_once(house: House) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: house.issue(key="one"), range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert _count(house, asset_schema.assets) == 1
    assert set(house.sent) == {Txid(answers[0].txid)}


def test_a_deleted_asset_s_key_still_answers(house: House) -> None:
    first = house.issue(key="one")
    house.call(assets.delete, asset_uuid=first.asset_uuid)
    assert house.issue(key="one") == first


# --- a chain that does not take it -----------------------------------------------------------------------------------


def test_a_chain_that_is_away_leaves_it_signed_and_upkeep_sends_it(house: House) -> None:
    house.is_down = True
    with pytest.raises(ChainUnavailable, match="Idempotency-Key"):
        house.issue(key="one")
    assert _asset(house).state == assets.SIGNED
    assert house.funds() == Funds(150_000, 0, 100_000)
    upkeep = Upkeep(house.desk)
    upkeep.run()
    house.now += 60
    upkeep.run()
    assert _asset(house).state == assets.SIGNED
    house.is_down = False
    upkeep.run()
    assert _asset(house).state == assets.SENT
    answer = house.issue(key="one")
    assert house.sent == [Txid(answer.txid)]


def test_a_retry_sends_it_too(house: House) -> None:
    house.is_down = True
    with pytest.raises(ChainUnavailable):
        house.issue(key="one")
    house.is_down = False
    answer = house.issue(key="one")
    assert house.sent == [Txid(answer.txid)]
    assert _asset(house).state == assets.SENT


def test_g07_an_answer_of_the_chain_that_was_lost(house: House) -> None:
    house.loses_answers = True
    with pytest.raises(ChainUnavailable):
        house.issue(key="one")
    assert _asset(house).state == assets.SIGNED
    house.loses_answers = False
    house.sync()
    assert _asset(house).state == assets.SENT, "the index saw it in the mempool"
    answer = house.issue(key="one")
    assert house.sent == [Txid(answer.txid)]


@pytest.mark.parametrize(
    "text", ["min relay fee not met", "too-long-mempool-chain, too many", "bad-txns-inputs-missingorspent"]
)
def test_what_may_pass_later_waits(house: House, text: str) -> None:
    house.refuses = text
    with pytest.raises(ChainUnavailable):
        house.issue(key="one")
    assert _asset(house).state == assets.SIGNED
    house.refuses = None
    house.issue(key="one")
    assert _asset(house).state == assets.SENT


def test_what_is_refused_for_good_frees_the_coins_and_stays_refused(house: House) -> None:
    house.refuses = "bad-txns-in-ne-out"
    with pytest.raises(OperationRefused, match="bad-txns-in-ne-out"):
        house.issue(key="one", **reissuable())
    row = _asset(house)
    assert row.state == assets.FAILED
    assert house.funds() == Funds(150_000, 0, 0)
    house.refuses = None
    with pytest.raises(OperationRefused, match="another Idempotency-Key"):
        house.issue(key="one", **reissuable())
    assert house.sent == []
    assert house.call(assets.list_assets, runs=Runs.READ) == []
    with house.store.snapshot() as db:
        left = sa.select(asset_schema.asset_outputs.c.state).where(asset_schema.asset_outputs.c.state != 2)
        assert db.execute(left).all() == []


def test_the_same_request_again_after_a_refusal_makes_another_asset(house: House) -> None:
    """The id follows from coin and contract: the coin of the refused issuance must not be the issuing one again."""
    house.refuses = "bad-txns-in-ne-out"
    with pytest.raises(OperationRefused):
        house.issue(key="one")
    refused = _asset(house).asset_id
    house.refuses = None
    issued = house.issue(key="two")
    assert asset_id_to_bytes(issued.asset_id) != refused
    house.mine()


def test_an_issuance_that_was_given_up_and_comes_up_after_all_is_managed(house: House) -> None:
    """The node that refused it had told its peers. An asset that exists is never without its rules."""
    house.refuses = "bad-txns-in-ne-out"
    with pytest.raises(OperationRefused):
        house.issue(key="one")
    house.refuses = None
    with house.store.snapshot() as db:
        raw = db.execute(sa.select(asset_schema.assets.c.issue_tx)).scalar_one()
    house.chain.submit(Transaction.from_bytes(raw))
    house.mine()
    assert _asset(house).state == assets.SENT
    assert house.issue(key="one").txid == str(_asset(house).issue_txid)
    assert house.funds().promised == 0
    outs = asset_schema.asset_outputs
    with house.store.snapshot() as db:
        assert db.execute(sa.select(outs.c.satoshi, outs.c.state)).all() == [(10_000, 1)]


def test_what_the_chain_had_once_is_not_given_up_on_a_word(house: House) -> None:
    """Its units may be with holders, and with the asset its rules would go."""
    issued = house.issue(key="one")
    with house.chain.lock:
        house.chain._forget(house.chain.mempool.remove(Txid(issued.txid)))
    house.sync()
    house.refuses = "bad-txns-whatever"
    house.now += 60
    Upkeep(house.desk).run()
    assert _asset(house).state == assets.SIGNED
    house.refuses = None
    assert house.issue(key="one") == issued


def test_an_issuance_of_a_deposit_that_vanished_waits_for_it(house: House) -> None:
    issued = house.issue(key="one")
    entry = house.chain.entry(Txid(issued.txid))
    assert entry is not None
    deposit = house.chain.entry(entry.tx.vin[0].prevout.txid())
    assert deposit is not None
    depth = house.chain.height - (deposit.height or 0) + 1
    house.chain.reorg(depth, blocks=depth + 1)
    _forget_with_children(house, deposit.txid)
    house.sync()
    house.now += 60
    Upkeep(house.desk).run()
    assert _asset(house).state == assets.SIGNED
    house.chain.submit(deposit.tx)
    house.mine()
    Upkeep(house.desk).run()
    house.mine()
    assert _asset(house).state == assets.SENT
    assert house.issue(key="one") == issued


def _forget_with_children(house: House, txid: Txid) -> None:
    with house.chain.lock:
        waiting = list(house.chain.mempool.entries.values())
        for entry in waiting:
            if any(txin.prevout.txid() == txid for txin in entry.tx.vin):
                _forget_with_children(house, entry.txid)
        if txid in house.chain.mempool.entries:
            house.chain._forget(house.chain.mempool.remove(txid))


def test_an_issuance_that_falls_out_of_the_mempool_is_sent_again(house: House) -> None:
    issued = house.issue(key="one")
    with house.chain.lock:
        house.chain._forget(house.chain.mempool.remove(Txid(issued.txid)))
    house.sync()
    assert _asset(house).state == assets.SIGNED
    assert house.funds() == Funds(150_000, 0, 100_000), "its coins are promised still"
    house.now += 60
    Upkeep(house.desk).run()
    house.mine()
    assert _asset(house).state == assets.SENT
    assert house.sent == [Txid(issued.txid)] * 2


def test_a_reorganisation_changes_nothing_about_an_asset(house: House) -> None:
    house.issue()
    house.mine()
    before = house.funds()
    house.chain.reorg(1, blocks=2)
    house.sync()
    assert _asset(house).state == assets.SENT
    house.mine()
    assert house.funds() == before


def test_an_issuance_whose_coin_was_spent_otherwise_is_given_up(house: House) -> None:
    """Whoever has the seed elsewhere can do that; nobody waits for such an issuance for ever."""
    house.is_down = True
    with pytest.raises(ChainUnavailable):
        house.issue(key="one")
    house.is_down = False
    with house.store.snapshot() as db:
        raw = db.execute(sa.select(asset_schema.assets.c.issue_tx)).scalar_one()
    _spend_elsewhere(house, raw)
    house.mine()
    with pytest.raises(OperationRefused):
        house.issue(key="one")
    assert _asset(house).state == assets.FAILED


def _spend_elsewhere(house: House, raw: bytes) -> None:
    tx = Transaction.from_bytes(raw)
    with house.store.transaction() as db:
        # As the wallet would see its coins if nothing was promised.
        table = asset_schema.fee_wallet_coins
        promised = db.execute(sa.select(table.c.spent_by).where(table.c.spent_by.is_not(None))).scalar_one()
        db.execute(table.update().values(spent_by=None))
        coin = next(c for c in fee_coins.spendable(db, house.wallet) if c.outpoint == tx.vin[0].prevout)
        db.execute(table.update().where(table.c.txid == bytes(coin.outpoint.txid())).values(spent_by=promised))
    outputs = [
        PlainOutput(
            address(50).script, house.wallet.policy_asset, coin.opening.satoshi - 500, address(50).blinding_pubkey
        ),
        PlainOutput(b"", house.wallet.policy_asset, 500),
    ]
    made = blind([DomainEntry(coin.asset_field, coin.opening)], outputs)
    theft = Transaction.of(2, 0, [TxIn(coin.outpoint)], [output.txout for output in made])
    house.chain.submit(house.wallet._sign(theft, [coin]))


# --- the low alarm ---------------------------------------------------------------------------------------------------


def test_a_wallet_that_runs_low_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    house = House(fee_wallet_low=10_000)
    upkeep = Upkeep(house.desk)
    caplog.set_level("INFO", "amp0.server.issuer")

    def is_low_after(runs: int) -> bool:
        for _ in range(runs):
            upkeep.run()
        return upkeep.is_low

    assert is_low_after(3)
    assert said(caplog) == ["WARNING"]
    house.fund(10_000)
    assert not is_low_after(2)
    assert said(caplog) == ["WARNING", "INFO"]
    house.issue()
    assert is_low_after(1)
    house.close()
