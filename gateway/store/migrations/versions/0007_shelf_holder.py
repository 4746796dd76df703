"""A shelf row belongs to its holder: another person under the same business id is another row."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = ["source", "sender", "kind", "business_key", "holder_key"]


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        op.drop_constraint("shelf_pkey", "shelf", type_="primary")
        op.create_primary_key("shelf_pkey", "shelf", KEY)
        return
    op.create_table(  # SQLite cannot change a primary key
        "shelf_by_holder",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("business_key", sa.LargeBinary(), nullable=False),
        sa.Column("holder_key", sa.LargeBinary(), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.Column("body_sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint(*KEY),
    )
    op.execute("INSERT INTO shelf_by_holder SELECT * FROM shelf")
    op.drop_table("shelf")
    op.rename_table("shelf_by_holder", "shelf")
    op.create_index("shelf_holder", "shelf", ["source", "holder_key"], unique=False)
    op.create_index("shelf_keep_until", "shelf", ["keep_until"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("restore the backup: an audit log is never migrated backwards")
