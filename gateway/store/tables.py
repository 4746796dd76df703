"""The tables. Times are whole microseconds since 1970 UTC; every `_key` is a keyed hash, every `_sealed` is AES-GCM.

No column holds an NHS number, a name or a clinical fact in the clear, so a stolen disk or backup lists nobody.
"""

from sqlalchemy import BigInteger, Boolean, Index, Integer, LargeBinary, MetaData, String, Table, text
from sqlmodel import Field, SQLModel


class Base(SQLModel):
    """Our own metadata: other SQLModel classes in the process never end up in this database."""

    metadata = MetaData()


def _key(*, primary_key: bool = False) -> bytes:
    return Field(sa_type=LargeBinary, primary_key=primary_key)  # type: ignore[no-any-return]


def _time() -> int:
    return Field(sa_type=BigInteger)  # type: ignore[no-any-return]


def _maybe_time() -> int | None:
    return Field(default=None, sa_type=BigInteger, nullable=True)  # type: ignore[no-any-return]


def _maybe_bytes() -> bytes | None:
    return Field(default=None, sa_type=LargeBinary, nullable=True)  # type: ignore[no-any-return]


class PersonTable(Base, table=True):
    """One opaque id of one number."""

    __tablename__ = "person"
    __table_args__ = (
        Index(
            "person_number",
            "number_key",
            unique=True,
            sqlite_where=text("status <> 'sealed'"),
            postgresql_where=text("status <> 'sealed'"),
        ),
        Index("person_number_any", "number_key"),  # the other is of live rows alone: SQLite reads nothing else by it
        Index("person_successor", "successor"),
    )
    id: str = Field(primary_key=True)
    number_key: bytes = _key()
    number_sealed: bytes = _key()
    status: str
    successor: str | None = None
    trace_sealed: bytes | None = _maybe_bytes()
    traced_at: int | None = _maybe_time()
    expired: bool = Field(default=False, sa_type=Boolean)
    created_at: int = _time()


class SubjectTable(Base, table=True):
    """How often the stored facts of one number have changed; a row may exist before any person row."""

    __tablename__ = "subject"
    number_key: bytes = _key(primary_key=True)
    version: int = Field(sa_type=BigInteger)


class ConsentTable(Base, table=True):
    """Consents and objections, never overwritten."""

    __tablename__ = "consent"
    __table_args__ = (Index("consent_number", "number_key"),)
    id: str = Field(primary_key=True)
    number_key: bytes = _key()
    scope: str
    decision: str
    giver: str  # keyed hash of who gave it: two who disagree are told apart, and neither is named
    starts: int = _time()
    ends: int | None = _maybe_time()
    withdrawn_at: int | None = _maybe_time()
    recorded_at: int = _time()
    words_sealed: bytes = _key()  # who gave it, who recorded it, on what evidence


class RelationshipTable(Base, table=True):
    """Who cares for whom."""

    __tablename__ = "relationship"
    __table_args__ = (Index("relationship_number", "number_key"),)
    id: str = Field(primary_key=True)
    kind: str
    number_key: bytes = _key()
    organisation: str
    staff_key: bytes | None = _maybe_bytes()
    case_key: bytes | None = _maybe_bytes()
    starts: int = _time()
    ends: int | None = _maybe_time()
    recorded_at: int = _time()


class ProtectionTable(Base, table=True):
    """Locks that sources assert."""

    __tablename__ = "protection"
    __table_args__ = (Index("protection_number", "number_key"),)
    source: str = Field(primary_key=True)
    number_key: bytes = _key(primary_key=True)
    kind: str = Field(primary_key=True)
    since: int = _time()


class SuppressionTable(Base, table=True):
    """Deaths and losses: why nothing may go out that invites or reminds. Never removed; a person ends one, nothing else does."""

    __tablename__ = "suppression"
    number_key: bytes = _key(primary_key=True)
    kind: str = Field(primary_key=True)
    episode_key: bytes = _key(primary_key=True)  # which birth or pregnancy
    source: str = Field(primary_key=True)
    as_of: int | None = _maybe_time()  # None: only ever taken back
    taken_back_at: int | None = _maybe_time()  # its source says it no longer holds: a person decides
    resumed_at: int | None = _maybe_time()


class FeedTable(Base, table=True):
    """When each pushing source delivered last."""

    __tablename__ = "feed"
    source: str = Field(primary_key=True)
    delivered_at: int = _time()


class ShelfTable(Base, table=True):
    """Custodians' newest copies, sealed. Without `body_sealed`: deleted by its sender."""

    __tablename__ = "shelf"
    __table_args__ = (Index("shelf_holder", "source", "holder_key"), Index("shelf_keep_until", "keep_until"))
    source: str = Field(primary_key=True)
    sender: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    business_key: bytes = _key(primary_key=True)
    holder_key: bytes = _key(primary_key=True)  # two people under one business id are two rows, and neither is shown
    as_of: int = _time()
    keep_until: int = _time()
    body_sealed: bytes | None = _maybe_bytes()


class ShelfDeliveryTable(Base, table=True):
    """When each shelf was delivered to last."""

    __tablename__ = "shelf_delivery"
    source: str = Field(primary_key=True)
    delivered_at: int = _time()


class CrosswalkTable(Base, table=True):
    """Local ids and the numbers they belong to."""

    __tablename__ = "crosswalk"
    __table_args__ = (Index("crosswalk_number", "number_key", "source"),)
    source: str = Field(primary_key=True)
    local_key: bytes = _key(primary_key=True)
    number_key: bytes = _key()
    row_sealed: bytes = _key()
    kind: str = "person"


class LocalRecordTable(Base, table=True):
    """Custodians' people on their way to an NHS number. Without `outcome`: still to be asked about."""

    __tablename__ = "local_record"
    __table_args__ = (
        Index(
            "local_record_pending",
            "source",
            "local_key",
            sqlite_where=text("outcome IS NULL"),
            postgresql_where=text("outcome IS NULL"),
        ),
        Index("local_record_number", "number_key"),
    )
    source: str = Field(primary_key=True)
    local_key: bytes = _key(primary_key=True)
    content_key: bytes = _key()  # the same row again changes nothing
    name_key: bytes = _key()
    record_sealed: bytes | None = _maybe_bytes()  # until it is linked
    outcome: str | None = None
    reason: str = ""
    number_key: bytes | None = _maybe_bytes()
    settled_at: int | None = _maybe_time()


class IdentityImportTable(Base, table=True):
    """How far into each file of local records an import has come."""

    __tablename__ = "identity_import"
    digest_key: bytes = _key(primary_key=True)
    source: str
    rows_done: int = Field(sa_type=BigInteger)
    began_at: int = _time()


class TombstoneTable(Base, table=True):
    """Ids, pupil numbers and names that belonged to a number that died: hashes, each alone, leading nowhere."""

    __tablename__ = "tombstone"
    key: bytes = _key(primary_key=True)


class ClientTable(Base, table=True):
    """Registered systems; the body is public by nature (names, codes, public keys)."""

    __tablename__ = "client"
    id: str = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    revoked: bool = Field(sa_type=Boolean)
    body: str


class ReplayTable(Base, table=True):
    """Client assertions seen: RFC 7523 `jti`, once."""

    __tablename__ = "replay"
    __table_args__ = (Index("replay_expires", "expires"),)
    client: str = Field(primary_key=True)
    jti_hash: bytes = _key(primary_key=True)
    expires: int = _time()


class RateTable(Base, table=True):
    """One leaky bucket a row: the instant at which it would be empty again."""

    __tablename__ = "rate"
    __table_args__ = (Index("rate_tat", "tat"),)
    key: str = Field(primary_key=True)
    tat: int = _time()


class EventTable(Base, table=True):
    """The audit log. `position` is the dense index; on PostgreSQL it is given just after the commit."""

    __tablename__ = "event"
    __table_args__ = (
        Index("event_position", "position", unique=True),
        Index("event_writer", "writer", "writer_seq", unique=True),
        Index(
            "event_person",
            "person_key",
            "position",
            sqlite_where=text("person_key IS NOT NULL"),
            postgresql_where=text("person_key IS NOT NULL"),
        ),
        Index(
            "event_agent",
            "agent_key",
            "position",
            sqlite_where=text("agent_key IS NOT NULL"),
            postgresql_where=text("agent_key IS NOT NULL"),
        ),
        Index("event_organisation", "organisation", "position"),
        Index(
            "event_unnumbered",
            "recorded_at",
            "writer",
            "writer_seq",
            sqlite_where=text("position IS NULL"),
            postgresql_where=text("position IS NULL"),
        ),
    )
    event: str = Field(primary_key=True)
    position: int | None = Field(default=None, sa_type=BigInteger, nullable=True)
    writer: str
    writer_seq: int = Field(sa_type=BigInteger)
    recorded_at: int = _time()
    salt: bytes = _key()
    commitment: bytes = _key()
    canonical: bytes = _key()
    person_key: bytes | None = _maybe_bytes()
    agent_key: bytes | None = _maybe_bytes()
    organisation: str
    system: str
    outcome: str
    purpose: str
    kind: str
    request_id: str


class JobTable(Base, table=True):
    """Work owed. Leased, not locked, while it runs, so a killed worker's lease runs out by itself."""

    __tablename__ = "job"
    __table_args__ = (
        Index("job_once", "kind", "key", unique=True),
        Index("job_due", "due", sqlite_where=text("done_at IS NULL"), postgresql_where=text("done_at IS NULL")),
    )
    id: str = Field(primary_key=True)
    kind: str
    key: str
    due: int = _time()
    body: str
    attempt: int = Field(sa_type=Integer)
    leased_until: int = _time()
    lease: str
    reason: str
    done_at: int | None = _maybe_time()


class WorkItemTable(Base, table=True):
    """What people must settle. `once_key` is free again when the item is closed."""

    __tablename__ = "work_item"
    __table_args__ = (
        Index(
            "work_item_once",
            "once_key",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index("work_item_due", "due", sqlite_where=text("closed_at IS NULL"), postgresql_where=text("closed_at IS NULL")),
        Index(
            "work_item_number",
            "number_key",
            sqlite_where=text("number_key IS NOT NULL"),
            postgresql_where=text("number_key IS NOT NULL"),
        ),
    )
    id: str = Field(primary_key=True)
    once_key: bytes = _key()
    kind: str
    reason: str
    source: str
    owner: str
    due: int = _time()
    opened_at: int = _time()
    number_key: bytes | None = _maybe_bytes()
    about_sealed: bytes | None = _maybe_bytes()  # until it is closed
    taken_by: str | None = None
    taken_at: int | None = _maybe_time()
    closed_at: int | None = _maybe_time()
    closed_by: str | None = None
    outcome: str | None = None


class PolicyActivationTable(Base, table=True):
    """Which policy was made active, when and by whom."""

    __tablename__ = "policy_activation"
    serial: int = Field(sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    hash: str
    activated_at: int = _time()
    activated_by: str = Field(sa_type=String)


class AccountedTable(Base, table=True):
    """What became of the leaves of records accounted for."""

    __tablename__ = "accounted"
    source: str = Field(primary_key=True)
    schema_name: str = Field(primary_key=True)
    records: int = Field(sa_type=BigInteger)
    mapped: int = Field(sa_type=BigInteger)
    ignored: int = Field(sa_type=BigInteger)
    withheld: int = Field(sa_type=BigInteger)
    unmapped: int = Field(sa_type=BigInteger)


class DriftTable(Base, table=True):
    """Paths of fields that no map knows: words of a field dictionary, never a value."""

    __tablename__ = "drift"
    source: str = Field(primary_key=True)
    schema_name: str = Field(primary_key=True)
    path: str = Field(primary_key=True)
    records: int = Field(sa_type=BigInteger)
    first_seen: int = _time()
    last_seen: int = _time()


METADATA = Base.metadata
PERSON: Table = METADATA.tables["person"]
SUBJECT: Table = METADATA.tables["subject"]
CONSENT: Table = METADATA.tables["consent"]
RELATIONSHIP: Table = METADATA.tables["relationship"]
PROTECTION: Table = METADATA.tables["protection"]
SUPPRESSION: Table = METADATA.tables["suppression"]
FEED: Table = METADATA.tables["feed"]
SHELF: Table = METADATA.tables["shelf"]
SHELF_DELIVERY: Table = METADATA.tables["shelf_delivery"]
CROSSWALK: Table = METADATA.tables["crosswalk"]
CLIENT: Table = METADATA.tables["client"]
REPLAY: Table = METADATA.tables["replay"]
RATE: Table = METADATA.tables["rate"]
EVENT: Table = METADATA.tables["event"]
JOB: Table = METADATA.tables["job"]
LOCAL_RECORD: Table = METADATA.tables["local_record"]
IDENTITY_IMPORT: Table = METADATA.tables["identity_import"]
TOMBSTONE: Table = METADATA.tables["tombstone"]
WORK_ITEM: Table = METADATA.tables["work_item"]
POLICY_ACTIVATION: Table = METADATA.tables["policy_activation"]
ACCOUNTED: Table = METADATA.tables["accounted"]
DRIFT: Table = METADATA.tables["drift"]
