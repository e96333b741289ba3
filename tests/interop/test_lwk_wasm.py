"""LWK through JavaScript: ``lwk_wasm`` from npm, in Node, against our server and our chain.

docs/javascript.md is run as one program, as a reader would; its JavaScript is the specification's, word for word
(only imports, the network, the URL and the ``<…>`` placeholders differ). The program's account is then opened by our
client, and an account of our client's by ``lwk_wasm``. Most of the time goes into scrypt, which WebAssembly computes
for 2 seconds whenever watch-only credentials are made or used; so the tests share accounts.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import amp0
from amp0.local.stack import Stack
from tests.interop import lwk_wasm_peer
from tests.interop.days import (
    BROADCAST,
    CLIENTS,
    CONNECT,
    COSIGN,
    LBTC,
    RECEIVE,
    SIGN,
    SIGNER,
    SYNC,
    WOLLET,
    Day,
    OwnPeer,
)  # fmt: skip
from tests.interop.lwk_peer import LwkFailed, LwkPeer
from tests.interop.lwk_wasm_peer import HERE, NoNode
from tests.patience import PATIENCE

pytestmark = pytest.mark.interop

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "javascript.md"
CHAIN_URL = "http://127.0.0.1:3000"
COSIGN_URL = "http://127.0.0.1:9908"
PASSWORD = "correct horse"

DRAIN = "b = network.tx_builder()\nb.drain_lbtc_wallet()\namp0pset = b.finish_for_amp0(wollet)"

#: The JavaScript of "AMP0 Assets", the specification, block by block as published.
SPECIFICATION = [
    """
const mnemonic = "<mnemonic>";
const m = new lwk.Mnemonic(mnemonic);
const network = lwk.Network.testnet();
const signer = new lwk.Signer(m, network);
const signerData = signer.amp0SignerData();
""",
    """
const amp0Connected = await new lwk.Amp0Connected(network, signerData);
const challenge = await amp0Connected.getChallenge();
const sig = signer.amp0SignChallenge(challenge);
const amp0LoggedIn = await amp0Connected.login(sig);
""",
    """
const pointer = amp0LoggedIn.nextAccount();
const accountXpub = signer.amp0AccountXpub(pointer);
const ampId = await amp0LoggedIn.createAmp0Account(pointer, accountXpub);
""",
    """
await amp0LoggedIn.createWatchOnly(username, password);
""",
    """
const amp0 = await lwk.Amp0.newTestnet(username, password, ampId);
// Mainnet: await new lwk.Amp0(network, username, password, ampId);
""",
    """
const addrResult = await amp0.address(null);
console.log("Deposit here:", addrResult.address().toString());
""",
    """
const wollet = amp0.wollet();
const url = "https://waterfalls.liquidwebwallet.org/liquidtestnet/api";
const client = new lwk.EsploraClient(network, url, true, 4, false);
const lastIndex = amp0.lastIndex();
const update = await client.fullScanToIndex(wollet, lastIndex);
if (update) {
  wollet.applyUpdate(update);
}
const balance = wollet.balance();
const txs = wollet.transactions();
""",
    """
// 1. Build PSET with finishForAmp0()
let b = network.txBuilder();
b = b.drainLbtcWallet(); // or b.addRecipient(addr, amount, assetId)
const amp0pset = b.finishForAmp0(wollet);
// 2. User signs
const pset = amp0pset.pset();
const signedPset = signer.sign(pset);
// 3. Reassemble with blinding nonces
const amp0psetSigned = new lwk.Amp0Pset(signedPset, amp0pset.blindingNonces());
// 4. AMP0 cosigns
const tx = await amp0.sign(amp0psetSigned);
// 5. Broadcast
const txid = await client.broadcastTx(tx);
""",
]

CHANGES = [
    ("lwk.Network.testnet()", "lwk.Network.regtestDefault()"),
    # The constructor of the comment does not exist; `newTestnet` is `newWithNetwork` of one network.
    ("// Mainnet: await new lwk.Amp0(network, username, password, ampId);\n", ""),
    ("lwk.Amp0.newTestnet(username", "lwk.Amp0.newWithNetwork(network, username"),
    ("https://waterfalls.liquidwebwallet.org/liquidtestnet/api", CHAIN_URL),
]

JS_SIGNER, JS_LOGIN, JS_ACCOUNT, _, JS_CONNECT, _, JS_SYNC, _ = SPECIFICATION
for _old, _new in CHANGES:
    JS_SIGNER, JS_CONNECT, JS_SYNC = (text.replace(_old, _new) for text in (JS_SIGNER, JS_CONNECT, JS_SYNC))
JS_SIGNER = JS_SIGNER.replace('const mnemonic = "<mnemonic>";\n', "")
JS_SYNC = JS_SYNC.replace(f'const url = "{CHAIN_URL}";\n', "")
JS_BUILD = "let b = network.txBuilder();\nb = b.drainLbtcWallet();\nconst amp0pset = b.finishForAmp0(wollet);\n"
JS_SIGN = """
const signedPset = signer.sign(amp0pset.pset());
const amp0psetSigned = new lwk.Amp0Pset(signedPset, amp0pset.blindingNonces());
"""
JS_COSIGN = """
const tx = await amp0.sign(amp0psetSigned);
result = { txid: tx.txid().toString(), fee: tx.fee(network.policyAsset()), tx: tx.toString() };
"""
JS_BROADCAST = "const txid = await client.broadcastTx(tx);\nresult = txid.toString();\n"
JS_SEEN = """
result = {
  balance: Object.fromEntries(wollet.balance().entries()),
  transactions: wollet.transactions().map((one) => ({
    txid: one.txid().toString(), type: one.txType(), height: one.height() ?? null, fee: one.fee(),
  })),
};
"""
JS_STRANGER = """
const elsewhere = new lwk.Signer(lwk.Mnemonic.fromRandom(12), network).wpkhSlip77Descriptor();
const to = new lwk.Wollet(network, elsewhere).address(null).address();
result = to.toString();
"""


# --- peers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder with the locked packages of npm."""
    try:
        lwk_wasm_peer.node()
    except NoNode as reason:
        pytest.skip(f"LWK'S JAVASCRIPT IS NOT TESTED AGAINST: {reason}")
    return lwk_wasm_peer.install()


@pytest.fixture(scope="module")
def javascript(packages: Path, stack: Stack) -> Iterator[LwkPeer]:
    with lwk_wasm_peer.start(packages, stack.network) as peer:
        yield peer


@pytest.fixture(scope="module")
def program(packages: Path, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's program prints and has at its end."""
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    (folder / "lwk_at.mjs").write_text((HERE / "lwk_at.mjs").read_text())
    given = {"mnemonic": str(amp0.Mnemonic.from_random(12)), "username": "user of the page", "password": PASSWORD}
    text = "\n".join(blocks())
    for name, value in given.items():
        text = text.replace(f"<{name}>", value)
    text = text.replace(CHAIN_URL, stack.chain_url).replace(COSIGN_URL, stack.cosign_url)
    text += """
console.log(JSON.stringify({
  pointer, ampId, lastIndex, txid: txid.toString(), fee: Number(tx.fee(network.policyAsset())),
  received: addrResult.address().toString(), balance, types: txs.map((one) => one.txType()),
}));
process.exit(0);
"""
    (folder / "day.mjs").write_text(text)
    command = [lwk_wasm_peer.node(), "day.mjs"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=5 * PATIENCE)
    assert done.returncode == 0, done.stderr
    printed, end = done.stdout.splitlines()
    return {**given, **json.loads(end), "printed": printed}


@pytest.fixture(scope="module")
def own(stack: Stack) -> Iterator[Day]:
    """An account made by our client."""
    peer = OwnPeer(stack.network)
    day = Day(peer, stack, "user of Python", PASSWORD)
    made = day.open()
    day.run(CONNECT, amp_id=made["amp_id"])
    yield day
    peer.close()


@pytest.fixture(scope="module")
def opened(javascript: LwkPeer, own: Day, stack: Stack) -> LwkPeer:
    """The same account in ``lwk_wasm``, signer and all, with nothing scanned yet."""
    space = javascript.space("opened")
    names = {"mnemonic": "mnemonic", "username": "username", "password": "password", "ampId": "amp_id"}
    values = {name: own.peer.run(f"result = {ours}") for name, ours in names.items()}
    space.run("const network = lwk.Network.regtestDefault();")
    space.run(JS_SIGNER + JS_CONNECT + "const wollet = amp0.wollet();", url=stack.chain_url, **values)
    return space


# --- the page --------------------------------------------------------------------------------------------------------


def blocks() -> list[str]:
    return re.findall(r"^```javascript\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def statements(block: str) -> list[str]:
    return [line.strip() for line in block.splitlines() if line.strip()]


def test_the_page_has_the_specification_s_javascript_word_for_word() -> None:
    expected = SPECIFICATION
    for old, new in CHANGES:
        assert any(old in block for block in expected)
        expected = [block.replace(old, new) for block in expected]
    page = [statements(block) for block in blocks()]
    specified = [statements(block) for block in expected]
    assert [block for block in page if block in specified] == specified
    # What is ours: loading, the reader's own credentials, and the embedded chain's coins.
    rest = [block for block in page if block not in specified]
    assert len(rest) == 3
    assert "globalThis.WebSocket = WebSocket;" in rest[0]
    assert rest[1] == ['const username = "<username>";', 'const password = "<password>";']
    assert "/dev/faucet" in "".join(rest[2])


def test_the_page_s_program_runs(program: dict[str, Any]) -> None:
    assert program["printed"] == f"Deposit here: {program['received']}"
    assert program["pointer"] == 1
    assert program["balance"] == {LBTC: "100000"}
    assert program["types"] == ["incoming"]


# --- crossed kits ----------------------------------------------------------------------------------------------------


def test_our_client_opens_the_program_s_account_and_spends_its_change(program: dict[str, Any], stack: Stack) -> None:
    stack.dev.mine()
    peer = OwnPeer(stack.network)
    day = Day(peer, stack, program["username"], PASSWORD)
    try:
        day.run(SIGNER, mnemonic=program["mnemonic"])
        found = day.run(CONNECT, username=day.username, password=PASSWORD, amp_id=program["ampId"])
        assert found["last_index"] == program["lastIndex"]
        seen = day.run(CLIENTS["waterfalls"], WOLLET, SYNC)
        assert seen["balance"] == {LBTC: 100_000 - program["fee"]}
        newest = seen["transactions"][0]
        assert (newest["txid"], newest["type"], newest["fee"]) == (program["txid"], "redeposit", program["fee"])
        assert newest["height"] is not None
        day.run(DRAIN, SIGN)
        spent = day.run(COSIGN)
        day.run(BROADCAST)
        stack.dev.mine()
        assert day.run(SYNC)["balance"] == {LBTC: 100_000 - program["fee"] - spent["fee"]}
    finally:
        peer.close()


def test_lwk_wasm_opens_our_client_s_account(opened: LwkPeer, own: Day) -> None:
    theirs = opened.run("result = [amp0.ampId(), wollet.descriptor().toString()];")
    assert theirs == own.peer.run("result = [amp0.amp_id(), str(amp0.wollet_descriptor())]")


def test_lwk_wasm_logs_in_with_our_client_s_mnemonic_and_makes_the_second_account(opened: LwkPeer, own: Day) -> None:
    opened.run(JS_LOGIN)
    mine = own.peer.run("result = amp_id")
    assert opened.run("result = amp0LoggedIn.getAmpIds();") == [mine]
    second = opened.run(JS_ACCOUNT.replace("ampId", "second") + "result = { pointer, second };")
    assert second["pointer"] == 2
    # The credentials show it to our client, which reads the wallet's blob that lwk_wasm has written.
    peer = OwnPeer(own.stack.network)
    other = Day(peer, own.stack, own.username, PASSWORD)
    other.run(CONNECT, username=own.username, password=PASSWORD, amp_id=second["second"])
    assert peer.run("result = str(amp0.wollet_descriptor())") != own.peer.run("result = str(amp0.wollet_descriptor())")
    peer.close()


@pytest.mark.parametrize("waterfalls", [True, False], ids=["waterfalls", "esplora"])
def test_both_see_and_spend_the_same_coins(opened: LwkPeer, own: Day, stack: Stack, waterfalls: bool) -> None:
    """A coin and an asset received by lwk_wasm; it pays a stranger, unconfirmed and confirmed; our client agrees."""
    asset = stack.dev.issue(1_000)
    received = [opened.run("result = (await amp0.address(null)).address().toString();") for _ in range(2)]
    stack.dev.faucet(received[0], 30_000)
    stack.dev.faucet(received[1], 700, asset)
    stack.dev.mine()
    sync = JS_SYNC if waterfalls else JS_SYNC.replace("true, 4", "false, 4")
    before = opened.run("const wollet = amp0.wollet();\n" + sync + JS_SEEN)
    assert before["balance"][asset] == 700

    opened.run(JS_STRANGER)
    pay = "b = b.addRecipient(to, 300n, new lwk.AssetId(asset)).addLbtcRecipient(to, 2_000n);"
    opened.run(JS_BUILD.replace("b = b.drainLbtcWallet();", pay) + JS_SIGN, asset=asset)
    spent = opened.run(JS_COSIGN)
    assert opened.run(JS_BROADCAST) == spent["txid"]
    unconfirmed = opened.run(sync + JS_SEEN)
    assert (unconfirmed["transactions"][0]["txid"], unconfirmed["transactions"][0]["height"]) == (spent["txid"], None)
    height = stack.dev.mine()
    after = opened.run(sync + JS_SEEN)
    assert after["transactions"][0] == {
        "txid": spent["txid"],
        "type": "outgoing",
        "height": height,
        "fee": spent["fee"],
    }
    assert after["balance"][asset] == 400
    assert after["balance"][LBTC] == before["balance"][LBTC] - 2_000 - spent["fee"]

    own.run(CONNECT)
    ours = own.run(CLIENTS["waterfalls" if waterfalls else "esplora"], WOLLET, SYNC)
    assert ours["balance"] == after["balance"]
    assert [(one["txid"], one["type"], one["height"]) for one in ours["transactions"]] == [
        (one["txid"], one["type"], one["height"]) for one in after["transactions"]
    ]


def test_a_pset_of_one_is_signed_by_the_other(opened: LwkPeer, own: Day, stack: Stack) -> None:
    stack.dev.faucet(own.run(CONNECT, RECEIVE)["address"], 20_000)
    stack.dev.mine()
    own.run(CLIENTS["waterfalls"], WOLLET, SYNC)
    built = own.run(DRAIN, 'result = {"pset": str(amp0pset.pset()), "nonces": amp0pset.blinding_nonces()}')
    signed = opened.run(
        "const theirs = signer.sign(new lwk.Pset(pset));\n"
        "result = { pset: theirs.toString(), nonces: new lwk.Amp0Pset(theirs, nonces).blindingNonces() };",
        **built,
    )
    assert signed["nonces"] == built["nonces"]
    spent = own.run("amp0pset = Amp0Pset(Pset(pset), nonces)", COSIGN, **signed)
    assert own.run(BROADCAST) == spent["txid"]
    stack.dev.mine()

    opened.run("const wollet = amp0.wollet();\n" + JS_SYNC + JS_BUILD)
    built = opened.run("result = { pset: amp0pset.pset().toString(), nonces: amp0pset.blindingNonces() };")
    own.run("amp0pset = Amp0Pset(Pset(pset), nonces)", SIGN, **built)
    signed = own.run('result = {"pset": str(pset), "nonces": amp0pset.blinding_nonces()}')
    again = opened.run("const amp0psetSigned = new lwk.Amp0Pset(new lwk.Pset(pset), nonces);\n" + JS_COSIGN, **signed)
    assert opened.run(JS_BROADCAST) == again["txid"]
    assert stack.dev.mine() == own.run(SYNC)["transactions"][0]["height"]


# --- refusals --------------------------------------------------------------------------------------------------------


def refused(peer: LwkPeer, script: str, **values: Any) -> str:
    with pytest.raises(LwkFailed) as caught:
        peer.run(script, **values)
    return caught.value.text


def test_a_refused_cosign_shows_the_server_s_text(opened: LwkPeer, own: Day, stack: Stack) -> None:
    address = opened.run("result = (await amp0.address(null)).address().toString();")
    stack.dev.faucet(address, 10_000)
    stack.dev.mine()
    opened.run("const wollet = amp0.wollet();\n" + JS_SYNC + JS_BUILD)
    unsigned = "await amp0.sign(new lwk.Amp0Pset(amp0pset.pset(), amp0pset.blindingNonces()));"
    assert refused(opened, unsigned) == (
        "delayed_signature: error: Input 0 is not signed by its owner yet; sign with the account's signer first"
    )
    first = opened.run(JS_SIGN + JS_COSIGN)
    # Blinding is random: the same call builds another transaction of the same coins.
    same = "result = { pset: amp0psetSigned.pset().toString(), nonces: amp0psetSigned.blindingNonces() };"
    given = opened.run(JS_BUILD + JS_SIGN + same)
    said = refused(opened, JS_COSIGN)
    assert first["txid"] in said
    # It is what our own client is told of the same PSET, perhaps a second later.
    with pytest.raises(amp0.CosignRefused) as caught:
        own.run("amp0.sign(Amp0Pset(Pset(pset), nonces))", **given)
    told = f"delayed_signature: error: {'; '.join(map(str, caught.value.reasons))}"
    assert re.sub(r"\d+ seconds", "… seconds", said) == re.sub(r"\d+ seconds", "… seconds", told)
    assert "… seconds" in re.sub(r"\d+ seconds", "… seconds", said)


def test_a_local_address_is_refused(opened: LwkPeer) -> None:
    assert "AMP0" in refused(opened, "wollet.address(null);").upper()


def test_a_signature_of_another_wallet_is_no_login(opened: LwkPeer) -> None:
    other = "const m = lwk.Mnemonic.fromRandom(12);\n" + JS_SIGNER.replace(
        "const m = new lwk.Mnemonic(mnemonic);\n", ""
    )
    wrong = "const sig = new lwk.Signer(new lwk.Mnemonic(mnemonic), network).amp0SignChallenge(challenge);"
    login = re.sub(r"const sig = .*", wrong, JS_LOGIN)
    # A wrong signature is answered with `false`, as the real service does; LWK expects login data and says so.
    assert "boolean `false`, expected struct LoginData" in refused(opened, other + login)


def test_node_s_own_websocket_connects_too(packages: Path, stack: Stack) -> None:
    """Undici's WebSocket and fetch name no origin, so the operator has none to allow."""
    try:
        options = lwk_wasm_peer.own_websocket()
    except NoNode as reason:
        pytest.skip(f"NODE'S OWN WEBSOCKET IS NOT TESTED: {reason}")
    with lwk_wasm_peer.start(packages, stack.network, *options) as peer:
        peer.run("const network = lwk.Network.regtestDefault();\nconst m = lwk.Mnemonic.fromRandom(12);")
        peer.run(JS_SIGNER.replace("const m = new lwk.Mnemonic(mnemonic);\n", "") + JS_LOGIN)
        assert peer.run("result = [amp0LoggedIn.nextAccount(), WebSocket.toString().includes('EventTarget')];") == [
            1,
            True,
        ]


# --- another build ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("code = patched(code, service);", "this is not lwk_wasm 0.13.1: it holds .* 0 times instead of once"),
        ("service.cosign_url += '0';", "is not as long as http://127.0.0.1:9908"),
    ],
    ids=["patched already", "longer URL"],
)
def test_what_does_not_fit_is_refused(packages: Path, stack: Stack, change: str, reason: str) -> None:
    script = f"""
import {{ readFileSync }} from "node:fs";
import {{ patched }} from {json.dumps((HERE / "lwk_at.mjs").as_uri())};
const service = {json.dumps(lwk_wasm_peer.service(stack.network))};
let code = new Uint8Array(readFileSync({json.dumps(str(packages / "node_modules/lwk_wasm/lwk_wasm_bg.wasm"))}));
{change}
patched(code, service);
"""
    command = [lwk_wasm_peer.node(), "--input-type=module", "--eval", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0
    assert re.search(reason, done.stderr), done.stderr
