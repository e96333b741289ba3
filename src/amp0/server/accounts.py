"""Accounts and their addresses: who owns a script, and which pointers have been handed out.

Every address that can be paid or cosigned has a row in ``addresses``. An AMP account starts with twenty of them,
watched and cosigned although nobody asked for them yet, because stock clients send change there; from then on each
call of ``vault.fund`` adds one. So *issued* means: there is a row. An account's pointers count from 1, and one that has
received coins is never handed out. Owns the tables ``accounts`` and ``addresses``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements import script
from amp0.elements.address import Address
from amp0.elements.keys import ExtendedKey
from amp0.errors import InvalidAddress, InvalidKey, NetworkMismatch
from amp0.protocol import rpc
from amp0.server.context import Context
from amp0.server.keys import ServiceKeys
from amp0.server.refusal import AccountExists, InvalidRequest, UnknownAccount
from amp0.server.store import asset_schema, schema

ALWAYS_ISSUED = 20
"""Pointers of an AMP account that are watched and cosigned from its creation."""
ACCOUNT_TYPE_ZERO = "2of2"
MAX_ACCOUNT_POINTER = 16383
MAX_POINTER = 2**31 - 1
PAGE = 25
"""Rows of one address book page: with this many, a page stays under the 10,000 bytes of LWK's reader."""
SCRIPT_TYPE_P2WSH, SCRIPT_TYPE_CSV = 14, 15

_accounts, _addresses, _outputs = schema.accounts, schema.addresses, schema.outputs
_given = asset_schema.given_addresses
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Account:
    """One account of one wallet, with the keys its addresses are made of."""

    id: int
    user_id: int
    pointer: int
    type: str
    name: str
    receiving_id: str
    last_pointer: int
    gait_path: bytes
    csv_blocks: int
    """Delay of new addresses of account 0; 0 for AMP accounts."""
    user_branch: ExtendedKey
    """The wallet's key whose children are the address keys: ``m/3h/nh/1``, or ``m/1`` for account 0."""

    @property
    def is_amp(self) -> bool:
        """Whether this is an AMP account."""
        return self.pointer > 0

    def witness_script(self, keys: ServiceKeys, pointer: int, csv_blocks: int) -> bytes:
        """The witness script of one address; ``csv_blocks`` is the one of its row (0 for p2wsh)."""
        service = keys.public_key(self.gait_path, self.pointer, pointer)
        user = self.user_branch.child_public_key(pointer)
        if csv_blocks:
            return script.csv_2of2_then_1(service, user, csv_blocks)
        return script.multisig_2of2(service, user)


@lru_cache(maxsize=4096)
def _branch(pubkey: bytes, chain_code: bytes, main: bool) -> ExtendedKey:
    return ExtendedKey(pubkey, chain_code, main).child(1)


_ACCOUNT = sa.select(
    _accounts.c.id,
    _accounts.c.user_id,
    _accounts.c.pointer,
    _accounts.c.type,
    _accounts.c.name,
    _accounts.c.receiving_id,
    _accounts.c.last_pointer,
    _accounts.c.user_pubkey,
    _accounts.c.user_chain_code,
    schema.users.c.gait_path,
    schema.users.c.csv_blocks,
    schema.users.c.master_pubkey,
    schema.users.c.master_chain_code,
).join_from(_accounts, schema.users, _accounts.c.user_id == schema.users.c.id)
_ACCOUNT_OF_WALLET = _ACCOUNT.where(
    _accounts.c.user_id == sa.bindparam("user"), _accounts.c.pointer == sa.bindparam("account")
)
_ACCOUNT_BY_ID = _ACCOUNT.where(_accounts.c.id == sa.bindparam("id"))


def find(connection: Connection, user_id: int, pointer: int, *, main: bool) -> Account:
    """An account by its number in the wallet. Raises :class:`UnknownAccount`."""
    row = connection.execute(_ACCOUNT_OF_WALLET, {"user": user_id, "account": pointer}).one_or_none()
    if row is None:
        raise UnknownAccount(f"This wallet has no account {pointer}; log in again to see its accounts")
    return _account(row, main)


def load(connection: Connection, account_id: int, *, main: bool) -> Account:
    """An account by the id that ``addresses`` and ``outputs`` carry."""
    return _account(connection.execute(_ACCOUNT_BY_ID, {"id": account_id}).one(), main)


def _account(row: Any, main: bool) -> Account:
    values = row._mapping
    if values["pointer"] == 0:
        branch = _branch(values["master_pubkey"], values["master_chain_code"], main)
        csv_blocks = values["csv_blocks"]
    else:
        branch = _branch(values["user_pubkey"], values["user_chain_code"], main)
        csv_blocks = 0
    return Account(
        id=values["id"],
        user_id=values["user_id"],
        pointer=values["pointer"],
        type=values["type"],
        name=values["name"],
        receiving_id=values["receiving_id"],
        last_pointer=values["last_pointer"],
        gait_path=values["gait_path"],
        csv_blocks=csv_blocks,
        user_branch=branch,
    )


# --- creation ------------------------------------------------------------------------------------------------------


def create_account_zero(context: Context, user_id: int, now: int) -> None:
    """The account every wallet has from its registration. Its addresses exist only once they are asked for."""
    context.db.execute(
        _accounts.insert().values(
            user_id=user_id,
            pointer=0,
            type=ACCOUNT_TYPE_ZERO,
            name="",
            receiving_id=_new_receiving_id(context),
            user_pubkey=None,
            user_chain_code=None,
            last_pointer=0,
            created_at=now,
        )
    )


def create_subaccount(context: Context, call: rpc.CreateSubaccount) -> str:
    """Create an AMP account with its first twenty addresses; answered with its GAID."""
    if call.type != rpc.ACCOUNT_TYPE:
        raise InvalidRequest(f"Accounts here are of type {rpc.ACCOUNT_TYPE}, not {call.type!r}")
    if not 1 <= call.pointer <= MAX_ACCOUNT_POINTER:
        raise InvalidRequest(f"An account number is 1 to {MAX_ACCOUNT_POINTER}")
    if len(call.name) > 128:
        raise InvalidRequest("An account name has at most 128 characters")
    key = _account_key(call.xpubs)
    user_id = context.session.user_id
    taken = set(context.db.execute(sa.select(_accounts.c.pointer).where(_accounts.c.user_id == user_id)).scalars())
    if call.pointer in taken:
        raise AccountExists(f"This wallet has an account {call.pointer} already; log in again to see it")
    most = context.services.settings.max_accounts
    if len(taken) > most:
        raise InvalidRequest(f"A wallet has at most {most} accounts")
    now = int(context.services.clock())
    receiving_id = _new_receiving_id(context)
    context.db.execute(
        _accounts.insert().values(
            user_id=user_id,
            pointer=call.pointer,
            type=call.type,
            name=call.name,
            receiving_id=receiving_id,
            user_pubkey=key.public_key,
            user_chain_code=key.chain_code,
            last_pointer=0,
            created_at=now,
        )
    )
    account = find(context.db, user_id, call.pointer, main=context.services.network.main)
    pointers = range(1, ALWAYS_ISSUED + 1)
    scripts = [script.p2sh_p2wsh(account.witness_script(context.services.keys, n, 0)) for n in pointers]
    _require_unused_scripts(context.db, scripts)
    context.db.execute(
        _addresses.insert(),
        [
            {"account_id": account.id, "pointer": n, "script_pubkey": output, "csv_blocks": 0}
            for n, output in zip(pointers, scripts, strict=True)
        ],
    )
    return receiving_id


def _account_key(xpubs: list[str]) -> ExtendedKey:
    if len(xpubs) != 1:
        raise InvalidRequest("An AMP account has one extended public key")
    try:
        key = ExtendedKey.from_string(xpubs[0])
    except InvalidKey:
        raise InvalidRequest("The account's extended public key cannot be read") from None
    if key.private_key is not None:
        raise InvalidRequest("This is an extended private key: never send it to anybody; send the public one")
    return key


def _require_unused_scripts(connection: Connection, scripts: list[bytes]) -> None:
    query = sa.select(_addresses.c.pointer).where(_addresses.c.script_pubkey.in_(scripts)).limit(1)
    if connection.execute(query).first() is not None:
        raise AccountExists("Another wallet has an account with these keys")


def _new_receiving_id(context: Context) -> str:
    while True:
        number = int.from_bytes(context.services.random(20), "big")
        text = ""
        while number:
            number, digit = divmod(number, 58)
            text = _BASE58[digit] + text
        if len(text) in (27, 28):
            return "GA" + text


# --- addresses -----------------------------------------------------------------------------------------------------

_ISSUED_AT = sa.select(_addresses.c.issued_at).where(
    _addresses.c.account_id == sa.bindparam("id"), _addresses.c.pointer == sa.bindparam("n")
)
_ADD_ADDRESS = _addresses.insert()
_HAND_OUT = (
    _addresses.update()
    .where(_addresses.c.account_id == sa.bindparam("id"), _addresses.c.pointer == sa.bindparam("n"))
    .values(issued_at=sa.bindparam("now"))
)
_MARK_USED = _HAND_OUT.where(_addresses.c.issued_at.is_(None))
_ADVANCE = _accounts.update().where(_accounts.c.id == sa.bindparam("account")).values(last_pointer=sa.bindparam("n"))
_ADVANCE_TO = _ADVANCE.where(_accounts.c.last_pointer < sa.bindparam("n"))


def fund(context: Context, call: rpc.Fund) -> rpc.FundReply:
    """Hand out the next address that nobody has paid yet."""
    services = context.services
    account = find(context.db, context.session.user_id, call.subaccount, main=services.network.main)
    expected = rpc.ADDRESS_TYPE if account.is_amp else "csv"
    if call.addr_type != expected:
        raise InvalidRequest(f"Addresses of account {call.subaccount} are of type {expected}, not {call.addr_type!r}")
    now = int(services.clock())
    pointer = account.last_pointer + 1
    while True:
        if pointer > MAX_POINTER:
            raise InvalidRequest("This account has no addresses left; create another account")
        row = context.db.execute(_ISSUED_AT, {"id": account.id, "n": pointer}).one_or_none()
        if row is None or row.issued_at is None:
            break
        pointer += 1
    witness_script = account.witness_script(services.keys, pointer, account.csv_blocks)
    if row is None:
        address = {
            "account_id": account.id,
            "pointer": pointer,
            "script_pubkey": script.p2sh_p2wsh(witness_script),
            "csv_blocks": account.csv_blocks,
            "issued_at": now,
        }
        context.db.execute(_ADD_ADDRESS, address)
    else:
        context.db.execute(_HAND_OUT, {"id": account.id, "n": pointer, "now": now})
    context.db.execute(_ADVANCE, {"account": account.id, "n": pointer})
    return rpc.FundReply(
        pointer=pointer,
        script=witness_script.hex(),
        subaccount=call.subaccount,
        addr_type=expected,
        subtype=account.csv_blocks or None,
    )


def mark_used(connection: Connection, addresses: Iterable[tuple[int, int]], now: int) -> None:
    """Note that addresses (account and pointer) have received, or are about to: they are not handed out any more."""
    connection.execute(_MARK_USED, [{"id": account_id, "n": pointer, "now": now} for account_id, pointer in addresses])


def advance(connection: Connection, account_id: int, pointer: int) -> None:
    """Let an account count up to a pointer, if it has not got there: its wallet looks for coins that far."""
    connection.execute(_ADVANCE_TO, {"account": account_id, "n": pointer})


def upload_addresses(context: Context, call: rpc.UploadAddresses) -> bool:
    """Record the blinding keys of issued addresses, so that issuers can pay the account by its GAID.

    The first key of an address stays: another one would make coins that the owner cannot see.
    """
    account = find(context.db, context.session.user_id, call.subaccount, main=context.services.network.main)
    if not account.is_amp:
        raise InvalidRequest("Only AMP accounts take confidential addresses")
    for text in call.addresses:
        try:
            address = Address(text, context.services.network)
        except (InvalidAddress, NetworkMismatch) as error:
            raise InvalidRequest(str(error)) from None
        if address.blinding_pubkey is None:
            raise InvalidRequest(f"{text} is not confidential; upload the confidential form")
        row = context.db.execute(
            sa.select(_addresses.c.pointer, _addresses.c.blinding_pubkey).where(
                _addresses.c.script_pubkey == address.script, _addresses.c.account_id == account.id
            )
        ).one_or_none()
        if row is None:
            raise InvalidRequest(f"{text} is not an issued address of account {call.subaccount}")
        if row.blinding_pubkey is None:
            context.db.execute(
                _addresses.update()
                .where(_addresses.c.account_id == account.id, _addresses.c.pointer == row.pointer)
                .values(blinding_pubkey=address.blinding_pubkey)
            )
        elif row.blinding_pubkey != address.blinding_pubkey:
            raise InvalidRequest(f"{text} was uploaded before with another blinding key, which stays")
    return True


FRESH = sa.and_(
    _addresses.c.blinding_pubkey.is_not(None),
    ~sa.exists().where(_given.c.account_id == _addresses.c.account_id, _given.c.pointer == _addresses.c.pointer),
    ~sa.exists().where(_outputs.c.account_id == _addresses.c.account_id, _outputs.c.pointer == _addresses.c.pointer),
)
"""Which addresses an issuer can be told: their blinding key is known, and neither were they told nor paid before."""
_HELD = sa.select(sa.func.count()).select_from(
    sa.select(_addresses.c.pointer)
    .where(_addresses.c.account_id == sa.bindparam("id"), FRESH)
    .limit(sa.bindparam("target"))
    .subquery()
)


def required_addresses(connection: Connection, account_id: int, target: int) -> int:
    """How many more confidential addresses the server asks of an account: used ones are asked for anew."""
    return target - int(connection.execute(_HELD, {"id": account_id, "target": target}).scalar_one())


def get_my_addresses(context: Context, call: rpc.GetMyAddresses) -> list[rpc.AddressRow]:
    """A page of handed-out addresses, newest first."""
    services = context.services
    account = find(context.db, context.session.user_id, call.subaccount, main=services.network.main)
    newest = account.last_pointer
    if call.last_pointer:
        newest = min(newest, call.last_pointer - 1)
    used = (
        sa.select(sa.func.count(_outputs.c.txid.distinct()))
        .where(_outputs.c.account_id == account.id, _outputs.c.pointer == _addresses.c.pointer)
        .scalar_subquery()
    )
    rows = context.db.execute(
        sa.select(_addresses.c.pointer, _addresses.c.script_pubkey, _addresses.c.csv_blocks, used.label("used"))
        .where(_addresses.c.account_id == account.id, _addresses.c.pointer <= newest)
        .order_by(_addresses.c.pointer.desc())
        .limit(PAGE)
    )
    return [
        rpc.AddressRow(
            pointer=row.pointer,
            script=account.witness_script(services.keys, row.pointer, row.csv_blocks).hex(),
            ad=str(Address.from_script(services.network, row.script_pubkey)),
            addr_type="csv" if row.csv_blocks else rpc.ADDRESS_TYPE,
            script_type=SCRIPT_TYPE_CSV if row.csv_blocks else SCRIPT_TYPE_P2WSH,
            subtype=row.csv_blocks or None,
            num_tx=row.used,
        )
        for row in rows
    ]


_LIST_FOR_LOGIN = (
    sa.select(
        _accounts.c.id,
        _accounts.c.pointer,
        _accounts.c.type,
        _accounts.c.receiving_id,
        _accounts.c.name,
    )
    .where(_accounts.c.user_id == sa.bindparam("user"))
    .order_by(_accounts.c.pointer)
)


def list_for_login(connection: Connection, user_id: int) -> list[sa.Row[int, int, str, str, str]]:
    """(id, pointer, type, receiving id, name) of a wallet's accounts, account 0 first."""
    return list(connection.execute(_LIST_FOR_LOGIN, {"user": user_id}))
