"""What a transaction must satisfy, and the list of what is not checked.

Checked, with the node's own reasons where it has them:

* form: inputs and outputs present, no input twice, sizes, explicit amounts in range;
* amounts, completely: balance of every asset, range proofs, surjection proofs, issuances and
  reissuances (:func:`amp0.elements.confidential.verify_amounts`);
* scripts, for the shapes that :mod:`amp0.devchain.scripts` lists, hash types included;
* time: lock times (``non-final``), relative lock times (BIP68, ``non-BIP68-final``), coinbase
  maturity of 100 blocks;
* relay: version 1 or 2, weight up to 400,000, known output scripts, one ``OP_RETURN`` of up to
  83 bytes, dust, at least 0.1 sat per discounted virtual byte; and in the mempool (see
  :mod:`amp0.devchain.mempool`) double spends, replacement (BIP125) and chains of at most 25
  unconfirmed transactions.

Not checked:

* peg-ins (refused) and the content of peg-outs (an ``OP_RETURN`` like any other);
* signature operation limits of blocks and transactions;
* output scripts that cannot be spent here (bare keys, bare multisig, Taproot) may be paid to;
* fees in other assets than the policy asset count for nothing, as with a node's defaults.

Refused although a node takes it: version 3 with its rules of its own, hidden outputs without a script,
bare multisig of uncompressed keys, and spending what is listed under scripts as unspendable.
``tests/devchain/test_verdicts.py`` holds all of this to a node's verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amp0.devchain.blocks import MAX_BLOCK_WEIGHT, OP_TRUE, POLICY_ASSET
from amp0.devchain.scripts import (
    SEQUENCE_DISABLE,
    SEQUENCE_MASK,
    SEQUENCE_TIME,
    parse_multisig,
    verify_scripts,
)
from amp0.elements.confidential import verify_amounts
from amp0.elements.script import is_unspendable, pushes, witness_program
from amp0.elements.transaction import MAX_SATOSHI, Transaction, TxOut
from amp0.errors import BroadcastRejected, InvalidAmounts

MAX_STANDARD_WEIGHT = 400_000
MIN_STANDARD_BASE = 82
MAX_DATA_SCRIPT = 83
MIN_RELAY_RATE = 100
"""Satoshi per 1,000 discounted virtual bytes."""
DUST_RATE = 100
COINBASE_MATURITY = 100
LOCKTIME_THRESHOLD = 500_000_000
"""A lock time below is a height, from here on seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that can be spent: ``height`` of its block, ``None`` while unconfirmed."""

    txout: TxOut
    height: int | None
    coinbase: bool = False


# -- form --------------------------------------------------------------------------------------


def check_form(tx: Transaction) -> None:
    """Rules that need nothing but the transaction. Raises :class:`BroadcastRejected`."""
    if not tx.vin:
        raise BroadcastRejected("bad-txns-vin-empty")
    if not tx.vout:
        raise BroadcastRejected("bad-txns-vout-empty")
    if 4 * len(tx.serialize(witness=False)) > MAX_BLOCK_WEIGHT:
        raise BroadcastRejected("bad-txns-oversize")
    total = 0
    for txout in tx.vout:
        if not txout.value_field or not txout.asset_field:
            raise BroadcastRejected("bad-txns-vout-amount-invalid")
        satoshi = txout.explicit_value
        if satoshi is None:
            continue
        if satoshi > MAX_SATOSHI:
            raise BroadcastRejected("bad-txns-vout-toolarge")
        total += satoshi
        if total > MAX_SATOSHI:
            raise BroadcastRejected("bad-txns-txouttotal-toolarge")
    if len({txin.prevout for txin in tx.vin}) != len(tx.vin):
        raise BroadcastRejected("bad-txns-inputs-duplicate")
    if not tx.is_coinbase:
        for txin in tx.vin:
            if txin.is_coinbase:
                raise BroadcastRejected("bad-txns-prevout-null")
            if txin.is_pegin or txin.pegin_witness:
                raise BroadcastRejected("pegins are not possible on this chain")
    for txout in tx.vout:
        if txout.is_fee() and not txout.explicit_value:
            raise BroadcastRejected("bad-txns-fee-outofrange")


def check_standard(tx: Transaction) -> None:
    """Relay rules that need nothing but the transaction. Raises :class:`BroadcastRejected`."""
    if tx.version not in (1, 2):
        raise BroadcastRejected("version")
    if tx.weight() > MAX_STANDARD_WEIGHT:
        raise BroadcastRejected("tx-size")
    if len(tx.serialize(witness=False)) < MIN_STANDARD_BASE:
        raise BroadcastRejected("tx-size-small")
    for txin in tx.vin:
        if len(txin.script_sig) > 1650:
            raise BroadcastRejected("scriptsig-size")
        if pushes(txin.script_sig) is None:
            raise BroadcastRejected("scriptsig-not-pushonly")
    data_outputs = 0
    for txout in tx.vout:
        kind = script_kind(txout.script)
        if kind is None:
            if not txout.is_fee():
                raise BroadcastRejected("scriptpubkey")
        elif kind == "op_return":
            data_outputs += 1
        elif txout.explicit_asset == POLICY_ASSET and is_dust(txout):
            raise BroadcastRejected("dust")
    if data_outputs > 1:
        raise BroadcastRejected("multi-op-return")


def script_kind(script: bytes) -> str | None:
    """The kind of a standard output script, in Esplora's words; ``None`` for a strange one."""
    size = len(script)
    if script == OP_TRUE:
        return "op_true"
    if size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return "p2pkh"
    if size == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return "p2sh"
    program = witness_program(script)
    if program is not None:
        version, data = program
        if version == 0:
            return {20: "v0_p2wpkh", 32: "v0_p2wsh"}.get(len(data))
        return "v1_p2tr" if version == 1 and len(data) == 32 else "unknown"
    if script[:1] == b"\x6a":
        fits = size <= MAX_DATA_SCRIPT and pushes(script[1:]) is not None
        return "op_return" if fits else None
    if size == 35 and script[0] == 33 and script[1] in (2, 3) and script[34] == 0xAC:
        return "p2pk"
    if size == 67 and script[0] == 65 and script[1] == 4 and script[66] == 0xAC:
        return "p2pk"
    multisig = parse_multisig(script)
    return "multisig" if multisig is not None and len(multisig[1]) <= 3 else None


def is_dust(txout: TxOut) -> bool:
    """Whether an explicit output is worth less than the fee of spending it would be."""
    satoshi = txout.explicit_value
    if satoshi is None or is_unspendable(txout.script) or txout.is_fee():
        return False
    spend = 32 + 4 + 1 + 107 + 4
    if witness_program(txout.script) is not None:
        spend = 32 + 4 + 1 + 107 // 4 + 4
    return satoshi < _fee_at(DUST_RATE, len(txout.serialize()) + spend)


def _fee_at(rate: int, size: int) -> int:
    """Satoshi for ``size`` virtual bytes at ``rate`` satoshi per 1,000, rounded up."""
    return -(-rate * size // 1000)


def minimum_fee(tx: Transaction) -> int:
    """The least fee (satoshi of the policy asset) the mempool takes a transaction for."""
    return _fee_at(MIN_RELAY_RATE, tx.discount_vsize())


def policy_fee(tx: Transaction) -> int:
    """The fee in the policy asset (satoshi)."""
    return sum(
        txout.explicit_value or 0 for txout in tx.vout if txout.is_fee() and txout.explicit_asset == POLICY_ASSET
    )


# -- time --------------------------------------------------------------------------------------


def check_locks(
    tx: Transaction,
    coins: Sequence[Coin],
    height: int,
    median_time: int,
    median_time_at: Callable[[int], int],
) -> None:
    """Lock times and coinbase maturity for a block at ``height`` on a tip of ``median_time``.

    ``median_time_at(h)`` is the median time past of the block at height ``h``. Raises
    :class:`BroadcastRejected`.
    """
    if tx.locktime and any(txin.sequence_number != 0xFFFFFFFF for txin in tx.vin):
        limit = height if tx.locktime < LOCKTIME_THRESHOLD else median_time
        if tx.locktime >= limit:
            raise BroadcastRejected("non-final")
    for txin, coin in zip(tx.vin, coins, strict=True):
        coin_height = height if coin.height is None else coin.height
        if coin.coinbase and height - coin_height < COINBASE_MATURITY:
            raise BroadcastRejected("bad-txns-premature-spend-of-coinbase")
        sequence = txin.sequence_number
        if tx.version & 0xFFFFFFFF < 2 or sequence & SEQUENCE_DISABLE:
            continue
        lock = sequence & SEQUENCE_MASK
        if sequence & SEQUENCE_TIME:
            start = median_time_at(max(coin_height - 1, 0))
            if start + (lock << 9) > median_time:
                raise BroadcastRejected("non-BIP68-final")
        elif coin_height + lock > height:
            raise BroadcastRejected("non-BIP68-final")


# -- proofs and signatures ---------------------------------------------------------------------


def verify(tx: Transaction, spent: Sequence[TxOut]) -> None:
    """Scripts and amounts: everything expensive, and everything that never changes again.

    A transaction that passed once passes for ever with the same ``spent`` outputs, which its
    inputs name by hash. Scripts go first: they cost a fiftieth. Range proofs run on all cores
    and release the interpreter lock. Raises :class:`BroadcastRejected`.
    """
    verify_scripts(tx, spent)
    if not tx.has_witness and any(txin.issuance is not None for txin in tx.vin):
        raise BroadcastRejected("bad-txns-in-ne-out: a transaction without any witness issues nothing")
    try:
        verify_amounts(tx, spent)
    except InvalidAmounts as error:
        text = str(error)
        reason = "bad-txns-in-ne-out" if not text.startswith("bad-txns") else text.partition(":")[0]
        raise BroadcastRejected(f"{reason}: {text}") from None
