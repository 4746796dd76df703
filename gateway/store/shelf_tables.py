"""The table of lists that could not be taken whole, as tables.py has the others."""

from sqlalchemy import Integer, Table
from sqlmodel import Field

from gateway.store.tables import METADATA, Base, _time


class ShelfUnreadTable(Base, table=True):
    """A source whose newest list has rows that nobody could read. A whole list of `until` or later ends it."""

    __tablename__ = "shelf_unread"
    source: str = Field(primary_key=True)
    rows: int = Field(sa_type=Integer)
    until: int = _time()
    marked_at: int = _time()


SHELF_UNREAD: Table = METADATA.tables["shelf_unread"]
