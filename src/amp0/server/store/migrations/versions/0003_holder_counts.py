"""How many holders an asset has, kept by the database itself; indexes of what accounts have now, and of what was sent
long after it was signed.

Triggers keep the count, whoever writes: the release before this one, too, and whatever rolls back. An output *counts*
that is there or may be (promised or in the mempool as well) and that no block has spent. The accounts of one registered
user who is not deleted are one holder.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _sql(text: str, **parts: str) -> str:
    """Statements with their parts put in; all of them are written here."""
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


# State 2 is gone, 1 in a block.
_COUNTS = (
    "(ROW.account_id IS NOT NULL AND ROW.is_token = 0 AND (ROW.satoshi IS NULL OR ROW.satoshi > 0) "
    "AND ROW.state <> 2 AND (ROW.spent_state IS NULL OR ROW.spent_state <> 1))"
)
_NEW_COUNTS, _OLD_COUNTS = _sql(_COUNTS, ROW="NEW"), _sql(_COUNTS, ROW="OLD")
_IS_OTHERS = "(OLD.asset <> NEW.asset OR OLD.account_id <> NEW.account_id)"

_ADD = """
    INSERT INTO asset_holdings (asset, account_id, coins) VALUES (NEW.asset, NEW.account_id, 1)
    ON CONFLICT (asset, account_id) DO UPDATE SET coins = asset_holdings.coins + 1;
"""
_TAKE = """
    UPDATE asset_holdings SET coins = coins - 1 WHERE asset = OLD.asset AND account_id = OLD.account_id;
    DELETE FROM asset_holdings WHERE asset = OLD.asset AND account_id = OLD.account_id AND coins = 0;
"""

# Whether the registered user of an account has another one that holds the same asset.
_HAS_OTHER = """EXISTS (
        SELECT 1 FROM assets a
        JOIN user_gaids g ON g.issuer_id = a.issuer_id AND g.account_id = ROW.account_id
        JOIN registered_users u ON u.id = g.user_id AND u.deleted_at IS NULL
        JOIN user_gaids o ON o.user_id = u.id AND o.account_id <> ROW.account_id
        JOIN asset_holdings h ON h.asset = ROW.asset AND h.account_id = o.account_id
        WHERE a.id = ROW.asset)"""
_APPEARS = _sql(
    """
    INSERT INTO asset_holder_counts (asset, holders) VALUES (NEW.asset, 0) ON CONFLICT (asset) DO NOTHING;
    UPDATE asset_holder_counts SET holders = holders + 1 WHERE asset = NEW.asset AND NOT HAS_OTHER;
""",
    HAS_OTHER=_sql(_HAS_OTHER, ROW="NEW"),
)
_DISAPPEARS = _sql(
    """
    UPDATE asset_holder_counts SET holders = holders - 1 WHERE asset = OLD.asset AND NOT HAS_OTHER;
""",
    HAS_OTHER=_sql(_HAS_OTHER, ROW="OLD"),
)

# An account that holds comes to a user, or leaves one, who holds by another account.
_JOINS = """
    UPDATE asset_holder_counts SET holders = holders SIGN 1
    WHERE asset IN (
        SELECT a.id FROM assets a
        JOIN asset_holdings mine ON mine.asset = a.id AND mine.account_id = ROW.account_id
        WHERE a.issuer_id = ROW.issuer_id AND EXISTS (
            SELECT 1 FROM registered_users u
            JOIN user_gaids o ON o.user_id = u.id AND o.account_id <> ROW.account_id
            JOIN asset_holdings h ON h.asset = a.id AND h.account_id = o.account_id
            WHERE u.id = ROW.user_id AND u.deleted_at IS NULL));
"""
_JOINED, _LEFT = _sql(_JOINS, ROW="NEW", SIGN="-"), _sql(_JOINS, ROW="OLD", SIGN="+")

# The accounts of a user who is deleted are holders by themselves.
_DELETED = _sql(
    """
    UPDATE asset_holder_counts
    SET holders = holders + (CASE WHEN NEW.deleted_at IS NULL THEN -1 ELSE 1 END) * (HELD_BY_USER - 1)
    WHERE asset IN (SELECT id FROM assets WHERE issuer_id = NEW.issuer_id) AND HELD_BY_USER > 1;
""",
    HELD_BY_USER="""(
        SELECT count(*) FROM user_gaids g
        JOIN asset_holdings h ON h.asset = asset_holder_counts.asset AND h.account_id = g.account_id
        WHERE g.user_id = NEW.id)""",
)

_STATES = "UPDATE OF asset, account_id, is_token, satoshi, state, spent_state"
_TRIGGERS = (
    ("outputs_inserted", "AFTER INSERT ON asset_outputs", _NEW_COUNTS, _ADD),
    ("outputs_deleted", "AFTER DELETE ON asset_outputs", _OLD_COUNTS, _TAKE),
    (
        "outputs_taken",
        f"AFTER {_STATES} ON asset_outputs",
        f"{_OLD_COUNTS} AND (NOT {_NEW_COUNTS} OR {_IS_OTHERS})",
        _TAKE,
    ),
    (
        "outputs_added",
        f"AFTER {_STATES} ON asset_outputs",
        f"{_NEW_COUNTS} AND (NOT {_OLD_COUNTS} OR {_IS_OTHERS})",
        _ADD,
    ),
    ("holdings_inserted", "AFTER INSERT ON asset_holdings", "TRUE", _APPEARS),
    ("holdings_deleted", "AFTER DELETE ON asset_holdings", "TRUE", _DISAPPEARS),
    ("gaids_inserted", "BEFORE INSERT ON user_gaids", "TRUE", _JOINED),
    ("gaids_deleted", "BEFORE DELETE ON user_gaids", "TRUE", _LEFT),
    ("gaids_moved", "BEFORE UPDATE OF user_id ON user_gaids", "OLD.user_id <> NEW.user_id", _LEFT + _JOINED),
    (
        "users_deleted",
        "AFTER UPDATE OF deleted_at ON registered_users",
        "(OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL)",
        _DELETED,
    ),
)


def upgrade() -> None:
    """Count, begin to keep the count, and index what no block has spent and what was an hour on its way."""
    op.create_table(
        "asset_holdings",
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("coins", sa.Integer(), nullable=False, comment="outputs that are there, or may be"),
        sa.CheckConstraint("coins >= 0", name=op.f("ck_asset_holdings_coins")),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_asset_holdings_asset_assets")),
        sa.PrimaryKeyConstraint("asset", "account_id", name=op.f("pk_asset_holdings")),
        comment="accounts that hold an asset, or may; written by triggers on asset_outputs",
        info={"owner": "policy.headcount"},
        sqlite_with_rowid=False,
    )
    op.create_table(
        "asset_holder_counts",
        sa.Column("asset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("holders", sa.Integer(), nullable=False, comment="identities that hold it, or may"),
        sa.CheckConstraint("holders >= 0", name=op.f("ck_asset_holder_counts_holders")),
        sa.ForeignKeyConstraint(["asset"], ["assets.id"], name=op.f("fk_asset_holder_counts_asset_assets")),
        sa.PrimaryKeyConstraint("asset", name=op.f("pk_asset_holder_counts")),
        comment="written by triggers on asset_holdings, user_gaids and registered_users",
        info={"owner": "policy.headcount"},
    )
    is_late = sa.text("block_time - seen_at > 3600")
    op.create_index(
        "ix_asset_txs_late",
        "asset_txs",
        ["asset", "block_time"],
        unique=False,
        sqlite_where=is_late,
        postgresql_where=is_late,
    )
    is_present = sa.text("spent_state IS NULL OR spent_state <> 1")
    op.create_index(
        "ix_asset_outputs_present",
        "asset_outputs",
        ["asset", "is_token", "account_id"],
        unique=False,
        sqlite_where=is_present,
        postgresql_where=is_present,
    )
    op.execute(
        _sql(
            "INSERT INTO asset_holdings (asset, account_id, coins) "
            "SELECT o.asset, o.account_id, count(*) FROM asset_outputs o WHERE COUNTS GROUP BY o.asset, o.account_id",
            COUNTS=_sql(_COUNTS, ROW="o"),
        )
    )
    op.execute(
        "INSERT INTO asset_holder_counts (asset, holders) "
        "SELECT h.asset, count(DISTINCT coalesce(u.id, -h.account_id)) FROM asset_holdings h "
        "JOIN assets a ON a.id = h.asset "
        "LEFT JOIN user_gaids g ON g.issuer_id = a.issuer_id AND g.account_id = h.account_id "
        "LEFT JOIN registered_users u ON u.id = g.user_id AND u.deleted_at IS NULL GROUP BY h.asset"
    )
    for name, event, condition, body in _TRIGGERS:
        for statement in _trigger(name, event, condition, body):
            op.execute(sa.text(statement))


def _trigger(name: str, event: str, condition: str, body: str) -> tuple[str, ...]:
    """The statements that create one trigger, which runs for each row."""
    if op.get_bind().dialect.name == "sqlite":
        return (f"CREATE TRIGGER count_{name} {event} FOR EACH ROW WHEN {condition} BEGIN {body} END",)
    row = "OLD" if "DELETE ON" in event else "NEW"
    return (
        f"CREATE FUNCTION count_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN {row}; END $$",
        f"CREATE TRIGGER count_{name} {event} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION count_{name}()",
    )
