"""A delivery of returns, read -> everyone in it, each with birth date, locks and what was worked out beside the tree."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.adapter import Arrival, Claim, SourceContractBroken, SourceRecord
from gateway.connectors.drop import NO_DATE, NO_RECORDS
from gateway.connectors.returns_read import Person, Reading
from gateway.connectors.returns_shape import Format
from gateway.connectors.returns_worked import work_out

NO_IDENTITY: Final = "a record without its identity"
TWICE: Final = "one identity listed twice"


def everyone(reading: Reading, sender: str) -> Sequence[Arrival]:
    """A delivery, read -> everyone in it. `sender` is the custodian's code. Raises `SourceContractBroken`."""
    if reading.as_of is None:
        raise SourceContractBroken(NO_DATE)
    arrivals = [arrival_of(reading.format, person, reading.as_of, sender) for person in reading.people]
    identities = {arrival.business_id for arrival in arrivals}
    if not arrivals:
        raise SourceContractBroken(NO_RECORDS)
    if "" in identities:
        raise SourceContractBroken(NO_IDENTITY)
    if len(identities) < len(arrivals):
        raise SourceContractBroken(TWICE)
    return arrivals


def arrival_of(form: Format, person: Person, as_of: datetime, sender: str) -> Arrival:
    """One person. `sender` is the custodian's code, or empty where nobody sent it."""
    today = as_of.astimezone(ZoneInfo(form.zone)).date()
    worked = work_out(form, person, today)
    about = Claim(local_id=person.identity, birth_date=worked.birth_date)
    data: dict[str, Any] = person.tree
    if sender:
        data["_sender"] = sender.partition(":")[2]
    record = SourceRecord(form.schema, data, person.where, as_of, about, worked.closed)
    return Arrival(form.kind, person.identity, sender, as_of, about, record, protected=worked.locks)
