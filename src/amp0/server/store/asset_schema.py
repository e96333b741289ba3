"""The tables of the issuer's side: who issues, who may hold, what was issued, and where every unit of it is.

Continues :mod:`schema`, in the same metadata and under the same rules. An *asset* here is one that this server issued,
and so manages; ``asset`` columns hold its row number, ``asset_id`` columns its 32 bytes in internal order. Amounts are
satoshi. Rows about money are never deleted.
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
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from amp0.server.store.schema import _RowId, metadata

MAX_SATOSHI = 2_100_000_000_000_000
_MONEY = f"BETWEEN 0 AND {MAX_SATOSHI}"

# --- owned by issuer/principals.py ---------------------------------------------------------------------------------

principals = Table(
    "principals",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("issuer_id", ForeignKey("principals.id"), nullable=True, comment="NULL: an issuer; else its manager"),
    Column("username", String(150), nullable=False, unique=True),
    Column("person", String(150), nullable=False, comment="who is behind it: nobody approves their own request"),
    Column("salt", LargeBinary(16), nullable=False),
    Column("password_hash", LargeBinary(32), nullable=False),
    Column("token_generation", Integer, nullable=False, comment="the live token follows from it and the service key"),
    Column("is_locked", SmallInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("is_locked IN (0, 1)", name="is_locked"),
    info={"owner": "issuer.principals"},
    comment="logins of the issuer API: issuers, and managers of one issuer",
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True, comment="SHA-256 of the token"),
    Column("principal_id", ForeignKey("principals.id"), nullable=False, index=True),
    Column("generation", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=True, comment="NULL: lives until it is replaced"),
    info={"owner": "issuer.principals"},
    comment="live tokens; a revoked one has no row",
)

manager_assets = Table(
    "manager_assets",
    metadata,
    Column("manager_id", ForeignKey("principals.id"), primary_key=True, autoincrement=False),
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False),
    info={"owner": "issuer.principals"},
    comment="what a manager may work on",
)

issuer_events = Table(
    "issuer_events",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("issuer_id", ForeignKey("principals.id"), nullable=False),
    Column("principal_id", ForeignKey("principals.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("action", String(48), nullable=False),
    Column("asset", ForeignKey("assets.id"), nullable=True),
    Column("detail", Text, nullable=False, comment="JSON object; no secrets"),
    Index("ix_issuer_events_issuer", "issuer_id", "id"),
    info={"owner": "issuer.events"},
    comment="every change, with who and when; written with it, never changed",
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal_id", ForeignKey("principals.id"), primary_key=True, autoincrement=False),
    Column("key", String(128), primary_key=True),
    Column("request_hash", LargeBinary(32), nullable=False, comment="of method, path and body"),
    Column("asset", ForeignKey("assets.id"), nullable=True, comment="what the request made"),
    Column("created_at", BigInteger, nullable=False),
    info={"owner": "issuer.issuance"},
    comment="a retry of an issuance finds the asset that it made",
)

# --- owned by issuer/holders.py ------------------------------------------------------------------------------------

registered_users = Table(
    "registered_users",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("issuer_id", ForeignKey("principals.id"), nullable=False, index=True),
    Column("creator_id", ForeignKey("principals.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("is_company", SmallInteger, nullable=False),
    Column("is_frozen", SmallInteger, nullable=False, comment="1: sends and receives nothing that is managed"),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, nullable=True),
    CheckConstraint("is_company IN (0, 1)", name="is_company"),
    CheckConstraint("is_frozen IN (0, 1)", name="is_frozen"),
    info={"owner": "issuer.holders"},
    comment="an identity, as one issuer knows it",
)

user_gaids = Table(
    "user_gaids",
    metadata,
    Column("issuer_id", ForeignKey("principals.id"), primary_key=True, autoincrement=False),
    Column("account_id", ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("user_id", ForeignKey("registered_users.id"), nullable=False, index=True),
    Column("is_default", SmallInteger, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    CheckConstraint("is_default IN (0, 1)", name="is_default"),
    info={"owner": "issuer.holders"},
    comment="whose account it is, by issuer; kept when its user is deleted, so that it is nobody else's after",
    # A register looks up every holder here: the key alone leads to the user.
    sqlite_with_rowid=False,
)
Index(
    "uq_user_gaids_default",
    user_gaids.c.user_id,
    unique=True,
    sqlite_where=user_gaids.c.is_default == 1,
    postgresql_where=user_gaids.c.is_default == 1,
)
Index("ix_user_gaids_account_id", user_gaids.c.account_id)

categories = Table(
    "categories",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("issuer_id", ForeignKey("principals.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=True),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("issuer_id", "name"),
    info={"owner": "issuer.categories"},
)

category_users = Table(
    "category_users",
    metadata,
    Column("category_id", ForeignKey("categories.id"), primary_key=True, autoincrement=False),
    Column("user_id", ForeignKey("registered_users.id"), primary_key=True, autoincrement=False, index=True),
    info={"owner": "issuer.categories"},
)

category_assets = Table(
    "category_assets",
    metadata,
    Column("category_id", ForeignKey("categories.id"), primary_key=True, autoincrement=False),
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False, index=True),
    info={"owner": "issuer.categories"},
    comment="requirements: a holder of the asset is in every one of these",
)

# --- owned by issuer/gaids.py ---------------------------------------------------------------------------------------

given_addresses = Table(
    "given_addresses",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("pointer", Integer, primary_key=True, autoincrement=False),
    Column("principal_id", ForeignKey("principals.id"), nullable=False),
    Column("given_at", BigInteger, nullable=False),
    ForeignKeyConstraint(["account_id", "pointer"], ["addresses.account_id", "addresses.pointer"]),
    info={"owner": "issuer.gaids"},
    comment="uploaded addresses that an issuer was told, each once: nobody is told the same one again",
)

# --- owned by issuer/assets.py -------------------------------------------------------------------------------------

assets = Table(
    "assets",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("issuer_id", ForeignKey("principals.id"), nullable=False, index=True),
    Column("creator_id", ForeignKey("principals.id"), nullable=False),
    Column("asset_id", LargeBinary(32), nullable=False, unique=True),
    Column("token_id", LargeBinary(32), nullable=True, unique=True, comment="reissuance token; NULL: not reissuable"),
    Column("entropy", LargeBinary(32), nullable=False),
    Column("name", String(255), nullable=False),
    Column("ticker", String(24), nullable=True),
    Column("precision", SmallInteger, nullable=False),
    Column("domain", String(255), nullable=True),
    Column("pubkey", LargeBinary(33), nullable=True),
    Column("contract", Text, nullable=False, comment="canonical JSON; its hash is in the asset id"),
    Column("is_confidential", SmallInteger, nullable=False, comment="1: the issued amount is hidden on the chain"),
    Column("transfer_restricted", SmallInteger, nullable=False, comment="0: issuer-tracked"),
    Column("is_locked", SmallInteger, nullable=False),
    Column("is_authorized", SmallInteger, nullable=False),
    Column("is_registered", SmallInteger, nullable=False),
    Column("authorization_endpoint", Text, nullable=True),
    Column("memo", Text, nullable=False),
    Column("checks_sender_categories", SmallInteger, nullable=False),
    Column("loosening_delay", BigInteger, nullable=False, comment="seconds before a loosening takes effect"),
    Column("required_approvals", SmallInteger, nullable=False, comment="of other persons, before a loosening does"),
    Column("policy_version", BigInteger, nullable=False, comment="grows with whatever may change a verdict"),
    Column("state", String(16), nullable=False, comment="of the issuance: signed, sent or failed"),
    Column("issue_txid", LargeBinary(32), nullable=False, unique=True),
    Column("issue_tx", LargeBinary, nullable=False, comment="fully signed; kept to be sent again"),
    Column("issue_vin", Integer, nullable=False),
    Column("asset_vout", Integer, nullable=False),
    Column("token_vout", Integer, nullable=True),
    Column("issued", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False, comment="satoshi of the reissuance token; 0: not reissuable"),
    Column("destination_address", Text, nullable=False),
    Column("token_address", Text, nullable=False, comment="empty when not reissuable"),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, nullable=True, comment="gone from the API; its rules hold on"),
    CheckConstraint("state IN ('signed', 'sent', 'failed')", name="state"),
    CheckConstraint(f"issued {_MONEY} AND tokens {_MONEY}", name="amounts"),
    CheckConstraint("precision BETWEEN 0 AND 8", name="precision"),
    CheckConstraint("(tokens > 0) = (token_id IS NOT NULL)", name="token"),
    CheckConstraint("loosening_delay >= 0 AND required_approvals >= 0", name="loosening"),
    info={"owner": "issuer.assets"},
    comment="assets issued here: managed for ever, also after they are deleted from the API",
)

treasury_addresses = Table(
    "treasury_addresses",
    metadata,
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False),
    Column("script_pubkey", LargeBinary, primary_key=True),
    Column("address", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger, nullable=True, comment="no redemption after it; what came before stays treasury"),
    info={"owner": "issuer.treasury"},
)
Index("ix_treasury_addresses_script_pubkey", treasury_addresses.c.script_pubkey)

# --- owned by the ledger -------------------------------------------------------------------------------------------

asset_txs = Table(
    "asset_txs",
    metadata,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False),
    Column("state", SmallInteger, nullable=False, comment="0 mempool, 1 block, 2 gone, 3 promised: signed, not seen"),
    Column("height", Integer, nullable=True),
    Column("position", Integer, nullable=True, comment="place within its block"),
    Column("block_time", BigInteger, nullable=True),
    Column("seen_at", BigInteger, nullable=False, comment="when it was first known here"),
    Column("kind", String(16), nullable=False, comment="issuance, reissuance, distribution, burn or transfer"),
    Column("issued", BigInteger, nullable=True, comment="newly issued; NULL: hidden, and not known yet"),
    Column("burned", BigInteger, nullable=False),
    CheckConstraint("state IN (0, 1, 2, 3)", name="state"),
    CheckConstraint("(state = 1) = (height IS NOT NULL)", name="height"),
    CheckConstraint("kind IN ('issuance', 'reissuance', 'distribution', 'burn', 'transfer')", name="kind"),
    CheckConstraint(f"burned {_MONEY} AND (issued IS NULL OR issued {_MONEY})", name="amounts"),
    info={"owner": "ledger.book"},
    comment="transactions that move an asset or its reissuance token",
)
Index("ix_asset_txs_asset", asset_txs.c.asset, asset_txs.c.state, asset_txs.c.height)
Index("ix_asset_txs_height", asset_txs.c.height)
# What was kept for an hour or more before a block had it.
_IS_LATE = text("block_time - seen_at > 3600")
Index("ix_asset_txs_late", asset_txs.c.asset, asset_txs.c.block_time, sqlite_where=_IS_LATE, postgresql_where=_IS_LATE)

asset_outputs = Table(
    "asset_outputs",
    metadata,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("vout", Integer, primary_key=True, autoincrement=False),
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False),
    Column("is_token", SmallInteger, primary_key=True, autoincrement=False),
    Column("satoshi", BigInteger, nullable=True, comment="NULL: sealed; whether it holds the asset is not known"),
    Column("account_id", BigInteger, nullable=True, comment="NULL: treasury, burn or somebody unknown"),
    Column("pointer", Integer, nullable=True),
    Column("is_burnt", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False, comment="as in asset_txs"),
    Column("height", Integer, nullable=True),
    Column("spent_by", LargeBinary(32), nullable=True, comment="by whom: promised, in the mempool or in a block"),
    Column("spent_vin", Integer, nullable=True),
    Column("spent_state", SmallInteger, nullable=True),
    Column("spent_height", Integer, nullable=True),
    Column("acquired_at", BigInteger, nullable=False, comment="when the holder got it; moving it to oneself keeps it"),
    Column("script_pubkey", LargeBinary, nullable=False),
    Column("abf", LargeBinary(32), nullable=True, comment="zeros when explicit"),
    Column("vbf", LargeBinary(32), nullable=True),
    CheckConstraint(f"satoshi IS NULL OR satoshi {_MONEY}", name="satoshi"),
    CheckConstraint("(satoshi IS NULL) = (abf IS NULL) AND (satoshi IS NULL) = (vbf IS NULL)", name="opening"),
    CheckConstraint("(spent_by IS NULL) = (spent_state IS NULL)", name="spent"),
    CheckConstraint("is_token IN (0, 1) AND is_burnt IN (0, 1)", name="flags"),
    info={"owner": "ledger.book"},
    comment="every output that holds an asset or its token, or may, with its opening; what is gone stays, as gone",
)
# Who holds what, at any height, is read from this index alone.
Index(
    "ix_asset_outputs_asset",
    asset_outputs.c.asset,
    asset_outputs.c.is_token,
    asset_outputs.c.account_id,
    asset_outputs.c.height,
    asset_outputs.c.spent_height,
    asset_outputs.c.is_burnt,
    asset_outputs.c.satoshi,
)
# What an account has now, however much it had before.
_IS_PRESENT = text("spent_state IS NULL OR spent_state <> 1")
Index(
    "ix_asset_outputs_present",
    asset_outputs.c.asset,
    asset_outputs.c.is_token,
    asset_outputs.c.account_id,
    sqlite_where=_IS_PRESENT,
    postgresql_where=_IS_PRESENT,
)
Index(
    "ix_asset_outputs_sealed",
    asset_outputs.c.asset,
    sqlite_where=asset_outputs.c.satoshi.is_(None),
    postgresql_where=asset_outputs.c.satoshi.is_(None),
)
Index("ix_asset_outputs_height", asset_outputs.c.height)
Index("ix_asset_outputs_spent_height", asset_outputs.c.spent_height)
Index(
    "ix_asset_outputs_spent_by",
    asset_outputs.c.spent_by,
    sqlite_where=asset_outputs.c.spent_by.is_not(None),
    postgresql_where=asset_outputs.c.spent_by.is_not(None),
)

blacklisted_outputs = Table(
    "blacklisted_outputs",
    metadata,
    Column("prev_txid", LargeBinary(32), primary_key=True),
    Column("prev_vout", Integer, primary_key=True, autoincrement=False),
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False),
    Column("since", BigInteger, nullable=False),
    info={"owner": "ledger.blacklist"},
    comment="outpoints that are not cosigned, by outpoint: they stay so while the chain is reorganised",
)

# --- owned by policy/headcount.py ----------------------------------------------------------------------------------

asset_holdings = Table(
    "asset_holdings",
    metadata,
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False),
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("coins", Integer, nullable=False, comment="outputs that are there, or may be"),
    CheckConstraint("coins >= 0", name="coins"),
    info={"owner": "policy.headcount"},
    comment="accounts that hold an asset, or may; written by triggers on asset_outputs",
    sqlite_with_rowid=False,
)

asset_holder_counts = Table(
    "asset_holder_counts",
    metadata,
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False),
    Column("holders", Integer, nullable=False, comment="identities that hold it, or may"),
    CheckConstraint("holders >= 0", name="holders"),
    info={"owner": "policy.headcount"},
    comment="written by triggers on asset_holdings, user_gaids and registered_users",
)

# --- owned by issuer/assignments.py and issuer/distributions.py ----------------------------------------------------

distributions = Table(
    "distributions",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("asset", ForeignKey("assets.id"), nullable=False, index=True),
    Column("creator_id", ForeignKey("principals.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("txid", LargeBinary(32), nullable=True, unique=True, comment="what paid it; one pays only one"),
    Column("created_at", BigInteger, nullable=False),
    Column("confirmed_at", BigInteger, nullable=True),
    CheckConstraint("state IN ('unconfirmed', 'confirmed', 'cancelled')", name="state"),
    CheckConstraint("(state = 'confirmed') = (txid IS NOT NULL)", name="confirmed"),
    info={"owner": "issuer.distributions"},
)

assignments = Table(
    "assignments",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("asset", ForeignKey("assets.id"), nullable=False, index=True),
    Column("user_id", ForeignKey("registered_users.id"), nullable=False, index=True),
    Column("creator_id", ForeignKey("principals.id"), nullable=False),
    Column("satoshi", BigInteger, nullable=False),
    Column("is_ready", SmallInteger, nullable=False),
    Column("vesting_at", BigInteger, nullable=True),
    Column("distribution_id", ForeignKey("distributions.id"), nullable=True, index=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=True, comment="who is paid, once in a distribution"),
    Column("receiving_script", LargeBinary, nullable=True, unique=True),
    Column("receiving_address", Text, nullable=True),
    Column("vout", Integer, nullable=True),
    Column("distributed_at", BigInteger, nullable=True, comment="when it was confirmed"),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint(f"satoshi BETWEEN 1 AND {MAX_SATOSHI}", name="satoshi"),
    CheckConstraint("is_ready IN (0, 1)", name="is_ready"),
    CheckConstraint("(distribution_id IS NULL) = (receiving_script IS NULL)", name="distribution"),
    info={"owner": "issuer.assignments"},
)

# --- owned by issuer/reissuance.py and issuer/burns.py -------------------------------------------------------------

reissuances = Table(
    "reissuances",
    metadata,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("vin", Integer, primary_key=True, autoincrement=False),
    Column("asset", ForeignKey("assets.id"), nullable=False, index=True),
    Column("satoshi", BigInteger, nullable=False),
    Column("vout", Integer, nullable=False),
    Column("address", Text, nullable=False, comment="where the new units went; empty when it has none"),
    Column("creator_id", ForeignKey("principals.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint(f"satoshi BETWEEN 1 AND {MAX_SATOSHI}", name="satoshi"),
    info={"owner": "issuer.reissuance"},
    comment="confirmed reissuances",
)

burns = Table(
    "burns",
    metadata,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False),
    Column("satoshi", BigInteger, nullable=False),
    Column("creator_id", ForeignKey("principals.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint(f"satoshi BETWEEN 1 AND {MAX_SATOSHI}", name="satoshi"),
    info={"owner": "issuer.burns"},
    comment="confirmed burns of the treasury",
)

# --- owned by the policy -------------------------------------------------------------------------------------------

asset_rules = Table(
    "asset_rules",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("asset", ForeignKey("assets.id"), nullable=False, index=True),
    Column("tag", String(32), nullable=False),
    Column("parameters", Text, nullable=False, comment="JSON object"),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", ForeignKey("principals.id"), nullable=False),
    Column("ended_at", BigInteger, nullable=True, comment="NULL: in force"),
    info={"owner": "policy.book"},
    comment="the rules that an issuer set, beside those that always hold",
)

rule_changes = Table(
    "rule_changes",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("asset", ForeignKey("assets.id"), nullable=False, index=True),
    Column("action", String(32), nullable=False),
    Column("content", Text, nullable=False, comment="canonical JSON"),
    Column("content_hash", LargeBinary(32), nullable=False, comment="what an approval agrees to"),
    Column("loosens", SmallInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("requested_by", ForeignKey("principals.id"), nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("required_approvals", SmallInteger, nullable=False),
    Column("settled_at", BigInteger, nullable=True, comment="when it took effect or was cancelled"),
    Column("settled_by", ForeignKey("principals.id"), nullable=True, comment="NULL: time did"),
    CheckConstraint("state IN ('pending', 'effective', 'cancelled')", name="state"),
    CheckConstraint("loosens IN (0, 1)", name="loosens"),
    CheckConstraint("(state = 'pending') = (settled_at IS NULL)", name="settled"),
    info={"owner": "policy.changes"},
    comment="every change of what an asset's policy allows: asked for, waiting, done",
)
Index(
    "ix_rule_changes_pending",
    rule_changes.c.not_before,
    sqlite_where=rule_changes.c.state == "pending",
    postgresql_where=rule_changes.c.state == "pending",
)

change_approvals = Table(
    "change_approvals",
    metadata,
    Column("change_id", ForeignKey("rule_changes.id"), primary_key=True, autoincrement=False),
    Column("person", String(150), primary_key=True, comment="a person agrees once"),
    Column("principal_id", ForeignKey("principals.id"), nullable=False),
    Column("content_hash", LargeBinary(32), nullable=False),
    Column("at", BigInteger, nullable=False),
    info={"owner": "policy.changes"},
)

asset_moves = Table(
    "asset_moves",
    metadata,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("asset", ForeignKey("assets.id"), primary_key=True, autoincrement=False),
    Column("account_id", ForeignKey("accounts.id"), primary_key=True, autoincrement=False),
    Column("satoshi", BigInteger, nullable=False, comment="what the account sent to others"),
    Column("decided_at", BigInteger, nullable=False),
    CheckConstraint(f"satoshi BETWEEN 1 AND {MAX_SATOSHI}", name="satoshi"),
    info={"owner": "policy.limits"},
    comment="what counts against limits; written with the decision to sign",
)
Index("ix_asset_moves_account", asset_moves.c.asset, asset_moves.c.account_id, asset_moves.c.decided_at)

policy_refusals = Table(
    "policy_refusals",
    metadata,
    Column("id", _RowId, primary_key=True),
    Column("asset", ForeignKey("assets.id"), nullable=False),
    Column("txid", LargeBinary(32), nullable=False),
    Column("account_id", BigInteger, nullable=False, comment="the first sender"),
    Column("reasons", Text, nullable=False, comment="JSON, whole: for the issuer's eyes"),
    Column("at", BigInteger, nullable=False),
    Index("ix_policy_refusals_asset", "asset", "id"),
    info={"owner": "policy.refusals"},
)

# --- owned by issuer/fee_coins.py ----------------------------------------------------------------------------------

fee_wallet_scripts = Table(
    "fee_wallet_scripts",
    metadata,
    Column("script_pubkey", LargeBinary, primary_key=True),
    Column("number", Integer, nullable=False, unique=True, comment="child number of its key"),
    Column("is_change", SmallInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    info={"owner": "issuer.fee_coins"},
)

fee_wallet_coins = Table(
    "fee_wallet_coins",
    metadata,
    Column("txid", LargeBinary(32), primary_key=True),
    Column("vout", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False, comment="of its script"),
    Column("satoshi", BigInteger, nullable=False),
    Column("abf", LargeBinary(32), nullable=False),
    Column("vbf", LargeBinary(32), nullable=False),
    Column("asset_field", LargeBinary(33), nullable=False),
    Column("value_field", LargeBinary(33), nullable=False),
    Column("state", SmallInteger, nullable=False, comment="0 mempool, 1 block, 2 gone, 3 promised"),
    Column("height", Integer, nullable=True, index=True),
    Column("spent_by", LargeBinary(32), nullable=True, index=True, comment="promised, in the mempool or in a block"),
    Column("spent_height", Integer, nullable=True, index=True),
    CheckConstraint(f"satoshi {_MONEY}", name="satoshi"),
    CheckConstraint("(state = 1) = (height IS NOT NULL)", name="height"),
    info={"owner": "issuer.fee_coins"},
    comment="L-BTC of the wallet that pays for issuances",
)
