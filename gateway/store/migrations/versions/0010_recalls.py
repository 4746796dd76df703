"""Recalls are parcels too; of what was delivered, the receipt and the version of the facts it was decided by."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_DELIVERED = sa.text("kind = 'delivery' AND state = 'acknowledged'")


def upgrade() -> None:
    op.add_column("parcel", sa.Column("kind", sa.String(), nullable=False, server_default=sa.text("'delivery'")))
    op.add_column("parcel", sa.Column("recalls", sa.String(), nullable=False, server_default=sa.text("''")))
    op.add_column("parcel", sa.Column("receipt", sa.String(), nullable=False, server_default=sa.text("''")))
    op.add_column("parcel", sa.Column("facts_version", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.create_index("parcel_delivered", "parcel", ["id"], unique=False, sqlite_where=_DELIVERED, postgresql_where=_DELIVERED)


def downgrade() -> None:
    raise NotImplementedError("restore the backup: an audit log is never migrated backwards")
