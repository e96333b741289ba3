"""docs/issuer.md runs as it stands, from the first command to the last, on one stack.

What stands in ``<…>`` is what the commands before it have printed. URLs become those of a stack on free ports; and the
login that the page leaves out is added.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0 import Amp0, Amp0Connected, IssuerClient, Mnemonic, NodeTreasury, Signer
from amp0.local.stack import Stack
from tests.cli.conftest import PASSWORD, Said, Terminal

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "issuer.md"
TEXT = PAGE.read_text(encoding="utf-8")
STEP = re.compile(r"^    amp0 (?P<command>[^\n]*)$|^```(?P<kind>sh|python)\n(?P<code>.*?)^```$", re.M | re.S)
PUBKEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def steps() -> list[tuple[str, str]]:
    """Kind and text of everything on the page that runs, in its order."""
    lines = TEXT.replace("\\\n", " ")
    return [
        ("amp0", found["command"]) if found["command"] else (found["kind"], found["code"])
        for found in STEP.finditer(lines)
    ]


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """Blocks come when something waits for one: a clock's would come amid the scan of a busy machine."""
    with Stack.on_free_ports(node_port=0) as stack, httpx.Client(base_url=stack.chain_url, trust_env=False) as chain:
        over = threading.Event()

        def mine() -> None:
            while not over.wait(0.2):
                if chain.get("/mempool/txids").json():
                    stack.dev.mine(2)

        miner = threading.Thread(target=mine)
        miner.start()
        try:
            yield stack
        finally:
            over.set()
            miner.join()


class Reader:
    """Somebody who does what the page says."""

    def __init__(self, stack: Stack, terminal: Terminal) -> None:
        self.stack = stack
        self.terminal = terminal
        self.known = {"<a public key>": PUBKEY, "<password>": PASSWORD}

    def amp0(self, line: str) -> Said:
        words = shlex.split(self.filled(line))
        noun, verb = words[0], words[1]
        added = []
        if (noun, verb) == ("issuer", "create"):
            words[words.index("--dev-url") + 1] = self.stack.chain_url
        elif noun == "issuer":
            added = ["--url", self.stack.api_url]
            added += [] if "--username" in words else ["--username", "bonds"]
            added += ["--password-file", "password"]
            if "--node-auth-file" in words:
                added += ["--node", str(self.stack.node_url)]
        elif noun == "stack":
            added = ["--chain", self.stack.chain_url]
        else:
            added = ["--network", self.stack.cosign_url]
        return self.terminal.amp0(*words, *added)

    def filled(self, text: str) -> str:
        for name, value in self.known.items():
            text = text.replace(name, value)
        missing = re.findall(r"<[^>]+>", text)
        assert not missing, f"the page says {missing}, and no command before it has told what that is"
        return text

    def learn(self, line: str, said: Said) -> None:
        """What a reader would copy from the output."""

        def take(name: str, pattern: str) -> None:
            found = re.search(pattern, said.out, re.MULTILINE)
            assert found is not None, f"{line}: {said.out}"
            self.known[name] = found[1]

        for who in ("Alice", "Bob"):
            if f"--new-mnemonic {who.lower()}.txt" in line:
                take(f"<{who}'s AMP ID>", r"\b(GA\w{20,})")
        if "--new-mnemonic bob2.txt" in line:
            take("<Bob's new AMP ID>", r"\b(GA\w{20,})")
        if line.startswith("issuer asset issue"):
            take("<asset id>", r"^asset_id\s+([0-9a-f]{64})")
        if line.startswith("issuer manager create"):
            take("<the clerk's id>", r"^id\s+(\d+)")
        if line.startswith("issuer rules list"):
            take("<the rule's id>", r"^\s*(\d+)\s+transfer_limit")
        if line.startswith("issuer rules changes"):
            (change,) = json.loads(said.out)
            self.known["<the change's id>"] = str(change["id"])
            self.known["<the content's hash>"] = change["content_hash"]


def expected_code(line: str, sent: int) -> int:
    """Alice's second and third payment are refused, before and after she signed; everything else works."""
    return 52 if (line.startswith("send") and sent > 1) or line.startswith("tx cosign") else 0


def test_the_whole_page(
    own_stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    assert own_stack.node_cookie is not None
    (tmp_path / "cookie").write_bytes(own_stack.node_cookie.read_bytes())
    (tmp_path / "cookie").chmod(0o600)
    reader = Reader(own_stack, Terminal(tmp_path, own_stack.cosign_url, capsys.readouterr, monkeypatch))
    ran, sent, outputs = 0, 0, {}
    for kind, text in steps():
        if text.startswith("stack run"):
            continue
        ran += 1
        if kind == "sh":
            burned = shell(text, reader)
            reader.known["<txid>"] = burned
            said = reader.amp0("issuer asset burn EXB 4000 --node-auth-file cookie --state-dir state")
            assert said.code == 73, "as the page says: a burn of another amount refuses"
            assert burned in said.err
        elif kind == "python":
            python(text, reader)
        else:
            if text.startswith("send"):
                sent += 1
                prepare_payment(reader, sent)
            said = reader.amp0(text)
            assert said.code == expected_code(text, sent), f"amp0 {text}\n{said.out}\n{said.err}"
            reader.learn(text, said)
            outputs[f"{text} #{sent}"] = said
    assert ran > 50
    check(outputs)


def shell(text: str, reader: Reader) -> str:
    """The burn at the node; its txid."""
    command = reader.filled(text).replace("http://127.0.0.1:7041", str(reader.stack.node_url))
    made = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, check=True, timeout=60)
    result: str = json.loads(made.stdout)["result"]
    return result


def python(text: str, reader: Reader) -> None:
    code = reader.filled(text)
    code = code.replace("http://127.0.0.1:7041", str(reader.stack.node_url))
    code = code.replace("http://127.0.0.1:9908/api", reader.stack.api_url)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/issuer.md", "exec"), names)
    assert isinstance(names["issuer"], IssuerClient)
    assert isinstance(names["node"], NodeTreasury)
    assert names["refused"].status == 400 if "refused" in names else True
    assert names["done"].satoshi == 25_000
    assert names["burned"].satoshi == 1_000
    names["issuer"].close()


def prepare_payment(reader: Reader, number: int) -> None:
    """Where to pay, and, for the first time, L-BTC for the fee."""
    stack = reader.stack
    with Amp0(stack.network, "bob", PASSWORD) as bob:
        reader.known["<Bob's address>"] = str(bob.address(None).address())
    if number > 1:
        if "<a stranger's address>" not in reader.known:
            reader.known["<a stranger's address>"] = strangers_address(stack)
        return
    with Amp0(stack.network, "alice", PASSWORD) as alice:
        stack.dev.faucet(str(alice.address(None).address()), 20_000)
    reader.known["<a stranger's address>"] = strangers_address(stack)
    stack.dev.mine(2)


def strangers_address(stack: Stack) -> str:
    signer = Signer(Mnemonic.from_random(12), stack.network)
    connected = Amp0Connected(stack.network, signer.amp0_signer_data())
    with connected.login(signer.amp0_sign_challenge(connected.get_challenge())) as session:
        pointer = session.next_account()
        amp_id = session.create_amp0_account(pointer, signer.amp0_account_xpub(pointer))
        session.create_watch_only("a stranger", PASSWORD)
    with Amp0(stack.network, "a stranger", PASSWORD, amp_id) as amp0:
        return str(amp0.address(None).address())


def check(outputs: dict[str, Said]) -> None:
    """A few things that the page says in words."""

    def of(beginning: str) -> list[Said]:
        found = [said for text, said in outputs.items() if text.startswith(beginning)]
        assert found, beginning
        return found

    to_stranger, above_limit = of("send")[1:]
    assert "recipient_not_allowed" in to_stranger.err
    (cosign,) = of("tx cosign")
    assert "recipient_not_allowed" in cosign.err
    assert "registered" not in cosign.err
    assert "transfer_limit" in above_limit.err
    (refusals,) = of("issuer rules refusals")
    assert "recipient_not_registered" in refusals.out
    (register,) = of("issuer holders EXB --csv")
    assert register.out.splitlines()[0] == "owner,name,GAID,satoshi"
    assert register.out.splitlines()[1] == ",treasury,,650000"
    assert "Alice Example" in register.out
    (last,) = [said for text, said in outputs.items() if re.match(r"issuer holders EXB #3$", text)]
    assert "140,000" in last.out
    (ended,) = of("issuer rules end")
    assert "pending" in ended.out
