"""Calls about the chain: blocks, transactions, the mempool, and what the node says about itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amp0.devchain.blocks import CHAIN_NAME, EPOCH, FEDERATION, POLICY_ASSET
from amp0.devchain.chain import BlockEntry, Chain
from amp0.devchain.explorer import Explorer
from amp0.devchain.index import TxEntry
from amp0.devchain.node.values import (
    ALREADY_IN_CHAIN,
    DESERIALIZATION_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    MISC_ERROR,
    POLICY_LABEL,
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
from amp0.elements.hashes import BlockHash, Txid, asset_id_to_str
from amp0.elements.script import Script, is_unspendable, witness_program
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import BroadcastRejected, InvalidInput, InvalidTransaction
from amp0.network import Network

VERSION = 280000
SUBVERSION = "/Elements Core:28.0.0(amp0 devchain)/"
"""What issuers' scripts look for: the words "Elements Core" and a version of 17.0.1 or later."""
_MISSING = "bad-txns-inputs-missingorspent"
_PARENT = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
"""Genesis of Bitcoin's regtest chain."""
_MOST_BLOCKS = 1008


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
            "getmempoolentry": self.getmempoolentry,
            "getmempoolinfo": self.getmempoolinfo,
            "gettxout": self.gettxout,
            "decoderawtransaction": self.decoderawtransaction,
            "estimatesmartfee": self.estimatesmartfee,
            "getsidechaininfo": self.getsidechaininfo,
            "getindexinfo": self.getindexinfo,
            "dumpassetlabels": self.dumpassetlabels,
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

    def getsidechaininfo(self) -> Json:
        """The federation, and the chain that this one would be pegged to; nothing is pegged here."""
        # That of the last two epochs is good, the one that the next block belongs to included.
        epochs = 2 if self._chain.height + 1 >= EPOCH else 1
        return {
            "fedpegscript": FEDERATION.fedpeg_script.hex(),
            "current_fedpeg_programs": [FEDERATION.fedpeg_program.hex()] * epochs,
            "current_fedpegscripts": [FEDERATION.fedpeg_script.hex()] * epochs,
            "pegged_asset": asset_id_to_str(POLICY_ASSET),
            "min_peg_diff": "7f" + "ff" * 31,
            "parent_blockhash": _PARENT,
            "parent_chain_has_pow": True,
            "enforce_pak": False,
            "pegin_confirmation_depth": 8,
        }

    def getindexinfo(self, index_name: object = "") -> Json:
        """The indexes: every transaction can be found here."""
        known = {"txindex": {"synced": True, "best_block_height": self._chain.height}}
        name = text("index_name", index_name)
        return {one: state for one, state in known.items() if name in ("", one)}

    def dumpassetlabels(self) -> dict[str, str]:
        """The names of assets: the policy asset has one."""
        return {POLICY_LABEL: asset_id_to_str(POLICY_ASSET)}

    def estimatesmartfee(self, conf_target: object, estimate_mode: object = "economical") -> Json:
        """No estimate, as of any node that has seen no market for fees; the least that relay takes is enough."""
        target = whole("conf_target", conf_target)
        if not 1 <= target <= _MOST_BLOCKS:
            raise RpcError(INVALID_PARAMETER, f"Invalid conf_target, must be between 1 and {_MOST_BLOCKS}")
        if text("estimate_mode", estimate_mode).lower() not in ("unset", "economical", "conservative"):
            modes = '"unset", "economical", "conservative"'
            raise RpcError(INVALID_PARAMETER, f"Invalid estimate_mode parameter, must be one of: {modes}")
        return {"errors": ["Insufficient data or no feerate found"], "blocks": 0}

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

    def getmempoolentry(self, txid: object) -> Json:
        """One transaction that waits."""
        wanted = Txid(hash_bytes("parameter 1", txid))
        with self._chain.lock:
            entry = self._chain.mempool.entries.get(wanted)
            if entry is None:
                raise RpcError(INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
            return self._waiting(entry)

    def getmempoolinfo(self) -> Json:
        """How much waits; the mempool is never full."""
        with self._chain.lock:
            waiting = list(self._chain.mempool)
        size, relay = sum(entry.vsize for entry in waiting), amount(MIN_RELAY_RATE)
        return {
            "loaded": True,
            "size": len(waiting),
            "bytes": size,
            "usage": sum(len(entry.tx.to_bytes()) for entry in waiting),
            "total_fee": amount(sum(entry.fee for entry in waiting)),
            "maxmempool": 300_000_000,
            "mempoolminfee": relay,
            "minrelaytxfee": relay,
            "incrementalrelayfee": relay,
            "unbroadcastcount": 0,
            "fullrbf": False,
        }

    def gettxout(self, txid: object, n: object, include_mempool: object = True) -> Json | None:
        """An output that nobody has spent; nothing for others. ``include_mempool`` counts what waits too."""
        wanted, number = Txid(hash_bytes("txid", txid)), whole("n", n)
        if not 0 <= number < 2**32:
            raise RpcError(MISC_ERROR, "JSON integer out of range")
        outpoint = OutPoint(wanted, number)
        with self._chain.lock:
            waits = flag("include_mempool", include_mempool)
            coin = self._chain.coin(outpoint) if waits else self._chain.confirmed_coin(outpoint)
            if coin is None:
                return None
            tip = self._chain.tip
            depth = 0 if coin.height is None else tip.height - coin.height + 1
            where = {"bestblock": str(tip.hash), "confirmations": depth}
            return where | self._views.coin(coin.txout) | {"coinbase": coin.coinbase}

    def decoderawtransaction(self, hexstring: object, iswitness: object = None) -> Json:
        """Any transaction, decoded."""
        try:
            return self._views.decoded(Transaction(text("hexstring", hexstring)))
        except InvalidTransaction:
            raise RpcError(DESERIALIZATION_ERROR, "TX decode failed") from None

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
