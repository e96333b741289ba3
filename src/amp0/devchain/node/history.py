"""What the node's wallet shows of its coins and transactions, in the node's shapes."""

from __future__ import annotations

from amp0.devchain.blocks import POLICY_ASSET
from amp0.devchain.chain import Chain
from amp0.devchain.index import TxEntry
from amp0.devchain.node.values import POLICY_LABEL, Json, amount, amounts
from amp0.devchain.node.views import described
from amp0.devchain.node.wallet import BRANCHES, CHANGE, LEGACY, NodeWallet, OwnCoin, OwnScript
from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.confidential import Opening, issued_asset
from amp0.elements.hashes import asset_id_to_str
from amp0.elements.transaction import OutPoint, TxOut
from amp0.errors import InvalidAddress
from amp0.network import Network

_OF_ONE_TRANSACTION = frozenset({"amount", "fee", "details", "hex", "lastprocessedblock"})
"""What ``gettransaction`` tells, and ``listtransactions`` does not repeat with each output."""


class History:
    """Reads a wallet for its calls."""

    def __init__(self, chain: Chain, network: Network, wallet: NodeWallet) -> None:
        self._chain = chain
        self._network = network
        self._wallet = wallet

    # -- scripts -----------------------------------------------------------------------------

    @staticmethod
    def is_given(own: OwnScript) -> bool:
        """Whether a script belongs to an address; change goes to scripts that do not."""
        return own.kind != CHANGE

    def descriptor(self, own: OwnScript) -> str:
        """The descriptor of one script."""
        form = "pkh" if own.kind == LEGACY else "wpkh"
        return described(f"{form}([{self._wallet.fingerprint}/{own.path}]{own.pubkey.hex()})")

    def parent(self, own: OwnScript) -> str:
        """The descriptor of all scripts of its kind."""
        form = "pkh" if own.kind == LEGACY else "wpkh"
        account = own.path.rsplit("/", 2)[0]
        key = f"[{self._wallet.fingerprint}/{account}]{self._wallet.account(own.kind)}"
        return described(f"{form}({key}/{BRANCHES[own.kind]}/*)")

    def _place(self, script: bytes) -> Json:
        try:
            return {"address": str(Address.from_script(self._network, script))}
        except InvalidAddress:
            return {}

    # -- coins -------------------------------------------------------------------------------

    def unspent(self, coin: OwnCoin, entry: TxEntry, safe: bool) -> Json:
        """An entry of ``listunspent``."""
        own, txout, opening = coin.own, coin.txout, coin.opening
        shown: Json = {"txid": str(coin.outpoint.hash), "vout": coin.outpoint.vout(), **self._place(own.script)}
        if self.is_given(own):
            shown["label"] = self._wallet.label(own)
        shown |= {"scriptPubKey": own.script.hex(), "amount": amount(opening.satoshi)}
        if txout.explicit_asset is None:
            shown["assetcommitment"] = txout.asset_field.hex()
        shown["asset"] = asset_id_to_str(opening.asset)
        if txout.explicit_value is None:
            shown["amountcommitment"] = txout.value_field.hex()
        shown |= {**_blinders(opening), "confirmations": self._wallet.confirmations(coin.height)}
        if coin.height is None:
            pool = self._chain.mempool
            family = [pool.entries[txid] for txid in pool.ancestors(entry.tx)] + [entry]
            shown["ancestorcount"] = len(family)
            shown["ancestorsize"] = sum(one.vsize for one in family)
            shown["ancestorfees"] = sum(one.fee for one in family)
        shown |= {"spendable": True, "solvable": True, "desc": self.descriptor(own)}
        return {**shown, "parent_descs": [self.parent(own)], "safe": safe}

    # -- transactions ------------------------------------------------------------------------

    def transaction(self, entry: TxEntry) -> Json:
        """What ``gettransaction`` tells."""
        tx, wallet = entry.tx, self._wallet
        spent = [coin for txin in tx.vin if (coin := wallet.own_output(txin.prevout)) is not None]
        net = {POLICY_ASSET: 0}
        for coin in spent:
            net[coin.opening.asset] = net.get(coin.opening.asset, 0) - coin.opening.satoshi
        for vout in range(len(tx.vout)):
            own = wallet.own_output(OutPoint(entry.txid, vout))
            if own is not None:
                net[own.opening.asset] = net.get(own.opening.asset, 0) + own.opening.satoshi
        if spent:
            # What moved besides the fee, which has a place of its own.
            net[POLICY_ASSET] += entry.fee
        shown: Json = {"amount": amounts(net)}
        if spent:
            shown["fee"] = amounts({POLICY_ASSET: -entry.fee})
        shown["confirmations"] = wallet.confirmations(entry.height)
        if tx.is_coinbase:
            shown["generated"] = True
        shown |= self._position(entry)
        replaceable = entry.height is None and self._chain.mempool.signals_replacement(entry)
        tip = self._chain.tip
        return shown | {
            "txid": str(entry.txid),
            "wtxid": str(tx.wtxid()),
            "walletconflicts": [],
            "mempoolconflicts": [],
            "time": int(entry.received),
            "timereceived": int(entry.received),
            "bip125-replaceable": "yes" if replaceable else "no",
            "details": self.details(entry, bool(spent)),
            "hex": str(tx),
            "lastprocessedblock": {"hash": str(tip.hash), "height": tip.height},
        }

    def listed(self, entry: TxEntry) -> list[Json]:
        """The elements of ``listtransactions`` for one transaction."""
        whole = self.transaction(entry)
        of_all = {name: value for name, value in whole.items() if name not in _OF_ONE_TRANSACTION}
        return [detail | of_all for detail in whole["details"]]

    def _position(self, entry: TxEntry) -> Json:
        block = None if entry.height is None else self._chain.block_at(entry.height)
        if block is None:
            return {"trusted": self._wallet.is_trusted(entry)}
        return {
            "blockhash": str(block.hash),
            "blockheight": block.height,
            "blockindex": entry.position,
            "blocktime": block.time,
        }

    def details(self, entry: TxEntry, from_us: bool) -> list[Json]:
        """One element for each output sent, then one for each received; change is neither."""
        sent: list[Json] = []
        received: list[Json] = []
        for vout, txout in enumerate(entry.tx.vout):
            own = self._wallet.find(txout.script)
            opening = self._wallet.opening(OutPoint(entry.txid, vout), txout)
            change = from_us and own is not None and not self.is_given(own)
            if opening is None or txout.is_fee() or change:
                continue
            if from_us:
                detail = self._detail("send", vout, txout, opening, own)
                sent.append({**detail, "fee": amount(entry.fee), "abandoned": False})
            if own is not None:
                category = "receive"
                if entry.tx.is_coinbase:
                    deep = self._wallet.confirmations(entry.height) >= 100
                    category = "generate" if deep else "immature"
                detail = self._detail(category, vout, txout, opening, own)
                received.append({**detail, "abandoned": False})
        return sent + received

    def _detail(self, category: str, vout: int, txout: TxOut, opening: Opening, own: OwnScript | None) -> Json:
        outgoing = category == "send"
        shown = self._place(txout.script)
        if own is not None and not outgoing:
            shown["parent_descs"] = [self.parent(own)]
        shown |= {"category": category, "amount": amount(-opening.satoshi if outgoing else opening.satoshi)}
        blinders = _blinders(opening)
        shown |= {"amountblinder": blinders["amountblinder"], "asset": asset_id_to_str(opening.asset)}
        shown["assetblinder"] = blinders["assetblinder"]
        if own is not None and self.is_given(own):
            shown["label"] = self._wallet.label(own)
        shown["vout"] = vout
        return shown

    # -- issuances ---------------------------------------------------------------------------

    def issuances(self, asset: bytes | None) -> list[Json]:
        """Issuances by inputs of the wallet, newest first."""
        found = []
        for entry in reversed(self._wallet.entries()):
            for vin, txin in enumerate(entry.tx.vin):
                if txin.issuance is None or self._wallet.own_output(txin.prevout) is None:
                    continue
                openings = self._wallet.issued_openings(txin)
                if openings is None or asset not in (None, openings[0].asset):
                    continue
                again = txin.issuance.is_reissuance
                shown: Json = {"isreissuance": again}
                entropy = txin.issuance.entropy
                if not again:
                    entropy = wally.issuance_entropy(bytes(txin.prevout.hash), txin.prevout.vout(), entropy)
                    shown |= _side("token", openings[1])
                shown |= {"entropy": entropy[::-1].hex(), "txid": str(entry.txid), "vin": vin}
                found.append(shown | _side("asset", openings[0]))
        return found

    def first_issuance(self, asset: bytes) -> tuple[bytes, bool] | None:
        """Entropy of an asset, and whether its first amount was hidden: from the chain, whoever issued it."""
        with self._chain.lock:
            txids = list(self._chain.index.assets.get(asset, {}))
            entries = [entry for txid in txids if (entry := self._chain.entry(txid)) is not None]
        for entry in entries:
            for txin in entry.tx.vin:
                issuance = txin.issuance
                if issuance is None or issuance.is_reissuance or issued_asset(txin)[0] != asset:
                    continue
                entropy = wally.issuance_entropy(bytes(txin.prevout.hash), txin.prevout.vout(), issuance.entropy)
                return entropy, len(issuance.amount_field) == 33
        return None


def _blinders(opening: Opening) -> Json:
    return {"amountblinder": opening.vbf[::-1].hex(), "assetblinder": opening.abf[::-1].hex()}


def _side(kind: str, opening: Opening) -> Json:
    shown: Json = {kind: asset_id_to_str(opening.asset)}
    if opening.asset == POLICY_ASSET:
        shown["assetlabel"] = POLICY_LABEL
    shown[f"{kind}amount"] = amount(opening.satoshi)
    shown[f"{kind}blinds"] = opening.vbf[::-1].hex()
    return shown
