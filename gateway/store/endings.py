"""What dies with a number that PDS invalidated, in one transaction: consents, relationships, ids, copies, parcels, tasks.

PDS never says why. An adoption is one reason, so every invalidation is treated as one: nothing of the old number may lead to
another, and what could be joined again by a program (an id, a pupil number, a name) is buried first. Source: docs/adr/0013.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, LargeBinary, String, bindparam, delete, literal_column, or_, select, update

from gateway.model.parcels import ParcelState
from gateway.store import tombstones
from gateway.store.crosswalk import Ended, StoredCrosswalk
from gateway.store.database import Call, Statement, Work
from gateway.store.keys import Keys
from gateway.store.local_records import StoredLocalRecords
from gateway.store.parcel_tables import PARCEL
from gateway.store.tables import CONSENT, RELATIONSHIP, SHELF, SHELF_DELIVERY, WORK_ITEM

OUTCOME = "number-invalidated"

_NUMBER = bindparam("number_key", type_=LargeBinary)
_AT = bindparam("at", type_=BigInteger)
_CONSENTS = Statement(
    update(CONSENT)
    .where(CONSENT.c.number_key == _NUMBER, CONSENT.c.withdrawn_at.is_(None))
    .values(withdrawn_at=_AT)
    .returning(CONSENT.c.id)
)
_RELATIONSHIPS = Statement(
    update(RELATIONSHIP)
    .where(RELATIONSHIP.c.number_key == _NUMBER, or_(RELATIONSHIP.c.ends.is_(None), RELATIONSHIP.c.ends > _AT))
    .values(ends=_AT)
    .returning(RELATIONSHIP.c.id)
)
_WORK = Statement(
    update(WORK_ITEM)
    .where(WORK_ITEM.c.number_key == _NUMBER, WORK_ITEM.c.closed_at.is_(None))
    .values(
        closed_at=_AT,
        closed_by=literal_column("''", String),
        outcome=literal_column(f"'{OUTCOME}'", String),
        about_sealed=literal_column("NULL", LargeBinary),
        number_key=literal_column("NULL", LargeBinary),
    )
    .returning(WORK_ITEM.c.id)
)
_PARCELS = Statement(  # those not yet acknowledged; of the others nothing is kept that could leave
    update(PARCEL)
    .where(PARCEL.c.number_key == _NUMBER, PARCEL.c.content_sealed.is_not(None))
    .values(
        state=literal_column(f"'{ParcelState.LAPSED}'", String),
        reason=literal_column(f"'{OUTCOME}'", String),
        settled_at=_AT,
        leased_until=literal_column("0"),
        lease=literal_column("''", String),
        content_sealed=literal_column("NULL", LargeBinary),
    )
    .returning(PARCEL.c.id)
)
_SHELVES = Statement(select(SHELF_DELIVERY.c.source))
_COPIES = Statement(
    delete(SHELF)
    .where(SHELF.c.source == bindparam("source", type_=String), SHELF.c.holder_key == bindparam("holder_key", type_=LargeBinary))
    .returning(SHELF.c.business_key)
)


class Endings:
    """Ends numbers: for the person rows, in their transaction."""

    def __init__(self, keys: Keys, crosswalk: StoredCrosswalk, records: StoredLocalRecords) -> None:
        self._keys = keys
        self._crosswalk = crosswalk
        self._records = records

    def end(self, number_key: bytes, names: Sequence[bytes], at: int) -> Work[Mapping[str, int]]:
        """What ended, counted. `names`: tombstones of the names its trace had."""
        links = yield from self._crosswalk.ending(number_key)
        named = yield from self._records.ending(number_key)
        yield from tombstones.bury([*names, *named, *(self._stone(link) for link in links)])
        consents = yield Call(_CONSENTS, {"number_key": number_key, "at": at})
        relationships = yield Call(_RELATIONSHIPS, {"number_key": number_key, "at": at})
        work = yield Call(_WORK, {"number_key": number_key, "at": at})
        copies = 0
        for (source,) in (yield Call(_SHELVES, {})):
            for holder in {number_key, *(link.local_key for link in links if link.source == source)}:
                copies += len((yield Call(_COPIES, {"source": source, "holder_key": holder})))
        parcels = yield Call(_PARCELS, {"number_key": number_key, "at": at})
        return {
            "links": len(links),
            "consents": len(consents),
            "relationships": len(relationships),
            "work": len(work),
            "copies": copies,
            "parcels": len(parcels),
        }

    def _stone(self, link: Ended) -> bytes:
        if link.kind == "upn":
            return tombstones.of_upn(self._keys, link.local_id)
        return tombstones.of_id(self._keys, link.source, link.local_id)
