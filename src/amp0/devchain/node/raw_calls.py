"""Transactions in pieces: made of named inputs and outputs, blinded, signed, each in a call of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from amp0.devchain.blocks import POLICY_ASSET
from amp0.devchain.chain import Chain
from amp0.devchain.node.values import (
    DESERIALIZATION_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    WALLET_ERROR,
    Json,
    RpcError,
    asset,
    flag,
    hash_bytes,
    mapping,
    satoshi,
    sequence_of,
    text,
    whole,
)
from amp0.devchain.node.wallet import FINAL, REPLACEABLE, NodeWallet
from amp0.devchain.scripts import verify_scripts
from amp0.elements.address import Address
from amp0.elements.confidential import DomainEntry, PlainOutput, blind
from amp0.elements.hashes import Txid, bytes_from_hex
from amp0.elements.script import push
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.errors import Amp0Error, BroadcastRejected, InvalidInput, InvalidTransaction
from amp0.network import Network

_NO_LOCK = 0xFFFFFFFF
_BURN = b"\x6a"
_NO_KEY = "Unable to sign input, invalid stack size (possibly missing key)"


class RawCalls:
    """Calls that make a transaction step by step, with the keys of the node's wallet."""

    def __init__(self, chain: Chain, network: Network, wallet: NodeWallet) -> None:
        self._chain = chain
        self._network = network
        self._wallet = wallet

    def table(self) -> dict[str, Callable[..., Any]]:
        """The calls by name."""
        return {
            "createrawtransaction": self.createrawtransaction,
            "blindrawtransaction": self.blindrawtransaction,
            "signrawtransactionwithwallet": self.signrawtransactionwithwallet,
        }

    # -- making ------------------------------------------------------------------------------

    def createrawtransaction(
        self, inputs: object, outputs: object, locktime: object = 0, replaceable: object = True
    ) -> str:
        """A transaction in hex, not blinded and not signed. Each output is one of ``{address: amount}``,
        ``{"data": hex}``, ``{"burn": amount}`` and ``{"fee": amount}``, with an ``asset`` if it is not the policy
        asset; what is blinded later holds the address' blinding key. Two addresses in one object are refused; nodes
        take the last and forget the others."""
        lock = whole("locktime", locktime)
        if not 0 <= lock < 2**32:
            raise RpcError(INVALID_PARAMETER, "Invalid parameter, locktime out of range")
        may_be_replaced = flag("replaceable", replaceable)
        sequence = REPLACEABLE if may_be_replaced else FINAL if lock else _NO_LOCK
        vin = [_input(one, sequence) for one in sequence_of("inputs", inputs)]
        vout: list[TxOut] = []
        paid: set[tuple[str, bytes]] = set()
        for one in sequence_of("outputs", outputs):
            vout.append(self._output(mapping("output", one), paid))
        if may_be_replaced and vin and all(txin.sequence_number > REPLACEABLE for txin in vin):
            raise RpcError(
                INVALID_PARAMETER, "Invalid parameter combination: Sequence number(s) contradict replaceable option"
            )
        return str(Transaction.of(2, lock, vin, vout))

    def _output(self, given: Json, paid: set[tuple[str, bytes]]) -> TxOut:
        fields = {name: value for name, value in given.items() if name != "asset"}
        if len(fields) != 1:
            raise RpcError(INVALID_PARAMETER, "Invalid parameter, key-value pair must contain exactly one key")
        what = asset("asset", given["asset"]) if "asset" in given else POLICY_ASSET
        ((name, value),) = fields.items()
        if name == "data":
            try:
                data = bytes_from_hex(text("Data", value), what="data")
            except InvalidInput:
                raise RpcError(INVALID_PARAMETER, f"Data must be hexadecimal string (not '{value}')") from None
            return TxOut.explicit(_BURN + push(data), what, 0)
        much = satoshi(value)
        if name == "burn":
            return TxOut.explicit(_BURN, what, much)
        if name == "fee":
            return TxOut.fee(what, much)
        try:
            address = Address(name, self._network)
        except InvalidInput:
            raise RpcError(INVALID_ADDRESS_OR_KEY, f"Invalid Bitcoin address: {name[:120]}") from None
        if (name, what) in paid:
            known = TxOut.explicit(b"", what, much).asset_field.hex()
            raise RpcError(INVALID_PARAMETER, f"Invalid parameter, duplicated address and asset: {name} {known}")
        paid.add((name, what))
        plain = TxOut.explicit(address.script, what, much)
        return TxOut(plain.script, plain.asset_field, plain.value_field, address.blinding_pubkey or b"")

    # -- blinding ----------------------------------------------------------------------------

    def blindrawtransaction(
        self,
        hexstring: object,
        ignoreblindfail: object = True,
        asset_commitments: object = None,
        blind_issuances: object = True,
        totalblinder: object = None,
    ) -> str:
        """Blind the outputs that hold a blinding key; inputs are the wallet's, or in the open. What cannot be blinded
        is an error here, whatever ``ignoreblindfail`` says, and issuances are made by ``issueasset``."""
        flag("ignoreblindfail", ignoreblindfail)
        flag("blind_issuances", blind_issuances)
        if asset_commitments or totalblinder is not None:
            raise RpcError(INVALID_PARAMETER, "this node finds out itself what the inputs hold: name the transaction")
        tx = _parse(hexstring, "TX decode failed")
        hidden = [txout for txout in tx.vout if txout.is_partially_blinded()]
        if hidden or any(txin.issuance is not None for txin in tx.vin):
            raise RpcError(WALLET_ERROR, "Unable to blind transaction: it issues, or is blinded already")
        domain: list[DomainEntry] = []
        for txin in tx.vin:
            spent = self._spent(txin.prevout)
            opening = None if spent is None else self._wallet.opening(txin.prevout, spent)
            if spent is None or opening is None:
                raise RpcError(INVALID_PARAMETER, "Invalid parameter: inputs of this transaction are not in wallet")
            domain.append(DomainEntry.of_output(spent, opening))
        try:
            made = blind(domain, [_plain(txout) for txout in tx.vout], secrets.token_bytes, for_pset=False)
        except Amp0Error as error:
            raise RpcError(WALLET_ERROR, f"Unable to blind transaction: {error}") from None
        return str(Transaction.of(tx.version, tx.locktime, tx.vin, [one.txout for one in made]))

    def _spent(self, outpoint: OutPoint) -> TxOut | None:
        entry = self._chain.entry(outpoint.hash)
        if entry is None or outpoint.vout() >= len(entry.tx.vout):
            return None
        return entry.tx.vout[outpoint.vout()]

    # -- signing -----------------------------------------------------------------------------

    def signrawtransactionwithwallet(
        self, hexstring: object, prevtxs: object = None, sighashtype: object = "DEFAULT"
    ) -> Json:
        """Sign the wallet's inputs. What is spent is looked up in the chain: ``prevtxs`` adds nothing here."""
        sequence_of("prevtxs", prevtxs or [])
        if text("sighashtype", sighashtype) not in ("DEFAULT", "ALL"):
            raise RpcError(INVALID_PARAMETER, f"'{str(sighashtype)[:40]}' is not a valid sighash parameter.")
        tx = _parse(hexstring, "TX decode failed. Make sure the tx has at least one input.")
        if not tx.vin:
            raise RpcError(DESERIALIZATION_ERROR, "TX decode failed. Make sure the tx has at least one input.")
        signed = self._wallet.signed(tx)
        coins = [self._chain.coin(txin.prevout) for txin in signed.vin]
        missing = [txin for txin, coin in zip(signed.vin, coins, strict=True) if coin is None]
        errors = [_failed(txin, "Input not found or already spent") for txin in missing]
        spent = [coin.txout for coin in coins if coin is not None]
        if not errors:
            try:
                verify_scripts(signed, spent)
            except BroadcastRejected as refused:
                foreign = [
                    txin
                    for txin, txout in zip(signed.vin, spent, strict=True)
                    if self._wallet.find(txout.script) is None
                ]
                bare = [txin for txin in foreign if not (txin.witness or txin.script_sig)]
                errors = [_failed(txin, _NO_KEY if bare else refused.reason) for txin in bare or foreign]
        shown: Json = {"hex": str(signed), "complete": not errors}
        return shown | ({"errors": errors} if errors else {})


def _parse(hexstring: object, failure: str) -> Transaction:
    try:
        return Transaction(text("hexstring", hexstring))
    except InvalidTransaction:
        raise RpcError(DESERIALIZATION_ERROR, failure) from None


def _input(given: object, sequence: int) -> TxIn:
    fields = mapping("input", given)
    txid = Txid(hash_bytes("txid", fields.get("txid")))
    if not isinstance(fields.get("vout"), int):
        raise RpcError(INVALID_PARAMETER, "Invalid parameter, missing vout key")
    vout = whole("vout", fields["vout"])
    if vout < 0:
        raise RpcError(INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
    own = fields.get("sequence")
    if own is not None:
        sequence = whole("sequence", own)
        if not 0 <= sequence < 2**32:
            raise RpcError(INVALID_PARAMETER, "Invalid parameter, sequence number is out of range")
    unknown = set(fields) - {"txid", "vout", "sequence"}
    if unknown or vout >= 2**30:
        raise RpcError(INVALID_PARAMETER, "an input has txid, vout and perhaps sequence; pegins are not possible here")
    return TxIn(OutPoint(txid, vout), sequence_number=sequence)


def _plain(txout: TxOut) -> PlainOutput:
    what, much = txout.explicit_asset, txout.explicit_value
    if what is None or much is None:
        raise RpcError(WALLET_ERROR, "Unable to blind transaction: an output has no asset or no amount")
    return PlainOutput(txout.script, what, much, txout.nonce_field or None)


def _failed(txin: TxIn, error: str) -> Json:
    return {
        "txid": str(txin.prevout.hash),
        "vout": txin.prevout.vout(),
        "witness": [item.hex() for item in txin.witness],
        "scriptSig": txin.script_sig.hex(),
        "sequence": txin.sequence_number,
        "error": error,
    }
