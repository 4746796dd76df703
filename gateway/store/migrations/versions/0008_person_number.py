"""Every row of a number is found by index: the unique one is partial, and SQLite scanned the people for the others."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("person_number_any", "person", ["number_key"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("restore the backup: an audit log is never migrated backwards")
