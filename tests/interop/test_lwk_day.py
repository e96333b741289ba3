"""LWK, its logic unmodified, spends the seed's whole day against our server and our chain."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from amp0.errors import Amp0Error
from amp0.local.stack import Stack
from amp0.server.store import schema
from tests.interop.days import (
    ACCOUNT,
    BROADCAST,
    CLIENTS,
    CONNECT,
    COSIGN,
    LBTC,
    LOGIN,
    RECEIVE,
    SIGN,
    SIGNER,
    SYNC,
    WOLLET,
    Day,
)  # fmt: skip
from tests.interop.lwk_peer import LwkFailed, LwkPeer

pytestmark = pytest.mark.interop


@pytest.fixture
def day(lwk: LwkPeer, stack: Stack, request: pytest.FixtureRequest) -> Day:
    """A day with names of its own."""
    return Day(lwk.space(request.node.name), stack, f"user of {request.node.name}")


@pytest.mark.parametrize("client", CLIENTS)
def test_the_whole_day(day: Day, client: str) -> None:
    made = day.open()
    assert made["pointer"] == 1
    assert made["amp_id"].startswith("GA")

    connected = day.run(CONNECT)
    assert connected["amp_id"] == made["amp_id"]
    received = day.run(RECEIVE)
    assert received["index"] == received["last_index"] == connected["last_index"] + 1

    day.stack.dev.faucet(received["address"], 100_000)
    unconfirmed = day.run(CLIENTS[client], WOLLET, SYNC)
    assert unconfirmed["balance"] == {LBTC: 100_000}
    assert [(tx["type"], tx["height"]) for tx in unconfirmed["transactions"]] == [("incoming", None)]
    height = day.stack.dev.mine()
    assert [tx["height"] for tx in day.run(SYNC)["transactions"]] == [height]

    day.run("b = network.tx_builder()", "b.drain_lbtc_wallet()", "amp0pset = b.finish_for_amp0(wollet)", SIGN)
    spent = day.run(COSIGN)
    assert day.run(BROADCAST) == spent["txid"]
    height = day.stack.dev.mine()
    after = day.run(SYNC)
    assert after["balance"] == {LBTC: 100_000 - spent["fee"]}
    assert after["transactions"][0] == {
        "txid": spent["txid"],
        "type": "redeposit",
        "height": height,
        "fee": spent["fee"],
        "balance": {LBTC: -spent["fee"]},
    }


def test_the_account_is_found_again_by_its_signer_and_counts_on(day: Day) -> None:
    made = day.open()
    day.run(SIGNER, LOGIN, mnemonic=made["mnemonic"])
    assert day.peer.run("result = amp0.get_amp_ids()") == [made["amp_id"]]
    second = day.run(ACCOUNT)
    assert second["pointer"] == 2
    assert second["amp_id"] != made["amp_id"]
    assert day.peer.run("result = amp0.get_amp_ids()") == [made["amp_id"], second["amp_id"]]


def test_an_asset_is_received_and_sent_with_its_fee_in_lbtc(day: Day) -> None:
    day.funded()
    asset = day.stack.dev.issue(1_000)
    address = day.run(RECEIVE)["address"]
    day.stack.dev.faucet(address, 700, asset)
    day.stack.dev.mine()
    assert day.run(SYNC)["balance"] == {LBTC: 100_000, asset: 700}
    elsewhere = day.peer.run(
        "elsewhere = Wollet(network, Signer.random(network).wpkh_slip77_descriptor(), None)\n"
        "result = str(elsewhere.address(None).address())"
    )
    day.run(
        "b = network.tx_builder()",
        "b.add_recipient(Address(elsewhere_address), 300, asset)",
        "b.add_lbtc_recipient(Address(elsewhere_address), 2_000)",
        "amp0pset = b.finish_for_amp0(wollet)",
        SIGN,
        elsewhere_address=elsewhere,
        asset=asset,
    )
    spent = day.run(COSIGN)
    day.run(BROADCAST)
    day.stack.dev.mine()
    after = day.run(SYNC)
    assert after["balance"] == {LBTC: 98_000 - spent["fee"], asset: 400}
    assert after["transactions"][0]["type"] == "outgoing"
    paid = day.run("elsewhere.apply_update(client.full_scan(elsewhere))", "result = elsewhere.balance()")
    assert paid == {LBTC: 2_000, asset: 300}


def test_a_chain_of_own_unconfirmed_coins_is_cosigned(day: Day) -> None:
    day.funded()
    build = ("b = network.tx_builder()", "b.drain_lbtc_wallet()", "amp0pset = b.finish_for_amp0(wollet)", SIGN)
    fees = 0
    for _ in range(3):
        day.run(*build)
        fees += day.run(COSIGN)["fee"]
        day.run(BROADCAST, "wollet.apply_transaction(tx)")
    day.stack.dev.mine()
    assert day.run(SYNC)["balance"] == {LBTC: 100_000 - fees}


def test_connecting_uploads_the_confidential_addresses_that_are_asked_for(day: Day) -> None:
    amp_id = day.open()["amp_id"]
    assert _uploaded(day.stack, amp_id) == 0
    day.run(CONNECT)
    assert _uploaded(day.stack, amp_id) == 20
    day.run(CONNECT)
    assert _uploaded(day.stack, amp_id) == 20


def test_the_answer_to_a_cosigned_request_is_the_same_again(day: Day) -> None:
    day.funded()
    day.run("b = network.tx_builder()", "b.drain_lbtc_wallet()", "amp0pset = b.finish_for_amp0(wollet)", SIGN)
    first = day.run(COSIGN)
    assert day.run(COSIGN) == first


def test_a_refused_cosign_tells_lwk_why(day: Day) -> None:
    day.funded()
    day.run("b = network.tx_builder()", "b.drain_lbtc_wallet()", "amp0pset = b.finish_for_amp0(wollet)")
    unsigned = refused(day, COSIGN)
    assert "delayed_signature: error:" in unsigned
    assert "not signed by its owner" in unsigned
    day.run(SIGN)
    first = day.run(COSIGN)["txid"]
    # LWK's blinding is random: the same call builds another transaction of the same coin.
    day.run("b = network.tx_builder()", "b.drain_lbtc_wallet()", "amp0pset = b.finish_for_amp0(wollet)", SIGN)
    assert first in refused(day, COSIGN)


def test_nonces_of_another_transaction_never_leave_lwk(day: Day) -> None:
    day.funded()
    build = ("b = network.tx_builder()", "b.drain_lbtc_wallet()")
    day.run(*build, "other = b.finish_for_amp0(wollet)", *build, "mine = b.finish_for_amp0(wollet)")
    with pytest.raises(LwkFailed):
        day.run("Amp0Pset(mine.pset(), other.blinding_nonces())")


def test_a_wrong_password_is_refused_and_the_right_one_still_works(day: Day) -> None:
    made = day.open()
    wrong = refused(day, CONNECT, password="incorrect horse")
    assert "call failed" in wrong
    assert "usernotfound" in wrong or "password" in wrong
    assert day.run(CONNECT, password=day.password)["amp_id"] == made["amp_id"]


def test_a_signature_of_another_wallet_is_no_login(day: Day) -> None:
    made = day.open()
    day.run(SIGNER, "amp0 = Amp0Connected(network, signer_data)", mnemonic=made["mnemonic"])
    # A wrong signature is answered with `false`, as the real service does; LWK expects login data and says so.
    answer = refused(day, "amp0.login(Signer.random(network).amp0_sign_challenge(amp0.get_challenge()))")
    assert "boolean `false`, expected struct LoginData" in answer


def test_the_server_stays_up_after_every_refusal(stack: Stack, lwk: LwkPeer) -> None:
    """Last on purpose: the module's refusals are behind it."""
    try:
        height = stack.dev.mine()
    except Amp0Error as error:  # pragma: no cover
        pytest.fail(str(error))
    assert lwk.run("result = EsploraClient(url, network).tip().height()", url=stack.chain_url) == height


def refused(day: Day, *scripts: str, **values: Any) -> str:
    """The text of LWK's error."""
    with pytest.raises(LwkFailed) as caught:
        day.run(*scripts, **values)
    return caught.value.text


def _uploaded(stack: Stack, amp_id: str) -> int:
    """How many confidential addresses the server holds for an account."""
    server = stack._server
    assert server is not None
    addresses, accounts = schema.addresses.c, schema.accounts.c
    count = (
        sa.select(sa.func.count())
        .join_from(schema.addresses, schema.accounts, accounts.id == addresses.account_id)
        .where(accounts.receiving_id == amp_id, addresses.blinding_pubkey.is_not(None))
    )
    with server.services.store.snapshot() as db:
        found: int = db.execute(count).scalar_one()
    return found
