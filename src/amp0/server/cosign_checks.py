"""What the cosigner checks without asking anybody: pure functions over one transaction, cheapest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from amp0.elements import wally
from amp0.elements.confidential import (
    MAX_INPUTS,
    Opening,
    explicit_opening,
    run_parallel,
    unblind_with_nonce,
    verify_amounts,
)
from amp0.elements.script import (
    hash160,
    is_unspendable,
    p2pkh,
    p2sh,
    p2sh_p2wsh,
    p2sh_p2wsh_script_sig,
    push,
    witness_program,
)
from amp0.elements.sighash import SIGHASH_ALL, SighashCache, verify
from amp0.elements.transaction import MAX_SATOSHI, Transaction, TxOut
from amp0.errors import InvalidAmounts, InvalidTransaction, UnblindError
from amp0.server.refusal import (
    BadTransaction,
    BurnRefused,
    FeeOutOfBounds,
    ForeignServiceSignature,
    IssuanceRefused,
    TooLarge,
    WrongAmounts,
    WrongNonces,
    WrongScript,
    WrongSighash,
    WrongUserSignature,
)

PLACEHOLDER = bytes.fromhex("30440220" + "7f" * 32 + "0220" + "7f" * 32 + "01")
"""What stock clients put where a signature is missing (71 bytes)."""
MAX_WEIGHT = 400_000
"""A heavier transaction is not relayed, so it is not signed."""
MIN_FEE_RATE = 100
"""Satoshi per 1,000 discounted virtual bytes; below, no node takes the transaction."""
DUST_RATE = 100
"""Elements' dust rule since release 23.3, for explicit outputs of the policy asset: satoshi per 1,000 bytes."""
_LOCKTIME_IS_TIME = 500_000_000
_NO_RELATIVE_LOCK = 0x80000000
_FINAL_SEQUENCE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of what is signed. Rates in satoshi per 1,000 virtual bytes, fees in satoshi, times in seconds."""

    replace_after: int = 600
    """How long a cosigned transaction must be in neither block nor mempool before its owner may replace it."""
    max_fee_rate: int = 100_000
    max_fee: int = 1_000_000
    max_waiting: int = 64
    workers: int = 2
    failed_outputs: int = 200
    """Outputs of refused requests that an account may have opened at once; ten come back each second. A success is
    bounded by the account's coins, so only failures need a budget."""


@dataclass(frozen=True, slots=True)
class OwnInput:
    """An input of an account of this service; every field comes from the service's own records.

    ``account`` is the account's number within its wallet, ``pointer`` the address within the account. Keys are
    those of this address (33 bytes), ``csv_blocks`` is 0 for an AMP address.
    """

    index: int
    account_id: int
    user_id: int
    account: int
    pointer: int
    is_amp: bool
    gait_path: bytes = field(repr=False)
    service_key: bytes
    user_key: bytes
    csv_blocks: int
    witness_script: bytes
    txout: TxOut

    @property
    def user_place(self) -> int:
        """Where in the witness the user's signature stands."""
        return 0 if self.csv_blocks else 2

    @property
    def service_place(self) -> int:
        """Where in the witness the service's signature belongs."""
        return 1


@dataclass(frozen=True, slots=True)
class Spend:
    """What a transaction does, proven: the value that a decision is made on.

    ``openings`` has one entry per output; ``None`` stands only for blinded outputs of a spend that concerns no AMP
    account and came without nonces.
    """

    tx: Transaction
    own: tuple[OwnInput, ...]
    openings: tuple[Opening | None, ...] = field(repr=False)
    signed: frozenset[int] = frozenset()
    """Inputs of others that carry the signature of their key already, as far as one key is all they need."""
    loose: frozenset[int] = frozenset()
    """Inputs of others whose scriptSig may still change, and the txid with it: no signature commits to it."""


def parse(raw: bytes) -> Transaction:
    """Parse within bounds. Weight is at least four times the bytes without witness, so raw size bounds it."""
    if len(raw) > MAX_WEIGHT:
        raise TooLarge(f"A transaction of {len(raw)} bytes is too large to be relayed; split it")
    try:
        return Transaction.from_bytes(raw)
    except InvalidTransaction as error:
        raise BadTransaction(f"The transaction cannot be read: {error}") from None


def check_shape(tx: Transaction, policy_asset: bytes, limits: Limits, height: int) -> None:
    """Everything that counting and comparing can tell. ``height`` is that of the newest block known."""
    if tx.version != 2:
        raise BadTransaction(f"Transactions of version {tx.version} are not signed here; use version 2")
    if not tx.vin or not tx.vout:
        raise BadTransaction("A transaction needs inputs and outputs")
    if len(tx.vin) > MAX_INPUTS:
        raise BadTransaction(f"{len(tx.vin)} inputs are too many; at most {MAX_INPUTS} can be proven at once")
    if len({txin.prevout for txin in tx.vin}) != len(tx.vin):
        raise BadTransaction("The transaction spends one output twice")
    if tx.weight() > MAX_WEIGHT:
        raise BadTransaction(f"A weight of {tx.weight()} is above {MAX_WEIGHT} and is not relayed; split the payment")
    for i, txin in enumerate(tx.vin):
        if txin.issuance is not None or txin.is_pegin or txin.pegin_witness:
            raise IssuanceRefused(f"Input {i} issues an asset or pegs in; this server signs transfers only")
        if txin.is_coinbase:
            raise BadTransaction("A coinbase is not signed")
    _check_locktime(tx, height)
    for i, txout in enumerate(tx.vout):
        _check_output(i, txout, policy_asset)
    if sum(txout.script[:1] == b"\x6a" for txout in tx.vout) > 1:
        raise BadTransaction("More than one OP_RETURN output is not relayed")
    _check_fee(tx, policy_asset, limits)


def _check_locktime(tx: Transaction, height: int) -> None:
    if tx.locktime == 0 or all(txin.sequence_number == _FINAL_SEQUENCE for txin in tx.vin):
        return
    if tx.locktime >= _LOCKTIME_IS_TIME or tx.locktime > height:
        raise BadTransaction(f"A lock time of {tx.locktime} lies in the future; only transactions final now are signed")


def _check_output(i: int, txout: TxOut, policy_asset: bytes) -> None:
    if txout.is_blinded:
        if not wally.is_public_key(txout.nonce_field) or not txout.range_proof or not txout.surjection_proof:
            raise WrongAmounts(f"Output {i} is blinded, but its nonce or a proof is missing")
    elif txout.is_partially_blinded():
        raise WrongAmounts(f"Output {i} hides only its amount or only its asset; blind both or none")
    elif txout.explicit_asset is None or txout.explicit_value is None:
        raise BadTransaction(f"Output {i} has no asset or no amount")
    elif txout.explicit_value > MAX_SATOSHI:
        raise WrongAmounts(f"Output {i} holds more than can exist")
    if is_unspendable(txout.script):
        if txout.explicit_value != 0 and not _is_open_burn(txout, policy_asset):
            raise BurnRefused(
                f"Output {i} would destroy what it holds in a way that does not say so; burn an asset (not the "
                "policy asset) with an unblinded output whose script is the single byte 6a"
            )
        if len(txout.script) > 83:
            raise BadTransaction(f"Output {i} carries more data than is relayed")
        return
    if txout.explicit_value == 0:
        raise BadTransaction(f"Output {i} holds nothing")
    if txout.script and not _is_standard(txout.script):
        raise BadTransaction(f"Output {i} pays to a script that no address has")
    if txout.script and txout.explicit_asset == policy_asset and _is_dust(txout):
        raise BadTransaction(f"Output {i} is dust: its amount is not worth spending and is not relayed")


def _is_open_burn(txout: TxOut, policy_asset: bytes) -> bool:
    """Whether an output burns an asset the way wallets do it on purpose, for everybody to see.

    An account may destroy its own units of an asset that nobody manages. Every other way to destroy an amount is
    taken for a mistake or a disguise.
    """
    return txout.script == b"\x6a" and txout.explicit_asset not in (None, policy_asset)


def _is_standard(script: bytes) -> bool:
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[-2:] == b"\x88\xac":
        return True
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[-1] == 0x87:
        return True
    program = witness_program(script)
    return program is not None and (program[0] > 0 or len(program[1]) in (20, 32))


def _is_dust(txout: TxOut) -> bool:
    spend = 67 if witness_program(txout.script) is not None else 148
    assert txout.explicit_value is not None
    return txout.explicit_value * 1000 < DUST_RATE * (len(txout.serialize()) + spend)


def _check_fee(tx: Transaction, policy_asset: bytes, limits: Limits) -> None:
    fees = [txout for txout in tx.vout if not txout.script]
    if len(fees) != 1 or not fees[0].is_fee():
        raise FeeOutOfBounds(f"A transaction has exactly one fee output, not {len(fees)}")
    fee, vsize = fees[0].explicit_value or 0, tx.discount_vsize()
    if fees[0].explicit_asset != policy_asset:
        raise FeeOutOfBounds("The fee is not in this network's policy asset; is this the right network?")
    if fee * 1000 < vsize * MIN_FEE_RATE:
        raise FeeOutOfBounds(f"A fee of {fee} satoshi for {vsize} virtual bytes is too low to be relayed")
    if fee > limits.max_fee or fee * 1000 > vsize * limits.max_fee_rate:
        raise FeeOutOfBounds(
            f"A fee of {fee} satoshi for {vsize} virtual bytes is above this server's limit "
            f"({limits.max_fee} satoshi, {limits.max_fee_rate} per 1,000 virtual bytes)"
        )


def check_nonce_shape(tx: Transaction, nonces: Sequence[bytes] | None) -> None:
    """One nonce for each blinded output, none for the others, no nonce twice."""
    if nonces is None:
        return
    if len(nonces) != len(tx.vout):
        raise WrongNonces(f"{len(nonces)} blinding nonces for {len(tx.vout)} outputs: send one for each, in order")
    for i, (nonce, txout) in enumerate(zip(nonces, tx.vout, strict=True)):
        if txout.is_blinded and len(nonce) != 32:
            raise WrongNonces(f"Output {i} is blinded and needs its blinding nonce (32 bytes)")
        if not txout.is_blinded and nonce:
            raise WrongNonces(f"Output {i} is not blinded, so its blinding nonce must be empty")
    given = [nonce for nonce in nonces if nonce]
    if len(set(given)) != len(given):
        raise WrongNonces("One blinding nonce is given for two outputs")


def check_scripts(tx: Transaction, own: Sequence[OwnInput], scripts: Sequence[bytes] | None) -> None:
    """Compare what came with the scripts that account and pointer give, byte for byte."""
    if scripts is not None and len(scripts) != len(tx.vin):
        raise WrongScript(f"{len(scripts)} scripts for {len(tx.vin)} inputs: send one for each")
    for item in own:
        txin, where = tx.vin[item.index], f"Input {item.index}"
        if p2sh_p2wsh(item.witness_script) != item.txout.script:
            raise WrongScript(f"{where} does not pay to the script of its account and pointer")
        if scripts is not None and scripts[item.index] != item.witness_script:
            raise WrongScript(f"{where}: the script sent with it is not the script of its address")
        if txin.script_sig != p2sh_p2wsh_script_sig(item.witness_script):
            raise WrongScript(f"{where}: its scriptSig is not the push of its redeem script")
        items = 3 if item.csv_blocks else 4
        if len(txin.witness) != items or txin.witness[-1] != item.witness_script:
            raise WrongScript(f"{where}: its witness does not hold the {items} items of its script")
        if not item.csv_blocks and txin.witness[0]:
            raise WrongScript(f"{where}: the first item of its witness must be empty")
        if not txin.sequence_number & _NO_RELATIVE_LOCK:
            raise BadTransaction(f"{where} has a relative lock time; only transactions final now are signed")


def check_signatures(tx: Transaction, own: Sequence[OwnInput]) -> dict[int, bytes]:
    """Verify the user's signature on every own input; the digest of each, for the service's.

    The place of the service's signature may be empty, hold the placeholder, or hold the service's own signature
    of this very transaction (a retry).
    """
    cache = SighashCache(tx)
    digests: dict[int, bytes] = {}
    for item in own:
        where = f"Input {item.index}"
        signature = tx.vin[item.index].witness[item.user_place]
        if not signature or signature == PLACEHOLDER:
            raise WrongUserSignature(f"{where} is not signed by its owner yet; sign with the account's signer first")
        if signature[-1] != SIGHASH_ALL:
            raise WrongSighash(
                f"{where} is signed with hash type {signature[-1]:#04x}; only SIGHASH_ALL (0x01) is cosigned, "
                "partial swaps are not"
            )
        digest = cache.segwit_v0(item.index, item.witness_script, item.txout.value_field)
        if not verify(item.user_key, digest, signature[:-1]):
            raise WrongUserSignature(
                f"{where}: the signature is not a valid one by the account's key for this transaction"
            )
        place = tx.vin[item.index].witness[item.service_place]
        if place not in (b"", PLACEHOLDER) and not (
            place[-1] == SIGHASH_ALL and verify(item.service_key, digest, place[:-1])
        ):
            raise ForeignServiceSignature(f"{where}: leave the placeholder where the server's signature belongs")
        digests[item.index] = digest
    return digests


def open_outputs(
    tx: Transaction, spent: Sequence[TxOut], own: Sequence[OwnInput], nonces: Sequence[bytes] | None
) -> Spend:
    """Prove the balance and every amount: the expensive part.

    Balance and surjection proofs come first, being cheap. Opening an output verifies its range proof, so range
    proofs are verified apart only where nothing is opened.
    """
    if nonces is None:
        if any(item.is_amp for item in own):
            raise WrongNonces(
                "The blinding nonces are missing: a transaction of an AMP account has to be built for AMP0 "
                "(finish_for_amp0), with a nonce for each blinded output"
            )
        _verify(tx, spent, frozenset())
        openings = tuple(None if o.is_blinded else explicit_opening(o) for o in tx.vout)
        return Spend(tx, tuple(own), openings, _signed(tx, spent, own), _loose(tx, spent, own))
    blinded = [i for i, txout in enumerate(tx.vout) if txout.is_blinded]
    _verify(tx, spent, frozenset(blinded))
    opened = run_parallel([partial(_open_one, i, tx.vout[i], nonces[i]) for i in blinded])
    by_index = dict(zip(blinded, opened, strict=True))
    return Spend(
        tx,
        tuple(own),
        tuple(by_index[i] if i in by_index else explicit_opening(o) for i, o in enumerate(tx.vout)),
        _signed(tx, spent, own),
        _loose(tx, spent, own),
    )


def _loose(tx: Transaction, spent: Sequence[TxOut], own: Sequence[OwnInput]) -> frozenset[int]:
    """The inputs of others that do not have the one scriptSig that consensus takes there. Only a witness program has
    such: it is empty, or within P2SH the push of the program (BIP141)."""
    others = set(range(len(tx.vin))) - {item.index for item in own}
    return frozenset(i for i in others if not _is_settled(tx.vin[i].script_sig, spent[i].script))


def _is_settled(script_sig: bytes, script: bytes) -> bool:
    if witness_program(script) is not None:
        return not script_sig
    redeem = script_sig[1:]
    return witness_program(redeem) is not None and script_sig == push(redeem) and script == p2sh(redeem)


def _signed(tx: Transaction, spent: Sequence[TxOut], own: Sequence[OwnInput]) -> frozenset[int]:
    """The inputs of others that are signed: whoever names somebody's coin shows nothing of what its owner wants."""
    others = set(range(len(tx.vin))) - {item.index for item in own}
    cache = SighashCache(tx)
    return frozenset(i for i in others if _is_signed(cache, i, spent[i]))


def _is_signed(cache: SighashCache, index: int, spent: TxOut) -> bool:
    """Whether an input that spends the hash of a key, plain or within P2SH, has this key's signature of everything."""
    txin, script = cache.tx.vin[index], spent.script
    if len(script) == 23 and script[:2] == b"\xa9\x14":
        redeem = txin.script_sig[1:]
        if txin.script_sig != push(redeem) or p2sh(redeem) != script:
            return False
        script = redeem
    elif txin.script_sig:
        return False
    program = witness_program(script)
    if program is None or program[0] != 0 or len(program[1]) != 20 or len(txin.witness) != 2:
        return False
    signature, key = txin.witness
    if hash160(key) != program[1] or not wally.is_public_key(key) or signature[-1:] != bytes((SIGHASH_ALL,)):
        return False
    return verify(key, cache.segwit_v0(index, p2pkh(program[1]), spent.value_field), signature[:-1])


def _verify(tx: Transaction, spent: Sequence[TxOut], skip_ranges: frozenset[int]) -> None:
    try:
        verify_amounts(tx, spent, skip_ranges=skip_ranges)
    except InvalidAmounts as error:
        raise WrongAmounts(f"The amounts do not hold: {error}") from None


def _open_one(i: int, txout: TxOut, nonce: bytes) -> Opening:
    try:
        opening = unblind_with_nonce(txout, nonce)
    except UnblindError:
        raise WrongNonces(
            f"Output {i} does not open with its blinding nonce; are the nonces in output order?"
        ) from None
    if not 1 <= opening.satoshi <= MAX_SATOSHI:
        raise WrongAmounts(f"Output {i} holds an amount that cannot exist")
    return opening
