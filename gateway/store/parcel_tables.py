"""The tables of what is to be delivered, as tables.py has the others: no number, name or clinical fact in the clear."""

from sqlalchemy import BigInteger, Boolean, Index, Integer, Table, text
from sqlmodel import Field

from gateway.store.tables import METADATA, Base, _key, _maybe_bytes, _maybe_time, _time

_OPEN = text("state IN ('queued', 'sent')")
_TO_WARN = text("NOT warned AND state <> 'acknowledged'")
_DELIVERED = text("kind = 'delivery' AND state = 'acknowledged'")


class MandateTable(Base, table=True):
    """In whose name something may leave without a token."""

    __tablename__ = "mandate"
    id: str = Field(primary_key=True)
    organisation: str
    role: str
    purpose: str
    agreement: str
    route: str
    scopes: str  # separated by spaces
    starts: int = _time()
    expires: int = _time()
    revoked_at: int | None = _maybe_time()


class ParcelTable(Base, table=True):
    """One submission to be delivered. `content_sealed` is gone once no further attempt will be made."""

    __tablename__ = "parcel"
    __table_args__ = (
        Index("parcel_once", "once_key", unique=True),
        Index("parcel_number", "number_key"),
        Index("parcel_due", "due", sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index("parcel_unconfirmed", "confirm_by", sqlite_where=_TO_WARN, postgresql_where=_TO_WARN),
        Index("parcel_keep_until", "keep_until"),
        Index("parcel_delivered", "id", sqlite_where=_DELIVERED, postgresql_where=_DELIVERED),
    )
    id: str = Field(primary_key=True)
    once_key: bytes = _key()  # of the sender's identifier
    digest: bytes = _key()  # keyed, of the content
    number_key: bytes = _key()
    route: str
    sender: str
    client: str
    mandate: str
    state: str
    attempts: int = Field(sa_type=Integer)
    reason: str
    created_at: int = _time()
    due: int = _time()
    confirm_by: int = _time()
    keep_until: int = _time()
    settled_at: int | None = _maybe_time()
    leased_until: int = _time()
    lease: str
    warned: bool = Field(sa_type=Boolean)
    content_sealed: bytes | None = _maybe_bytes()
    reference_sealed: bytes | None = _maybe_bytes()
    kind: str = Field(sa_column_kwargs={"server_default": text("'delivery'")})  # or "recall"
    recalls: str = Field(sa_column_kwargs={"server_default": text("''")})
    receipt: str = Field(sa_column_kwargs={"server_default": text("''")})  # event of its disclosure
    facts_version: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})  # when they were last read


MANDATE: Table = METADATA.tables["mandate"]
PARCEL: Table = METADATA.tables["parcel"]
