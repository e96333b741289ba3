"""Assets that were issued here: finding, showing, naming and deleting them. Owns the table ``assets``.

An asset exists for the API once its issuance is signed; one whose issuance the chain refused (state ``failed``) never
did. Deleting an asset hides it from the API, and nothing else: its rules hold on, because deleting must be no way to
loosen them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid, asset_id_to_str
from amp0.errors import InvalidInput
from amp0.protocol.issuer import Asset, AssetEdit, LongText, Nothing
from amp0.server.issuer import events
from amp0.server.issuer.desk import Call, Principal, Role
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.refusals import Detail, NothingHere, OperationRefused, WrongFields
from amp0.server.policy import changes
from amp0.server.policy.apply import Action
from amp0.server.policy.ssrf import check_url
from amp0.server.store import asset_schema

SIGNED, SENT, FAILED = "signed", "sent", "failed"
"""States of an issuance: durable here, taken by the chain, refused by it."""

_assets = asset_schema.assets


@dataclass(frozen=True, slots=True)
class AssetRow:
    """One asset. Ids are 32 bytes in internal order, amounts satoshi, times seconds since 1970."""

    id: int
    uuid: str
    issuer_id: int
    creator_id: int
    asset_id: bytes
    token_id: bytes | None
    """The reissuance token; None when it is not reissuable."""
    entropy: bytes
    name: str
    ticker: str | None
    precision: int
    domain: str | None
    pubkey: bytes | None
    contract: str
    is_confidential: bool
    """Whether the issued amount is hidden on the chain."""
    transfer_restricted: bool
    is_locked: bool
    is_authorized: bool
    is_registered: bool
    authorization_endpoint: str | None
    memo: str
    checks_sender_categories: bool
    loosening_delay: int
    required_approvals: int
    policy_version: int
    state: str
    issue_txid: Txid
    issue_vin: int
    asset_vout: int
    token_vout: int | None
    issued: int
    tokens: int
    destination_address: str
    token_address: str
    created_at: int
    deleted_at: int | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> AssetRow:
        """From a row of :data:`COLUMNS`."""
        values = {name: convert(getattr(row, name)) for name, convert in _CONVERT.items()}
        return cls(**values)


def _same(value: Any) -> Any:
    return value


def _maybe_bytes(value: Any) -> Any:
    return None if value is None else bytes(value)


_BY_TYPE: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "bytes": bytes,
    "bytes | None": _maybe_bytes,
    "Txid": Txid,
}
_CONVERT = {field.name: _BY_TYPE.get(str(field.type), _same) for field in fields(AssetRow)}
COLUMNS = [_assets.c[field.name] for field in fields(AssetRow)]
"""All columns but the raw transaction."""


# --- finding -------------------------------------------------------------------------------------------------------


def find(call: Call, uuid: str | None = None) -> AssetRow:
    """The asset of ``uuid``, or of ``{asset_uuid}`` in the path, if the caller may work on it.

    Raises :class:`NothingHere` for another issuer's, a deleted and an unknown one alike, and 403 for a manager who was
    not given it.
    """
    text = call.path["asset_uuid"] if uuid is None else uuid
    row = call.db.execute(sa.select(*COLUMNS).where(_assets.c.uuid == text, _visible(call.who))).one_or_none()
    if row is None:
        raise NothingHere("there is no such asset")
    if call.who.role is Role.MANAGER and row.id not in call.who.assets:
        raise Detail(403, "This manager was not given this asset; the issuer can add it")
    return AssetRow.of(row)


def load(db: Connection, asset: int) -> AssetRow:
    """The asset of a row number, deleted or not."""
    return AssetRow.of(db.execute(sa.select(*COLUMNS).where(_assets.c.id == asset)).one())


def visible_to(db: Connection, principal: Principal) -> list[AssetRow]:
    """The assets somebody works on, oldest first."""
    query = sa.select(*COLUMNS).where(_visible(principal)).order_by(_assets.c.id)
    rows = (AssetRow.of(row) for row in db.execute(query))
    return [row for row in rows if principal.role is Role.ISSUER or row.id in principal.assets]


def _visible(principal: Principal) -> sa.ColumnElement[bool]:
    return sa.and_(
        _assets.c.issuer_id == principal.issuer_id, _assets.c.deleted_at.is_(None), _assets.c.state != FAILED
    )


def requirements(db: Connection, asset: int) -> list[int]:
    """Ids of the categories that a holder of the asset has to be in, all of them."""
    table = asset_schema.category_assets
    query = sa.select(table.c.category_id).where(table.c.asset == asset).order_by(table.c.category_id)
    return list(db.execute(query).scalars())


# --- the issuance's state ------------------------------------------------------------------------------------------


def note_sent(db: Connection, txid: Txid) -> bool:
    """The chain has this transaction. True where it issues an asset of ours.

    That counts also where the issuance was given up: an asset that exists is managed, whatever was believed before.
    """
    return _set_state(db, txid, (SIGNED, FAILED), SENT)


def note_unsent(db: Connection, txid: Txid) -> bool:
    """The chain has this transaction no more. True where it issues an asset of ours, and so shall be sent again."""
    return _set_state(db, txid, (SENT,), SIGNED)


def note_failed(db: Connection, txid: Txid) -> bool:
    """The chain refuses this issuance for good. False when it is not waiting for the chain any more."""
    return _set_state(db, txid, (SIGNED,), FAILED)


def _set_state(db: Connection, txid: Txid, old: tuple[str, ...], new: str) -> bool:
    here = _assets.c.issue_txid == bytes(txid)
    db.execute(_assets.update().where(here, _assets.c.state.in_(old)).values(state=new))
    return db.execute(sa.select(_assets.c.id).where(here, _assets.c.state == new)).first() is not None


# --- showing -------------------------------------------------------------------------------------------------------


def to_wire(db: Connection, row: AssetRow) -> Asset:
    """An asset as the API shows it."""
    return Asset(
        name=row.name,
        asset_uuid=row.uuid,
        issuer=row.issuer_id,
        asset_id=asset_id_to_str(row.asset_id),
        reissuance_token_id=None if row.token_id is None else asset_id_to_str(row.token_id),
        requirements=requirements(db, row.id),
        ticker=row.ticker,
        precision=row.precision,
        domain=row.domain,
        pubkey=None if row.pubkey is None else row.pubkey.hex(),
        is_registered=row.is_registered,
        is_authorized=row.is_authorized,
        is_locked=row.is_locked,
        issuer_authorization_endpoint=row.authorization_endpoint,
        transfer_restricted=row.transfer_restricted,
    )


# --- endpoints -----------------------------------------------------------------------------------------------------


def list_assets(call: Call, _body: None) -> list[Asset]:
    """The assets that the caller works on, oldest first."""
    return [to_wire(call.db, row) for row in visible_to(call.db, call.who)]


def show(call: Call, _body: None) -> Asset:
    """One asset."""
    return to_wire(call.db, find(call))


def edit(call: Call, body: AssetEdit) -> Asset:
    """Set the URL that is asked before a transfer is cosigned, or with null or an empty text ask nobody any more."""
    row = find(call)
    url = body.issuer_authorization_endpoint or None
    if url is not None:
        try:
            check_url(url, private=call.desk.settings.authorization_private)
        except InvalidInput as error:
            raise WrongFields.of("issuer_authorization_endpoint", str(error)) from None
    changes.request(call, row, Action.SET_ENDPOINT, {"url": url})
    return _again(call, row)


def delete(call: Call, _body: None) -> None:
    """Take an asset out of the API, for ever; on the chain it lives on, and so do its rules.

    Not while a distribution waits to be confirmed.
    """
    row = find(call)
    distributions = asset_schema.distributions
    waiting = sa.select(distributions.c.id).where(
        distributions.c.asset == row.id, distributions.c.state == "unconfirmed"
    )
    if call.db.execute(waiting).first() is not None:
        raise OperationRefused("A distribution of this asset is not confirmed; confirm or cancel it first")
    call.db.execute(_assets.update().where(_assets.c.id == row.id).values(deleted_at=call.desk.now()))
    events.note(call, "delete_asset", row.id)


def lock(call: Call, _body: None) -> Asset:
    """Stop every transfer between holders, at once."""
    row = find(call)
    changes.request(call, row, Action.LOCK, {})
    return _again(call, row)


def unlock(call: Call, _body: None) -> Asset:
    """Allow transfers again: at once, or when the delay is over and others have agreed, where the asset wants that."""
    row = find(call)
    changes.request(call, row, Action.UNLOCK, {})
    return _again(call, row)


def register_authorized(call: Call, _body: None) -> Asset:
    """Say that wallets may hold the asset in AMP accounts only. This cannot be undone.

    Its transfers are judged from its issuance on, with or without this mark.
    """
    row = find(call)
    if row.is_authorized:
        raise OperationRefused("This asset is already authorized")
    call.db.execute(_assets.update().where(_assets.c.id == row.id).values(is_authorized=1))
    events.note(call, "authorize_asset", row.id)
    return _again(call, row)


def memo(call: Call, _body: None) -> str:
    """The issuer's own note on the asset; empty where there is none."""
    return find(call).memo


def set_memo(call: Call, body: str) -> Nothing:
    """Set the note; an empty text takes it away."""
    row = find(call)
    call.db.execute(_assets.update().where(_assets.c.id == row.id).values(memo=body))
    events.note(call, "set_memo", row.id)
    return Nothing()


def _again(call: Call, row: AssetRow) -> Asset:
    return to_wire(call.db, load(call.db, row.id))


_PATH = "/assets/{asset_uuid}"
_WRITES: Any = {"answer": Asset, "who": Who.ISSUER, "runs": Runs.WRITE}
ENDPOINTS = (
    Endpoint(("GET",), "/assets", list_assets, answer=list[Asset]),
    Endpoint(("GET",), _PATH, show, answer=Asset),
    Endpoint(("PUT",), f"{_PATH}/edit", edit, body=AssetEdit, **_WRITES),
    Endpoint(("DELETE",), f"{_PATH}/delete", delete, answer=None, status=204, who=Who.ISSUER, runs=Runs.WRITE),
    Endpoint(("PUT",), f"{_PATH}/lock", lock, **_WRITES),
    Endpoint(("PUT",), f"{_PATH}/unlock", unlock, **_WRITES),
    Endpoint(("GET",), f"{_PATH}/register-authorized", register_authorized, **_WRITES),
    Endpoint(("GET",), f"{_PATH}/memo", memo, answer=str),
    Endpoint(("POST",), f"{_PATH}/memo/set", set_memo, answer=Nothing, body=LongText, runs=Runs.WRITE),
)
