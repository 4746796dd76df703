"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "client",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "consent",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("number_key", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("giver", sa.String(), nullable=False),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("words_sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("consent_number", "consent", ["number_key"], unique=False)
    op.create_table(
        "crosswalk",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("local_key", sa.LargeBinary(), nullable=False),
        sa.Column("number_key", sa.LargeBinary(), nullable=False),
        sa.Column("row_sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("source", "local_key"),
    )
    op.create_index("crosswalk_number", "crosswalk", ["source", "number_key"], unique=False)
    op.create_table(
        "event",
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("writer", sa.String(), nullable=False),
        sa.Column("writer_seq", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("canonical", sa.LargeBinary(), nullable=False),
        sa.Column("person_key", sa.LargeBinary(), nullable=True),
        sa.Column("agent_key", sa.LargeBinary(), nullable=True),
        sa.Column("organisation", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("event"),
    )
    op.create_index(
        "event_agent",
        "event",
        ["agent_key", "position"],
        unique=False,
        sqlite_where=sa.text("agent_key IS NOT NULL"),
        postgresql_where=sa.text("agent_key IS NOT NULL"),
    )
    op.create_index("event_organisation", "event", ["organisation", "position"], unique=False)
    op.create_index(
        "event_person",
        "event",
        ["person_key", "position"],
        unique=False,
        sqlite_where=sa.text("person_key IS NOT NULL"),
        postgresql_where=sa.text("person_key IS NOT NULL"),
    )
    op.create_index("event_position", "event", ["position"], unique=True)
    op.create_index(
        "event_unnumbered",
        "event",
        ["recorded_at", "writer", "writer_seq"],
        unique=False,
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )
    op.create_index("event_writer", "event", ["writer", "writer_seq"], unique=True)
    op.create_table(
        "feed",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("leased_until", sa.BigInteger(), nullable=False),
        sa.Column("lease", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "job_due",
        "job",
        ["due"],
        unique=False,
        sqlite_where=sa.text("done_at IS NULL"),
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_index("job_once", "job", ["kind", "key"], unique=True)
    op.create_table(
        "person",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("number_key", sa.LargeBinary(), nullable=False),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("successor", sa.String(), nullable=True),
        sa.Column("trace_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("traced_at", sa.BigInteger(), nullable=True),
        sa.Column("expired", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "person_number",
        "person",
        ["number_key"],
        unique=True,
        sqlite_where=sa.text("status <> 'sealed'"),
        postgresql_where=sa.text("status <> 'sealed'"),
    )
    op.create_index("person_successor", "person", ["successor"], unique=False)
    op.create_table(
        "policy_activation",
        sa.Column("serial", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("activated_at", sa.BigInteger(), nullable=False),
        sa.Column("activated_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("serial"),
    )
    op.create_table(
        "protection",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("number_key", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "number_key", "kind"),
    )
    op.create_index("protection_number", "protection", ["number_key"], unique=False)
    op.create_table(
        "rate",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("tat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("rate_tat", "rate", ["tat"], unique=False)
    op.create_table(
        "relationship",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("number_key", sa.LargeBinary(), nullable=False),
        sa.Column("organisation", sa.String(), nullable=False),
        sa.Column("staff_key", sa.LargeBinary(), nullable=True),
        sa.Column("case_key", sa.LargeBinary(), nullable=True),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("relationship_number", "relationship", ["number_key"], unique=False)
    op.create_table(
        "replay",
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("jti_hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client", "jti_hash"),
    )
    op.create_index("replay_expires", "replay", ["expires"], unique=False)
    op.create_table(
        "shelf",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("business_key", sa.LargeBinary(), nullable=False),
        sa.Column("holder_key", sa.LargeBinary(), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.Column("body_sealed", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("source", "sender", "kind", "business_key"),
    )
    op.create_index("shelf_holder", "shelf", ["source", "holder_key"], unique=False)
    op.create_index("shelf_keep_until", "shelf", ["keep_until"], unique=False)
    op.create_table(
        "shelf_delivery",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_table(
        "subject",
        sa.Column("number_key", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number_key"),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the backup: an audit log is never migrated backwards")
