"""The first schema: service facts, users, accounts, addresses, what the chain holds for them, cosigning."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table of the first release."""
    op.create_table(
        "blocks",
        sa.Column("height", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("height", name=op.f("pk_blocks")),
        sa.UniqueConstraint("hash", name=op.f("uq_blocks_hash")),
        comment="the newest blocks of the best chain, as far as the server has read them",
        info={"owner": "chainindex"},
    )
    op.create_table(
        "cosigned",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "tx",
            sa.LargeBinary(),
            nullable=False,
            comment="as the user signed it; the service's signatures follow from it",
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "replaced_by",
            sa.LargeBinary(length=32),
            nullable=True,
            comment="the newest one for one of its outpoints",
        ),
        sa.ForeignKeyConstraint(["replaced_by"], ["cosigned.txid"], name=op.f("fk_cosigned_replaced_by_cosigned")),
        sa.PrimaryKeyConstraint("txid", name=op.f("pk_cosigned")),
        comment="what the service decided to sign; written before a signature leaves, never deleted",
        info={"owner": "cosigner"},
    )
    op.create_table(
        "service",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_service")),
        comment="facts that belong to the whole store: service public key, genesis, salts, start height",
        info={"owner": "store.engine"},
    )
    op.create_table(
        "transactions",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "state",
            sa.SmallInteger(),
            nullable=False,
            comment="0 in the mempool, 1 in a block, 2 gone from both",
        ),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("fee", sa.BigInteger(), nullable=False, comment="satoshi of the policy asset"),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("vsize", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False, comment="when it entered its present state"),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("(state = 1) = (height IS NOT NULL)", name=op.f("ck_transactions_height")),
        sa.CheckConstraint("state IN (0, 1, 2)", name=op.f("ck_transactions_state")),
        sa.PrimaryKeyConstraint("txid", name=op.f("pk_transactions")),
        comment="every transaction that pays or spends an address of ours; never deleted",
        info={"owner": "chainindex"},
    )
    op.create_index(op.f("ix_transactions_height"), "transactions", ["height"], unique=False)
    op.create_index(
        "ix_transactions_unconfirmed",
        "transactions",
        ["state"],
        unique=False,
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("master_pubkey", sa.LargeBinary(length=33), nullable=False),
        sa.Column("master_chain_code", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "login_hash",
            sa.LargeBinary(length=20),
            nullable=False,
            comment="HASH160 of the master public key",
        ),
        sa.Column("gait_path", sa.LargeBinary(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=64), nullable=False),
        sa.Column("appearance", sa.Text(), nullable=False, comment="JSON object, stored and returned verbatim"),
        sa.Column("cache_password", sa.String(length=64), nullable=False),
        sa.Column("csv_blocks", sa.Integer(), nullable=False),
        sa.Column("nlocktime_blocks", sa.Integer(), nullable=False),
        sa.Column("client_blob", sa.Text(), nullable=False, comment="base64; empty while there is none"),
        sa.Column(
            "client_blob_hmac",
            sa.String(length=44),
            nullable=False,
            comment="base64 of 32 bytes; zeros while there is none",
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "removed_at",
            sa.BigInteger(),
            nullable=True,
            comment="NULL: not removed; a new registration takes it back",
        ),
        sa.CheckConstraint("csv_blocks > 0 AND csv_blocks < 65536", name=op.f("ck_users_csv_blocks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("login_hash", name=op.f("uq_users_login_hash")),
        sa.UniqueConstraint("master_pubkey", name=op.f("uq_users_master_pubkey")),
        info={"owner": "wallets"},
    )
    op.create_table(
        "pin_logins",
        sa.Column("identifier", sa.LargeBinary(length=16), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("pin_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tries_left", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("tries_left >= 0", name=op.f("ck_pin_logins_tries_left")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_pin_logins_user_id_users")),
        sa.PrimaryKeyConstraint("identifier", name=op.f("pk_pin_logins")),
        sa.UniqueConstraint("user_id", "device_hash", name=op.f("uq_pin_logins_user_id_device_hash")),
        comment="one PIN a device; the password it gives follows from salt, PIN and service key, and is not kept",
        info={"owner": "pins"},
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "pointer",
            sa.Integer(),
            nullable=False,
            comment="account number within the wallet; 0 exists always",
        ),
        sa.Column("type", sa.String(length=32), nullable=False, comment="2of2_no_recovery (AMP) or 2of2"),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("receiving_id", sa.String(length=32), nullable=False, comment="the GAID, or AMP ID"),
        sa.Column(
            "user_pubkey",
            sa.LargeBinary(length=33),
            nullable=True,
            comment="account key m/3h/nh; NULL for account 0",
        ),
        sa.Column("user_chain_code", sa.LargeBinary(length=32), nullable=True),
        sa.Column("last_pointer", sa.Integer(), nullable=False, comment="last address handed out; 0 while none was"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(pointer = 0) = (user_pubkey IS NULL)", name=op.f("ck_accounts_key")),
        sa.CheckConstraint(
            "(user_pubkey IS NULL) = (user_chain_code IS NULL)", name=op.f("ck_accounts_key_and_chain_code")
        ),
        sa.CheckConstraint("last_pointer >= 0", name=op.f("ck_accounts_last_pointer")),
        sa.CheckConstraint("pointer >= 0 AND pointer < 16384", name=op.f("ck_accounts_pointer")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_accounts_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("receiving_id", name=op.f("uq_accounts_receiving_id")),
        sa.UniqueConstraint("user_id", "pointer", name=op.f("uq_accounts_user_id_pointer")),
        info={"owner": "accounts"},
    )
    op.create_table(
        "outpoint_claims",
        sa.Column("prev_txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("prev_vout", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(["txid"], ["cosigned.txid"], name=op.f("fk_outpoint_claims_txid_cosigned")),
        sa.PrimaryKeyConstraint("prev_txid", "prev_vout", name=op.f("pk_outpoint_claims")),
        comment="which cosigned transaction holds an own outpoint: one at a time, and the key says so",
        info={"owner": "cosigner"},
    )
    op.create_index(op.f("ix_outpoint_claims_txid"), "outpoint_claims", ["txid"], unique=False)
    op.create_table(
        "watch_only_logins",
        sa.Column(
            "user_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("name_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("password_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("blob_key", sa.String(length=512), nullable=False, comment="encrypted blob key, opaque"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_watch_only_logins_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_watch_only_logins")),
        sa.UniqueConstraint("name_hash", name=op.f("uq_watch_only_logins_name_hash")),
        comment="one watch-only login a wallet; only salted hashes of what the client derived",
        info={"owner": "logins"},
    )
    op.create_table(
        "account_transactions",
        sa.Column(
            "account_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("created_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_account_transactions_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["txid"], ["transactions.txid"], name=op.f("fk_account_transactions_txid_transactions")
        ),
        sa.PrimaryKeyConstraint("account_id", "created_at_us", name=op.f("pk_account_transactions")),
        sa.UniqueConstraint("txid", "account_id", name=op.f("uq_account_transactions_txid_account_id")),
        comment="an account's transactions in the order of their discovery; the time never changes",
        info={"owner": "chainindex"},
    )
    op.create_table(
        "addresses",
        sa.Column(
            "account_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("pointer", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("script_pubkey", sa.LargeBinary(), nullable=False),
        sa.Column("csv_blocks", sa.Integer(), nullable=False, comment="0 for p2wsh; the delay in blocks for csv"),
        sa.Column(
            "issued_at",
            sa.BigInteger(),
            nullable=True,
            comment="NULL: watched since the account exists, not handed out",
        ),
        sa.Column("blinding_pubkey", sa.LargeBinary(length=33), nullable=True, comment="from the client's uploads"),
        sa.CheckConstraint("pointer > 0", name=op.f("ck_addresses_pointer")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_addresses_account_id_accounts")),
        sa.PrimaryKeyConstraint("account_id", "pointer", name=op.f("pk_addresses")),
        sa.UniqueConstraint("script_pubkey", name=op.f("uq_addresses_script_pubkey")),
        comment="every address that is watched and cosigned",
        info={"owner": "accounts"},
    )
    op.create_index(
        "ix_addresses_uploaded",
        "addresses",
        ["account_id"],
        unique=False,
        sqlite_where=sa.text("blinding_pubkey IS NOT NULL"),
        postgresql_where=sa.text("blinding_pubkey IS NOT NULL"),
    )
    op.create_table(
        "cosigned_inputs",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("prev_txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("prev_vout", sa.Integer(), nullable=False),
        sa.Column(
            "account_id",
            sa.BigInteger(),
            nullable=True,
            comment="NULL: an input of somebody else, left as it came",
        ),
        sa.Column("pointer", sa.Integer(), nullable=True),
        sa.Column(
            "value_field",
            sa.LargeBinary(length=33),
            nullable=True,
            comment="of the spent output: signatures commit to it",
        ),
        sa.CheckConstraint("(account_id IS NULL) = (pointer IS NULL)", name=op.f("ck_cosigned_inputs_own")),
        sa.CheckConstraint("(account_id IS NULL) = (value_field IS NULL)", name=op.f("ck_cosigned_inputs_own_value")),
        sa.ForeignKeyConstraint(
            ["account_id", "pointer"],
            ["addresses.account_id", "addresses.pointer"],
            name=op.f("fk_cosigned_inputs_account_id_pointer_addresses"),
        ),
        sa.ForeignKeyConstraint(["txid"], ["cosigned.txid"], name=op.f("fk_cosigned_inputs_txid_cosigned")),
        sa.PrimaryKeyConstraint("txid", "position", name=op.f("pk_cosigned_inputs")),
        sa.UniqueConstraint("txid", "prev_txid", "prev_vout", name=op.f("uq_cosigned_inputs_txid_prev_txid_prev_vout")),
        info={"owner": "cosigner"},
    )
    op.create_table(
        "outputs",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vout", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("pointer", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=True, comment="NULL: in the mempool"),
        sa.Column(
            "spent_by",
            sa.LargeBinary(length=32),
            nullable=True,
            comment="txid of the spender, in mempool or block",
        ),
        sa.Column(
            "spent_height",
            sa.Integer(),
            nullable=True,
            comment="NULL: unspent, or the spender is in the mempool",
        ),
        sa.Column("script_pubkey", sa.LargeBinary(), nullable=False),
        sa.Column("asset_field", sa.LargeBinary(length=33), nullable=False),
        sa.Column("value_field", sa.LargeBinary(length=33), nullable=False),
        sa.Column("nonce_field", sa.LargeBinary(length=33), nullable=False),
        sa.Column("range_proof", sa.LargeBinary(), nullable=False),
        sa.Column("surjection_proof", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("spent_height IS NULL OR spent_by IS NOT NULL", name=op.f("ck_outputs_spent")),
        sa.CheckConstraint("vout >= 0", name=op.f("ck_outputs_vout")),
        sa.ForeignKeyConstraint(
            ["account_id", "pointer"],
            ["addresses.account_id", "addresses.pointer"],
            name=op.f("fk_outputs_account_id_pointer_addresses"),
        ),
        sa.ForeignKeyConstraint(["txid"], ["transactions.txid"], name=op.f("fk_outputs_txid_transactions")),
        sa.PrimaryKeyConstraint("txid", "vout", name=op.f("pk_outputs")),
        comment="own outputs of the present chain and mempool; a transaction that is gone has no rows here",
        info={"owner": "chainindex"},
    )
    op.create_index("ix_outputs_account", "outputs", ["account_id", "pointer"], unique=False)
    op.create_index(
        "ix_outputs_spent_by",
        "outputs",
        ["spent_by"],
        unique=False,
        sqlite_where=sa.text("spent_by IS NOT NULL"),
        postgresql_where=sa.text("spent_by IS NOT NULL"),
    )
    op.create_index(
        "ix_outputs_unspent",
        "outputs",
        ["account_id"],
        unique=False,
        sqlite_where=sa.text("spent_by IS NULL"),
        postgresql_where=sa.text("spent_by IS NULL"),
    )
    _create_two_factor()


def _create_two_factor() -> None:
    op.create_table(
        "frozen_outputs",
        sa.Column("prev_txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("prev_vout", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("frozen_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_frozen_outputs_user_id_users")),
        sa.PrimaryKeyConstraint("prev_txid", "prev_vout", name=op.f("pk_frozen_outputs")),
        comment="outpoints that are not cosigned; they stay frozen while the chain is reorganised",
        info={"owner": "twofactor.frozen"},
    )
    op.create_index(op.f("ix_frozen_outputs_user_id"), "frozen_outputs", ["user_id"], unique=False)
    op.create_table(
        "limit_spends",
        sa.Column("txid", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("satoshi", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("satoshi > 0", name=op.f("ck_limit_spends_satoshi")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_limit_spends_user_id_users")),
        sa.PrimaryKeyConstraint("txid", name=op.f("pk_limit_spends")),
        comment="transactions that left under a limit; written with the decision to sign them",
        info={"owner": "twofactor.limits"},
    )
    op.create_table(
        "spending_limits",
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False, comment="satoshi of L-BTC that may leave without a code"),
        sa.Column("spent", sa.BigInteger(), nullable=False, comment="what left under it since it was set"),
        sa.CheckConstraint("total >= 0 AND spent >= 0 AND spent <= total", name=op.f("ck_spending_limits_spent")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_spending_limits_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_spending_limits")),
        info={"owner": "twofactor.limits"},
    )
    op.create_table(
        "two_factor_codes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column(
            "data_hash",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="SHA256 of the action's data as canonical JSON",
        ),
        sa.Column(
            "address_box",
            sa.LargeBinary(),
            nullable=False,
            comment="new address that the code went to, encrypted; or empty",
        ),
        sa.Column(
            "code_hash",
            sa.LargeBinary(length=32),
            nullable=False,
            comment="keyed; empty of use without the service key",
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True, comment="NULL: not used"),
        sa.Column("used_for", sa.String(length=64), nullable=True, comment="txid of the spend, or the action"),
        sa.CheckConstraint("(used_at IS NULL) = (used_for IS NULL)", name=op.f("ck_two_factor_codes_used")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_two_factor_codes_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_two_factor_codes")),
        comment="codes that were sent, and every use of one, authenticators included",
        info={"owner": "twofactor.codes"},
    )
    op.create_index(op.f("ix_two_factor_codes_user_id"), "two_factor_codes", ["user_id"], unique=False)
    op.create_table(
        "two_factor_guesses",
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column(
            "wrong", sa.Integer(), nullable=False, comment="wrong codes since the last right one or the last lock"
        ),
        sa.Column(
            "locks", sa.Integer(), nullable=False, comment="locks since the last right code: each lasts twice as long"
        ),
        sa.Column("locked_until", sa.BigInteger(), nullable=False, comment="0: not locked"),
        sa.CheckConstraint(
            "wrong >= 0 AND locks >= 0 AND locked_until >= 0", name=op.f("ck_two_factor_guesses_counts")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_two_factor_guesses_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_two_factor_guesses")),
        comment="one counter a wallet, for every method, session and door",
        info={"owner": "twofactor.codes"},
    )
    op.create_table(
        "two_factor_methods",
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("enabled", sa.SmallInteger(), nullable=False, comment="0: an e-mail address for notices only"),
        sa.Column("address_box", sa.LargeBinary(), nullable=False, comment="address, encrypted; empty for gauth"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "enabled = 1 OR (enabled = 0 AND method = 'email')", name=op.f("ck_two_factor_methods_enabled")
        ),
        sa.CheckConstraint(
            "method IN ('email', 'sms', 'phone', 'telegram', 'gauth')", name=op.f("ck_two_factor_methods_method")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_two_factor_methods_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "method", name=op.f("pk_two_factor_methods")),
        comment="confirmed second factors, and a confirmed e-mail address that is none",
        info={"owner": "twofactor.methods"},
    )
    op.create_table(
        "two_factor_notices",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("address_box", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("next_try_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_two_factor_notices_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_two_factor_notices")),
        comment="notices on their way; written with what they tell of, deleted when delivered",
        info={"owner": "twofactor.notices"},
    )
    op.create_index(op.f("ix_two_factor_notices_next_try_at"), "two_factor_notices", ["next_try_at"], unique=False)
    op.create_table(
        "two_factor_resets",
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "claimant_box", sa.LargeBinary(), nullable=False, comment="e-mail address of who asked for it, encrypted"
        ),
        sa.Column(
            "disputer_box", sa.LargeBinary(), nullable=False, comment="e-mail address of who disputes it, encrypted"
        ),
        sa.Column(
            "due_at", sa.BigInteger(), nullable=False, comment="when it takes effect, or when a dispute may be resolved"
        ),
        sa.Column("remaining", sa.BigInteger(), nullable=False, comment="seconds that were left when it was disputed"),
        sa.Column("not_before", sa.BigInteger(), nullable=False, comment="no new reset before this time"),
        sa.Column(
            "nonce_hash", sa.LargeBinary(), nullable=False, comment="of the one outstanding dispute nonce, or empty"
        ),
        sa.Column("nonce_expires_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('none', 'active', 'disputed')", name=op.f("ck_two_factor_resets_state")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_two_factor_resets_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_two_factor_resets")),
        info={"owner": "twofactor.reset"},
    )
    op.create_table(
        "two_factor_totp",
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column(
            "salt", sa.LargeBinary(length=16), nullable=False, comment="the secret follows from it and the service key"
        ),
        sa.Column(
            "last_step",
            sa.BigInteger(),
            nullable=True,
            comment="newest time step that was accepted; none at or below is",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_two_factor_totp_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_two_factor_totp")),
        comment="authenticators; a wallet without a row has an empty salt",
        info={"owner": "twofactor.codes"},
    )
