"""Whether a transaction does what it is said to do. Pure: a transaction, a request and a payload in, findings out.

The amounts and blinders in a payload are a claim, whoever makes it: an output counts only when they open its
commitments. An amount cannot be made to fit another commitment, so a claim that opens is true, and nothing else in a
payload matters. Nothing here knows who holds the keys of the treasury, or by which way a transaction was made.

Ids are 32 bytes in internal order; blinders come as RPC prints them, reversed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from amp0.elements import wally
from amp0.elements.confidential import ZERO32, Opening, explicit_opening, fits, issued_asset
from amp0.elements.hashes import bytes_from_hex
from amp0.elements.script import is_unspendable
from amp0.elements.transaction import Transaction, TxOut, value_of_field
from amp0.errors import InvalidAmounts, InvalidInput
from amp0.protocol.issuer import ChangeOutput, IssuanceEntry, WalletDetail, satoshi_of
from amp0.server.issuer.refusals import OperationRefused, WrongFields


@dataclass(frozen=True, slots=True)
class Pair:
    """An asset and its reissuance token; None where it has none."""

    asset: bytes
    token: bytes | None

    def ids(self) -> list[bytes]:
        """Both, the asset first."""
        return [self.asset] if self.token is None else [self.asset, self.token]


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says that an output holds. None: they do not say."""

    vout: int
    asset: bytes | None
    satoshi: int | None
    abf: bytes = field(repr=False)
    vbf: bytes = field(repr=False)
    is_own: bool
    """Whether they say that their wallet received it."""

    def opening(self, txout: TxOut, assets: Iterable[bytes], amounts: Iterable[int] = ()) -> Opening | None:
        """The opening that this claim proves, of one of ``assets``; further ``amounts`` are tried as well."""
        amounts = [*amounts] if self.satoshi is None else [self.satoshi, *amounts]
        wanted = [asset for asset in assets if self.asset in (None, asset)]
        return open_output(txout, wanted, amounts, self.abf, self.vbf)


def open_output(
    txout: TxOut, assets: Iterable[bytes], amounts: Iterable[int], abf: bytes, vbf: bytes
) -> Opening | None:
    """The opening of an output among some assets and amounts, with the blinders given; None when none of them fits.

    An explicit output needs no blinders, and one that hides a single field none for the other: zeros.
    """
    if not txout.is_partially_blinded():
        found = explicit_opening(txout)
        return found if found.asset in assets else None
    shown = txout.explicit_value
    for asset in assets:
        if _generator(asset, abf) != txout.asset_field:
            continue
        for satoshi in amounts if shown is None else (shown,):
            opening = Opening(asset, satoshi, abf, vbf)
            if satoshi >= 0 and fits(txout, opening):
                return opening
    return None


def _generator(asset: bytes, abf: bytes) -> bytes:
    try:
        return Opening(asset, 0, abf).generator()
    except InvalidAmounts:
        return b""


# --- payloads ------------------------------------------------------------------------------------------------------


def from_details(details: Sequence[WalletDetail]) -> dict[int, Claim]:
    """The claims of ``gettransaction``'s details by output. What a wallet pays itself stands there twice.

    Entries without blinders claim nothing. Raises :class:`WrongFields`.
    """
    found: dict[int, Claim] = {}
    for entry in details:
        claim = _claim("details", entry, entry.category != "send")
        if claim is None:
            continue
        earlier = found.setdefault(entry.vout, claim)
        if (earlier.asset, earlier.abf, earlier.vbf) != (claim.asset, claim.abf, claim.vbf):
            raise WrongFields.of("details", f"output {entry.vout} stands there twice, with different blinders")
        if claim.is_own:
            found[entry.vout] = claim
    return found


def from_change(changes: Sequence[ChangeOutput], txid: str) -> dict[int, Claim]:
    """The claims of ``listunspent``'s entries, all of them outputs of ``txid`` (display hex), by output.

    Raises :class:`WrongFields`.
    """
    found: dict[int, Claim] = {}
    for entry in changes:
        if entry.txid.lower() != txid.lower():
            raise WrongFields.of("change_data", f"{entry.txid} is another transaction than {txid}")
        claim = _claim("change_data", entry, True)
        if claim is not None:
            found[entry.vout] = claim
    return found


def _claim(name: str, entry: WalletDetail | ChangeOutput, is_own: bool) -> Claim | None:
    if not entry.assetblinder or not entry.amountblinder:
        return None
    asset = None if entry.asset is None else _hex(name, entry.asset)
    abf, vbf = _hex(name, entry.assetblinder), _hex(name, entry.amountblinder)
    return Claim(entry.vout, asset, _satoshi(name, entry.amount), abf, vbf, is_own)


def _hex(name: str, text: str) -> bytes:
    try:
        return bytes_from_hex(text, length=32)[::-1]
    except InvalidInput:
        raise WrongFields.of(name, f"{text[:80]!r} is not the hex of 32 bytes") from None


def _satoshi(name: str, number: object) -> int | None:
    """Of an amount as nodes write it, where what was sent is negative."""
    if number is None:
        return None
    if not isinstance(number, int | float):
        raise WrongFields.of(name, "an amount is a decimal number")
    try:
        return abs(satoshi_of(number))
    except ValueError as error:
        raise WrongFields.of(name, f"amount: {error}") from None


# --- distributions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payee:
    """An assignment that is to be paid: its number, where and how much."""

    id: int
    script: bytes
    address: str
    satoshi: int


@dataclass(frozen=True, slots=True)
class Paid:
    """A transaction that pays a distribution: which output pays which assignment, the openings of these, and of what
    came back to the treasury."""

    vouts: Mapping[int, int]
    openings: Mapping[int, Opening]
    returned: Mapping[int, Opening]


def distribution(
    tx: Transaction, pair: Pair, payees: Sequence[Payee], details: Mapping[int, Claim], change: Mapping[int, Claim]
) -> Paid:
    """Prove that ``tx`` pays every one of ``payees``, each once and exactly, and nobody else of the asset.

    What the wallet received itself (``change``, and its own outputs in ``details``) is the treasury's again. Raises
    :class:`OperationRefused`.
    """
    _in_range(tx, details, change)
    vouts: dict[int, int] = {}
    openings: dict[int, Opening] = {}
    for payee in payees:
        vout = _only_output(tx, payee)
        vouts[payee.id] = vout
        openings[vout] = _paid_exactly(tx, vout, payee, pair, details.get(vout) or change.get(vout))
    returned: dict[int, Opening] = {}
    claims = {**details, **change}
    for vout, txout in enumerate(tx.vout):
        if vout in openings:
            continue
        claim = claims.get(vout, _nothing(vout))
        opening = claim.opening(txout, pair.ids())
        if opening is None:
            _refuse_untruth(tx, vout, claim, pair)
        elif not claim.is_own or is_unspendable(txout.script):
            raise OperationRefused(
                f"output {vout} of {tx.txid()} has {opening.satoshi} satoshi for somebody who is not part of this "
                "distribution"
            )
        else:
            returned[vout] = opening
    return Paid(vouts, openings, returned)


def _only_output(tx: Transaction, payee: Payee) -> int:
    vouts = [vout for vout, txout in enumerate(tx.vout) if txout.script == payee.script]
    if not vouts:
        raise OperationRefused(f"{tx.txid()} does not pay {payee.address}, as this distribution asks")
    if len(vouts) > 1:
        raise OperationRefused(f"{tx.txid()} pays {payee.address} more than once; this distribution asks for once")
    return vouts[0]


def _paid_exactly(tx: Transaction, vout: int, payee: Payee, pair: Pair, claim: Claim | None) -> Opening:
    txout = tx.vout[vout]
    if claim is None and txout.is_partially_blinded():
        raise OperationRefused(f"tx_data.details has no blinders for output {vout}, which pays {payee.address}")
    opening = (claim or _nothing(vout)).opening(txout, [pair.asset], [payee.satoshi])
    if opening is None:
        raise OperationRefused(
            f"what tx_data.details says of output {vout} does not open it as {payee.satoshi} satoshi of this asset"
        )
    if opening.satoshi != payee.satoshi:
        raise OperationRefused(
            f"output {vout} pays {opening.satoshi} satoshi to {payee.address}; this distribution asks for "
            f"{payee.satoshi}"
        )
    return opening


# --- reissues ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MadeMore:
    """A reissue: how much, with which value blinding factor (zeros: in the open), the output of it that is shown, the
    openings of what the treasury's wallet received, and those of outputs that somebody else did."""

    satoshi: int
    vbf: bytes = field(repr=False)
    vout: int
    returned: Mapping[int, Opening]
    paid: Mapping[int, Opening]


def reissue(
    tx: Transaction, vin: int, pair: Pair, details: Mapping[int, Claim], issuances: Sequence[IssuanceEntry]
) -> MadeMore:
    """Prove that input ``vin`` of ``tx`` makes more of the asset, how much, and where all of it and the token went.

    A hidden amount is proven with what ``listissuances`` says of this input. Raises :class:`OperationRefused`.
    """
    _in_range(tx, details)
    satoshi, vbf = _reissued(tx, vin, pair, issuances)
    returned: dict[int, Opening] = {}
    paid: dict[int, Opening] = {}
    for vout, txout in enumerate(tx.vout):
        claim = details.get(vout, _nothing(vout))
        opening = claim.opening(txout, pair.ids())
        if opening is not None and not is_unspendable(txout.script):
            (returned if claim.is_own else paid)[vout] = opening
        elif opening is None:
            _refuse_untruth(tx, vout, claim, pair)
    openings = {**returned, **paid}
    units = {vout: opening.satoshi for vout, opening in openings.items() if opening.asset == pair.asset}
    if sum(units.values()) < satoshi:
        raise OperationRefused(
            f"details opens outputs with {sum(units.values())} satoshi of this asset; {tx.txid()} makes {satoshi}"
        )
    if all(opening.asset != pair.token for opening in openings.values()):
        raise OperationRefused("details opens no output with the reissuance token: its blinders are needed as well")
    shown = [vout for vout, amount in units.items() if amount == satoshi]
    return MadeMore(satoshi, vbf, (shown or [*units])[0], returned, paid)


def _reissued(tx: Transaction, vin: int, pair: Pair, issuances: Sequence[IssuanceEntry]) -> tuple[int, bytes]:
    txid = str(tx.txid())
    issuance = tx.vin[vin].issuance if vin < len(tx.vin) else None
    if issuance is None or not issuance.is_reissuance or issued_asset(tx.vin[vin])[0] != pair.asset:
        raise OperationRefused(f"input {vin} of {txid} does not reissue this asset")
    satoshi = value_of_field(issuance.amount_field)
    if satoshi is not None:
        return satoshi, ZERO32
    generator = wally.asset_generator(pair.asset, None)
    for entry in issuances:
        amount = _satoshi("listissuances", entry.assetamount)
        if (entry.txid.lower(), entry.vin) != (txid, vin) or amount is None or not entry.assetblinds:
            continue
        vbf = _hex("listissuances", entry.assetblinds)
        if _commits(amount, vbf, generator, issuance.amount_field):
            return amount, vbf
        raise OperationRefused(f"what listissuances says of input {vin} does not open the amount that it makes")
    raise OperationRefused(f"listissuances has no amount and blinder for input {vin}, whose amount is hidden")


def _commits(satoshi: int, vbf: bytes, generator: bytes, commitment: bytes) -> bool:
    try:
        return wally.value_commitment(satoshi, vbf, generator) == commitment
    except InvalidAmounts:
        return False


# --- burns ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Destroyed:
    """A burn: how much, and the openings of what came back to the treasury."""

    satoshi: int
    returned: Mapping[int, Opening]


def burn(tx: Transaction, pair: Pair, change: Mapping[int, Claim]) -> Destroyed:
    """Prove that ``tx`` destroys some of the asset in the open, and what it gives back.

    Raises :class:`OperationRefused`.
    """
    _in_range(tx, change)
    burnt = [txout for txout in tx.vout if is_unspendable(txout.script) and txout.explicit_asset == pair.asset]
    satoshi = sum(txout.explicit_value or 0 for txout in burnt)
    if not satoshi:
        raise OperationRefused(f"{tx.txid()} does not burn any of this asset")
    returned: dict[int, Opening] = {}
    for vout, claim in change.items():
        opening = claim.opening(tx.vout[vout], pair.ids())
        if opening is None:
            _refuse_untruth(tx, vout, claim, pair)
        elif not is_unspendable(tx.vout[vout].script):
            returned[vout] = opening
    return Destroyed(satoshi, returned)


# --- all of them ---------------------------------------------------------------------------------------------------


def _in_range(tx: Transaction, *claims: Mapping[int, Claim]) -> None:
    for vout in (vout for each in claims for vout in each):
        if vout >= len(tx.vout):
            raise OperationRefused(f"{tx.txid()} has no output {vout}")


def _nothing(vout: int) -> Claim:
    """The claim of somebody who says nothing; an explicit output is as open with it."""
    return Claim(vout, None, None, ZERO32, ZERO32, False)


def _refuse_untruth(tx: Transaction, vout: int, claim: Claim, pair: Pair) -> None:
    """Somebody may tell of outputs that are of no interest here, or too little, but nothing untrue of this asset's."""
    if claim.asset in pair.ids() and claim.satoshi is not None and claim.abf != ZERO32:
        raise OperationRefused(f"what is said of output {vout} of {tx.txid()} does not open it")
