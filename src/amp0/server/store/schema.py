"""Every table of the server, with the module that owns it.

Only the owner writes SQL for its tables; other modules ask it. Money is guarded here first: what must never happen
twice is a primary key or a unique constraint, what must never be negative a check, and Python comes after that.

Ids and hashes of the chain are 32 bytes in internal order. Times are whole seconds since 1970 unless the column
says ``_us`` (microseconds).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only for a column declared INTEGER PRIMARY KEY.
_RowId = BigInteger().with_variant(Integer, "sqlite")

# --- owned by store/engine.py --------------------------------------------------------------------------------------

service = Table(
    "service",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    info={"owner": "store.engine"},
    comment="facts that belong to the whole store: service public key, genesis, salts, start height",
)

# --- owned by wallets.py -------------------------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("master_pubkey", LargeBinary(33), nullable=False, unique=True),
    Column("master_chain_code", LargeBinary(32), nullable=False),
    Column("login_hash", LargeBinary(20), nullable=False, unique=True, comment="HASH160 of the master public key"),
    Column("gait_path", LargeBinary(64), nullable=False),
    Column("user_agent", String(64), nullable=False),
    Column("appearance", Text, nullable=False, comment="JSON object, stored and returned verbatim"),
    Column("cache_password", String(64), nullable=False),
    Column("csv_blocks", Integer, nullable=False),
    Column("nlocktime_blocks", Integer, nullable=False),
    Column("client_blob", Text, nullable=False, comment="base64; empty while there is none"),
    Column(
        "client_blob_hmac",
        String(44),
        nullable=False,
        comment="base64 of 32 bytes; zeros while there is none",
    ),
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger, nullable=True, comment="NULL: not removed; a new registration takes it back"),
    CheckConstraint("csv_blocks > 0 AND csv_blocks < 65536", name="csv_blocks"),
    info={"owner": "wallets"},
)

# --- owned by logins.py --------------------------------------------------------------------------------------------

watch_only_logins = Table(
    "watch_only_logins",
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("name_hash", LargeBinary(32), nullable=False, unique=True),
    Column("salt", LargeBinary(16), nullable=False),
    Column("password_hash", LargeBinary(32), nullable=False),
    Column("blob_key", String(512), nullable=False, comment="encrypted blob key, opaque"),
    Column("created_at", BigInteger, nullable=False),
    info={"owner": "logins"},
    comment="one watch-only login a wallet; only salted hashes of what the client derived",
)

# --- owned by pins.py ----------------------------------------------------------------------------------------------

pin_logins = Table(
    "pin_logins",
    metadata,
    Column("identifier", LargeBinary(16), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("device_hash", LargeBinary(32), nullable=False),
    Column("salt", LargeBinary(16), nullable=False),
    Column("pin_hash", LargeBinary(32), nullable=False),
    Column("tries_left", SmallInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("user_id", "device_hash"),
    CheckConstraint("tries_left >= 0", name="tries_left"),
    info={"owner": "pins"},
    comment="one PIN a device; the password it gives follows from salt, PIN and service key, and is not kept",
)

# --- owned by accounts.py ------------------------------------------------------------------------------------------

accounts = Table(
    "accounts",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("pointer", Integer, nullable=False, comment="account number within the wallet; 0 exists always"),
    Column("type", String(32), nullable=False, comment="2of2_no_recovery (AMP) or 2of2"),
    Column("name", String(128), nullable=False),
    Column("receiving_id", String(32), nullable=False, unique=True, comment="the GAID, or AMP ID"),
    Column("user_pubkey", LargeBinary(33), nullable=True, comment="account key m/3h/nh; NULL for account 0"),
    Column("user_chain_code", LargeBinary(32), nullable=True),
    Column("last_pointer", Integer, nullable=False, comment="last address handed out; 0 while none was"),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("user_id", "pointer"),
    CheckConstraint("pointer >= 0 AND pointer < 16384", name="pointer"),
    CheckConstraint("last_pointer >= 0", name="last_pointer"),
    CheckConstraint("(pointer = 0) = (user_pubkey IS NULL)", name="key"),
    CheckConstraint("(user_pubkey IS NULL) = (user_chain_code IS NULL)", name="key_and_chain_code"),
    info={"owner": "accounts"},
)

addresses = Table(
    "addresses",
    metadata,
    Column("account_id", ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("pointer", Integer, primary_key=True, autoincrement=False),
    Column("script_pubkey", LargeBinary, nullable=False, unique=True),
    Column("csv_blocks", Integer, nullable=False, comment="0 for p2wsh; the delay in blocks for csv"),
    Column(
        "issued_at",
        BigInteger,
        nullable=True,
        comment="NULL: watched since the account exists, not handed out",
    ),
    Column("blinding_pubkey", LargeBinary(33), nullable=True, comment="from the client's uploads"),
    CheckConstraint("pointer > 0", name="pointer"),
    info={"owner": "accounts"},
    comment="every address that is watched and cosigned",
)
Index(
    "ix_addresses_uploaded",
    addresses.c.account_id,
    sqlite_where=addresses.c.blinding_pubkey.is_not(None),
    postgresql_where=addresses.c.blinding_pubkey.is_not(None),
)

# --- owned by chainindex.py ----------------------------------------------------------------------------------------

blocks = Table(
    "blocks",
    metadata,
    Column("height", Integer, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("previous_hash", LargeBinary(32), nullable=False),
    Column("time", BigInteger, nullable=False),
    info={"owner": "chainindex"},
    comment="the newest blocks of the best chain, as far as the server has read them",
)

transactions = Table(
    "transactions",
    metadata,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("state", SmallInteger, nullable=False, comment="0 in the mempool, 1 in a block, 2 gone from both"),
    Column("height", Integer, nullable=True, index=True),
    Column("fee", BigInteger, nullable=False, comment="satoshi of the policy asset"),
    Column("weight", Integer, nullable=False),
    Column("vsize", Integer, nullable=False),
    Column("first_seen_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False, comment="when it entered its present state"),
    Column("raw", LargeBinary, nullable=False),
    CheckConstraint("state IN (0, 1, 2)", name="state"),
    CheckConstraint("(state = 1) = (height IS NOT NULL)", name="height"),
    info={"owner": "chainindex"},
    comment="every transaction that pays or spends an address of ours; never deleted",
)
Index(
    "ix_transactions_unconfirmed",
    transactions.c.state,
    sqlite_where=transactions.c.state == 0,
    postgresql_where=transactions.c.state == 0,
)

outputs = Table(
    "outputs",
    metadata,
    Column("txid", ForeignKey("transactions.txid"), primary_key=True),
    Column("vout", Integer, primary_key=True, autoincrement=False),
    Column("account_id", BigInteger, nullable=False),
    Column("pointer", Integer, nullable=False),
    Column("height", Integer, nullable=True, comment="NULL: in the mempool"),
    Column("spent_by", LargeBinary(32), nullable=True, comment="txid of the spender, in mempool or block"),
    Column("spent_height", Integer, nullable=True, comment="NULL: unspent, or the spender is in the mempool"),
    Column("script_pubkey", LargeBinary, nullable=False),
    Column("asset_field", LargeBinary(33), nullable=False),
    Column("value_field", LargeBinary(33), nullable=False),
    Column("nonce_field", LargeBinary(33), nullable=False),
    # Proofs are large and read seldom: SQLite reads a row from the left, so they stand last.
    Column("range_proof", LargeBinary, nullable=False),
    Column("surjection_proof", LargeBinary, nullable=False),
    ForeignKeyConstraint(["account_id", "pointer"], ["addresses.account_id", "addresses.pointer"]),
    CheckConstraint("vout >= 0", name="vout"),
    CheckConstraint("spent_height IS NULL OR spent_by IS NOT NULL", name="spent"),
    info={"owner": "chainindex"},
    comment="own outputs of the present chain and mempool; a transaction that is gone has no rows here",
)
Index("ix_outputs_account", outputs.c.account_id, outputs.c.pointer)
Index(
    "ix_outputs_unspent",
    outputs.c.account_id,
    sqlite_where=outputs.c.spent_by.is_(None),
    postgresql_where=outputs.c.spent_by.is_(None),
)
Index(
    "ix_outputs_spent_by",
    outputs.c.spent_by,
    sqlite_where=outputs.c.spent_by.is_not(None),
    postgresql_where=outputs.c.spent_by.is_not(None),
)

account_transactions = Table(
    "account_transactions",
    metadata,
    Column("account_id", ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("created_at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("txid", ForeignKey("transactions.txid"), nullable=False),
    UniqueConstraint("account_id", "txid"),
    info={"owner": "chainindex"},
    comment="an account's transactions in the order of their discovery; the time never changes",
)

# --- owned by cosigner.py ------------------------------------------------------------------------------------------

cosigned = Table(
    "cosigned",
    metadata,
    Column("txid", LargeBinary(32), primary_key=True),
    Column(
        "tx",
        LargeBinary,
        nullable=False,
        comment="as the user signed it; the service's signatures follow from it",
    ),
    Column("created_at", BigInteger, nullable=False),
    Column(
        "replaced_by",
        ForeignKey("cosigned.txid"),
        nullable=True,
        comment="the newest one for one of its outpoints",
    ),
    info={"owner": "cosigner"},
    comment="what the service decided to sign; written before a signature leaves, never deleted",
)

cosigned_inputs = Table(
    "cosigned_inputs",
    metadata,
    Column("txid", ForeignKey("cosigned.txid"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("prev_txid", LargeBinary(32), nullable=False),
    Column("prev_vout", Integer, nullable=False),
    Column("account_id", BigInteger, nullable=True, comment="NULL: an input of somebody else, left as it came"),
    Column("pointer", Integer, nullable=True),
    Column("value_field", LargeBinary(33), nullable=True, comment="of the spent output: signatures commit to it"),
    ForeignKeyConstraint(["account_id", "pointer"], ["addresses.account_id", "addresses.pointer"]),
    UniqueConstraint("txid", "prev_txid", "prev_vout"),
    CheckConstraint("(account_id IS NULL) = (pointer IS NULL)", name="own"),
    CheckConstraint("(account_id IS NULL) = (value_field IS NULL)", name="own_value"),
    info={"owner": "cosigner"},
)

outpoint_claims = Table(
    "outpoint_claims",
    metadata,
    Column("prev_txid", LargeBinary(32), primary_key=True),
    Column("prev_vout", Integer, primary_key=True, autoincrement=False),
    Column("txid", ForeignKey("cosigned.txid"), nullable=False, index=True),
    info={"owner": "cosigner"},
    comment="which cosigned transaction holds an own outpoint: one at a time, and the key says so",
)
