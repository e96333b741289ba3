"""TxBuilder: recipients → selection → blinding → PSET.

The order of things is LWK's: asset by asset the recipients and then the change, L-BTC last, the
explicit fee output at the very end, nothing shuffled. So is the fee, to the satoshi, for the same
inputs and outputs. Three things are deliberately not LWK's: only the L-BTC coins that are needed
are spent (``drain_lbtc_wallet`` spends all of them), selection gives the same answer each time, and
a setter that fails leaves the builder as it was.

An output that should be confidential is blinded or the build fails; there is no way by which it
becomes explicit.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from amp0.elements.address import Address
from amp0.elements.confidential import PlainOutput
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.hashes import asset_id_to_bytes, asset_id_to_str
from amp0.elements.pset import Amp0Pset, Pset
from amp0.elements.script import push
from amp0.elements.transaction import MAX_SATOSHI, Issuance, OutPoint, Transaction
from amp0.errors import (
    Amp0BuildError,
    InsufficientFunds,
    InvalidAddress,
    InvalidInput,
    NetworkMismatch,
    TooManyInputs,
    WalletError,
)
from amp0.wallet.assembly import (
    Built,
    PlannedOutput,
    SpentCoin,
    build,
    discount_weight,
    fee_of_weight,
    own_output,
)
from amp0.wallet.coin_selection import MAX_INPUTS, select, take_all
from amp0.wallet.external import ExternalUtxo
from amp0.wallet.issuance import Contract, find_issuance, first_issuance, issued_by, reissuance

if TYPE_CHECKING:
    from amp0.network import Network
    from amp0.wallet.wollet import Wollet

__all__ = ["TxBuilder"]

MAX_OUTPUTS = 256
"""Far above what fits a standard transaction when blinded (84)."""
MAX_OP_RETURN_BYTES = 80
"""Data that nodes relay in one OP_RETURN."""
MAX_FEE_RATE = 1_000_000.0
"""1,000 sat/vB, ten thousand times the usual rate: above this it is a typing error."""


@dataclass(frozen=True, slots=True)
class _Recipient:
    """Who gets what. ``blinding_pubkey`` is ``None`` for an explicit output."""

    script: bytes
    asset: bytes
    satoshi: int
    blinding_pubkey: bytes | None

    def planned(self, satoshi: int | None = None) -> PlannedOutput:
        amount = self.satoshi if satoshi is None else satoshi
        return PlannedOutput(PlainOutput(self.script, self.asset, amount, self.blinding_pubkey))


@dataclass(frozen=True, slots=True)
class _Issue:
    """A new asset and its tokens; a receiver of ``None`` is the wallet itself."""

    satoshi: int
    receiver: _Recipient | None
    tokens: int
    token_receiver: _Recipient | None
    contract_hash: bytes


@dataclass(frozen=True, slots=True)
class _Reissue:
    """More of an asset; ``issuance_tx`` is the transaction that first issued it, if given."""

    asset: bytes
    satoshi: int
    receiver: _Recipient | None
    issuance_tx: Transaction | None


class TxBuilder:
    """Builds a transaction of a wollet: ``network.tx_builder()``, some setters, one finish.

    Setters check at once and return the builder, so they can be chained or not. ``random`` is the
    source of blinding factors; nothing but tests should replace it.
    """

    def __init__(self, network: Network, *, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._network = network
        self._policy = asset_id_to_bytes(network.policy_asset())
        self._random = random
        self._rate = float(network.min_fee_rate)
        self._recipients: tuple[_Recipient, ...] = ()
        self._drain = False
        self._drain_to: _Recipient | None = None
        self._chosen: tuple[OutPoint, ...] | None = None
        self._left: frozenset[OutPoint] = frozenset()
        self._order: tuple[OutPoint, ...] | None = None
        self._external: tuple[ExternalUtxo, ...] = ()
        self._rangeproofs = True
        self._issue: _Issue | None = None
        self._reissues: tuple[_Reissue, ...] = ()

    # -- recipients -----------------------------------------------------------------------------

    def add_lbtc_recipient(self, address: Address | str, satoshi: int) -> TxBuilder:
        """Pay L-BTC to a confidential address."""
        return self.add_recipient(address, satoshi, self._network.policy_asset())

    def add_recipient(self, address: Address | str, satoshi: int, asset: str) -> TxBuilder:
        """Pay ``satoshi`` of ``asset`` (display hex) to a confidential address.

        Raises :class:`InvalidAddress` for a plain one: what it receives would be public. If that is
        meant, say :meth:`add_explicit_recipient`.
        """
        return self._add(self._to(address, satoshi, asset, confidential=True))

    def add_explicit_recipient(self, address: Address | str, satoshi: int, asset: str) -> TxBuilder:
        """Pay to a plain address, amount and asset visible to everybody."""
        return self._add(self._to(address, satoshi, asset, confidential=False))

    def add_burn(self, satoshi: int, asset: str) -> TxBuilder:
        """Destroy ``satoshi`` of ``asset`` (display hex), for everybody to see."""
        return self._add(_Recipient(b"\x6a", asset_id_to_bytes(asset), _amount(satoshi), None))

    def add_op_return(self, data: bytes) -> TxBuilder:
        """Publish up to 80 bytes in the transaction. One per transaction is relayed."""
        if not 0 < len(data) <= MAX_OP_RETURN_BYTES:
            raise InvalidInput(f"an OP_RETURN holds 1 to {MAX_OP_RETURN_BYTES} bytes")
        if any(r.script[:1] == b"\x6a" and r.satoshi == 0 for r in self._recipients):
            raise InvalidInput("nodes relay one OP_RETURN per transaction, and there is one already")
        return self._add(_Recipient(b"\x6a" + push(bytes(data)), self._policy, 0, None))

    def drain_lbtc_wallet(self) -> TxBuilder:
        """Spend every L-BTC coin; what is left after recipients and fee goes to the wallet's change."""
        self._drain = True
        return self

    def drain_lbtc_to(self, address: Address | str) -> TxBuilder:
        """Spend every L-BTC coin; what is left after recipients and fee goes to a confidential address."""
        self._drain_to = self._to(address, 1, self._network.policy_asset(), confidential=True)
        self._drain = True
        return self

    def drain_lbtc_to_explicit(self, address: Address | str) -> TxBuilder:
        """Like :meth:`drain_lbtc_to`, to a plain address, for everybody to see."""
        self._drain_to = self._to(address, 1, self._network.policy_asset(), confidential=False)
        self._drain = True
        return self

    def _add(self, recipient: _Recipient) -> TxBuilder:
        if len(self._recipients) >= MAX_OUTPUTS:
            raise InvalidInput(f"a transaction has room for at most {MAX_OUTPUTS} recipients")
        self._recipients = (*self._recipients, recipient)
        return self

    def _to(self, address: Address | str, satoshi: int, asset: str, *, confidential: bool) -> _Recipient:
        if isinstance(address, str) or address.network() != self._network:
            # Parsing it again for our network raises NetworkMismatch with the right words.
            address = Address(str(address), self._network)
        if confidential and not address.is_blinded():
            raise InvalidAddress(
                f"NotConfidentialAddress: {address} is a plain address; ask for the confidential one, "
                "or say add_explicit_recipient (drain_lbtc_to_explicit) if everybody may see the amount"
            )
        if not confidential and address.is_blinded():
            raise InvalidAddress(
                f"NotExplicitAddress: {address} is confidential; use add_recipient (drain_lbtc_to), "
                "or address.to_unconfidential() if everybody may see the amount"
            )
        return _Recipient(address.script, asset_id_to_bytes(asset), _amount(satoshi), address.blinding_pubkey)

    # -- assets ---------------------------------------------------------------------------------

    def issue_asset(
        self,
        asset_sats: int,
        asset_receiver: Address | str | None = None,
        token_sats: int = 0,
        token_receiver: Address | str | None = None,
        contract: Contract | None = None,
    ) -> TxBuilder:
        """Make a new asset, with tokens that give the right to make more of it.

        Receivers are confidential addresses, or ``None`` for the wallet itself. Not for AMP0
        accounts: AMP0 assets are issued through the issuer API.
        """
        if self._issue is not None:
            raise InvalidInput("one transaction of this builder issues one asset")
        if asset_sats == 0 and token_sats == 0:
            raise InvalidInput("InvalidAmount: an issuance makes some of the asset, or tokens, or both")
        self._issue = _Issue(
            0 if asset_sats == 0 else _amount(asset_sats),
            self._receiver(asset_receiver),
            0 if token_sats == 0 else _amount(token_sats),
            self._receiver(token_receiver),
            bytes(32) if contract is None else contract.hash(),
        )
        return self

    def reissue_asset(
        self,
        asset_to_reissue: str,
        satoshi_to_reissue: int,
        asset_receiver: Address | str | None = None,
        issuance_tx: Transaction | None = None,
    ) -> TxBuilder:
        """Make more of an asset (display hex) whose reissuance token this wallet holds.

        ``issuance_tx`` is the transaction that first issued it; needed when the wallet did not take
        part in it.
        """
        asset = asset_id_to_bytes(asset_to_reissue)
        if any(order.asset == asset for order in self._reissues):
            raise InvalidInput("one transaction reissues an asset once")
        receiver = self._receiver(asset_receiver)
        order = _Reissue(asset, _amount(satoshi_to_reissue), receiver, issuance_tx)
        self._reissues = (*self._reissues, order)
        return self

    def _receiver(self, address: Address | str | None) -> _Recipient | None:
        if address is None:
            return None
        return self._to(address, 1, self._network.policy_asset(), confidential=True)

    # -- how ------------------------------------------------------------------------------------

    def fee_rate(self, rate: float | None = None) -> TxBuilder:
        """Fee in sat per 1,000 discounted virtual bytes; ``None`` for the network's minimum."""
        minimum = float(self._network.min_fee_rate)
        if rate is None:
            rate = minimum
        # The comparison is false for NaN as well.
        if not minimum <= rate <= MAX_FEE_RATE:
            raise InvalidInput(
                f"a fee rate is between {minimum:g} (less is not relayed) and {MAX_FEE_RATE:g} sat/kvB, not {rate:g}"
            )
        self._rate = float(rate)
        return self

    def set_wallet_utxos(self, utxos: Iterable[OutPoint | str]) -> TxBuilder:
        """Spend exactly these coins of the wallet (and the external ones)."""
        self._chosen = _outpoints(utxos)
        return self

    def leave_utxos(self, utxos: Iterable[OutPoint | str]) -> TxBuilder:
        """Spend none of these coins, for instance those that are frozen at the AMP0 server.

        Outpoints that are not the wallet's change nothing. Coins named by :meth:`set_wallet_utxos` must not be here.
        """
        self._left = frozenset(_outpoints(utxos))
        return self

    def set_inputs_order(self, inputs_order: Iterable[OutPoint | str]) -> TxBuilder:
        """Put the inputs in this order; it has to name every input."""
        self._order = _outpoints(inputs_order)
        return self

    def add_external_utxos(self, utxos: Iterable[ExternalUtxo]) -> TxBuilder:
        """Spend these coins of other wallets as well; their owners have to sign."""
        added = (*self._external, *utxos)
        _outpoints(utxo.coin.outpoint for utxo in added)
        self._external = added
        return self

    def add_input_rangeproofs(self, add_rangeproofs: bool = True) -> TxBuilder:
        """Whether the PSET carries the range proofs of the coins spent (about 4 KB each)."""
        self._rangeproofs = bool(add_rangeproofs)
        return self

    # -- building -------------------------------------------------------------------------------

    def finish(self, wollet: Wollet) -> Pset:
        """The blinded, unsigned PSET of an ordinary wollet.

        Raises :class:`Amp0BuildError` for an AMP0 wollet: its server needs the nonces that only
        :meth:`finish_for_amp0` gives.
        """
        if wollet.is_amp0():
            raise Amp0BuildError
        return self._build(wollet).pset

    def finish_for_amp0(self, wollet: Wollet) -> Amp0Pset:
        """The blinded, unsigned PSET with its blinding nonces, for the AMP0 server to cosign."""
        built = self._build(wollet)
        return Amp0Pset.from_builder(
            built.pset,
            [output.nonce for output in built.outputs],
            [output.opening for output in built.outputs],
        )

    def _build(self, wollet: Wollet) -> Built:
        descriptor = wollet.descriptor()
        ours, theirs = self._network, wollet.network
        if (ours.genesis_hash(), ours.policy_asset()) != (theirs.genesis_hash(), theirs.policy_asset()):
            raise NetworkMismatch(
                f"the builder is for {ours.name} and the wollet for {theirs.name} (or for another policy asset)"
            )
        if wollet.is_amp0() and (self._issue is not None or self._reissues):
            raise WalletError(
                "an AMP0 server does not cosign issuances; AMP0 assets are issued through the issuer API, "
                "other assets from an ordinary wallet"
            )
        plan = _Plan(self, wollet, descriptor)
        coins, outputs = plan.make()
        if self._order is not None:
            coins = _reorder(coins, self._order)
        if all(coin.opening.is_explicit for coin in coins):
            blinded = sum(1 for output in outputs if output.plain.blinding_pubkey is not None)
            if blinded == 1:
                raise WalletError(
                    "with only explicit inputs a single blinded output hides nothing; "
                    "add a second one or a confidential input"
                )
        return build(self._network, descriptor, coins, outputs, rangeproofs=self._rangeproofs, random=self._random)

    def __repr__(self) -> str:
        return (
            f"<TxBuilder {self._network.name}: {len(self._recipients)} recipients, "
            f"{self._rate:g} sat/kvB{', drain' if self._drain else ''}>"
        )

    __str__ = __repr__


class _Plan:
    """One run of a builder over a wollet: which coins are spent and which outputs are made."""

    def __init__(self, builder: TxBuilder, wollet: Wollet, descriptor: WolletDescriptor) -> None:
        self.builder = builder
        self.wollet = wollet
        self.descriptor = descriptor
        self.inputs: list[SpentCoin] = []
        self.outputs: list[PlannedOutput] = []
        self.changes = 0
        weight = wollet.max_weight_to_satisfy()
        external = {utxo.coin.outpoint for utxo in builder._external}
        self.coins = [
            SpentCoin(utxo.outpoint(), utxo.txout, utxo.opening, weight, (utxo.ext_int(), utxo.index))
            for utxo in wollet.utxos()
            if utxo.outpoint() not in external and utxo.outpoint() not in builder._left
        ]
        if builder._chosen is not None:
            known = {coin.outpoint: coin for coin in self.coins}
            for outpoint in builder._chosen:
                if outpoint not in known:
                    raise WalletError(
                        f"MissingWalletUtxo({outpoint}): this coin is not in the wollet, or it has been "
                        "spent; sync and choose among wollet.utxos()"
                    )
            self.coins = [known[outpoint] for outpoint in builder._chosen]

    def make(self) -> tuple[list[SpentCoin], list[PlannedOutput]]:
        """Inputs and outputs, the fee last."""
        builder = self.builder
        orders = (builder._recipients, builder._external, builder._reissues, builder._issue)
        if not any(orders) and not builder._drain and builder._chosen is None:
            raise WalletError("nothing to do: add a recipient, or say drain_lbtc_wallet()")
        assets = dict.fromkeys(recipient.asset for recipient in builder._recipients)
        spent_anyway = [utxo.coin for utxo in builder._external]
        if builder._chosen is not None:
            spent_anyway += self.coins
        assets |= dict.fromkeys(coin.opening.asset for coin in spent_anyway)
        for asset in assets:
            if asset != builder._policy:
                self._asset(asset)
        self._lbtc()
        if len(self.inputs) > MAX_INPUTS:
            raise TooManyInputs(
                MAX_INPUTS,
                asset_id=asset_id_to_str(builder._policy),
                spendable=sum(c.satoshi for c in self.inputs[:MAX_INPUTS] if c.opening.asset == builder._policy),
            )
        return self.inputs, self.outputs

    def _asset(self, asset: bytes) -> None:
        """Recipients, coins and change of one asset other than L-BTC."""
        needed = self._recipients_of(asset)
        external = [u.coin for u in self.builder._external if u.coin.opening.asset == asset]
        own = [coin for coin in self.coins if coin.opening.asset == asset]
        given = sum(coin.satoshi for coin in external)
        asset_id = asset_id_to_str(asset)
        limit = MAX_INPUTS - len(self.inputs) - len(external)
        if self.builder._chosen is not None:
            chosen = _all(asset_id, own, needed, given, limit)
        else:
            chosen = _enough(asset_id, own, needed, given, limit)
        self.inputs += [*external, *chosen]
        change = given + sum(coin.satoshi for coin in chosen) - needed
        if change:
            self.outputs.append(self._change(asset, change))

    def _lbtc(self) -> None:
        """L-BTC recipients, coins, change and the fee."""
        builder, policy = self.builder, self.builder._policy
        needed = self._recipients_of(policy)
        external = [u.coin for u in builder._external if u.coin.opening.asset == policy]
        own = [coin for coin in self.coins if coin.opening.asset == policy]
        given = sum(coin.satoshi for coin in external)
        self.inputs += external
        for order in builder._reissues:
            self._reissue(order)
        issuances = [coin.issuance for coin in self.inputs if coin.issuance is not None]
        first_new = len(self.outputs)
        if builder._issue is not None:
            issuances.append(self._issue_outputs(builder._issue))
        rest = builder._drain_to.planned() if builder._drain_to else self._change(policy, 1)
        scripts = [output.plain.script for output in (*self.outputs, rest)] + [b""]
        count = len(self.inputs)
        signatures = sum(coin.weight for coin in self.inputs)
        per_coin = own[0].weight if own else 0

        def fee_for(coins: int) -> int:
            weight = discount_weight(count + coins, scripts, issuances) + signatures + coins * per_coin
            return fee_of_weight(weight, builder._rate)

        # There is always something left over, be it one satoshi: change, or the drained amount.
        # A surjection proof reaches 256 things, and what is issued counts like an input.
        issued = sum(bool(i.amount_field) + bool(i.tokens_field) for i in issuances)
        asset_id, limit = asset_id_to_str(policy), MAX_INPUTS - count - issued
        if builder._drain or builder._chosen is not None:
            chosen = _all(asset_id, own, needed + 1 + fee_for(len(own)), given, limit)
        else:
            chosen = _enough(asset_id, own, needed + 1, given, limit, fee_for)
        self.inputs += chosen
        if builder._issue is not None:
            self._name_issued(builder._issue, issuances[-1], first_new)
        fee = fee_for(len(chosen))
        left = given + sum(coin.satoshi for coin in chosen) - needed - fee
        self.outputs.append(
            builder._drain_to.planned(left)
            if builder._drain_to
            else replace(rest, plain=replace(rest.plain, satoshi=left))
        )
        self.outputs.append(PlannedOutput(PlainOutput(b"", policy, fee)))

    def _reissue(self, order: _Reissue) -> None:
        """Spend the token of an asset, send it back to the wallet, and make more of the asset."""
        asset_id = asset_id_to_str(order.asset)
        if order.issuance_tx is not None:
            sources = [order.issuance_tx]
        else:
            sources = [wallet_tx.tx() for wallet_tx in self.wollet.transactions()]
        asset = find_issuance(order.asset, sources)
        if asset is None:
            raise WalletError(f"the transaction that first issued {asset_id} is not known; give it as issuance_tx")
        if asset.blinded:
            raise WalletError(
                f"{asset_id} was issued with a hidden amount, so it can only be reissued with one, "
                "which this builder does not do"
            )
        at = next((i for i, coin in enumerate(self.inputs) if coin.opening.asset == asset.token), None)
        if at is None:
            coins = [coin for coin in self.coins if coin.opening.asset == asset.token]
            (coin,) = _enough(asset_id_to_str(asset.token), coins[:1], 1, 0, MAX_INPUTS - len(self.inputs))
            at = len(self.inputs)
            self.inputs.append(coin)
            self.outputs.append(self._change(asset.token, coin.satoshi))
        coin = self.inputs[at]
        issuance = reissuance(asset, order.satoshi, coin.opening.abf)
        self.inputs[at] = replace(coin, issuance=issuance)
        self.outputs.append(self._received(order.receiver, order.asset, order.satoshi))

    def _issue_outputs(self, order: _Issue) -> Issuance:
        """Outputs of a new asset, which has no name before the input that issues it is chosen."""
        if order.satoshi:
            self.outputs.append(self._received(order.receiver, bytes(32), order.satoshi))
        if order.tokens:
            self.outputs.append(self._received(order.token_receiver, bytes(32), order.tokens))
        return first_issuance(order.satoshi, order.tokens, order.contract_hash)

    def _name_issued(self, order: _Issue, issuance: Issuance, first: int) -> None:
        """Let the first L-BTC input issue, and name the outputs from ``first`` on accordingly."""
        policy = self.builder._policy
        at = next(i for i, coin in enumerate(self.inputs) if coin.opening.asset == policy)
        self.inputs[at] = replace(self.inputs[at], issuance=issuance)
        asset, token = issued_by(self.inputs[at].outpoint, issuance)
        names = [asset] * bool(order.satoshi) + [token] * bool(order.tokens)
        for i, name in enumerate(names, first):
            output = self.outputs[i]
            self.outputs[i] = replace(output, plain=replace(output.plain, asset=name))

    def _received(self, receiver: _Recipient | None, asset: bytes, satoshi: int) -> PlannedOutput:
        if receiver is None:
            return self._change(asset, satoshi)
        return replace(receiver, asset=asset).planned(satoshi)

    def _recipients_of(self, asset: bytes) -> int:
        """Plan the recipients of one asset; what they need in all."""
        needed = 0
        for recipient in self.builder._recipients:
            if recipient.asset == asset:
                self.outputs.append(recipient.planned())
                needed += recipient.satoshi
        return needed

    def _change(self, asset: bytes, satoshi: int) -> PlannedOutput:
        index = self.wollet.change_index(self.changes)
        self.changes += 1
        chain = Chain.EXTERNAL if self.descriptor.is_amp0() else Chain.INTERNAL
        return own_output(self.descriptor, chain, index, asset, satoshi)


def _nothing(_: int) -> int:
    return 0


def _enough(
    asset_id: str,
    coins: Sequence[SpentCoin],
    needed: int,
    given: int,
    limit: int,
    fee_for: Callable[[int], int] = _nothing,
) -> tuple[SpentCoin, ...]:
    """Coins that cover ``needed`` beside what external coins give; errors count both."""
    try:
        return select(asset_id, coins, needed - given, fee_for=fee_for, limit=limit).chosen
    except InsufficientFunds as error:
        raise InsufficientFunds(asset_id, error.needed + given, error.available + given) from None


def _all(asset_id: str, coins: Sequence[SpentCoin], needed: int, given: int, limit: int) -> tuple[SpentCoin, ...]:
    """All coins, in their order, if they cover ``needed`` beside what external coins give."""
    try:
        take_all(asset_id, coins, needed - given, limit=limit)
    except InsufficientFunds as error:
        raise InsufficientFunds(asset_id, needed, error.available + given) from None
    return tuple(coins)


def _amount(satoshi: object) -> int:
    if isinstance(satoshi, bool) or not isinstance(satoshi, int) or not 1 <= satoshi <= MAX_SATOSHI:
        raise InvalidInput(
            f"InvalidAmount: an amount is a whole number of satoshi from 1 to {MAX_SATOSHI}, not {satoshi!r}"
        )
    return satoshi


def _outpoints(values: Iterable[OutPoint | str]) -> tuple[OutPoint, ...]:
    outpoints = tuple(OutPoint(value) if isinstance(value, str) else value for value in values)
    if len(set(outpoints)) != len(outpoints):
        raise InvalidInput("a coin is named twice")
    return outpoints


def _reorder(coins: list[SpentCoin], order: Sequence[OutPoint]) -> list[SpentCoin]:
    by_outpoint = {coin.outpoint: coin for coin in coins}
    if set(by_outpoint) != set(order):
        raise InvalidInput("set_inputs_order has to name every input of the transaction and no other")
    return [by_outpoint[outpoint] for outpoint in order]
