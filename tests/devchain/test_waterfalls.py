"""Waterfalls: descriptors to scripts, encrypted ones too, and a wallet's history in one answer."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amp0.devchain.app import DevChain
from amp0.devchain.blocks import OP_TRUE
from amp0.devchain.faucet import Payment
from amp0.devchain.waterfalls import BATCH, MAX_HISTORY, PAGE, Refused, checksum, parse_descriptor
from amp0.elements.address import Address
from amp0.elements.keys import ExtendedKey
from amp0.elements.script import hash160, multisig_2of2, p2pkh, p2sh, p2sh_p2wsh, p2wpkh, p2wsh
from amp0.elements.transaction import OutPoint
from tests.devchain.kit import free_coin, spend
from tests.devchain.web import NETWORK, address, get, new_app, request
from tests.patience import PATIENCE
from tests.vectors import load

SIGNERS = load("lwk-0.19.json")["networks"]["regtest"]["signers"]
MAIN_SIGNERS = load("lwk-0.19.json")["networks"]["mainnet"]["signers"]
SEED = ExtendedKey.from_seed(b"\x42" * 32, main=False)
A, B = SEED.derive((1,)).public(), SEED.derive((2,)).public()
AMP0 = f"elsh(wsh(multi(2,{A}/*,{B}/1/*)))"
WPKH = f"elwpkh({A}/<0;1>/*)"


def _amp0_script(index: int) -> bytes:
    return p2sh_p2wsh(multisig_2of2(A.child_public_key(index), B.child(1).child_public_key(index)))


def _wpkh_script(index: int, branch: int = 0) -> bytes:
    return p2wpkh(hash160(A.child(branch).child_public_key(index)))


def _scan(built: DevChain, descriptor: str, version: int = 2, **parameters: Any) -> Any:
    asked = {"descriptor": descriptor, "page": 0, "to_index": 0, "utxo_only": "false", **parameters}
    return get(built, f"/v{version}/waterfalls", params=asked).json()


def _pay(built: DevChain, script: bytes, satoshi: int = 5_000) -> str:
    return str(built.faucet.pay(Payment(script, None, satoshi)))


# -- descriptors -------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: signer["fingerprint"])
def test_scripts_are_lwks(signer: Any) -> None:
    """The AMP0 and single-key wallets of the vectors, their ``ct(…)``, origins and checksums included."""
    external, internal = parse_descriptor(signer["wpkh_slip77_descriptor"], NETWORK)
    for index, text in enumerate(signer["wpkh_addresses"]):
        assert external.script(index) == Address(text).script
    assert "/1/*" in internal.text
    (amp0,) = parse_descriptor(signer["amp0"]["descriptor"], NETWORK)
    for index, text in signer["amp0"]["addresses"].items():
        assert amp0.script(int(index)) == Address(text).script


@pytest.mark.parametrize(
    ("descriptor", "script"),
    [
        (f"elwpkh({A}/*)", p2wpkh(hash160(A.child_public_key(7)))),
        (f"wpkh({A}/0/*)", _wpkh_script(7)),
        (f"elpkh({A}/*)", p2pkh(hash160(A.child_public_key(7)))),
        (f"elsh(wpkh({A}/*))", p2sh(p2wpkh(hash160(A.child_public_key(7))))),
        (AMP0, _amp0_script(7)),
        (f"elwsh(multi(2,{A}/*,{B}/1/*))",
         p2wsh(multisig_2of2(A.child_public_key(7), B.child(1).child_public_key(7)))),
        (f"elsh(multi(2,{A}/*,{B}/*))", p2sh(multisig_2of2(A.child_public_key(7), B.child_public_key(7)))),
        (f"elwsh(sortedmulti(2,{A}/*,{B}/*))",
         p2wsh(multisig_2of2(*sorted([A.child_public_key(7), B.child_public_key(7)])))),
    ],
)  # fmt: skip
def test_kinds_of_descriptors(descriptor: str, script: bytes) -> None:
    (branch,) = parse_descriptor(descriptor, NETWORK)
    assert branch.script(7) == script
    assert branch.text == f"{descriptor}#{checksum(descriptor)}"
    (again,) = parse_descriptor(branch.text, NETWORK)
    assert again.script(7) == script


@pytest.mark.parametrize(
    ("descriptor", "reason"),
    [
        ("", "InvalidDescriptor"),
        ("elwpkh()", "InvalidDescriptor"),
        ("nonsense", "InvalidDescriptor"),
        (f"elwpkh({A})", "DescriptorMustHaveWildcard"),
        (f"elwpkh({A}/0)", "DescriptorMustHaveWildcard"),
        (f"elwpkh({A}/0'/*)", "InvalidDescriptor"),
        (f"elwpkh({A}/<0;1;2>/*)", "InvalidDescriptor"),
        (f"elwpkh({SEED.to_string()}/*)", "private"),
        (f"elwpkh({str(A)[:-1]}x/*)", "InvalidDescriptor"),
        (f"elwsh(multi(3,{A}/*,{B}/*))", "m of n"),
        (f"elwsh(multi(0,{A}/*,{B}/*))", "m of n"),
        (f"elmulti(2,{A}/*,{B}/*)", "InvalidDescriptor"),
        (f"multi(2,{A}/*,{B}/*)", "not a kind"),
        (f"elwsh(wpkh({A}/*))", "not a kind"),
        (f"elsh(sh(multi(1,{A}/*)))", "not a kind"),
        (f"eltr({A}/*)", "InvalidDescriptor"),
        (f"ct(slip77({'00' * 32}))", "InvalidDescriptor"),
        (f"{AMP0}#aaaaaaaa", "checksum"),
        (f"elwpkh({A}/é/*)", "InvalidDescriptor"),
        (MAIN_SIGNERS[0]["wpkh_slip77_descriptor"], "WrongNetwork"),
    ],
)
def test_bad_descriptors(descriptor: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as caught:
        parse_descriptor(descriptor, NETWORK)
    assert caught.value.status == 400


@given(st.text(max_size=60), st.sampled_from([AMP0, WPKH]), st.data())
@settings(deadline=None)
def test_noise_and_damage_are_refused_or_understood(noise: str, good: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(good)))
    for text in (noise, good[:position], good[:position] + noise + good[position:]):
        try:
            for branch in parse_descriptor(text, NETWORK):
                assert branch.script(0)
        except Refused:
            pass


# -- scans -------------------------------------------------------------------------------------


def test_an_answer_is_what_lwk_reads() -> None:
    built = new_app()
    confirmed = _pay(built, _amp0_script(2))
    built.chain.mine()
    waiting = _pay(built, _amp0_script(2))
    answer = _scan(built, AMP0)
    tip = built.chain.tip
    assert (answer["page"], answer["tip"]) == (0, str(tip.hash))
    ((key, histories),) = answer["txs_seen"].items()
    assert key == f"{AMP0}#{checksum(AMP0)}"
    assert histories[0] == histories[1] == []
    assert histories[2] == [
        {"txid": confirmed, "height": 2, "block_hash": str(tip.hash), "block_timestamp": tip.time},
        {"txid": waiting, "height": 0},
    ]
    assert "has_more" not in answer
    assert set(_scan(built, AMP0, version=1)) == {"txs_seen", "page"}
    four = _scan(built, AMP0, version=4)
    assert four["tip_meta"] == {"b": str(tip.hash), "t": tip.time, "h": 2}
    assert "tip" not in four
    assert four["txs_seen"] == answer["txs_seen"]


def test_two_branches_have_a_key_each() -> None:
    built = new_app()
    paid = [_pay(built, _wpkh_script(0)), _pay(built, _wpkh_script(1, 1))]
    seen = _scan(built, WPKH)["txs_seen"]
    assert [key.split("#")[0] for key in seen] == [f"elwpkh({A}/0/*)", f"elwpkh({A}/1/*)"]
    external, internal = seen.values()
    assert external[0][0]["txid"] == paid[0]
    assert internal[1][0]["txid"] == paid[1]


def test_spending_shows_in_the_history() -> None:
    built = new_app()
    script = p2wsh(OP_TRUE)
    paid = built.faucet.pay(Payment(script, None, 50_000))
    entry = built.chain.entry(paid)
    assert entry is not None
    tx = spend([(OutPoint(paid, 0), entry.tx.vout[0])]).replace_input(0, witness=(OP_TRUE,))
    built.chain.submit(tx)
    found = get(built, "/v2/waterfalls", params={"addresses": address(script)}).json()
    assert [each["txid"] for each in found["txs_seen"]["addresses"][0]] == [str(paid), str(tx.txid())]


@pytest.mark.parametrize("index", [19, 20, 39, 40, 100, 2_100])
def test_to_index_itself_is_served(index: int) -> None:
    """The public server skips a multiple of 20 when nothing before it was used."""
    built = new_app()
    txid = _pay(built, _amp0_script(index))
    page, place = divmod(index, PAGE)
    (histories,) = _scan(built, AMP0, to_index=index, page=page)["txs_seen"].values()
    assert histories[place][0]["txid"] == txid


def test_a_scan_ends_after_an_unused_batch() -> None:
    built = new_app()
    _pay(built, _amp0_script(25))
    (short,) = _scan(built, AMP0)["txs_seen"].values()
    assert len(short) == BATCH
    (longer,) = _scan(built, AMP0, to_index=20)["txs_seen"].values()
    assert len(longer) == 3 * BATCH


def test_pages_of_a_thousand() -> None:
    built = new_app()
    txid = _pay(built, _amp0_script(1_005))
    (first,) = _scan(built, AMP0, to_index=1_006)["txs_seen"].values()
    assert len(first) == PAGE
    (second,) = _scan(built, AMP0, to_index=1_006, page=1)["txs_seen"].values()
    assert second[5][0]["txid"] == txid
    assert len(second) == 2 * BATCH


def test_a_long_history_is_paged_by_address() -> None:
    built = new_app()
    script = _amp0_script(3)
    txids = {_pay(built, script, 1_000 + i) for i in range(2 * MAX_HISTORY + 20)}
    built.chain.mine()
    txids.add(waiting := _pay(built, script))
    answer = _scan(built, AMP0)
    (histories,) = answer["txs_seen"].values()
    plain = address(script)
    assert answer["has_more"] == [plain]
    seen = [entry["txid"] for entry in histories[3]]
    assert len(seen) == MAX_HISTORY + 1
    assert seen[-1] == waiting
    for page in (1, 2):
        more = get(built, "/v2/waterfalls", params={"addresses": plain, "page": page}).json()
        seen += [entry["txid"] for entry in more["txs_seen"]["addresses"][0]]
        assert ("has_more" in more) == (page == 1)
    assert len(seen) == len(set(seen))
    assert set(seen) == txids
    refused = request(built, "GET", "/v2/waterfalls", params={"descriptor": AMP0, "utxo_only": "true"})
    assert refused.status_code == 400


def test_unspent_only() -> None:
    built = new_app()
    script = _amp0_script(0)
    paid = _pay(built, script)
    built.chain.mine()
    waiting = _pay(built, script, 7_000)
    (histories,) = _scan(built, AMP0, utxo_only="true")["txs_seen"].values()
    found = [(entry["txid"], entry["height"], entry["v"]) for entry in histories[0]]
    assert found == [(paid, 2, 1), (waiting, 0, 1)]


def test_unspent_only_follows_a_spend() -> None:
    """Outputs no block spends are there (up from 1); the mempool's spends are beside them (down)."""
    built = new_app()
    script = p2wsh(OP_TRUE)
    paid = built.faucet.pay(Payment(script, None, 50_000))
    built.chain.mine()
    entry = built.chain.entry(paid)
    assert entry is not None
    tx = spend([(OutPoint(paid, 0), entry.tx.vout[0])]).replace_input(0, witness=(OP_TRUE,))
    built.chain.submit(tx)
    parameters = {"addresses": address(script), "utxo_only": "true"}
    (both,) = get(built, "/v2/waterfalls", params=parameters).json()["txs_seen"]["addresses"]
    assert [(each["txid"], each["v"]) for each in both] == [(str(paid), 1), (str(tx.txid()), -1)]
    built.chain.mine()
    (none,) = get(built, "/v2/waterfalls", params=parameters).json()["txs_seen"]["addresses"]
    assert none == []


def test_answers_follow_the_chain() -> None:
    """Histories are kept between scans, and made anew after whatever touches them."""
    built = new_app()
    _pay(built, _amp0_script(0))

    def height() -> int:
        (histories,) = _scan(built, AMP0)["txs_seen"].values()
        (entry,) = histories[0]
        return int(entry["height"])

    assert height() == height() == 0
    built.chain.mine()
    assert height() == 2
    built.chain.reorg(1, blocks=2)
    assert height() == 0
    built.chain.mine()
    assert height() == 4


# -- encryption --------------------------------------------------------------------------------


def _encrypted(built: DevChain, text: str) -> str:
    recipient = pyrage.x25519.Recipient.from_str(get(built, "/v1/server_recipient").text)
    return base64.b64encode(pyrage.encrypt(text.encode(), [recipient])).decode().rstrip("=")


def test_an_encrypted_descriptor_is_understood() -> None:
    built = new_app()
    _pay(built, _amp0_script(1))
    assert _scan(built, _encrypted(built, AMP0)) == _scan(built, AMP0)


def test_a_raw_plus_sign_is_understood() -> None:
    """Some clients do not percent-encode base64's plus, and it arrives as a space."""
    built = new_app()
    sealed = next(text for _ in range(50) if "+" in (text := _encrypted(built, AMP0)))
    answer = get(built, f"/v2/waterfalls?descriptor={sealed}&page=0&to_index=0&utxo_only=false")
    assert answer.json() == _scan(built, AMP0)


def test_what_was_encrypted_to_another_server_is_422() -> None:
    """LWK then forgets the recipient, asks for it again and retries."""
    built, other = new_app(), new_app()
    answer = request(built, "GET", "/v2/waterfalls", params={"descriptor": _encrypted(other, AMP0)})
    assert answer.status_code == 422
    damaged = base64.b64encode(b"age-encryption.org/v1\nnonsense").decode()
    assert request(built, "GET", "/v2/waterfalls", params={"descriptor": damaged}).status_code == 422
    nonsense = _encrypted(built, "nonsense")
    assert request(built, "GET", "/v2/waterfalls", params={"descriptor": nonsense}).status_code == 400


# -- addresses, and mistakes -------------------------------------------------------------------


def test_addresses() -> None:
    built = new_app()
    txid = _pay(built, _wpkh_script(4))
    both = f"{address(_wpkh_script(3))},{address(_wpkh_script(4))}"
    seen = get(built, "/v2/waterfalls", params={"addresses": both}).json()["txs_seen"]
    assert seen == {"addresses": [[], [{"txid": txid, "height": 0}]]}


@pytest.mark.parametrize(
    ("parameters", "status", "reason"),
    [
        ({}, 400, "AtLeastOneFieldMandatory"),
        ({"descriptor": AMP0, "addresses": "x"}, 400, "CannotSpecifyBoth"),
        ({"addresses": ",".join([address(_wpkh_script(0))] * 51)}, 400, "TooManyAddresses"),
        ({"addresses": address(_wpkh_script(0), confidential=True)}, 400, "AddressCannotBeBlinded"),
        ({"addresses": "nonsense"}, 400, "InvalidAddress"),
        ({"addresses": f"{address(_wpkh_script(0))},{address(_wpkh_script(1))}", "page": "1"}, 400, "single"),
        ({"descriptor": AMP0, "page": "x"}, 400, "page"),
        ({"descriptor": AMP0, "page": "-1"}, 400, "page"),
        ({"descriptor": AMP0, "page": "99999999"}, 400, "page"),
        ({"descriptor": AMP0, "to_index": "1.5"}, 400, "to_index"),
        ({"descriptor": AMP0, "utxo_only": "yes"}, 400, "utxo_only"),
        ({"descriptor": f"elwpkh({A})"}, 400, "DescriptorMustHaveWildcard"),
        ({"descriptor": "garbage"}, 400, "InvalidDescriptor"),
    ],
)
def test_mistakes(parameters: dict[str, str], status: int, reason: str) -> None:
    answer = request(new_app(), "GET", "/v2/waterfalls", params=parameters)
    assert answer.status_code == status
    assert reason in answer.text


@pytest.mark.parametrize("path", ["/v3/waterfalls", "/v5/waterfalls", "/v2/last_used_index", "/v2/subscribe"])
def test_versions_that_are_not_there(path: str) -> None:
    assert request(new_app(), "GET", path, params={"descriptor": AMP0}).status_code == 404


# -- the small ones ----------------------------------------------------------------------------


def test_last_used_indexes() -> None:
    built = new_app()
    tip = str(built.chain.tip.hash)
    asked = {"descriptor": WPKH}
    unused = get(built, "/v1/last_used_index", params=asked).json()
    assert unused == {"external": None, "internal": None, "tip": tip}
    _pay(built, _wpkh_script(5))
    _pay(built, _wpkh_script(21))
    _pay(built, _wpkh_script(1, 1))
    used = get(built, "/v1/last_used_index", params=asked).json()
    assert (used["external"], used["internal"]) == (21, 1)
    _pay(built, _amp0_script(9))
    amp0 = get(built, "/v1/last_used_index", params={"descriptor": AMP0}).json()
    assert (amp0["external"], amp0["internal"]) == (None, 9), "/1/* makes it count as internal"
    assert request(built, "GET", "/v1/last_used_index").status_code == 400


def test_the_rest() -> None:
    built = new_app()
    assert get(built, "/v1/time_since_last_block").text == "0"
    assert get(built, "/v1/build_info").json()["name"]
    outpoint, _ = free_coin(built.chain)
    path = f"/v1/unspent/{outpoint.hash}:{outpoint.vout()}"
    assert get(built, path).json() is True
    built.chain.submit(spend([free_coin(built.chain)]))
    assert get(built, path).json() is False
    assert request(built, "GET", f"/v1/unspent/{'0' * 64}:0").status_code == 404


# -- events ------------------------------------------------------------------------------------


async def _events(built: DevChain, descriptor: str, wanted: int, act: list[Any]) -> list[tuple[str, Any]]:
    """Subscribe, act once per event seen (from ``: ready`` on), and read ``wanted`` events."""
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    query = str(httpx.QueryParams({"descriptor": descriptor})).encode()
    scope = {"type": "http", "method": "GET", "path": "/v1/subscribe", "query_string": query, "headers": []}
    serving = asyncio.create_task(built.app(scope, receive, outbox.put))
    start = await outbox.get()
    assert dict(start["headers"])[b"content-type"] == b"text/event-stream"
    assert (await outbox.get())["body"] == b": ready\n\n"
    events: list[tuple[str, Any]] = []
    for step in act:
        await asyncio.to_thread(step)
        message = await asyncio.wait_for(outbox.get(), PATIENCE)
        for block in message["body"].decode().strip().split("\n\n"):
            kind, data = block.split("\n")
            events.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    gone.set()
    await asyncio.wait_for(serving, PATIENCE)
    assert wanted == len(events)
    return events


def test_events_tell_what_happened_to_the_wallet() -> None:
    built = new_app()
    assert request(built, "GET", "/v1/subscribe", params={"descriptor": AMP0}).status_code == 400
    assert request(built, "GET", "/v1/subscribe").status_code == 400
    _scan(built, AMP0)
    steps = [
        lambda: built.chain.mine(),
        lambda: _pay(built, _amp0_script(4)),
        lambda: built.chain.mine(),
        lambda: built.chain.reorg(1, blocks=2),
    ]
    events = asyncio.run(_events(built, AMP0, 7, steps))
    updates = [data for kind, data in events if kind == "update"]
    assert [update["type"] for update in updates] == ["tip", "mempool", "block", "reorg"]
    assert [update["tip"]["height"] for update in updates] == [2, 2, 3, 4]
    assert updates[-1]["tip"]["block_hash"] == str(built.chain.tip.hash)
    assert [data["reason"] for kind, data in events if kind == "changed"] == ["mempool", "block", "reorg"]
    assert not built.chain._listeners[1:], "a client that left is forgotten"


def test_other_peoples_payments_are_no_event() -> None:
    built = new_app()
    _scan(built, AMP0)

    def both() -> None:
        _pay(built, _wpkh_script(0))
        _pay(built, _amp0_script(0))

    (update, _) = asyncio.run(_events(built, AMP0, 2, [both]))
    assert update[1]["type"] == "mempool"
