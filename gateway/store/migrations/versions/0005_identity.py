"""Local records on their way to an NHS number; what kind of id a crosswalk row holds; tombstones."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("crosswalk", sa.Column("kind", sa.String(), nullable=False, server_default="person"))
    op.drop_index("crosswalk_number", "crosswalk")
    op.create_index("crosswalk_number", "crosswalk", ["number_key", "source"], unique=False)
    op.create_table(
        "local_record",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("local_key", sa.LargeBinary(), nullable=False),
        sa.Column("content_key", sa.LargeBinary(), nullable=False),
        sa.Column("name_key", sa.LargeBinary(), nullable=False),
        sa.Column("record_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("number_key", sa.LargeBinary(), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "local_key"),
    )
    op.create_index(
        "local_record_pending",
        "local_record",
        ["source", "local_key"],
        unique=False,
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    )
    op.create_index("local_record_number", "local_record", ["number_key"], unique=False)
    op.create_table(
        "identity_import",
        sa.Column("digest_key", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("rows_done", sa.BigInteger(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest_key"),
    )
    op.create_table(
        "tombstone",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the backup: an audit log is never migrated backwards")
