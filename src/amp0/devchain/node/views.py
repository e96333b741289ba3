"""Transactions and blocks as an Elements node shows them in JSON. Source of the shapes: Elements 28's own answers."""

from __future__ import annotations

from amp0.devchain.blocks import compact_params, fast_merkle_root, witness_hash
from amp0.devchain.chain import BlockEntry, Chain
from amp0.devchain.explorer import Explorer
from amp0.devchain.index import TxEntry
from amp0.devchain.node.values import Json, amount
from amp0.devchain.validation import script_kind
from amp0.elements import wally
from amp0.elements.block import DynafedParams
from amp0.elements.confidential import issued_asset
from amp0.elements.descriptor import descriptor_checksum
from amp0.elements.hashes import asset_id_to_str, sha256d
from amp0.elements.script import Script
from amp0.elements.transaction import Transaction, TxIn, TxOut, value_of_field, var_bytes

_KINDS = {
    "v0_p2wpkh": "witness_v0_keyhash",
    "v0_p2wsh": "witness_v0_scripthash",
    "v1_p2tr": "witness_v1_taproot",
    "p2pkh": "pubkeyhash",
    "p2sh": "scripthash",
    "p2pk": "pubkey",
    "op_return": "nulldata",
    "op_true": "true",
    "multisig": "multisig",
    "unknown": "witness_unknown",
}
_SIGHASHES = {
    "01": "ALL",
    "02": "NONE",
    "03": "SINGLE",
    "81": "ALL|ANYONECANPAY",
    "82": "NONE|ANYONECANPAY",
    "83": "SINGLE|ANYONECANPAY",
}
_WORDS = {"OP_0": "0", "OP_CSV": "OP_CHECKSEQUENCEVERIFY", "OP_CLTV": "OP_CHECKLOCKTIMEVERIFY"}


def described(body: str) -> str:
    """A descriptor with its checksum."""
    return f"{body}#{descriptor_checksum(body)}"


def asm(script: bytes) -> str:
    """A script in words: pushes in hex without their opcodes; small numbers, and up to four bytes, as numbers."""
    words = []
    pushed = False
    for word in Script.from_bytes(script).to_asm().split():
        is_push = word.startswith(("OP_PUSHBYTES_", "OP_PUSHDATA"))
        if pushed and len(word) <= 8:
            words.append(str(_number(bytes.fromhex(word))))
        elif not is_push:
            words.append(word.removeprefix("OP_PUSHNUM_") if word.startswith("OP_PUSHNUM_") else _WORDS.get(word, word))
        pushed = is_push
    return " ".join(words)


def _number(data: bytes) -> int:
    """What a script takes bytes for: little endian, the sign in the last bit."""
    value = int.from_bytes(data, "little")
    sign = 1 << (8 * len(data) - 1)
    return sign - value if value & sign else value


def _signatures(words: str) -> str:
    """The words of an input's script, with the kind of each signature's hash named behind it."""

    def named(word: str) -> str:
        kind = _SIGHASHES.get(word[-2:])
        if (
            kind is None
            or len(word) < 18
            or word.startswith("OP_")
            or not wally.ecdsa_is_strict(bytes.fromhex(word)[:-1])
        ):
            return word
        return f"{word[:-2]}[{kind}]"

    return " ".join(named(word) for word in words.split())


class Views:
    """Reads a chain the way a node tells it."""

    def __init__(self, chain: Chain, explorer: Explorer) -> None:
        self._chain = chain
        self._explorer = explorer

    # -- transactions ------------------------------------------------------------------------

    def transaction(self, tx: Transaction) -> Json:
        """A transaction decoded, and its bytes."""
        return self.decoded(tx) | {"hex": str(tx)}

    def decoded(self, tx: Transaction) -> Json:
        """A transaction decoded."""
        fees: dict[bytes, int] = {}
        for txout in tx.vout:
            if txout.is_fee() and txout.explicit_asset is not None:
                fees[txout.explicit_asset] = fees.get(txout.explicit_asset, 0) + (txout.explicit_value or 0)
        return {
            "txid": str(tx.txid()),
            "hash": str(tx.wtxid()),
            "wtxid": str(tx.wtxid()),
            "withash": witness_hash(tx)[::-1].hex(),
            "version": tx.version,
            "size": len(tx.to_bytes()),
            "vsize": tx.vsize(),
            "weight": tx.weight(),
            "discountvsize": tx.discount_vsize(),
            "discountweight": tx.discount_weight(),
            "locktime": tx.locktime,
            "vin": [self._input(txin) for txin in tx.vin],
            "vout": [self.output(number, txout) for number, txout in enumerate(tx.vout)],
            "fee": {asset_id_to_str(what): amount(satoshi) for what, satoshi in fees.items()},
        }

    def placed(self, entry: TxEntry) -> Json:
        """A transaction decoded, and where it is."""
        shown = self.transaction(entry.tx)
        block = None if entry.height is None else self._chain.block_at(entry.height)
        if block is not None:
            shown["blockhash"] = str(block.hash)
            shown["confirmations"] = self._chain.height - block.height + 1
            shown["time"] = shown["blocktime"] = block.time
        return shown

    def _input(self, txin: TxIn) -> Json:
        witness = {"txinwitness": [item.hex() for item in txin.witness]} if txin.witness else {}
        if txin.is_coinbase:
            return {"coinbase": txin.script_sig.hex(), "sequence": txin.sequence_number, **witness}
        shown: Json = {
            "txid": str(txin.prevout.hash),
            "vout": txin.prevout.vout(),
            "scriptSig": {"asm": _signatures(asm(txin.script_sig)), "hex": txin.script_sig.hex()},
            "is_pegin": txin.is_pegin,
            "sequence": txin.sequence_number,
            **witness,
        }
        if txin.issuance is not None:
            shown["issuance"] = _issuance(txin)
        return shown

    def output(self, number: int, txout: TxOut) -> Json:
        """An output; amounts and assets that are hidden as commitments."""
        shown: Json = {}
        if txout.explicit_value is not None:
            shown["value"] = amount(txout.explicit_value)
        else:
            shown.update(_range(txout.range_proof))
            shown["surjectionproof"] = txout.surjection_proof.hex()
            shown["valuecommitment"] = txout.value_field.hex()
        if txout.explicit_asset is not None:
            shown["asset"] = asset_id_to_str(txout.explicit_asset)
        else:
            shown["assetcommitment"] = txout.asset_field.hex()
        shown["commitmentnonce"] = txout.nonce_field.hex()
        shown["commitmentnonce_fully_valid"] = bool(txout.nonce_field) and wally.is_public_key(txout.nonce_field)
        shown["n"] = number
        shown["scriptPubKey"] = self._script(txout)
        return shown

    def _script(self, txout: TxOut) -> Json:
        script = txout.script
        address = self._explorer.address_of(script)
        kind = "fee" if txout.is_fee() else _KINDS.get(script_kind(script) or "", "nonstandard")
        body = f"raw({script.hex()})" if address is None else f"addr({address})"
        if kind == "witness_v1_taproot":
            body = f"rawtr({script[2:].hex()})"
        shown: Json = {"asm": asm(script), "desc": described(body), "hex": script.hex()}
        if address is not None:
            shown["address"] = address
        shown["type"] = kind
        return shown

    def coin(self, txout: TxOut) -> Json:
        """An output as ``gettxout`` tells it: amounts, and where it goes."""
        shown = self.output(0, txout)
        names = ("value", "valuecommitment", "asset", "assetcommitment", "commitmentnonce", "scriptPubKey")
        return {name: shown[name] for name in names if name in shown}

    # -- blocks ------------------------------------------------------------------------------

    def header(self, block: BlockEntry) -> Json:
        """A block's header; ``confirmations`` is -1 for a block that a reorganisation left behind."""
        header, chain = block.header, self._chain
        connected = chain.is_connected(block.hash)
        shown: Json = {
            "hash": str(block.hash),
            "confirmations": chain.height - block.height + 1 if connected else -1,
            "height": block.height,
            "version": header.header_version,
            "versionHex": f"{header.header_version:08x}",
            "merkleroot": header.merkle_root(),
            "time": block.time,
            "mediantime": block.median_time,
        }
        if header.dynafed:
            shown["signblock_witness_hex"] = [item.hex() for item in header.signblock_witness]
            shown["dynamic_parameters"] = {
                "current": dynamic(header.current),
                "proposed": dynamic(header.proposed),
            }
        else:
            shown["signblock_witness_asm"] = asm(header.solution)
            shown["signblock_witness_hex"] = header.solution.hex()
            shown["signblock_challenge"] = header.challenge.hex()
        shown["nTx"] = len(block.txids)
        if block.height:
            shown["previousblockhash"] = str(header.previous)
        following = chain.block_at(block.height + 1) if connected else None
        if following is not None:
            shown["nextblockhash"] = str(following.hash)
        return shown

    def block(self, block: BlockEntry, verbosity: int) -> Json:
        """A block: with the ids of its transactions at verbosity 1, with all of each above."""
        raw = block.block.serialize()
        stripped = len(raw) - sum(
            len(tx.to_bytes()) - len(tx.serialize(witness=False)) for tx in block.block.transactions
        )
        shown = self.header(block)
        shown |= {"strippedsize": stripped, "size": len(raw), "weight": 3 * stripped + len(raw)}
        if verbosity == 1:
            shown["tx"] = [str(txid) for txid in block.txids]
        else:
            shown["tx"] = [self.transaction(tx) for tx in block.block.transactions]
        return shown


def _issuance(txin: TxIn) -> Json:
    issuance = txin.issuance
    assert issuance is not None
    asset, token = issued_asset(txin)
    entropy = issuance.entropy
    if not issuance.is_reissuance:
        entropy = wally.issuance_entropy(bytes(txin.prevout.hash), txin.prevout.vout(), issuance.entropy)
    shown: Json = {
        "assetBlindingNonce": issuance.nonce[::-1].hex(),
        "assetEntropy": entropy[::-1].hex(),
        "isreissuance": issuance.is_reissuance,
    }
    if not issuance.is_reissuance:
        shown["token"] = asset_id_to_str(token)
    shown["asset"] = asset_id_to_str(asset)
    for name, field in (("asset", issuance.amount_field), ("token", issuance.tokens_field)):
        satoshi = value_of_field(field)
        if satoshi is not None:
            shown[f"{name}amount"] = amount(satoshi)
        elif field:
            shown[f"{name}amountcommitment"] = field.hex()
    return shown


def _range(proof: bytes) -> Json:
    """What a range proof says in the open: the first bytes of its header."""
    if len(proof) < 10 or not proof[0] & 0x40:
        return {}
    exponent, bits = proof[0] & 0x1F, proof[1] + 1
    lowest = int.from_bytes(proof[2:10], "big") if proof[0] & 0x20 else 0
    return {
        "value-minimum": amount(lowest),
        "value-maximum": amount(lowest + (2**bits - 1) * 10**exponent),
        "ct-exponent": exponent,
        "ct-bits": bits,
    }


def dynamic(params: DynafedParams) -> Json:
    """A federation's parameters as a header states them."""
    if params.kind == 0:
        return {"type": "null"}
    shown: Json = {
        "type": "compact" if params.kind == 1 else "full",
        "root": params_root(params)[::-1].hex(),
        "signblockscript": params.signblock_script.hex(),
        "max_block_witness": params.signblock_witness_limit,
    }
    short = params if params.kind == 1 else compact_params(params)
    shown["extra_root"] = short.extra_root[::-1].hex()
    if params.kind == 2:
        shown["fedpeg_program"] = params.fedpeg_program.hex()
        shown["fedpegscript"] = params.fedpeg_script.hex()
        shown["extension_space"] = [entry.hex() for entry in params.extension]
    return shown


def params_root(params: DynafedParams) -> bytes:
    """The root (32 bytes, internal order) over a federation's parameters."""
    short = params if params.kind == 1 else compact_params(params)
    limit = short.signblock_witness_limit.to_bytes(4, "little")
    signers = fast_merkle_root([sha256d(var_bytes(short.signblock_script)), sha256d(limit)])
    return fast_merkle_root([signers, short.extra_root])
