"""Connector `xml-drop`: a nightly extract in XML, whole each time, from a drop folder to the shelf, and from there to the line.

    [xml]
    schema = "..."                                  of mappings/<adapter>/source.yaml
    kind = "cin-child"                              of the shelf's rows
    record = "Message/Children/Child"               the elements that are one person's record each
    identity = "ChildIdentifiers/LAchildID"         below the record: the source's own id
    birth_date = "ChildIdentifiers/PersonBirthDate" below the record
    as_of = ["Header/Source/DateTime"]              below the root: the first that is there says when the extract was true
    zone = "Europe/London"                          of times that name none
    locks = "LocalExtras/DisclosureLock"            below the record: one element a lock, its kind in the attribute `kind`
    sender = "Header/Source/LEA"                    below the root; must be the source's option `sender` where that is set

An extract is a snapshot: who is no longer listed is gone. So a file that is doubtful in any part is refused as a whole and
the last good one stands, until it is older than `max_age_h` and counts as stale.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.adapter import (
    Arrival,
    Claim,
    Delivery,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    Tools,
    Want,
)
from gateway.connectors.drop import NO_DATE, NO_RECORDS, Opened, opened_drop
from gateway.connectors.from_shelf import LOCKS, from_shelf, lock_of
from gateway.connectors.xml_tree import Element, below, parse, text_at, tree_of
from gateway.errors import StartupRefused

CAP_BYTES: Final = 64_000_000
MAX_AGE_H: Final = 48.0
OTHER_ROOT: Final = "not an extract of this source: another root element"
NO_IDENTITY: Final = "a record without its identity"
TWICE: Final = "one identity listed twice"
WRONG_SENDER: Final = "the extract of another sender"
BAD_BIRTH_DATE: Final = "a birth date that cannot be read"


@dataclass(frozen=True, slots=True)
class Shape:
    """`[xml]` of a manifest."""

    schema: str
    kind: str
    record: str
    identity: str
    as_of: Sequence[str]
    birth_date: str = ""
    zone: str = "Europe/London"
    locks: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Extract:
    """One file, read."""

    as_of: datetime
    sender: str | None
    arrivals: Sequence[Arrival]


class XmlDrop:
    """One source: `Adapter` over its shelf, `Intake` over its folder."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest, self._source, self._tools = manifest, source, tools
        self._shape = read_shape(manifest)
        self._drop = opened_drop(source, tools, suffixes=frozenset((".xml",)), cap_bytes=CAP_BYTES, snapshot=True)

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The shelf's records of every local id the crosswalk holds, then how fresh they are and which locks they assert.

        Past its age a record says so in `_stale`, so that a map can keep from calling anything active. Raises
        `SourceContractBroken` for a record whose birth date cannot be read, since the person check would pass it unread.
        """
        async for item in from_shelf(self._manifest, self._source, self._tools, patient, want, max_age_h=MAX_AGE_H):
            if isinstance(item, SourceRecord) and item.about.birth_date is None and _in_tree(item.data, self._shape.birth_date):
                raise SourceContractBroken(BAD_BIRTH_DATE)
            yield item

    def arrivals(self) -> AsyncIterator[tuple[Delivery, Sequence[Arrival]]]:
        """Each waiting extract with everyone in it; one that is not usable comes with nobody and ends in refused/."""
        return self._drop.arrivals(self._read)

    def _read(self, body: bytes) -> Opened:
        extract = read_extract(self._shape, body, self._source.custodian)
        expected = self._source.options.get("sender")
        if expected is not None and extract.sender != str(expected):
            raise SourceContractBroken(WRONG_SENDER)
        return Opened(extract.as_of, extract.arrivals)


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> XmlDrop:
    """A manifest and a source -> its adapter, which is its intake too."""
    return XmlDrop(manifest, source, tools)


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """A whole extract -> its records. Raises `SourceContractBroken` when it is not usable as a whole.

    Kinder than a delivery, for nothing hangs on who is absent: a record without its identity is read, and its map refuses it
    by its place; an extract without a date is of now.
    """
    shape = read_shape(manifest)
    root = _root(shape, body)
    as_of = _as_of(shape, root) or datetime.now(UTC)
    arrivals = (_arrival(shape, element, where, as_of, "") for where, element in _elements(shape, root))
    return [arrival.record for arrival in arrivals if arrival.record is not None]


def read_extract(shape: Shape, body: bytes, sender: str) -> Extract:
    """A whole extract -> everyone in it. `sender` is the custodian's code. Raises `SourceContractBroken`."""
    root = _root(shape, body)
    as_of = _as_of(shape, root)
    if as_of is None:
        raise SourceContractBroken(NO_DATE)
    arrivals = [_arrival(shape, element, where, as_of, sender) for where, element in _elements(shape, root)]
    identities = {arrival.business_id for arrival in arrivals}
    if not arrivals:
        raise SourceContractBroken(NO_RECORDS)
    if "" in identities:
        raise SourceContractBroken(NO_IDENTITY)
    if len(identities) < len(arrivals):
        raise SourceContractBroken(TWICE)
    return Extract(as_of, text_at(root, shape.sender), arrivals)


def read_shape(manifest: Manifest) -> Shape:
    """`[xml]` of the manifest -> `Shape`. Raises `StartupRefused` naming what is missing or not known."""
    where = f"adapters/{manifest.name}/manifest.toml"
    table = manifest.options.get("xml", {})
    known = {item.name for item in fields(Shape)}
    missing = sorted({"schema", "kind", "record", "identity", "as_of"} - set(table))
    if missing:
        raise StartupRefused(f"{where}: [xml] needs {', '.join(missing)}")
    unknown = sorted(set(table) - known)
    if unknown:
        raise StartupRefused(f"{where}: [xml] does not know {', '.join(unknown)}")
    if table["schema"] not in manifest.reads:
        raise StartupRefused(f"{where}: [xml] gives a schema that `reads` does not list")
    return Shape(**table)


def _root(shape: Shape, body: bytes) -> Element:
    root = parse(body)
    if root.tag != shape.record.split("/")[0]:
        raise SourceContractBroken(OTHER_ROOT)
    return root


def _elements(shape: Shape, root: Element) -> Iterator[tuple[str, Element]]:
    _, *path = shape.record.split("/")
    for number, element in enumerate(below(root, path), start=1):
        yield f"{path[-1]} {number}", element


def _arrival(shape: Shape, element: Element, where: str, as_of: datetime, sender: str) -> Arrival:
    identity = text_at(element, shape.identity) or ""
    about = Claim(local_id=identity, birth_date=_day(text_at(element, shape.birth_date)))
    locks = _locks(element, shape.locks)
    tree = tree_of(element)
    data = tree if isinstance(tree, dict) else {}
    if locks:
        data[LOCKS] = sorted(locks)
    if sender:
        data["_sender"] = sender.partition(":")[2]
    record = SourceRecord(shape.schema, data, where, as_of, about)
    return Arrival(shape.kind, identity, sender, as_of, about, record, protected=locks)


def _as_of(shape: Shape, root: Element) -> datetime | None:
    for path in shape.as_of:
        text = text_at(root, path)
        if text is None:
            continue
        try:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(shape.zone))).astimezone(UTC)
        except (ValueError, OverflowError):
            raise SourceContractBroken(NO_DATE) from None
    return None


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None  # the record stays on the shelf, and fetch refuses to answer with it


def _locks(element: Element, path: str) -> frozenset[str]:
    found = below(element, path.split("/")) if path else []
    kinds = ((lock.get("kind") or lock.text or "").strip() for lock in found)
    return frozenset(lock_of(kind) for kind in kinds)


def _in_tree(data: Any, path: str) -> Any:
    """What lies at a path of a tree read from XML; where an element repeats, its first."""
    for step in path.split("/") if path else ():
        data = data[0] if isinstance(data, list) else data
        data = data.get(step) if isinstance(data, dict) else None
    return data if path else None
