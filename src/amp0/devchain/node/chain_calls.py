"""Calls about the chain: blocks, transactions, the mempool, and what the node says about itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amp0.devchain.blocks import CHAIN_NAME, EPOCH, FEDERATION
from amp0.devchain.chain import BlockEntry, Chain
from amp0.devchain.explorer import Explorer
from amp0.devchain.index import TxEntry
from amp0.devchain.node.values import (
    ALREADY_IN_CHAIN,
    DESERIALIZATION_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    VERIFY_ERROR,
    VERIFY_REJECTED,
    Json,
    RpcError,
    amount,
    flag,
    hash_bytes,
    satoshi,
    text,
    whole,
    wrong_type,
)
from amp0.devchain.node.views import Views, asm, params_root
from amp0.devchain.validation import MIN_RELAY_RATE
from amp0.elements.address import Address
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.script import Script, is_unspendable, witness_program
from amp0.elements.transaction import Transaction
from amp0.errors import BroadcastRejected, InvalidInput, InvalidTransaction
from amp0.network import Network

VERSION = 280000
SUBVERSION = "/Elements Core:28.0.0(amp0 devchain)/"
"""What issuers' scripts look for: the words "Elements Core" and a version of 17.0.1 or later."""
_MISSING = "bad-txns-inputs-missingorspent"


class ChainCalls:
    """Calls that need no wallet."""

    def __init__(self, chain: Chain, network: Network) -> None:
        self._chain = chain
        self._network = network
        self._views = Views(chain, Explorer(chain, network))

    def table(self) -> dict[str, Callable[..., Any]]:
        """The calls by name."""
        return {
            "getnetworkinfo": self.getnetworkinfo,
            "getblockchaininfo": self.getblockchaininfo,
            "getblockcount": self.getblockcount,
            "getbestblockhash": self.getbestblockhash,
            "getblockhash": self.getblockhash,
            "getblock": self.getblock,
            "getblockheader": self.getblockheader,
            "getrawtransaction": self.getrawtransaction,
            "sendrawtransaction": self.sendrawtransaction,
            "testmempoolaccept": self.testmempoolaccept,
            "getrawmempool": self.getrawmempool,
            "validateaddress": self.validateaddress,
        }

    # -- the node ----------------------------------------------------------------------------

    def getnetworkinfo(self) -> Json:
        """Version and connections; this node has none."""
        relay = amount(MIN_RELAY_RATE)
        return {
            "version": VERSION,
            "subversion": SUBVERSION,
            "protocolversion": 70016,
            "localservices": "0000000000000000",
            "localservicesnames": [],
            "localrelay": True,
            "timeoffset": 0,
            "networkactive": False,
            "connections": 0,
            "connections_in": 0,
            "connections_out": 0,
            "networks": [],
            "relayfee": relay,
            "incrementalfee": relay,
            "localaddresses": [],
            "warnings": [],
        }

    def getblockchaininfo(self) -> Json:
        """The state of the chain, always fully verified."""
        tip = self._chain.tip
        return {
            "chain": CHAIN_NAME,
            "blocks": tip.height,
            "headers": tip.height,
            "bestblockhash": str(tip.hash),
            "time": tip.time,
            "mediantime": tip.median_time,
            "verificationprogress": 1,
            "initialblockdownload": False,
            "pruned": False,
            "current_params_root": params_root(FEDERATION)[::-1].hex(),
            "current_signblock_asm": asm(FEDERATION.signblock_script),
            "current_signblock_hex": FEDERATION.signblock_script.hex(),
            "max_block_witness": FEDERATION.signblock_witness_limit,
            "current_fedpeg_program": FEDERATION.fedpeg_program.hex(),
            "current_fedpeg_script": FEDERATION.fedpeg_script.hex(),
            "extension_space": [entry.hex() for entry in FEDERATION.extension],
            "epoch_length": EPOCH,
            "epoch_age": tip.height % EPOCH,
            "warnings": [],
        }

    # -- blocks ------------------------------------------------------------------------------

    def getblockcount(self) -> int:
        """Height of the newest block."""
        return self._chain.height

    def getbestblockhash(self) -> str:
        """Hash of the newest block."""
        return str(self._chain.tip.hash)

    def getblockhash(self, height: object) -> str:
        """Hash of the block at a height."""
        block = self._chain.block_at(whole("height", height))
        if block is None:
            raise RpcError(INVALID_PARAMETER, "Block height out of range")
        return str(block.hash)

    def getblock(self, blockhash: object, verbosity: object = 1) -> Any:
        """A block: hex at verbosity 0, with transaction ids at 1, with transactions from 2 on."""
        block = self._block("blockhash", blockhash)
        level = int(verbosity) if isinstance(verbosity, bool) else whole("verbosity", verbosity)
        if level <= 0:
            return block.block.serialize().hex()
        with self._chain.lock:
            return self._views.block(block, level)

    def getblockheader(self, blockhash: object, verbose: object = True) -> Any:
        """A block's header, decoded or in hex."""
        block = self._block("hash", blockhash)
        if not flag("verbose", verbose):
            return block.header.serialize().hex()
        with self._chain.lock:
            return self._views.header(block)

    def _block(self, name: str, blockhash: object) -> BlockEntry:
        block = self._chain.block(BlockHash(hash_bytes(name, blockhash)))
        if block is None:
            raise RpcError(INVALID_ADDRESS_OR_KEY, "Block not found")
        return block

    # -- transactions ------------------------------------------------------------------------

    def getrawtransaction(self, txid: object, verbose: object = False, blockhash: object = None) -> Any:
        """A transaction of the mempool or any block: hex, or decoded."""
        wanted = Txid(hash_bytes("parameter 1", txid))
        level = int(verbose) if isinstance(verbose, bool) else whole("verbosity", verbose)
        with self._chain.lock:
            entry = self._chain.entry(wanted)
            if blockhash is not None and wanted not in (block := self._block("parameter 3", blockhash)).txids:
                raise RpcError(INVALID_ADDRESS_OR_KEY, f"No such transaction found in the provided block {block.hash}")
            if entry is None:
                raise RpcError(
                    INVALID_ADDRESS_OR_KEY,
                    "No such mempool or blockchain transaction. Use gettransaction for wallet transactions.",
                )
            return self._views.placed(entry) if level > 0 else str(entry.tx)

    def sendrawtransaction(self, hexstring: object, maxfeerate: object = None, maxburnamount: object = None) -> str:
        """Broadcast; nothing is burnt that ``maxburnamount`` does not allow. The limit on fees is taken and not
        applied: coins are free here."""
        most = 0 if maxburnamount is None else satoshi(maxburnamount)
        tx = _decode(text("hexstring", hexstring), "TX decode failed. Make sure the tx has at least one input.")
        if any(is_unspendable(txout.script) and (txout.explicit_value or 0) > most for txout in tx.vout):
            raise RpcError(VERIFY_ERROR, "Unspendable output exceeds maximum configured by user (maxburnamount)")
        try:
            return str(self._chain.submit(tx))
        except BroadcastRejected as refused:
            if refused.reason == "Transaction already in block chain":
                raise RpcError(ALREADY_IN_CHAIN, "Transaction outputs already in utxo set") from None
            code = VERIFY_ERROR if refused.reason == _MISSING else VERIFY_REJECTED
            raise RpcError(code, refused.reason) from None

    def testmempoolaccept(self, rawtxs: object, maxfeerate: object = None) -> list[Json]:
        """Whether a transaction would be taken, for one at a time."""
        if not isinstance(rawtxs, list):
            raise wrong_type("rawtxs", rawtxs, "array")
        if len(rawtxs) != 1:
            raise RpcError(INVALID_PARAMETER, "Array must contain 1 transaction; this node judges no packages.")
        raw = text("rawtx", rawtxs[0])
        tx = _decode(raw, f"TX decode failed: {raw[:80]} Make sure the tx has at least one input.")
        shown: Json = {"txid": str(tx.txid()), "wtxid": str(tx.wtxid())}
        try:
            admission = self._chain.check(tx)
        except BroadcastRejected as refused:
            reason = "missing-inputs" if refused.reason == _MISSING else refused.reason
            return [{**shown, "allowed": False, "reject-reason": reason, "reject-details": reason}]
        rate = amount(admission.fee * 1000 // admission.vsize)
        fees = {"base": amount(admission.fee), "effective-feerate": rate, "effective-includes": [shown["wtxid"]]}
        return [{**shown, "allowed": True, "vsize": admission.vsize, "fees": fees}]

    def getrawmempool(self, verbose: object = False) -> Any:
        """What waits for a block: ids, or an object by id."""
        detailed = flag("verbose", verbose)
        with self._chain.lock:
            waiting = list(self._chain.mempool)
            if not detailed:
                return [str(entry.txid) for entry in waiting]
            return {str(entry.txid): self._waiting(entry) for entry in waiting}

    def _waiting(self, entry: TxEntry) -> Json:
        pool = self._chain.mempool
        ancestors = [pool.entries[txid] for txid in pool.ancestors(entry.tx)] + [entry]
        descendants = [pool.entries[txid] for txid in pool.with_descendants([entry.txid])]
        base = amount(entry.fee)
        return {
            "vsize": entry.vsize,
            "weight": entry.tx.weight(),
            "time": int(entry.received),
            "height": self._chain.height,
            "descendantcount": len(descendants),
            "descendantsize": sum(one.vsize for one in descendants),
            "ancestorcount": len(ancestors),
            "ancestorsize": sum(one.vsize for one in ancestors),
            "wtxid": str(entry.tx.wtxid()),
            "fees": {
                "base": base,
                "modified": base,
                "ancestor": amount(sum(one.fee for one in ancestors)),
                "descendant": amount(sum(one.fee for one in descendants)),
            },
            "depends": [str(txid) for txid in pool.parents(entry.tx)],
            "spentby": [str(txid) for txid in pool.children(entry)],
            "bip125-replaceable": pool.signals_replacement(entry),
            "unbroadcast": False,
        }

    # -- addresses ---------------------------------------------------------------------------

    def validateaddress(self, address: object) -> Json:
        """Whether an address is one of this chain, and what it says."""
        try:
            parsed = Address(text("address", address), self._network)
        except InvalidInput as error:
            problem = str(error)
            return {
                "isvalid": False,
                "isvalid_parent": False,
                "error_locations": [],
                "error": problem,
                "error_parent": problem,
            }
        shown = {"isvalid": True, "isvalid_parent": False, "address": str(parsed), **address_facts(parsed)}
        key = parsed.blinding_pubkey
        shown["confidential_key"] = "" if key is None else key.hex()
        shown["unconfidential"] = str(parsed.to_unconfidential())
        return shown


def address_facts(address: Address) -> Json:
    """What an address says about its script."""
    script = address.script
    program = witness_program(script)
    shown: Json = {
        "scriptPubKey": str(Script.from_bytes(script)),
        "isscript": script[:1] == b"\xa9" or (program is not None and (program[0] > 0 or len(program[1]) == 32)),
        "iswitness": program is not None,
    }
    if program is not None:
        shown["witness_version"] = program[0]
        shown["witness_program"] = program[1].hex()
    return shown


def _decode(hexstring: str, failure: str) -> Transaction:
    try:
        tx = Transaction(hexstring)
    except InvalidTransaction:
        raise RpcError(DESERIALIZATION_ERROR, failure) from None
    if not tx.vin:
        raise RpcError(DESERIALIZATION_ERROR, failure)
    return tx
