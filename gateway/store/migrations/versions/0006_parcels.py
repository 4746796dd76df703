"""Mandates and parcels."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OPEN = sa.text("state IN ('queued', 'sent')")
_TO_WARN = sa.text("NOT warned AND state <> 'acknowledged'")


def upgrade() -> None:
    op.create_table(
        "mandate",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organisation", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("agreement", sa.String(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("scopes", sa.String(), nullable=False),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "parcel",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("once_key", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("number_key", sa.LargeBinary(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("mandate", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("confirm_by", sa.BigInteger(), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("leased_until", sa.BigInteger(), nullable=False),
        sa.Column("lease", sa.String(), nullable=False),
        sa.Column("warned", sa.Boolean(), nullable=False),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("reference_sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("parcel_once", "parcel", ["once_key"], unique=True)
    op.create_index("parcel_number", "parcel", ["number_key"], unique=False)
    op.create_index("parcel_due", "parcel", ["due"], unique=False, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index(
        "parcel_unconfirmed", "parcel", ["confirm_by"], unique=False, sqlite_where=_TO_WARN, postgresql_where=_TO_WARN
    )
    op.create_index("parcel_keep_until", "parcel", ["keep_until"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("restore the backup: an audit log is never migrated backwards")
