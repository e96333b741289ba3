"""Calls about the node's wallet: addresses, coins, payments, issuances, signed messages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

from amp0.devchain.blocks import POLICY_ASSET
from amp0.devchain.chain import MAX_BLOCKS_AT_ONCE, Chain
from amp0.devchain.node.chain_calls import address_facts
from amp0.devchain.node.history import History
from amp0.devchain.node.values import (
    INSUFFICIENT_FUNDS,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    POLICY_LABEL,
    TYPE_ERROR,
    WALLET_ERROR,
    Json,
    RpcError,
    amount,
    amounts,
    asset,
    flag,
    hash_bytes,
    mapping,
    satoshi,
    text,
    whole,
    wrong_type,
)
from amp0.devchain.node.wallet import FINAL, LEGACY, RECEIVE, REPLACEABLE, Issue, NodeWallet, OwnCoin, OwnScript
from amp0.devchain.validation import is_dust
from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.confidential import PlainOutput, issued_asset
from amp0.elements.hashes import Txid, asset_id_to_bytes, asset_id_to_str
from amp0.elements.keys import signed_message_hash
from amp0.elements.script import hash160, is_unspendable
from amp0.elements.transaction import TxOut
from amp0.errors import InvalidInput
from amp0.network import Network

_BURN = b"\x6a"
_NO_DEFINITION = "Asset reissuance token definition could not be found in wallet."


class WalletCalls:
    """Calls that use the node's own wallet."""

    def __init__(self, chain: Chain, network: Network, wallet: NodeWallet, name: str = "") -> None:
        self._name = name
        self._chain = chain
        self._network = network
        self._wallet = wallet
        self._history = History(chain, network, wallet)

    def table(self) -> dict[str, Callable[..., Any]]:
        """The calls by name."""
        return {
            "getnewaddress": self.getnewaddress,
            "getaddressinfo": self.getaddressinfo,
            "dumpblindingkey": self.dumpblindingkey,
            "getwalletinfo": self.getwalletinfo,
            "getbalance": self.getbalance,
            "listunspent": self.listunspent,
            "gettransaction": self.gettransaction,
            "listtransactions": self.listtransactions,
            "sendtoaddress": self.sendtoaddress,
            "sendmany": self.sendmany,
            "issueasset": self.issueasset,
            "reissueasset": self.reissueasset,
            "destroyamount": self.destroyamount,
            "listissuances": self.listissuances,
            "generatetoaddress": self.generatetoaddress,
            "signmessage": self.signmessage,
            "verifymessage": self.verifymessage,
        }

    # -- addresses ---------------------------------------------------------------------------

    def getnewaddress(self, label: object = "", address_type: object = "blech32") -> str:
        """A new confidential address; ``bech32`` gives a plain one, ``legacy`` one that can sign messages."""
        kinds = {"bech32": RECEIVE, "blech32": RECEIVE, "legacy": LEGACY}
        name = text("address_type", address_type)
        if name not in kinds:
            known = "bech32, blech32 and legacy are known"
            raise RpcError(INVALID_ADDRESS_OR_KEY, f"Unknown address type '{name[:40]}'; {known}")
        own = self._wallet.new_script(kinds[name], text("label", label))
        return str(Address.from_script(self._network, own.script)) if name == "bech32" else self._confidential(own)

    def _confidential(self, own: OwnScript) -> str:
        return str(Address.from_script(self._network, own.script, self._wallet.blinding_pubkey(own.script)))

    def _address(self, value: object, message: str | None = None) -> Address:
        try:
            return Address(text("address", value), self._network)
        except InvalidInput as error:
            raise RpcError(INVALID_ADDRESS_OR_KEY, message or str(error)) from None

    def getaddressinfo(self, address: object) -> Json:
        """What the wallet knows about an address."""
        parsed = self._address(address)
        own = self._wallet.find(parsed.script)
        plain = str(parsed.to_unconfidential())
        shown: Json = {"address": str(parsed), "ismine": own is not None, "solvable": own is not None}
        shown |= {"iswatchonly": False, **address_facts(parsed)}
        key = parsed.blinding_pubkey
        if own is not None:
            key = self._wallet.blinding_pubkey(own.script)
            shown |= {
                "pubkey": own.pubkey.hex(),
                "desc": self._history.descriptor(own),
                "parent_desc": self._history.parent(own),
                "ischange": not self._history.is_given(own),
                "hdkeypath": f"m/{own.path}",
                "hdmasterfingerprint": self._wallet.fingerprint,
                "labels": [self._wallet.label(own)] if self._history.is_given(own) else [],
            }
        else:
            shown |= {"ischange": False, "labels": []}
        confidential = plain if key is None else str(Address.from_script(self._network, parsed.script, key))
        shown |= {"confidential": confidential, "confidential_key": "" if key is None else key.hex()}
        shown["unconfidential"] = plain
        return shown

    def dumpblindingkey(self, address: object) -> str:
        """The private blinding key of an address; one that hides with a key of somebody else's is refused."""
        parsed = self._address(address, "Invalid Bitcoin address")
        if parsed.blinding_pubkey not in (None, self._wallet.blinding_pubkey(parsed.script)):
            raise RpcError(INVALID_ADDRESS_OR_KEY, "CT address blinding key does not match the blinding key in wallet")
        return self._wallet.blinding_key(parsed.script).hex()

    # -- coins -------------------------------------------------------------------------------

    def getwalletinfo(self) -> Json:
        """What the wallet is, and what it holds of the policy asset and others: now, soon, and after its time."""
        held: dict[str, dict[bytes, int]] = {kind: {POLICY_ASSET: 0} for kind in ("now", "soon", "later")}
        with self._chain.lock:
            for coin in self._wallet.coins():
                entry = self._chain.entry(coin.outpoint.hash)
                assert entry is not None
                kind = "now" if self._wallet.is_trusted(entry) else "soon"
                sums = held[kind if self._wallet.is_mature(coin) else "later"]
                sums[coin.opening.asset] = sums.get(coin.opening.asset, 0) + coin.opening.satoshi
            txcount, tip = len(self._wallet.entries()), self._chain.tip
        return {
            "walletname": self._name,
            "walletversion": 169900,
            "format": "sqlite",
            "balance": amounts(held["now"]),
            "unconfirmed_balance": amounts(held["soon"]),
            "immature_balance": amounts(held["later"]),
            "txcount": txcount,
            "keypoolsize": 0,
            "keypoolsize_hd_internal": 0,
            "paytxfee": amount(0),
            "private_keys_enabled": True,
            "avoid_reuse": False,
            "scanning": False,
            "descriptors": True,
            "external_signer": False,
            "blank": False,
            "lastprocessedblock": {"hash": str(tip.hash), "height": tip.height},
        }

    def getbalance(
        self,
        dummy: object = "*",
        minconf: object = 0,
        include_watchonly: object = False,
        avoid_reuse: object = False,
        assetlabel: object = None,
    ) -> Any:
        """What can be spent, by asset; of one asset with ``assetlabel``."""
        if text("dummy", dummy) != "*":
            raise RpcError(-32, 'dummy first argument must be excluded or set to "*".')
        if flag("avoid_reuse", avoid_reuse):
            raise RpcError(WALLET_ERROR, 'wallet does not have the "avoid reuse" feature enabled')
        flag("include_watchonly", include_watchonly)
        totals = {POLICY_ASSET: 0}
        for coin in self._wallet.usable(whole("minconf", minconf)):
            totals[coin.opening.asset] = totals.get(coin.opening.asset, 0) + coin.opening.satoshi
        if assetlabel is not None:
            return amount(totals.get(asset("assetlabel", assetlabel), 0))
        return amounts(totals)

    def listunspent(
        self,
        minconf: object = 1,
        maxconf: object = 9_999_999,
        addresses: object = None,
        include_unsafe: object = True,
        query_options: object = None,
    ) -> list[Json]:
        """Unspent coins, with their openings."""
        least, most = whole("minconf", minconf), whole("maxconf", maxconf)
        wanted = None
        if addresses is not None:
            if not isinstance(addresses, list):
                raise wrong_type("addresses", addresses, "array")
            wanted = {self._address(one).script for one in addresses}
        options = {} if query_options is None else mapping("query_options", query_options)
        unknown = set(options) - {"asset"}
        if unknown:
            raise RpcError(INVALID_PARAMETER, f"query_options: only asset is known here, not {sorted(unknown)[0][:40]}")
        of_asset = asset("asset", options["asset"]) if options.get("asset") else None
        unsafe = flag("include_unsafe", include_unsafe)
        shown = []
        with self._chain.lock:
            for coin in self._wallet.coins():
                entry = self._chain.entry(coin.outpoint.hash)
                assert entry is not None
                safe = self._wallet.is_trusted(entry)
                if (
                    least <= self._wallet.confirmations(coin.height) <= most
                    and (wanted is None or coin.own.script in wanted)
                    and of_asset in (None, coin.opening.asset)
                    and self._wallet.is_mature(coin)
                    and (unsafe or safe)
                ):
                    shown.append(self._history.unspent(coin, entry, safe))
        return shown

    def gettransaction(
        self, txid: object, include_watchonly: object = True, verbose: object = False, assetlabel: object = None
    ) -> Json:
        """A transaction of the wallet and what it moved."""
        flag("include_watchonly", include_watchonly)
        flag("verbose", verbose)
        with self._chain.lock:
            entry = self._wallet.entry(Txid(hash_bytes("txid", txid)))
            if entry is None:
                raise RpcError(INVALID_ADDRESS_OR_KEY, "Invalid or non-wallet transaction id")
            shown = self._history.transaction(entry)
        if assetlabel is not None:
            name = asset_id_to_str(asset("assetlabel", assetlabel))
            shown["details"] = [detail for detail in shown["details"] if detail["asset"] == name]
        return shown

    def listtransactions(
        self, label: object = "*", count: object = 10, skip: object = 0, include_watchonly: object = True
    ) -> list[Json]:
        """What the wallet's transactions moved, an element for each output; the newest ``count`` after ``skip``."""
        if text("label", label) != "*":
            raise RpcError(INVALID_PARAMETER, 'only the label "*" is known here')
        flag("include_watchonly", include_watchonly)
        most, left_out = whole("count", count), whole("skip", skip)
        if most < 0 or left_out < 0:
            raise RpcError(INVALID_PARAMETER, "Negative count" if most < 0 else "Negative from")
        with self._chain.lock:
            shown = [row for entry in self._wallet.entries() for row in self._history.listed(entry)]
        end = max(len(shown) - left_out, 0)
        return shown[max(end - most, 0) : end]

    # -- payments ----------------------------------------------------------------------------

    def sendtoaddress(
        self,
        address: object,
        amount: object,
        comment: object = "",
        comment_to: object = "",
        subtractfeefromamount: object = False,
        replaceable: object = True,
        conf_target: object = None,
        estimate_mode: object = "unset",
        avoid_reuse: object = None,
        assetlabel: object = POLICY_LABEL,
        ignoreblindfail: object = True,
        fee_rate: object = None,
        verbose: object = False,
    ) -> Any:
        """Pay one address; fees are the least that relay takes."""
        _without_choice(flag("subtractfeefromamount", subtractfeefromamount), fee_rate)
        payment = self._payment(address, satoshi(amount), assetlabel)
        tx = self._wallet.send([payment], sequence=_sequence(replaceable))
        return _sent(tx.txid(), verbose)

    def sendmany(
        self,
        dummy: object,
        amounts: object,
        minconf: object = 0,
        comment: object = "",
        subtractfeefrom: object = None,
        replaceable: object = True,
        conf_target: object = None,
        estimate_mode: object = "unset",
        output_assets: object = None,
        ignoreblindfail: object = True,
        fee_rate: object = None,
        verbose: object = False,
    ) -> Any:
        """Pay many addresses at once, each in the asset that ``output_assets`` names. Nodes ignore ``minconf`` here."""
        if text("dummy", dummy):
            raise RpcError(INVALID_PARAMETER, 'Dummy value must be set to ""')
        _without_choice(bool(subtractfeefrom), fee_rate)
        wanted = mapping("amounts", amounts)
        assets = {} if output_assets is None else mapping("output_assets", output_assets)
        if not wanted:
            raise RpcError(INSUFFICIENT_FUNDS, "Transaction must have at least one recipient")
        whole("minconf", minconf)
        payments = [self._payment(to, satoshi(much), assets.get(to, POLICY_LABEL)) for to, much in wanted.items()]
        tx = self._wallet.send(payments, sequence=_sequence(replaceable))
        return _sent(tx.txid(), verbose)

    def _payment(self, to: object, much: int, what: object) -> PlainOutput:
        address = self._address(to, f"Invalid Bitcoin address: {str(to)[:120]}")
        try:
            paid = _asset(what)
        except RpcError as error:
            raise RpcError(WALLET_ERROR if error.code == INVALID_PARAMETER else error.code, error.message) from None
        if not much or (paid == POLICY_ASSET and is_dust(TxOut.explicit(address.script, paid, much))):
            raise RpcError(INSUFFICIENT_FUNDS, "Transaction amount too small")
        return PlainOutput(address.script, paid, much, address.blinding_pubkey)

    # -- issuances ---------------------------------------------------------------------------

    def issueasset(
        self, assetamount: object, tokenamount: object, blind: object = True, contract_hash: object = "00" * 32
    ) -> Json:
        """Issue a new asset and its reissuance tokens to the wallet."""
        much, tokens = satoshi(assetamount), satoshi(tokenamount)
        if not much and not tokens:
            raise RpcError(TYPE_ERROR, "Issuance must have one non-zero component")
        plan = Issue(much, tokens, flag("blind", blind), hash_bytes("contract_hash", contract_hash))
        tx = self._wallet.send([], issue=plan)
        txin = tx.vin[0]
        what, token = issued_asset(txin)
        entropy = wally.issuance_entropy(bytes(txin.prevout.hash), txin.prevout.vout(), plan.contract_hash)
        return {
            "txid": str(tx.txid()),
            "vin": 0,
            "entropy": entropy[::-1].hex(),
            "asset": asset_id_to_str(what),
            "token": asset_id_to_str(token),
        }

    def reissueasset(self, asset: object, assetamount: object) -> Json:
        """Issue more of an asset whose token the wallet holds; the token goes to a new address of its own."""
        much = satoshi(assetamount)
        if not much:
            raise RpcError(TYPE_ERROR, "Reissuance must create a non-zero amount.")
        try:
            what = asset_id_to_bytes(text("asset", asset))
        except InvalidInput:
            raise RpcError(WALLET_ERROR, _NO_DEFINITION) from None
        with self._wallet.lock:
            known = self._history.first_issuance(what)
            if known is None:
                raise RpcError(WALLET_ERROR, _NO_DEFINITION)
            entropy, blinded = known
            token = wally.issuance_token(entropy, blinded)
            held: Sequence[OwnCoin] = [coin for coin in self._wallet.usable() if coin.opening.asset == token]
            # The blinding factor of the token is what proves it: one that is not hidden cannot be used.
            held = [coin for coin in held if not coin.opening.is_explicit]
            if not held:
                raise RpcError(WALLET_ERROR, "No available reissuance tokens in wallet.")
            tx = self._wallet.send([], first=held[0], issue=Issue(much, 0, blinded, entropy=entropy))
        return {"txid": str(tx.txid()), "vin": 0}

    def destroyamount(self, asset: object, amount: object, comment: object = "", verbose: object = False) -> Any:
        """Destroy an amount for ever, in the open."""
        what, much = _asset(asset), satoshi(amount)
        if not much:
            raise RpcError(TYPE_ERROR, "Invalid amount to destroy")
        tx = self._wallet.send([PlainOutput(_BURN, what, much)])
        assert any(is_unspendable(txout.script) and txout.explicit_value == much for txout in tx.vout)
        return _sent(tx.txid(), verbose)

    def listissuances(self, asset: object = None) -> list[Json]:
        """The issuances and reissuances that the wallet made, newest first."""
        what = None if asset is None else _asset(asset)
        return self._history.issuances(what)

    # -- blocks and messages -----------------------------------------------------------------

    def generatetoaddress(self, nblocks: object, address: object, maxtries: object = None) -> list[str]:
        """Make blocks whose fees go to an address."""
        count = whole("nblocks", nblocks)
        script = self._address(address, "Error: Invalid address").script
        if not 0 <= count <= MAX_BLOCKS_AT_ONCE:
            raise RpcError(INVALID_PARAMETER, f"nblocks lies between 0 and {MAX_BLOCKS_AT_ONCE}")
        return [str(block) for block in self._chain.mine(count, script=script)]

    def signmessage(self, address: object, message: object) -> str:
        """Sign a message with the key of an own legacy address."""
        script = self._address(address, "Invalid address").script
        said = text("message", message)
        if not _is_p2pkh(script):
            raise RpcError(TYPE_ERROR, "Address does not refer to key")
        own = self._wallet.find(script)
        if own is None:
            raise RpcError(WALLET_ERROR, "Private key not available")
        signature = wally.ecdsa_sign_recoverable(self._wallet.private_key(own), signed_message_hash(said))
        return base64.b64encode(signature).decode("ascii")

    def verifymessage(self, address: object, signature: object, message: object) -> bool:
        """Whether the key of a legacy address signed a message."""
        script = self._address(address, "Invalid address").script
        if not _is_p2pkh(script):
            raise RpcError(TYPE_ERROR, "Address does not refer to key")
        try:
            raw = base64.b64decode(text("signature", signature), validate=True)
        except (binascii.Error, ValueError):
            raise RpcError(TYPE_ERROR, "Malformed base64 encoding") from None
        pubkey = wally.ecdsa_recover(raw, signed_message_hash(text("message", message)))
        return pubkey is not None and hash160(pubkey) == script[3:23]


def _asset(value: object) -> bytes:
    return asset("asset", value)


def _is_p2pkh(script: bytes) -> bool:
    return len(script) == 25 and script[:3] == b"\x76\xa9\x14"


def _sequence(replaceable: object) -> int:
    return REPLACEABLE if flag("replaceable", replaceable) else FINAL


def _sent(txid: Txid, verbose: object) -> Any:
    return {"txid": str(txid), "fee_reason": "Fallback fee"} if flag("verbose", verbose) else str(txid)


def _without_choice(subtract: bool, fee_rate: object) -> None:
    if subtract or fee_rate is not None:
        raise RpcError(
            INVALID_PARAMETER, "this node pays the least fee that relay takes, from its change: leave the fee out"
        )
