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
    UniqueConstraint("txid", "account_id"),
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

# --- owned by the modules of twofactor -----------------------------------------------------------------------------

two_factor_methods = Table(
    "two_factor_methods",
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("method", String(16), primary_key=True),
    Column("enabled", SmallInteger, nullable=False, comment="0: an e-mail address for notices only"),
    Column("address_box", LargeBinary, nullable=False, comment="address, encrypted; empty for gauth"),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("method IN ('email', 'sms', 'phone', 'telegram', 'gauth')", name="method"),
    CheckConstraint("enabled = 1 OR (enabled = 0 AND method = 'email')", name="enabled"),
    info={"owner": "twofactor.methods"},
    comment="confirmed second factors, and a confirmed e-mail address that is none",
)

two_factor_totp = Table(
    "two_factor_totp",
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("salt", LargeBinary(16), nullable=False, comment="the secret follows from it and the service key"),
    Column("last_step", BigInteger, nullable=True, comment="newest time step that was accepted; none at or below is"),
    info={"owner": "twofactor.codes"},
    comment="authenticators; a wallet without a row has an empty salt",
)

two_factor_guesses = Table(
    "two_factor_guesses",
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("wrong", Integer, nullable=False, comment="wrong codes since the last right one or the last lock"),
    Column("locks", Integer, nullable=False, comment="locks since the last right code: each lasts twice as long"),
    Column("locked_until", BigInteger, nullable=False, comment="0: not locked"),
    CheckConstraint("wrong >= 0 AND locks >= 0 AND locked_until >= 0", name="counts"),
    info={"owner": "twofactor.codes"},
    comment="one counter a wallet, for every method, session and door",
)

two_factor_codes = Table(
    "two_factor_codes",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("method", String(16), nullable=False),
    Column("action", String(32), nullable=False),
    Column("data_hash", LargeBinary(32), nullable=False, comment="SHA256 of the action's data as canonical JSON"),
    Column(
        "address_box", LargeBinary, nullable=False, comment="new address that the code went to, encrypted; or empty"
    ),
    Column("code_hash", LargeBinary(32), nullable=False, comment="keyed; empty of use without the service key"),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=True, comment="NULL: not used"),
    Column("used_for", String(64), nullable=True, comment="txid of the spend, or the action"),
    CheckConstraint("(used_at IS NULL) = (used_for IS NULL)", name="used"),
    info={"owner": "twofactor.codes"},
    comment="codes that were sent, and every use of one, authenticators included",
)

two_factor_notices = Table(
    "two_factor_notices",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("method", String(16), nullable=False),
    Column("address_box", LargeBinary, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("tries", SmallInteger, nullable=False),
    Column("next_try_at", BigInteger, nullable=False, index=True),
    info={"owner": "twofactor.notices"},
    comment="notices on their way; written with what they tell of, deleted when delivered",
)

two_factor_resets = Table(
    "two_factor_resets",
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("claimant_box", LargeBinary, nullable=False, comment="e-mail address of who asked for it, encrypted"),
    Column("disputer_box", LargeBinary, nullable=False, comment="e-mail address of who disputes it, encrypted"),
    Column("due_at", BigInteger, nullable=False, comment="when it takes effect, or when a dispute may be resolved"),
    Column("remaining", BigInteger, nullable=False, comment="seconds that were left when it was disputed"),
    Column("not_before", BigInteger, nullable=False, comment="no new reset before this time"),
    Column("nonce_hash", LargeBinary, nullable=False, comment="of the one outstanding dispute nonce, or empty"),
    Column("nonce_expires_at", BigInteger, nullable=False),
    CheckConstraint("state IN ('none', 'active', 'disputed')", name="state"),
    info={"owner": "twofactor.reset"},
)

spending_limits = Table(
    "spending_limits",
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("total", BigInteger, nullable=False, comment="satoshi of L-BTC that may leave without a code"),
    Column("spent", BigInteger, nullable=False, comment="what left under it since it was set"),
    CheckConstraint("total >= 0 AND spent >= 0 AND spent <= total", name="spent"),
    info={"owner": "twofactor.limits"},
)

limit_spends = Table(
    "limit_spends",
    metadata,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("satoshi", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("satoshi > 0", name="satoshi"),
    info={"owner": "twofactor.limits"},
    comment="transactions that left under a limit; written with the decision to sign them",
)

frozen_outputs = Table(
    "frozen_outputs",
    metadata,
    Column("prev_txid", LargeBinary(32), primary_key=True),
    Column("prev_vout", Integer, primary_key=True, autoincrement=False),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("frozen_at", BigInteger, nullable=False),
    info={"owner": "twofactor.frozen"},
    comment="outpoints that are not cosigned; they stay frozen while the chain is reorganised",
)
