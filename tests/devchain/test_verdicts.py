"""Our chain takes what an Elements node takes, and refuses what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET
from amp0.devchain.validation import is_dust, minimum_fee
from amp0.elements import wally
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, issued_asset
from amp0.elements.issuance import issue
from amp0.elements.script import hash160, p2pkh, p2sh, p2wpkh, p2wsh
from amp0.elements.sighash import SighashCache, sign
from amp0.elements.transaction import (
    COINBASE_INDEX,
    MAX_SATOSHI,
    Issuance,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    explicit_value_field,
)
from tests.devchain.judges import (
    FEE,
    FEE_OUTPUT,
    KINDS,
    NONCES,
    VALUE,
    Coin,
    Judges,
    coins_of,
    judges_of,
    opening,
    paying,
    to_all,
    with_input,
    with_issuance,
    with_output,
)
from tests.devchain.kit import KEY, PUBKEY

OTHER = b"\x77" * 32
FEE_OUT = TxOut.fee(POLICY_ASSET, FEE)


@pytest.fixture(scope="module", params=KINDS)
def judges(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judges]:
    with judges_of(request.param, tmp_path_factory.mktemp("node")) as found:
        yield found


def _open(asset: bytes, satoshi: int, script: bytes = OP_TRUE) -> TxOut:
    return TxOut.explicit(script, asset, satoshi)


# -- amounts -----------------------------------------------------------------------------------


def test_hidden_amounts_and_their_proofs(judges: Judges) -> None:
    coin = judges.hidden[0]
    # A node that saw a range proof hold does not look at its script again: this one it has not seen.
    outputs = [to_all(40_000), to_all(59_000), FEE_OUTPUT]
    judges.ask("for another script", with_output(judges.build([coin], outputs), 0, script=b"\x52\x02\x01\x01"), False)
    good = judges.build([coin], outputs)
    first, second, _ = good.vout
    judges.ask("good", good, True)
    judges.ask("of two coins", judges.build(judges.hidden[:2], [to_all(140_000), to_all(59_000), FEE_OUTPUT]), True)
    swapped = with_output(good, 0, range_proof=second.range_proof)
    judges.ask("range proof of another", swapped, False)
    judges.ask("swapped range proofs", with_output(swapped, 1, range_proof=first.range_proof), False)
    judges.ask("no range proof", with_output(good, 0, range_proof=b""), False)
    judges.ask("range proof cut", with_output(good, 0, range_proof=first.range_proof[:-1]), False)
    judges.ask("range proof with a tail", with_output(good, 0, range_proof=first.range_proof + b"\x00"), False)
    judges.ask("no surjection proof", with_output(good, 0, surjection_proof=b""), False)
    judges.ask("surjection proof of another", with_output(good, 0, surjection_proof=second.surjection_proof), False)
    broken = first.surjection_proof[:-1] + bytes((first.surjection_proof[-1] ^ 1,))
    judges.ask("surjection proof broken", with_output(good, 0, surjection_proof=broken), False)
    judges.ask("surjection proof with a tail", with_output(good, 0, surjection_proof=broken + b"\x00"), False)
    judges.ask("no nonce", with_output(good, 0, nonce_field=b""), True)
    judges.ask("a nonce that is no point", with_output(good, 0, nonce_field=b"\x02" + b"\xff" * 32), True)
    judges.ask("an open nonce", with_output(good, 0, nonce_field=b"\x01" + b"\xff" * 32), True)
    judges.ask("a nonce on the fee", with_output(good, 2, nonce_field=PUBKEY), True)
    judges.ask("range proof of a fee", with_output(good, 2, range_proof=first.range_proof), False)
    judges.ask("surjection proof of a fee", with_output(good, 2, surjection_proof=first.surjection_proof), False)
    for difference in (-1, 1):
        changed = with_output(good, 2, value_field=explicit_value_field(FEE + difference))
        judges.ask(f"fee {difference:+}", changed, False)


def test_a_hidden_amount_is_at_least_one(judges: Judges) -> None:
    """A proof that allows 0 is no proof: whoever has a reissuance token could make another of amount 0 from it, and
    reissue. Our chain took it."""
    coin = judges.hidden[1]
    source = [DomainEntry.of_output(coin[1], opening(coin))]

    def one(satoshi: int, script: bytes, minimum: int) -> Transaction:
        abf, before = judges.random(32), source[0].opening
        vbf = wally.final_vbf([before.satoshi, satoshi], 1, before.abf + abf, before.vbf)
        txout = judges.proven(POLICY_ASSET, satoshi, source, abf=abf, vbf=vbf, script=script, minimum=minimum)
        return Transaction.of(2, 0, [TxIn(coin[0])], [txout, TxOut.fee(POLICY_ASSET, before.satoshi - satoshi)])

    judges.ask("at least one", one(99_000, OP_TRUE, 1), True)
    judges.ask("exactly", one(99_000, OP_TRUE, 99_000), True)
    judges.ask("at least nothing", one(99_000, OP_TRUE, 0), False)
    judges.ask("nothing", one(0, OP_TRUE, 0), False)
    judges.ask("burnt, at least nothing", one(99_000, b"\x6a", 0), True)
    judges.ask("burnt, at least one", one(99_000, b"\x6a", 1), True)
    judges.ask("nothing burnt", one(0, b"\x6a", 0), True)
    # A hidden output without a script is no fee, and nobody's: no wallet makes one, and our chain takes none.
    judges.ask("without a script", one(99_000, b"", 1), True, ours=False)


def test_amounts_in_the_open(judges: Judges) -> None:
    coin, other = judges.plain(), judges.plain()
    plain = paying(coin)
    judges.ask("plain", plain, True)
    for difference in (-1, 1):
        changed = with_output(plain, 0, value_field=explicit_value_field(VALUE - FEE + difference))
        judges.ask(f"{difference:+}", changed, False)
    judges.ask("another asset", with_output(plain, 0, asset_field=b"\x01" + OTHER), False)
    judges.ask("no asset", with_output(plain, 0, asset_field=b""), False)
    judges.ask("no amount", with_output(plain, 0, value_field=b""), False)
    judges.ask("a nonce", with_output(plain, 0, nonce_field=PUBKEY), True)
    judges.ask("too much", paying(coin, _open(OTHER, MAX_SATOSHI + 1)), False)
    judges.ask("nothing", paying(coin, _open(POLICY_ASSET, 0)), False)
    judges.ask("nothing of another", paying(coin, _open(OTHER, 0)), False)
    judges.ask("nothing burnt", paying(coin, _open(POLICY_ASSET, 0, b"\x6a")), True)
    judges.ask("nothing of another burnt", paying(coin, _open(OTHER, 0, b"\x6a")), True)
    judges.ask("burnt", paying(coin, _open(POLICY_ASSET, 500, b"\x6a")), True)
    judges.ask("all for the fee", Transaction.of(2, 0, [TxIn(coin[0])], [TxOut.fee(POLICY_ASSET, VALUE)]), True)
    judges.ask("two fees", paying(coin, FEE_OUT), True)
    judges.ask("a fee of nothing", paying(coin, TxOut.fee(POLICY_ASSET, 0)), False)
    judges.ask("no fee", Transaction.of(2, 0, [TxIn(coin[0])], [_open(POLICY_ASSET, VALUE)]), False)
    least = minimum_fee(plain)
    for fee, expected in ((least, True), (least - 1, False)):
        outputs = [_open(POLICY_ASSET, VALUE - fee), TxOut.fee(POLICY_ASSET, fee)]
        judges.ask(f"a fee of {fee}", Transaction.of(2, 0, [TxIn(coin[0])], outputs), expected)
    hidden = judges.build([other], [to_all(5_000), to_all(VALUE - 5_000 - FEE), FEE_OUTPUT])
    least = minimum_fee(hidden)
    for fee, expected in ((least, True), (least - 1, False)):
        paid = [to_all(5_000), to_all(VALUE - 5_000 - fee), PlainOutput(b"", POLICY_ASSET, fee)]
        judges.ask(f"a fee of {fee} for hidden amounts", judges.build([other], paid), expected)


# -- issuances ---------------------------------------------------------------------------------


def test_issuances(judges: Judges) -> None:
    coin, second = judges.plain(), judges.plain()
    for hidden in (False, True):
        for satoshi, tokens in ((1_000, 5), (1_000, 0), (0, 2), (MAX_SATOSHI, 1)):
            tx = judges.issuing(coin, satoshi, tokens, hidden=hidden)
            judges.ask(f"{satoshi} and {tokens}, {hidden=}", tx, True)
    shown, hid = (judges.issuing(coin, 1_000, 5, hidden=hidden) for hidden in (False, True))
    bare = judges.issuing(coin, 1_000, 5, hidden=False, shown=True)
    judges.ask("in the open but for the change", bare, True)
    kept = TxOut.explicit(OP_TRUE, POLICY_ASSET, VALUE - FEE)
    bare = Transaction.of(2, 0, bare.vin, [*bare.vout[:-2], kept, FEE_OUT])
    judges.ask("no witness anywhere", bare, False)
    fields = hid.vin[0].issuance
    assert fields is not None
    amount, tokens_proof = fields.amount_proof, fields.tokens_proof
    judges.ask("swapped", with_issuance(hid, amount_proof=tokens_proof, tokens_proof=amount), False)
    judges.ask("no proof", with_issuance(hid, amount_proof=b""), False)
    judges.ask("no proof of tokens", with_issuance(hid, tokens_proof=b""), False)
    foreign = judges.issuing(second, 1_000, 5, hidden=True).vin[0].issuance
    assert foreign is not None
    judges.ask("proof of another issuance", with_issuance(hid, amount_proof=foreign.amount_proof), False)
    judges.ask("proof of an output", with_issuance(hid, amount_proof=hid.vout[0].range_proof), False)
    judges.ask("proof of an open amount", with_issuance(shown, amount_proof=amount), False)
    none = judges.issuing(coin, 1_000, 0, hidden=True)
    judges.ask("proof of no tokens", with_issuance(none, tokens_proof=tokens_proof), False)
    judges.ask("one more", with_issuance(shown, amount_field=explicit_value_field(1_001)), False)
    judges.ask("one token more", with_issuance(shown, tokens_field=explicit_value_field(6)), False)
    judges.ask("another contract", with_issuance(shown, entropy=b"\x06" * 32), False)
    judges.ask("a blinding nonce", with_issuance(shown, nonce=b"\x01" * 32), False)
    zero = explicit_value_field(0)
    judges.ask("0 shown", with_issuance(judges.issuing(coin, 0, 2, hidden=False), amount_field=zero), False)
    judges.ask("0 tokens shown", with_issuance(judges.issuing(coin, 5, 0, hidden=False), tokens_field=zero), False)
    most = explicit_value_field(MAX_SATOSHI + 1)
    judges.ask("too much", with_issuance(shown, amount_field=most), False)
    for name, null in (
        ("nothing", Issuance(bytes(32), bytes(32))),
        ("nothing, with a contract", Issuance(bytes(32), b"\x01" * 32)),
        ("nothing, again", Issuance(b"\x01" * 32, bytes(32))),
    ):
        judges.ask(name, with_input(paying(coin), 0, issuance=null), False)
    plans = [issue(one[0], MAX_SATOSHI, 0, bytes(32)) for one in (coin, second)]
    made = [plan.asset for plan in plans]
    assert made[0] is not None
    assert made[1] is not None
    outputs = [to_all(MAX_SATOSHI, one.asset) for one in made if one is not None]
    two = judges.build([coin, second], [*outputs, to_all(2 * VALUE - FEE), FEE_OUTPUT], dict(enumerate(plans)))
    judges.ask("the most of two assets", two, True)


@pytest.mark.parametrize("minimum", [1, 0])
@pytest.mark.parametrize("satoshi", [1_000, 0])
def test_a_hidden_issuance_may_be_of_nothing(judges: Judges, satoshi: int, minimum: int) -> None:
    """Unlike an output: what is issued is not spent by itself."""
    if satoshi < minimum:
        return
    coin = judges.plain()
    asset = issued_asset(TxIn(coin[0], issuance=Issuance(bytes(32), bytes(32), bytes(33))))[0]
    generator, vbf = wally.asset_generator(asset, None), judges.random(32)
    commitment = wally.value_commitment(satoshi, vbf, generator)
    proof = wally.rangeproof(
        satoshi, judges.random(32), asset, bytes(32), vbf, commitment, b"", generator, minimum=minimum
    )
    fields = Issuance(bytes(32), bytes(32), commitment, b"", proof)
    domain = [DomainEntry.of_output(coin[1], opening(coin)), DomainEntry(generator, Opening(asset, satoshi, vbf=vbf))]
    amounts = [(asset, satoshi)] * (satoshi > 0) + [(POLICY_ASSET, VALUE - FEE)]
    outputs = judges.balanced(domain, amounts)
    tx = Transaction.of(2, 0, [TxIn(coin[0], issuance=fields)], [*outputs, FEE_OUT])
    judges.ask(f"{satoshi} of at least {minimum}", tx, True)


class Tokens:
    """An asset with five tokens, and a coin that pays for its reissuance."""

    def __init__(self, judges: Judges, *, hidden: bool, shown: bool = False) -> None:
        coin = judges.plain()
        self.judges, self.hidden = judges, hidden
        tx = judges.issuing(coin, 1_000, 5, hidden=hidden, shown=shown)
        judges.enter("issuance", tx, True)
        judges.mine()
        self.coin, self.payer = coins_of(tx)[1], judges.plain()
        self.asset, self.token = issued_asset(tx.vin[0])
        self.entropy = wally.issuance_entropy(bytes(coin[0].hash), coin[0].vout(), b"\x05" * 32)

    def reissued(
        self, satoshi: int, *, hidden: bool, tokens: int = 0, nonce: bytes | None = None, to: bytes = OP_TRUE
    ) -> Transaction:
        nonce = nonce or opening(self.coin).abf
        nonces = NONCES if hidden else None
        fields = issue(self.coin[0], satoshi, tokens, self.entropy, token_abf=nonce, nonces=nonces)
        asset, token = issued_asset(TxIn(self.coin[0], issuance=fields.issuance))
        kept = to_all(1, self.token) if to == OP_TRUE else PlainOutput(to, self.token, 1)
        outputs = [to_all(satoshi, asset), kept, to_all(VALUE - FEE), FEE_OUTPUT]
        if tokens:
            outputs.append(to_all(tokens, token))
        return self.judges.build([self.coin, self.payer], outputs, {0: fields})


@pytest.mark.parametrize("hidden", [False, True])
def test_reissuances(judges: Judges, hidden: bool) -> None:
    made = Tokens(judges, hidden=hidden)
    good = made.reissued(7, hidden=hidden)
    judges.ask("good", good, True)
    judges.ask("the most", made.reissued(MAX_SATOSHI, hidden=hidden), True)
    judges.ask("the token burnt", made.reissued(7, hidden=hidden, to=b"\x6a"), True)
    judges.ask("as the other kind", made.reissued(7, hidden=not hidden), False)
    judges.ask("tokens too", made.reissued(7, hidden=hidden, tokens=1), False)
    judges.ask("no tokens, said aloud", with_issuance(good, tokens_field=explicit_value_field(0)), False)
    judges.ask("wrong blinding nonce", with_issuance(good, nonce=b"\x01" * 32), False)
    judges.ask("no blinding nonce", with_issuance(good, nonce=bytes(32)), False)
    judges.ask("entropy of another", with_issuance(good, entropy=b"\x09" * 32), False)
    moved = with_input(with_input(good, 1, issuance=good.vin[0].issuance), 0, issuance=None)
    judges.ask("of an input without a token", moved, False)


def test_a_token_in_the_open_reissues_nothing(judges: Judges) -> None:
    made = Tokens(judges, hidden=True, shown=True)
    judges.ask("with any nonce", made.reissued(7, hidden=True, nonce=b"\x01" * 32), False)


def test_no_token_is_made_of_nothing(judges: Judges) -> None:
    """Beside the token that is spent, another of amount 0: it balances, and only its range proof gives it away."""
    made = Tokens(judges, hidden=True)
    domain = [DomainEntry.of_output(coin[1], opening(coin)) for coin in (made.coin, made.payer)]
    vin = [TxIn(made.coin[0]), TxIn(made.payer[0])]
    honest = [(made.token, 1), (POLICY_ASSET, VALUE - FEE)]
    outputs = judges.balanced(domain, honest)
    judges.ask("moved", Transaction.of(2, 0, vin, [*outputs, FEE_OUT]), True)
    outputs = judges.balanced(domain, [(made.token, 0), *honest], minimum=0)
    judges.ask("and another", Transaction.of(2, 0, vin, [*outputs, FEE_OUT]), False)


# -- fees and burns in assets ------------------------------------------------------------------


def test_assets_are_burnt_and_pay_no_fee(judges: Judges) -> None:
    coin, payer = judges.plain(), judges.plain()
    tx = judges.issuing(coin, 1_000, 0, hidden=False)
    judges.enter("issuance", tx, True)
    judges.mine()
    asset, held = issued_asset(tx.vin[0])[0], coins_of(tx)[0]
    change = [to_all(VALUE - FEE), FEE_OUTPUT]
    fee = PlainOutput(b"", asset, 10)
    judges.ask("a fee in the asset alone", judges.build([held], [to_all(990, asset), fee]), False)
    judges.ask("a fee in both", judges.build([held, payer], [to_all(990, asset), fee, *change]), True)
    burn = PlainOutput(b"\x6a", asset, 10)
    judges.ask("a burn", judges.build([held, payer], [to_all(990, asset), burn, *change]), True)
    judges.ask("two burns", judges.build([held, payer], [to_all(980, asset), burn, burn, *change]), False)
    judges.ask("all of it", judges.build([held, payer], [PlainOutput(b"\x6a", asset, 1_000), *change]), True)


# -- form --------------------------------------------------------------------------------------

SCRIPTS: dict[str, tuple[bytes, bool]] = {
    "p2pkh": (p2pkh(bytes(20)), True),
    "p2sh": (p2sh(b"x"), True),
    "p2wpkh": (p2wpkh(bytes(20)), True),
    "p2wsh": (p2wsh(b"x"), True),
    "taproot": (b"\x51\x20" + PUBKEY[1:], True),
    "anchor": (b"\x51\x02\x4e\x73", True),
    "version 2": (b"\x52\x10" + bytes(16), True),
    "version 16": (b"\x60\x28" + bytes(40), True),
    "version 16, too long": (b"\x60\x29" + bytes(41), False),
    "version 0, of 21": (b"\x00\x15" + bytes(21), False),
    "a key": (b"\x21" + PUBKEY + b"\xac", True),
    "a long key": (b"\x41\x04" + bytes(64) + b"\xac", True),
    "no key": (b"\x21\x05" + bytes(32) + b"\xac", False),
    "1 of 1": (b"\x51\x21" + PUBKEY + b"\x51\xae", True),
    "2 of 3": (b"\x52" + (b"\x21" + PUBKEY) * 3 + b"\x53\xae", True),
    "1 of 4": (b"\x51" + (b"\x21" + PUBKEY) * 4 + b"\x54\xae", False),
    "0 of 1": (b"\x00\x21" + PUBKEY + b"\x51\xae", False),
    "anybody": (OP_TRUE, True),
    "two": (b"\x52", False),
    "a drop": (b"\x75", False),
    "a push": (b"\x00", False),
    "p2pkh with a long push": (b"\x76\xa9\x4c\x14" + bytes(20) + b"\x88\xac", False),
    "p2wpkh with a tail": (p2wpkh(bytes(20)) + b"\x00", False),
    "80 bytes of data": (b"\x6a\x4c\x50" + bytes(80), True),
    "81 bytes of data": (b"\x6a\x4c\x51" + bytes(81), False),
    "data that is no push": (b"\x6a\x75", False),
    "data cut short": (b"\x6a\x05\x01", False),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_output_scripts(judges: Judges, name: str) -> None:
    script, expected = SCRIPTS[name]
    judges.ask(name, paying(judges.keyless, _open(POLICY_ASSET, 500_000, script)), expected)


@pytest.mark.parametrize("name", ["p2pkh", "p2sh", "p2wpkh", "p2wsh", "taproot", "a key", "anybody", "anchor"])
def test_dust(judges: Judges, name: str) -> None:
    script = SCRIPTS[name][0]
    least = next(n for n in range(1, 100) if not is_dust(_open(POLICY_ASSET, n, script)))
    judges.ask("enough", paying(judges.keyless, _open(POLICY_ASSET, least, script)), True)
    judges.ask("dust", paying(judges.keyless, _open(POLICY_ASSET, least - 1, script)), False)


def test_the_form_of_a_transaction(judges: Judges) -> None:
    coin = judges.keyless
    plain = paying(coin)
    for version, expected in ((-1, False), (0, False), (1, True), (2, True), (4, False)):
        judges.ask(f"version {version}", paying(coin, version=version), expected)
    # Version 3 has rules of its own (TRUC) that older nodes and our chain do not know.
    judges.ask("version 3", paying(coin, version=3), True, ours=False)
    twice = [_open(POLICY_ASSET, 2 * VALUE - FEE), FEE_OUT]
    judges.ask("one input twice", Transaction.of(2, 0, [TxIn(coin[0])] * 2, twice), False)
    judges.ask("a peg-in without a witness", with_input(plain, 0, is_pegin=True), False)
    proof = (b"a" * 8, b"b" * 32, b"c" * 32, OP_TRUE, b"e" * 80, b"f" * 80)
    judges.ask("a peg-in", with_input(plain, 0, is_pegin=True, pegin_witness=proof), False)
    judges.ask("a peg-in's witness", with_input(plain, 0, pegin_witness=proof), False)
    judges.ask("unknown", paying((OutPoint(b"\x09" * 32, 0), coin[1])), False)
    judges.ask("no such output", paying((OutPoint(coin[0].hash, 999), coin[1])), False)
    nothing = TxIn(OutPoint(bytes(32), COINBASE_INDEX))
    judges.ask("of nothing", Transaction.of(2, 0, [nothing, *plain.vin], plain.vout), False)
    tip = judges.chain.block_at(judges.chain.height)
    assert tip is not None
    made = tip.block.transactions[0]
    judges.ask("a coinbase", made, False)
    judges.ask("an immature one", Transaction.of(2, 0, [TxIn(coins_of(made)[0][0])], plain.vout), False)
    small = TxOut.explicit(p2wpkh(bytes(20)), POLICY_ASSET, 100)
    least = -(-400_000 // 4 // 10)
    for count, expected in ((1_480, True), (1_520, False)):
        big = paying(coin, *[small] * count)
        fee = TxOut.fee(POLICY_ASSET, least)
        big = with_output(
            with_output(big, -1, value_field=fee.value_field),
            -2,
            value_field=explicit_value_field((big.vout[-2].explicit_value or 0) + FEE - least),
        )
        judges.ask(f"{count} outputs", big, expected)


def test_inputs_that_anybody_may_spend(judges: Judges) -> None:
    plain = paying(judges.keyless)
    judges.ask("a push", with_input(plain, 0, script_sig=b"\x51"), False)
    judges.ask("no push", with_input(plain, 0, script_sig=b"\x61"), False)
    judges.ask("a witness", with_input(plain, 0, witness=(b"a",)), False)


# -- time --------------------------------------------------------------------------------------


def test_lock_times(judges: Judges) -> None:
    tip = judges.chain.tip
    for locktime, expected in (
        (tip.height, True), (tip.height + 1, False), (499_999_999, False), (500_000_000, True),
        (tip.median_time - 1, True), (tip.median_time, False),
    ):  # fmt: skip
        judges.ask(f"{locktime}", paying(judges.keyless, locktime=locktime, sequence=0xFFFFFFFE), expected)
        judges.ask(f"{locktime}, final", paying(judges.keyless, locktime=locktime), True)


def test_relative_lock_times(judges: Judges) -> None:
    coin = judges.keyless
    entry = judges.chain.entry(coin[0].hash)
    assert entry is not None
    assert entry.height is not None
    deep = judges.chain.height - entry.height + 1
    for sequence, expected in (
        (deep, True), (deep + 1, False), (0xFFFF, False), (1 << 22, True), ((1 << 22) | 1, False),
        ((1 << 31) | 0xFFFF, True), (0xFFFF0000 & ~(1 << 31) & ~(1 << 22), True),
    ):  # fmt: skip
        judges.ask(f"{sequence:#x}", paying(coin, sequence=sequence), expected)
        judges.ask(f"{sequence:#x} in version 1", paying(coin, sequence=sequence, version=1), True)


# -- signatures --------------------------------------------------------------------------------


def _signed(coin: Coin, kind: int = 1, key: bytes = KEY) -> Transaction:
    tx = paying(coin)
    digest = SighashCache(tx).segwit_v0(0, p2pkh(hash160(PUBKEY)), coin[1].value_field, kind)
    return with_input(tx, 0, witness=(sign(key, digest)[:-1] + bytes((kind,)), PUBKEY))


def test_signatures(judges: Judges) -> None:
    coin = judges.keyed[0]
    taken = {0x01, 0x02, 0x03, 0x41, 0x42, 0x43, 0x81, 0x82, 0x83, 0xC1, 0xC3}
    for kind in (*taken, 0x00, 0x04, 0x80, 0x21, 0x11, 0x40):
        judges.ask(f"hash type {kind:#x}", _signed(coin, kind), kind in taken)
    good = _signed(coin)
    signature = good.vin[0].witness[0]
    judges.ask("another key", _signed(coin, key=b"\x12" * 32), False)
    for name, witness in (
        ("none", ()),
        ("empty", (b"", PUBKEY)),
        ("one item more", (b"", signature, PUBKEY)),
        ("hash type changed", (signature[:-1] + b"\x41", PUBKEY)),
        ("hash type gone", (signature[:-1], PUBKEY)),
        ("high S", (_high(signature), PUBKEY)),
    ):
        judges.ask(name, with_input(good, 0, witness=witness), False)
    judges.ask("a scriptSig", with_input(good, 0, script_sig=b"\x00"), False)
    judges.ask("another fee", with_output(good, 1, value_field=explicit_value_field(FEE + 1)), False)


def _high(signature: bytes) -> bytes:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    size = signature[3]
    r, s = signature[2 : 4 + size], order - int.from_bytes(signature[6 + size : -1], "big")
    body = r + b"\x02\x21\x00" + s.to_bytes(32, "big")
    return bytes((0x30, len(body))) + body + signature[-1:]
