"""Issuing an asset: checked, built, stored, and only then sent.

One transaction of the store decides: the asset with its signed issuance, the treasury's addresses, what the ledger
knows of the outputs, the promise of the coins, and the key under which a retry finds it all. Whatever happens after it,
the same bytes are sent until the chain has them or refuses them for good, by the request itself, by a retry, or by
:mod:`upkeep`. Whatever happens before it leaves nothing behind.

Owns the table ``idempotency_keys``.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.address import Address
from amp0.elements.confidential import issued_asset
from amp0.elements.hashes import asset_id_to_str, sha256
from amp0.elements.transaction import Issuance, Transaction, TxIn
from amp0.errors import InvalidInput
from amp0.protocol.issuer import UNKNOWN_BLINDER, Issue, Issued
from amp0.server.context import Publication
from amp0.server.issuer import assets, events, fee_coins, principals, treasury
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call, Desk
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.fee_wallet import BuiltIssuance, FeeCoin, Place, Wanted
from amp0.server.issuer.refusals import OperationRefused, WrongFields
from amp0.server.ledger import book
from amp0.server.refusal import BroadcastRefused, ChainUnavailable, FeeWalletEmpty
from amp0.server.store import asset_schema, schema
from amp0.wallet.issuance import Contract

log = logging.getLogger("amp0.server.issuer")

_CHOICES = 5
"""How often coins are chosen before the request is given up: each time somebody else was faster."""
_COMFORTABLE = 1_000
"""Satoshi that should be left of the coins: less than that is hardly worth a coin of its own."""

# What a node says of a transaction that may be good at another time; anything else it says is for good.
_FOR_NOW = (
    "already in", "already known", "txn-already", "mempool-conflict", "mempool full", "min fee", "relay fee",
    "too-long-mempool-chain", "non-final", "non-bip68-final", "insufficient fee", "insufficient priority",
    "missing-inputs", "missing inputs", "missingorspent", "rate limit",
)  # fmt: skip

_assets = asset_schema.assets
_keys = asset_schema.idempotency_keys


@dataclass(frozen=True, slots=True)
class _Terms:
    """A request that was looked at."""

    body: Issue
    contract: Contract
    wanted: Wanted
    precision: int
    is_restricted: bool

    def named_addresses(self) -> list[tuple[str, Address]]:
        """Field → address of those given."""
        found = [("destination_address", self.wanted.address)]
        if self.wanted.token_address is not None:
            found.append(("reissuance_address", self.wanted.token_address))
        return found


# --- the endpoint --------------------------------------------------------------------------------------------------


def issue(call: Call, body: Issue) -> Issued:
    """Issue an asset: the server pays for the transaction, and everything goes to the addresses given, which are the
    first of its treasury.

    With a header `Idempotency-Key`, the same request again gives the same answer and issues nothing more: send one,
    and repeat the request until it is answered.
    """
    terms = _check(call, body)
    digest = sha256(b"POST /assets/issue\n" + msgspec.json.encode(body, order="sorted"))
    # One at a time: two would choose the same coins, and one of them would work in vain.
    with call.desk.wallet.turn:
        asset = _made_before(call, digest)
        if asset is None:
            asset = _make(call, terms, digest)
    if asset.state == assets.FAILED:
        raise OperationRefused(_FAILED)
    if asset.state == assets.SIGNED:
        call.publications.extend(send(call.desk, asset))
    return answer(call.desk, asset)


_FAILED = (
    "The chain refused this issuance, and nothing was issued. Send the request with another Idempotency-Key to try "
    "once more"
)


def _check(call: Call, body: Issue) -> _Terms:
    """Every rule that needs no database. Raises :class:`WrongFields` for all that is wrong."""
    errors: dict[str, list[str]] = {}
    precision = body.precision or 0
    contract = address = token_address = None
    tokens = 0
    try:
        contract = Contract(body.domain, body.pubkey.lower(), body.name, precision, body.ticker)
    except InvalidInput as error:
        field = next((name for part, name in _CONTRACT_FIELDS.items() if part in str(error)), "non_field_errors")
        errors[field] = [str(error)]
    address = _address(call, errors, "destination_address", body.destination_address)
    if body.is_reissuable:
        tokens = body.reissuance_amount or 0
        if not tokens:
            errors["reissuance_amount"] = ["A reissuable asset needs 1 satoshi of its reissuance token or more."]
        if not body.reissuance_address:
            errors["reissuance_address"] = ["A reissuable asset needs an address for its reissuance token."]
        else:
            token_address = _address(call, errors, "reissuance_address", body.reissuance_address)
        if address is not None and token_address is not None and address.script == token_address.script:
            errors["reissuance_address"] = ["This must be another address than destination_address."]
    is_restricted = body.transfer_restricted
    if is_restricted is None:
        is_restricted = body.investors_restricted
    elif body.investors_restricted not in (None, is_restricted):
        errors["investors_restricted"] = ["This is the old name of transfer_restricted, and says something else."]
    if errors:
        raise WrongFields(errors)
    assert contract is not None
    assert address is not None
    wanted = Wanted(
        contract_hash=contract.hash(),
        satoshi=body.amount,
        address=address,
        tokens=tokens,
        token_address=token_address,
        is_hidden=bool(body.is_confidential),
    )
    # Left open, an asset is restricted: the safe side.
    return _Terms(body, contract, wanted, precision, is_restricted is not False)


_CONTRACT_FIELDS = {
    "InvalidDomain": "domain",
    "key": "pubkey",
    "InvalidName": "name",
    "InvalidPrecision": "precision",
    "InvalidTicker": "ticker",
}


def _address(call: Call, errors: dict[str, list[str]], field: str, text: str) -> Address | None:
    try:
        return treasury.confidential_address(text, call.desk.network, field)
    except WrongFields as refusal:
        errors.update({name: list(texts) for name, texts in refusal.errors.items()})
        return None


# --- making one ----------------------------------------------------------------------------------------------------


def _made_before(call: Call, digest: bytes) -> AssetRow | None:
    if call.idempotency_key is None:
        return None
    with call.desk.store.snapshot() as db:
        return _of_key(db, call, digest)


def _of_key(db: Connection, call: Call, digest: bytes) -> AssetRow | None:
    """What an earlier request under the same key made. Raises :class:`WrongFields` when that was another request."""
    row = db.execute(
        sa.select(_keys.c.request_hash, _keys.c.asset).where(
            _keys.c.principal_id == call.who.id, _keys.c.key == call.idempotency_key
        )
    ).one_or_none()
    if row is None:
        return None
    if bytes(row.request_hash) != digest:
        raise WrongFields("This Idempotency-Key belongs to another request; choose a new one for a new request.")
    return assets.load(db, row.asset)


def _make(call: Call, terms: _Terms, digest: bytes) -> AssetRow:
    """Build, and store everything in one transaction. The result is signed and not sent."""
    desk = call.desk
    for _ in range(_CHOICES):
        with desk.store.snapshot() as db:
            treasury.refuse_own(db, terms.named_addresses())
            coins = _choose(db, desk, terms.wanted)
            change = Place(fee_coins.next_number(db), is_change=True)
        built = desk.wallet.build(
            terms.wanted, coins, change, fee_rate=desk.settings.issue_fee_rate, random=desk.random
        )
        try:
            with desk.store.transaction() as db:
                return _record(replace(call, connection=db), terms, built, coins, digest)
        except fee_coins.CoinsTaken:
            log.info("coins of an issuance were taken in the meantime, choosing again")
    raise FeeWalletEmpty("The coins that pay for issuances are being spent by somebody else; try again")


def _choose(db: Connection, desk: Desk, wanted: Wanted) -> list[FeeCoin]:
    """Coins that pay for it, as few as will do. Raises :class:`FeeWalletEmpty`."""
    candidates = fee_coins.spendable(db, desk.wallet)
    first = _issuing(db, candidates, wanted)
    chosen: list[FeeCoin] = []
    total = 0
    for coin in sorted(candidates, key=lambda coin: coin is not first):
        if chosen and total >= desk.wallet.fee(wanted, len(chosen), desk.settings.issue_fee_rate) + _COMFORTABLE:
            break
        chosen.append(coin)
        total += coin.opening.satoshi
    if first is None or total < desk.wallet.fee(wanted, len(chosen), desk.settings.issue_fee_rate):
        log.warning("an issuance was refused: the fee wallet cannot pay for it satoshi=%d", total)
        raise FeeWalletEmpty(
            "The wallet of this server that pays for issuances is empty, or waits for confirmations; its operator has "
            "to fill it. Try again later"
        )
    return chosen


def _issuing(db: Connection, candidates: list[FeeCoin], wanted: Wanted) -> FeeCoin | None:
    """The first coin that can issue. An asset's id follows from the coin and the contract, so a coin whose issuance of
    this very contract was refused before would make the same asset once more."""
    for coin in candidates:
        bare = Issuance(bytes(32), wanted.contract_hash, bytes(33) if wanted.is_hidden else bytes(9))
        asset_id, _ = issued_asset(TxIn(coin.outpoint, issuance=bare))
        if db.execute(sa.select(_assets.c.id).where(_assets.c.asset_id == asset_id)).first() is None:
            return coin
    return None


def _record(call: Call, terms: _Terms, built: BuiltIssuance, coins: list[FeeCoin], digest: bytes) -> AssetRow:
    db, desk, now = call.db, call.desk, call.desk.now()
    # Others were served first, and proofs took their time: whose login was locked meanwhile issues nothing.
    principals.still(db, call)
    if call.idempotency_key is not None:
        earlier = _of_key(db, call, digest)
        if earlier is not None:
            return earlier
    fee_coins.promise(db, desk.wallet, built, coins, now)
    asset = _insert(call, terms, built, now)
    treasury.enter(db, asset, [address for _, address in terms.named_addresses()], now)
    vouts = [built.asset_vout] if built.token_vout is None else [built.asset_vout, built.token_vout]
    book.begin_asset(db, asset, built.tx, [book.Opened(vout, built.openings[vout]) for vout in vouts], now)
    if built.issued.asset is not None and not built.issued.asset.is_explicit:
        book.add_issued(db, built.tx, 0, built.issued.asset.satoshi, built.issued.asset.vbf)
    if call.idempotency_key is not None:
        db.execute(
            _keys.insert().values(
                principal_id=call.who.id,
                key=call.idempotency_key,
                request_hash=digest,
                asset=asset,
                created_at=now,
            )
        )
    row = assets.load(db, asset)
    events.note(call, "issue_asset", asset=asset, txid=str(row.issue_txid), amount=row.issued, tokens=row.tokens)
    log.info("issuance signed asset=%d asset_id=%s txid=%s", asset, asset_id_to_str(row.asset_id), built.tx.txid())
    return row


def _insert(call: Call, terms: _Terms, built: BuiltIssuance, now: int) -> int:
    wanted = terms.wanted
    values = {
        "uuid": str(uuid.UUID(bytes=call.desk.random(16), version=4)),
        "issuer_id": call.who.issuer_id,
        "creator_id": call.who.id,
        "asset_id": built.asset_id,
        "token_id": built.token_id if wanted.tokens else None,
        "entropy": built.entropy,
        "name": terms.body.name,
        "ticker": terms.body.ticker,
        "precision": terms.precision,
        "domain": terms.body.domain,
        "pubkey": bytes.fromhex(terms.body.pubkey),
        "contract": str(terms.contract),
        "is_confidential": int(wanted.is_hidden),
        "transfer_restricted": int(terms.is_restricted),
        "is_locked": 0,
        "is_authorized": 0,
        "is_registered": 0,
        "memo": "",
        "checks_sender_categories": 0,
        "loosening_delay": 0,
        "required_approvals": 0,
        "policy_version": 0,
        "state": assets.SIGNED,
        "issue_txid": bytes(built.tx.txid()),
        "issue_tx": built.tx.to_bytes(),
        "issue_vin": 0,
        "asset_vout": built.asset_vout,
        "token_vout": built.token_vout,
        "issued": wanted.satoshi,
        "tokens": wanted.tokens,
        "destination_address": str(wanted.address),
        "token_address": "" if wanted.token_address is None else str(wanted.token_address),
        "created_at": now,
    }
    return int(call.db.execute(_assets.insert().values(values).returning(_assets.c.id)).scalar_one())


# --- sending it ----------------------------------------------------------------------------------------------------


def waiting(db: Connection) -> list[AssetRow]:
    """Assets whose issuance the chain does not have, oldest first."""
    query = sa.select(*assets.COLUMNS).where(_assets.c.state == assets.SIGNED).order_by(_assets.c.id)
    return [AssetRow.of(row) for row in db.execute(query)]


def send(desk: Desk, asset: AssetRow) -> Sequence[Publication]:
    """Hand a signed issuance to the chain, as often as it takes: it is always the same transaction.

    Raises :class:`ChainUnavailable` while the chain does not take it, and :class:`OperationRefused` once it is refused
    for good: then the asset is given up and its coins are free.
    """
    with desk.store.snapshot() as db:
        raw = db.execute(sa.select(_assets.c.issue_tx).where(_assets.c.id == asset.id)).scalar_one()
    tx = Transaction.from_bytes(raw)
    try:
        news = desk.broadcast(tx)
    except BroadcastRefused as refusal:
        with desk.store.transaction() as db:
            if not _is_final(db, tx, str(refusal)):
                raise ChainUnavailable(f"{_WAITS} ({refusal})") from None
            if assets.note_failed(db, asset.issue_txid):
                fee_coins.release(db, asset.issue_txid)
                book.mark_gone(db, asset.issue_txid, for_good=True)
            state = assets.load(db, asset.id).state
        if state == assets.SENT:
            # The chain took it from somebody else in the meantime.
            return ()
        log.error("issuance refused by the chain asset=%d txid=%s error=%s", asset.id, asset.issue_txid, refusal)
        raise OperationRefused(f"{_FAILED} ({refusal})") from None
    except ChainUnavailable as refusal:
        raise ChainUnavailable(f"{_WAITS} ({refusal})") from None
    with desk.store.transaction() as db:
        assets.note_sent(db, asset.issue_txid)
    log.info("issuance sent asset=%d txid=%s", asset.id, asset.issue_txid)
    return news


_WAITS = (
    "The asset's issuance is signed and kept, and goes out as soon as the chain takes it. To learn of it, send the "
    "same request with the same Idempotency-Key again, or look for the asset in the list of assets; a request without "
    "that key would issue another asset"
)


def _is_final(db: Connection, tx: Transaction, text: str) -> bool:
    if fee_coins.is_lost(db, tx):
        return True
    seen = sa.select(schema.transactions.c.txid).where(schema.transactions.c.txid == bytes(tx.txid()))
    if db.execute(seen).first() is not None:
        # The chain had it before, and units of the asset may be with holders: no word of one node ends that.
        return False
    return not any(reason in text.lower() for reason in _FOR_NOW)


def answer(desk: Desk, asset: AssetRow) -> Issued:
    """What the request that issued an asset is answered, now and whenever it comes again."""
    with desk.store.snapshot() as db:
        raw = db.execute(sa.select(_assets.c.issue_tx).where(_assets.c.id == asset.id)).scalar_one()
    issued = desk.wallet.read_issuance(Transaction.from_bytes(raw).vin[asset.issue_vin])
    is_reissuable = asset.token_id is not None
    return Issued(
        name=asset.name,
        amount=asset.issued,
        destination_address=asset.destination_address,
        domain=asset.domain or "",
        ticker=asset.ticker or "",
        precision=asset.precision,
        pubkey="" if asset.pubkey is None else asset.pubkey.hex(),
        is_confidential=asset.is_confidential,
        is_reissuable=is_reissuable,
        reissuance_amount=asset.tokens,
        reissuance_address=asset.token_address,
        asset_id=asset_id_to_str(asset.asset_id),
        reissuance_token_id=None if asset.token_id is None else asset_id_to_str(asset.token_id),
        asset_uuid=asset.uuid,
        txid=str(asset.issue_txid),
        vin=asset.issue_vin,
        asset_vout=asset.asset_vout,
        reissuance_vout=asset.token_vout,
        issuer_authorization_endpoint=None,
        transfer_restricted=asset.transfer_restricted,
        issuance_assetblinder=UNKNOWN_BLINDER if issued.asset is None else issued.asset.vbf[::-1].hex(),
        issuance_tokenblinder=None if issued.token is None else issued.token.vbf[::-1].hex(),
    )


ENDPOINTS = (
    Endpoint(
        ("POST",), "/assets/issue", issue, answer=Issued, body=Issue, status=201, who=Who.ISSUER, runs=Runs.OUTSIDE
    ),
)
