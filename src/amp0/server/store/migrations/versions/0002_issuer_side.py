"""The issuer's side: principals, holders, assets, the ledger of their outputs, rules, and the fee wallet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of the issuer's side."""
    op.create_table(
        "fee_wallet_coins",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vout", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="of its script"),
        sa.Column("satoshi", sa.BigInteger(), nullable=False),
        sa.Column("abf", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vbf", sa.LargeBinary(length=32), nullable=False),
        sa.Column("asset_field", sa.LargeBinary(length=33), nullable=False),
        sa.Column("value_field", sa.LargeBinary(length=33), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False, comment="0 mempool, 1 block, 2 gone, 3 promised"),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column(
            "spent_by", sa.LargeBinary(length=32), nullable=True, comment="promised, in the mempool or in a block"
        ),
        sa.Column("spent_height", sa.Integer(), nullable=True),
        sa.CheckConstraint("(state = 1) = (height IS NOT NULL)", name=op.f("ck_fee_wallet_coins_height")),
        sa.CheckConstraint("satoshi BETWEEN 0 AND 2100000000000000", name=op.f("ck_fee_wallet_coins_satoshi")),
        sa.PrimaryKeyConstraint("txid", "vout", name=op.f("pk_fee_wallet_coins")),
        comment="L-BTC of the wallet that pays for issuances",
        info={"owner": "issuer.fee_coins"},
    )
    op.create_index(op.f("ix_fee_wallet_coins_height"), "fee_wallet_coins", ["height"], unique=False)
    op.create_index(op.f("ix_fee_wallet_coins_spent_by"), "fee_wallet_coins", ["spent_by"], unique=False)
    op.create_index(op.f("ix_fee_wallet_coins_spent_height"), "fee_wallet_coins", ["spent_height"], unique=False)
    op.create_table(
        "fee_wallet_scripts",
        sa.Column("script_pubkey", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, comment="child number of its key"),
        sa.Column("is_change", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("script_pubkey", name=op.f("pk_fee_wallet_scripts")),
        sa.UniqueConstraint("number", name=op.f("uq_fee_wallet_scripts_number")),
        info={"owner": "issuer.fee_coins"},
    )
    op.create_table(
        "principals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "issuer_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="NULL: an issuer; else its manager",
        ),
        sa.Column("username", sa.String(length=150), nullable=False),
        sa.Column(
            "person",
            sa.String(length=150),
            nullable=False,
            comment="who is behind it: nobody approves their own request",
        ),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("password_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "token_generation",
            sa.Integer(),
            nullable=False,
            comment="the live token follows from it and the service key",
        ),
        sa.Column("is_locked", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("is_locked IN (0, 1)", name=op.f("ck_principals_is_locked")),
        sa.ForeignKeyConstraint(["issuer_id"], ["principals.id"], name=op.f("fk_principals_issuer_id_principals")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principals")),
        sa.UniqueConstraint("username", name=op.f("uq_principals_username")),
        comment="logins of the issuer API: issuers, and managers of one issuer",
        info={"owner": "issuer.principals"},
    )
    op.create_table(
        "api_tokens",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False, comment="SHA-256 of the token"),
        sa.Column("principal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True, comment="NULL: lives until it is replaced"),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.id"], name=op.f("fk_api_tokens_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_api_tokens")),
        comment="live tokens; a revoked one has no row",
        info={"owner": "issuer.principals"},
    )
    op.create_index(op.f("ix_api_tokens_principal_id"), "api_tokens", ["principal_id"], unique=False)
    op.create_table(
        "assets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("issuer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("creator_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "token_id", sa.LargeBinary(length=32), nullable=True, comment="reissuance token; NULL: not reissuable"
        ),
        sa.Column("entropy", sa.LargeBinary(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("ticker", sa.String(length=24), nullable=True),
        sa.Column("precision", sa.SmallInteger(), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=True),
        sa.Column("pubkey", sa.LargeBinary(length=33), nullable=True),
        sa.Column("contract", sa.Text(), nullable=False, comment="canonical JSON; its hash is in the asset id"),
        sa.Column(
            "is_confidential", sa.SmallInteger(), nullable=False, comment="1: the issued amount is hidden on the chain"
        ),
        sa.Column("transfer_restricted", sa.SmallInteger(), nullable=False, comment="0: issuer-tracked"),
        sa.Column("is_locked", sa.SmallInteger(), nullable=False),
        sa.Column("is_authorized", sa.SmallInteger(), nullable=False),
        sa.Column("is_registered", sa.SmallInteger(), nullable=False),
        sa.Column("authorization_endpoint", sa.Text(), nullable=True),
        sa.Column("memo", sa.Text(), nullable=False),
        sa.Column("checks_sender_categories", sa.SmallInteger(), nullable=False),
        sa.Column(
            "loosening_delay", sa.BigInteger(), nullable=False, comment="seconds before a loosening takes effect"
        ),
        sa.Column(
            "required_approvals", sa.SmallInteger(), nullable=False, comment="of other persons, before a loosening does"
        ),
        sa.Column(
            "policy_version", sa.BigInteger(), nullable=False, comment="grows with whatever may change a verdict"
        ),
        sa.Column("state", sa.String(length=16), nullable=False, comment="of the issuance: signed, sent or failed"),
        sa.Column("issue_txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("issue_tx", sa.LargeBinary(), nullable=False, comment="fully signed; kept to be sent again"),
        sa.Column("issue_vin", sa.Integer(), nullable=False),
        sa.Column("asset_vout", sa.Integer(), nullable=False),
        sa.Column("token_vout", sa.Integer(), nullable=True),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column(
            "tokens", sa.BigInteger(), nullable=False, comment="satoshi of the reissuance token; 0: not reissuable"
        ),
        sa.Column("destination_address", sa.Text(), nullable=False),
        sa.Column("token_address", sa.Text(), nullable=False, comment="empty when not reissuable"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True, comment="gone from the API; its rules hold on"),
        sa.CheckConstraint("state IN ('signed', 'sent', 'failed')", name=op.f("ck_assets_state")),
        sa.CheckConstraint("(tokens > 0) = (token_id IS NOT NULL)", name=op.f("ck_assets_token")),
        sa.CheckConstraint(
            "issued BETWEEN 0 AND 2100000000000000 AND tokens BETWEEN 0 AND 2100000000000000",
            name=op.f("ck_assets_amounts"),
        ),
        sa.CheckConstraint("loosening_delay >= 0 AND required_approvals >= 0", name=op.f("ck_assets_loosening")),
        sa.CheckConstraint("precision BETWEEN 0 AND 8", name=op.f("ck_assets_precision")),
        sa.ForeignKeyConstraint(["creator_id"], ["principals.id"], name=op.f("fk_assets_creator_id_principals")),
        sa.ForeignKeyConstraint(["issuer_id"], ["principals.id"], name=op.f("fk_assets_issuer_id_principals")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sa.UniqueConstraint("asset_id", name=op.f("uq_assets_asset_id")),
        sa.UniqueConstraint("issue_txid", name=op.f("uq_assets_issue_txid")),
        sa.UniqueConstraint("token_id", name=op.f("uq_assets_token_id")),
        sa.UniqueConstraint("uuid", name=op.f("uq_assets_uuid")),
        comment="assets issued here: managed for ever, also after they are deleted from the API",
        info={"owner": "issuer.assets"},
    )
    op.create_index(op.f("ix_assets_issuer_id"), "assets", ["issuer_id"], unique=False)
    op.create_table(
        "categories",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("issuer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["issuer_id"], ["principals.id"], name=op.f("fk_categories_issuer_id_principals")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_categories")),
        sa.UniqueConstraint("issuer_id", "name", name=op.f("uq_categories_issuer_id_name")),
        info={"owner": "issuer.categories"},
    )
    op.create_table(
        "registered_users",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("issuer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("creator_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("is_company", sa.SmallInteger(), nullable=False),
        sa.Column(
            "is_frozen", sa.SmallInteger(), nullable=False, comment="1: sends and receives nothing that is managed"
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("is_company IN (0, 1)", name=op.f("ck_registered_users_is_company")),
        sa.CheckConstraint("is_frozen IN (0, 1)", name=op.f("ck_registered_users_is_frozen")),
        sa.ForeignKeyConstraint(
            ["creator_id"], ["principals.id"], name=op.f("fk_registered_users_creator_id_principals")
        ),
        sa.ForeignKeyConstraint(
            ["issuer_id"], ["principals.id"], name=op.f("fk_registered_users_issuer_id_principals")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registered_users")),
        comment="an identity, as one issuer knows it",
        info={"owner": "issuer.holders"},
    )
    op.create_index(op.f("ix_registered_users_issuer_id"), "registered_users", ["issuer_id"], unique=False)
    op.create_table(
        "asset_moves",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("satoshi", sa.BigInteger(), nullable=False, comment="what the account sent to others"),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("satoshi BETWEEN 1 AND 2100000000000000", name=op.f("ck_asset_moves_satoshi")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_asset_moves_account_id_accounts")),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_asset_moves_asset_assets")),
        sa.PrimaryKeyConstraint("txid", "asset", "account_id", name=op.f("pk_asset_moves")),
        comment="what counts against limits; written with the decision to sign",
        info={"owner": "policy.limits"},
    )
    op.create_index("ix_asset_moves_account", "asset_moves", ["asset", "account_id", "decided_at"], unique=False)
    op.create_table(
        "asset_outputs",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vout", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("is_token", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "satoshi", sa.BigInteger(), nullable=True, comment="NULL: sealed; whether it holds the asset is not known"
        ),
        sa.Column("account_id", sa.BigInteger(), nullable=True, comment="NULL: treasury, burn or somebody unknown"),
        sa.Column("pointer", sa.Integer(), nullable=True),
        sa.Column("is_burnt", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False, comment="as in asset_txs"),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column(
            "spent_by",
            sa.LargeBinary(length=32),
            nullable=True,
            comment="by whom: promised, in the mempool or in a block",
        ),
        sa.Column("spent_vin", sa.Integer(), nullable=True),
        sa.Column("spent_state", sa.SmallInteger(), nullable=True),
        sa.Column("spent_height", sa.Integer(), nullable=True),
        sa.Column(
            "acquired_at",
            sa.BigInteger(),
            nullable=False,
            comment="when the holder got it; moving it to oneself keeps it",
        ),
        sa.Column("script_pubkey", sa.LargeBinary(), nullable=False),
        sa.Column("abf", sa.LargeBinary(length=32), nullable=True, comment="zeros when explicit"),
        sa.Column("vbf", sa.LargeBinary(length=32), nullable=True),
        sa.CheckConstraint(
            "(satoshi IS NULL) = (abf IS NULL) AND (satoshi IS NULL) = (vbf IS NULL)",
            name=op.f("ck_asset_outputs_opening"),
        ),
        sa.CheckConstraint("(spent_by IS NULL) = (spent_state IS NULL)", name=op.f("ck_asset_outputs_spent")),
        sa.CheckConstraint("is_token IN (0, 1) AND is_burnt IN (0, 1)", name=op.f("ck_asset_outputs_flags")),
        sa.CheckConstraint(
            "satoshi IS NULL OR satoshi BETWEEN 0 AND 2100000000000000", name=op.f("ck_asset_outputs_satoshi")
        ),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_asset_outputs_asset_assets")),
        sa.PrimaryKeyConstraint("txid", "vout", "asset", "is_token", name=op.f("pk_asset_outputs")),
        comment="every output that holds an asset or its token, or may, with its opening; what is gone stays, as gone",
        info={"owner": "ledger.book"},
    )
    op.create_index(
        "ix_asset_outputs_asset",
        "asset_outputs",
        ["asset", "is_token", "account_id", "height", "spent_height", "is_burnt", "satoshi"],
        unique=False,
    )
    op.create_index("ix_asset_outputs_height", "asset_outputs", ["height"], unique=False)
    op.create_index(
        "ix_asset_outputs_sealed",
        "asset_outputs",
        ["asset"],
        unique=False,
        sqlite_where=sa.text("satoshi IS NULL"),
        postgresql_where=sa.text("satoshi IS NULL"),
    )
    op.create_index(
        "ix_asset_outputs_spent_by",
        "asset_outputs",
        ["spent_by"],
        unique=False,
        sqlite_where=sa.text("spent_by IS NOT NULL"),
        postgresql_where=sa.text("spent_by IS NOT NULL"),
    )
    op.create_index("ix_asset_outputs_spent_height", "asset_outputs", ["spent_height"], unique=False)
    op.create_table(
        "asset_rules",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tag", sa.String(length=32), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False, comment="JSON object"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True, comment="NULL: in force"),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_asset_rules_asset_assets")),
        sa.ForeignKeyConstraint(["created_by"], ["principals.id"], name=op.f("fk_asset_rules_created_by_principals")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset_rules")),
        comment="the rules that an issuer set, beside those that always hold",
        info={"owner": "policy.book"},
    )
    op.create_index(op.f("ix_asset_rules_asset"), "asset_rules", ["asset"], unique=False)
    op.create_table(
        "asset_txs",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column(
            "state",
            sa.SmallInteger(),
            nullable=False,
            comment="0 mempool, 1 block, 2 gone, 3 promised: signed, not seen",
        ),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True, comment="place within its block"),
        sa.Column("block_time", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=False, comment="when it was first known here"),
        sa.Column(
            "kind", sa.String(length=16), nullable=False, comment="issuance, reissuance, distribution, burn or transfer"
        ),
        sa.Column("issued", sa.BigInteger(), nullable=True, comment="newly issued; NULL: hidden, and not known yet"),
        sa.Column("burned", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('issuance', 'reissuance', 'distribution', 'burn', 'transfer')", name=op.f("ck_asset_txs_kind")
        ),
        sa.CheckConstraint("(state = 1) = (height IS NOT NULL)", name=op.f("ck_asset_txs_height")),
        sa.CheckConstraint(
            "burned BETWEEN 0 AND 2100000000000000 AND (issued IS NULL OR issued BETWEEN 0 AND 2100000000000000)",
            name=op.f("ck_asset_txs_amounts"),
        ),
        sa.CheckConstraint("state IN (0, 1, 2, 3)", name=op.f("ck_asset_txs_state")),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_asset_txs_asset_assets")),
        sa.PrimaryKeyConstraint("txid", "asset", name=op.f("pk_asset_txs")),
        comment="transactions that move an asset or its reissuance token",
        info={"owner": "ledger.book"},
    )
    op.create_index("ix_asset_txs_asset", "asset_txs", ["asset", "state", "height"], unique=False)
    op.create_index("ix_asset_txs_height", "asset_txs", ["height"], unique=False)
    op.create_table(
        "blacklisted_outputs",
        sa.Column("prev_txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("prev_vout", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_blacklisted_outputs_asset_assets")),
        sa.PrimaryKeyConstraint("prev_txid", "prev_vout", "asset", name=op.f("pk_blacklisted_outputs")),
        comment="outpoints that are not cosigned, by outpoint: they stay so while the chain is reorganised",
        info={"owner": "ledger.blacklist"},
    )
    op.create_table(
        "burns",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("satoshi", sa.BigInteger(), nullable=False),
        sa.Column("creator_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("satoshi BETWEEN 1 AND 2100000000000000", name=op.f("ck_burns_satoshi")),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_burns_asset_assets")),
        sa.ForeignKeyConstraint(["creator_id"], ["principals.id"], name=op.f("fk_burns_creator_id_principals")),
        sa.PrimaryKeyConstraint("txid", "asset", name=op.f("pk_burns")),
        comment="confirmed burns of the treasury",
        info={"owner": "issuer.burns"},
    )
    op.create_table(
        "category_assets",
        sa.Column(
            "category_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_category_assets_asset_assets")),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name=op.f("fk_category_assets_category_id_categories")
        ),
        sa.PrimaryKeyConstraint("category_id", "asset", name=op.f("pk_category_assets")),
        comment="requirements: a holder of the asset is in every one of these",
        info={"owner": "issuer.categories"},
    )
    op.create_index(op.f("ix_category_assets_asset"), "category_assets", ["asset"], unique=False)
    op.create_table(
        "category_users",
        sa.Column(
            "category_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name=op.f("fk_category_users_category_id_categories")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["registered_users.id"], name=op.f("fk_category_users_user_id_registered_users")
        ),
        sa.PrimaryKeyConstraint("category_id", "user_id", name=op.f("pk_category_users")),
        info={"owner": "issuer.categories"},
    )
    op.create_index(op.f("ix_category_users_user_id"), "category_users", ["user_id"], unique=False)
    op.create_table(
        "distributions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("creator_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("txid", sa.LargeBinary(length=32), nullable=True, comment="what paid it; one pays only one"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(state = 'confirmed') = (txid IS NOT NULL)", name=op.f("ck_distributions_confirmed")),
        sa.CheckConstraint("state IN ('unconfirmed', 'confirmed', 'cancelled')", name=op.f("ck_distributions_state")),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_distributions_asset_assets")),
        sa.ForeignKeyConstraint(["creator_id"], ["principals.id"], name=op.f("fk_distributions_creator_id_principals")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_distributions")),
        sa.UniqueConstraint("txid", name=op.f("uq_distributions_txid")),
        sa.UniqueConstraint("uuid", name=op.f("uq_distributions_uuid")),
        info={"owner": "issuer.distributions"},
    )
    op.create_index(op.f("ix_distributions_asset"), "distributions", ["asset"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column(
            "principal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(length=32), nullable=False, comment="of method, path and body"),
        sa.Column(
            "asset",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="what the request made",
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_idempotency_keys_asset_assets")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.id"], name=op.f("fk_idempotency_keys_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("principal_id", "key", name=op.f("pk_idempotency_keys")),
        comment="a retry of an issuance finds the asset that it made",
        info={"owner": "issuer.issuance"},
    )
    op.create_table(
        "issuer_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("issuer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("principal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=48), nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False, comment="JSON object; no secrets"),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_issuer_events_asset_assets")),
        sa.ForeignKeyConstraint(["issuer_id"], ["principals.id"], name=op.f("fk_issuer_events_issuer_id_principals")),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.id"], name=op.f("fk_issuer_events_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issuer_events")),
        comment="every change, with who and when; written with it, never changed",
        info={"owner": "issuer.events"},
    )
    op.create_index("ix_issuer_events_issuer", "issuer_events", ["issuer_id", "id"], unique=False)
    op.create_table(
        "manager_assets",
        sa.Column(
            "manager_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_manager_assets_asset_assets")),
        sa.ForeignKeyConstraint(
            ["manager_id"], ["principals.id"], name=op.f("fk_manager_assets_manager_id_principals")
        ),
        sa.PrimaryKeyConstraint("manager_id", "asset", name=op.f("pk_manager_assets")),
        comment="what a manager may work on",
        info={"owner": "issuer.principals"},
    )
    op.create_table(
        "policy_refusals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False, comment="the first sender"),
        sa.Column("reasons", sa.Text(), nullable=False, comment="JSON, whole: for the issuer's eyes"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_policy_refusals_asset_assets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_refusals")),
        info={"owner": "policy.refusals"},
    )
    op.create_index("ix_policy_refusals_asset", "policy_refusals", ["asset", "id"], unique=False)
    op.create_table(
        "reissuances",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vin", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("satoshi", sa.BigInteger(), nullable=False),
        sa.Column("vout", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False, comment="where the new units went; empty when it has none"),
        sa.Column("creator_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("satoshi BETWEEN 1 AND 2100000000000000", name=op.f("ck_reissuances_satoshi")),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_reissuances_asset_assets")),
        sa.ForeignKeyConstraint(["creator_id"], ["principals.id"], name=op.f("fk_reissuances_creator_id_principals")),
        sa.PrimaryKeyConstraint("txid", "vin", name=op.f("pk_reissuances")),
        comment="confirmed reissuances",
        info={"owner": "issuer.reissuance"},
    )
    op.create_index(op.f("ix_reissuances_asset"), "reissuances", ["asset"], unique=False)
    op.create_table(
        "rule_changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("content", sa.Text(), nullable=False, comment="canonical JSON"),
        sa.Column("content_hash", sa.LargeBinary(length=32), nullable=False, comment="what an approval agrees to"),
        sa.Column("loosens", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("required_approvals", sa.SmallInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True, comment="when it took effect or was cancelled"),
        sa.Column(
            "settled_by", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True, comment="NULL: time did"
        ),
        sa.CheckConstraint("(state = 'pending') = (settled_at IS NULL)", name=op.f("ck_rule_changes_settled")),
        sa.CheckConstraint("state IN ('pending', 'effective', 'cancelled')", name=op.f("ck_rule_changes_state")),
        sa.CheckConstraint("loosens IN (0, 1)", name=op.f("ck_rule_changes_loosens")),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_rule_changes_asset_assets")),
        sa.ForeignKeyConstraint(
            ["requested_by"], ["principals.id"], name=op.f("fk_rule_changes_requested_by_principals")
        ),
        sa.ForeignKeyConstraint(["settled_by"], ["principals.id"], name=op.f("fk_rule_changes_settled_by_principals")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule_changes")),
        comment="every change of what an asset's policy allows: asked for, waiting, done",
        info={"owner": "policy.changes"},
    )
    op.create_index(op.f("ix_rule_changes_asset"), "rule_changes", ["asset"], unique=False)
    op.create_index(
        "ix_rule_changes_pending",
        "rule_changes",
        ["not_before"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "treasury_addresses",
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("script_pubkey", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "removed_at",
            sa.BigInteger(),
            nullable=True,
            comment="no redemption after it; what came before stays treasury",
        ),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_treasury_addresses_asset_assets")),
        sa.PrimaryKeyConstraint("asset", "script_pubkey", name=op.f("pk_treasury_addresses")),
        info={"owner": "issuer.treasury"},
    )
    op.create_index("ix_treasury_addresses_script_pubkey", "treasury_addresses", ["script_pubkey"], unique=False)
    op.create_table(
        "user_gaids",
        sa.Column(
            "issuer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column(
            "account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("is_default", sa.SmallInteger(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("is_default IN (0, 1)", name=op.f("ck_user_gaids_is_default")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_user_gaids_account_id_accounts")),
        sa.ForeignKeyConstraint(["issuer_id"], ["principals.id"], name=op.f("fk_user_gaids_issuer_id_principals")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["registered_users.id"], name=op.f("fk_user_gaids_user_id_registered_users")
        ),
        sa.PrimaryKeyConstraint("issuer_id", "account_id", name=op.f("pk_user_gaids")),
        comment="whose account it is, by issuer; kept when its user is deleted, so that it is nobody else's after",
        info={"owner": "issuer.holders"},
        sqlite_with_rowid=False,
    )
    op.create_index("ix_user_gaids_account_id", "user_gaids", ["account_id"], unique=False)
    op.create_index(op.f("ix_user_gaids_user_id"), "user_gaids", ["user_id"], unique=False)
    op.create_index(
        "uq_user_gaids_default",
        "user_gaids",
        ["user_id"],
        unique=True,
        sqlite_where=sa.text("is_default = 1"),
        postgresql_where=sa.text("is_default = 1"),
    )
    op.create_table(
        "assignments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("creator_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("satoshi", sa.BigInteger(), nullable=False),
        sa.Column("is_ready", sa.SmallInteger(), nullable=False),
        sa.Column("vesting_at", sa.BigInteger(), nullable=True),
        sa.Column("distribution_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "account_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="who is paid, once in a distribution",
        ),
        sa.Column("receiving_script", sa.LargeBinary(), nullable=True),
        sa.Column("receiving_address", sa.Text(), nullable=True),
        sa.Column("vout", sa.Integer(), nullable=True),
        sa.Column("distributed_at", sa.BigInteger(), nullable=True, comment="when it was confirmed"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(distribution_id IS NULL) = (receiving_script IS NULL)", name=op.f("ck_assignments_distribution")
        ),
        sa.CheckConstraint("is_ready IN (0, 1)", name=op.f("ck_assignments_is_ready")),
        sa.CheckConstraint("satoshi BETWEEN 1 AND 2100000000000000", name=op.f("ck_assignments_satoshi")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_assignments_account_id_accounts")),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_assignments_asset_assets")),
        sa.ForeignKeyConstraint(["creator_id"], ["principals.id"], name=op.f("fk_assignments_creator_id_principals")),
        sa.ForeignKeyConstraint(
            ["distribution_id"], ["distributions.id"], name=op.f("fk_assignments_distribution_id_distributions")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["registered_users.id"], name=op.f("fk_assignments_user_id_registered_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
        sa.UniqueConstraint("receiving_script", name=op.f("uq_assignments_receiving_script")),
        info={"owner": "issuer.assignments"},
    )
    op.create_index(op.f("ix_assignments_asset"), "assignments", ["asset"], unique=False)
    op.create_index(op.f("ix_assignments_distribution_id"), "assignments", ["distribution_id"], unique=False)
    op.create_index(op.f("ix_assignments_user_id"), "assignments", ["user_id"], unique=False)
    op.create_table(
        "change_approvals",
        sa.Column(
            "change_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("person", sa.String(length=150), nullable=False, comment="a person agrees once"),
        sa.Column("principal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["change_id"], ["rule_changes.id"], name=op.f("fk_change_approvals_change_id_rule_changes")
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.id"], name=op.f("fk_change_approvals_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("change_id", "person", name=op.f("pk_change_approvals")),
        info={"owner": "policy.changes"},
    )
    op.create_table(
        "given_addresses",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("pointer", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("principal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("given_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "pointer"],
            ["addresses.account_id", "addresses.pointer"],
            name=op.f("fk_given_addresses_account_id_pointer_addresses"),
        ),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.id"], name=op.f("fk_given_addresses_principal_id_principals")
        ),
        sa.PrimaryKeyConstraint("account_id", "pointer", name=op.f("pk_given_addresses")),
        comment="uploaded addresses that an issuer was told, each once: nobody is told the same one again",
        info={"owner": "issuer.gaids"},
    )
