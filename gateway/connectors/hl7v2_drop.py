"""Connector `hl7v2-drop`: HL7 v2 messages (ADT, ORU) from a drop folder to the shelf, and from there to the line.

    [hl7]
    sender = "MSH-4.1"                  the organisation's code; "ods:" is put before it. Without this: the custodian itself
    encoding = "utf-8"                  or "cp1252"; MSH-18 may not say another
    zone = "Europe/London"              of times that name none
    number_type = ["NH", "NHS"]         PID-3.5 (or the authority PID-3.4) of the repetition that is the person's key
    not_mapped = ["ADT^A40"]            events known and not taken yet

    [hl7.events."ORU^R01"]
    schema = "..."                      of mappings/<adapter>/source.yaml
    kind = "result"                     of the shelf's rows
    key = "OBR-3.1"                     the sender's own key of what the message tells; without it every message stands by itself
    fields = { test = "OBR-4.1", message = "MSH-10" }
    each = { segment = "OBX", as = "results", fields = { code = "OBX-3.1", value = "OBX-5", about = "OBR-4.1" } }
    lock = "PD1-12"                     anything there but N locks the person: an event may carry one
    deletes = false                     true: the sender takes back what it told under this key

A path is SEG-field.component.subcomponent, of the first repetition; `each` makes one item of each such segment, in which a
path to another segment is the nearest one before it. Only production messages are taken (MSH-11 P). MSH-7 says when it was true.
The connector adds `_locks` and, past its age, `_stale`, which source.yaml lists like any other field.
"""

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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
from gateway.connectors.drop import Opened, opened_drop, records_of
from gateway.connectors.from_shelf import LOCKS, OTHER_LOCK, from_shelf
from gateway.connectors.hl7v2 import Message, Path, Segment, messages_of, part, read_path
from gateway.errors import StartupRefused

CAP_BYTES: Final = 16_000_000
NOT_TAKEN: Final = "neither an ADT nor an ORU message"
NOT_MAPPED: Final = "an event that is known but not mapped yet"
NOT_KNOWN: Final = "an event that this source does not know"
NOT_PRODUCTION: Final = "a message for testing or training"
NO_TIME: Final = "a message without a readable time of its own"
NO_ID: Final = "a message without its control id"
NO_KEY: Final = "a message without the key of what it tells"
NO_SENDER: Final = "a message that does not say who sent it"
UNKEYED: Final = "a message that does not say whose it is"
TWO_PEOPLE: Final = "a message of two people"
BAD_BIRTH_DATE: Final = "a birth date that cannot be read"

_TIME = re.compile(r"(\d{8})(?:(\d{2})(\d{2})?(\d{2})?)?(?:\.(\d{1,4}))?([+-]\d{4})?")
_CODE = re.compile(r"[A-Z0-9]{3,12}")
_TYPES = frozenset(("ADT", "ORU"))
_HL7 = frozenset(("sender", "encoding", "zone", "number_type", "not_mapped", "events"))
_EVENT = frozenset(("schema", "kind", "key", "fields", "each", "lock", "deletes"))


@dataclass(frozen=True, slots=True)
class Each:
    """One item for each segment of a name."""

    segment: str
    name: str
    fields: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Event:
    """One `[hl7.events."TYPE^TRIGGER"]`."""

    schema: str
    kind: str
    key: Path | None
    fields: Mapping[str, Path]
    each: Each | None
    lock: Path | None
    deletes: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """`[hl7]` of a manifest."""

    identity: str
    events: Mapping[str, Event]
    number_type: frozenset[str]
    sender: Path | None = None
    encoding: str = "utf-8"
    zone: str = "Europe/London"
    not_mapped: frozenset[str] = field(default_factory=frozenset)


class Hl7Drop:
    """One source: `Adapter` over its shelf, `Intake` over its folder."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest, self._source, self._tools = manifest, source, tools
        self._shape = read_shape(manifest)
        self._drop = opened_drop(source, tools, suffixes=frozenset((".hl7", ".txt", ".dat")), cap_bytes=CAP_BYTES, snapshot=False)

    def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's records on the shelf, how fresh it is, which locks they assert."""
        return from_shelf(self._manifest, self._source, self._tools, patient, want, max_age_h=None)

    def arrivals(self) -> AsyncIterator[tuple[Delivery, Sequence[Arrival]]]:
        """Each waiting file with what its messages tell; one that is not usable comes empty and ends in refused/."""
        return self._drop.arrivals(self._read)

    def _read(self, body: bytes) -> Opened:
        return read_delivery(self._shape, body, self._source.custodian, self._tools.now())


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> Hl7Drop:
    """A manifest and a source -> its adapter, which is its intake too. Raises `StartupRefused`."""
    return Hl7Drop(manifest, source, tools)


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """A whole file -> its records. Raises `SourceContractBroken` for its form, `RowsRefused` where messages cannot be used."""
    return records_of(read_delivery(read_shape(manifest), body, "", None))


def read_delivery(shape: Shape, body: bytes, custodian: str, now: datetime | None) -> Opened:
    """A whole file -> what its messages tell, and which were refused. Raises `SourceContractBroken` when it is no HL7 v2.

    A message that cannot be used is refused by its place. One that is alone in its file refuses the file.
    """
    messages = messages_of(body, shape.encoding)
    arrivals: list[Arrival] = []
    refused: list[tuple[str, str]] = []
    for number, message in enumerate(messages, start=1):
        try:
            arrivals.append(_arrival(shape, message, f"message {number}", custodian))
        except SourceContractBroken as broken:
            if len(messages) == 1:
                raise
            refused.append((f"message {number}", broken.reason))
    return Opened(max((arrival.as_of for arrival in arrivals), default=None), arrivals, refused)


def read_shape(manifest: Manifest) -> Shape:
    """`[hl7]` of the manifest -> `Shape`. Raises `StartupRefused` naming what to mend."""
    where = f"adapters/{manifest.name}/manifest.toml: [hl7]"
    table = manifest.options.get("hl7", {})
    _known(where, table, _HL7)
    if not table.get("events") or not table.get("number_type"):
        raise StartupRefused(f"{where} needs events and number_type")
    encoding, zone = table.get("encoding", "utf-8"), table.get("zone", "Europe/London")
    if encoding not in ("utf-8", "cp1252"):
        raise StartupRefused(f"{where} encoding is utf-8 or cp1252")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise StartupRefused(f"{where} zone is not a time zone") from None
    events = {name: _event(f'{where[:-1]}.events."{name}"]', name, one, manifest) for name, one in table["events"].items()}
    return Shape(
        identity=manifest.identity,
        events=events,
        number_type=frozenset(table["number_type"]),
        sender=_path(where, table.get("sender")),
        encoding=encoding,
        zone=zone,
        not_mapped=frozenset(table.get("not_mapped", ())),
    )


def _event(where: str, name: str, table: Mapping[str, Any], manifest: Manifest) -> Event:
    _known(where, table, _EVENT)
    if name.partition("^")[0] not in _TYPES:
        raise StartupRefused(f"{where} is neither ADT nor ORU")
    if not {"schema", "kind", "fields"} <= set(table) or table["schema"] not in manifest.reads:
        raise StartupRefused(f"{where} needs schema (one that `reads` lists), kind and fields")
    if table.get("deletes") and "key" not in table:
        raise StartupRefused(f"{where} deletes by a key")
    each = table.get("each")
    if each is not None and set(each) != {"segment", "as", "fields"}:
        raise StartupRefused(f"{where} each is {{ segment, as, fields }}")
    return Event(
        schema=table["schema"],
        kind=table["kind"],
        key=_path(where, table.get("key")),
        fields=_paths(where, table["fields"]),
        each=Each(each["segment"], each["as"], _paths(where, each["fields"])) if each is not None else None,
        lock=_path(where, table.get("lock")),
        deletes=table.get("deletes", False) is True,
    )


def _known(where: str, table: Mapping[str, Any], known: frozenset[str]) -> None:
    if set(table) - known:
        raise StartupRefused(f"{where} does not know {', '.join(sorted(set(table) - known))}")


def _paths(where: str, table: Mapping[str, str]) -> Mapping[str, Path]:
    return {name: path for name, text in table.items() if (path := _path(where, text)) is not None}


def _path(where: str, text: object) -> Path | None:
    try:
        return None if text is None else read_path(str(text))
    except ValueError:
        raise StartupRefused(f"{where} has a path that is not like PID-5.1") from None


def _arrival(shape: Shape, message: Message, where: str, custodian: str) -> Arrival:
    kind, trigger = message.text(Path("MSH", 9)), message.text(Path("MSH", 9, 2))
    if kind not in _TYPES:
        raise SourceContractBroken(NOT_TAKEN)
    name = f"{kind}^{trigger}"
    event = shape.events.get(name)
    if event is None:
        raise SourceContractBroken(NOT_MAPPED if name in shape.not_mapped else NOT_KNOWN)
    if message.text(Path("MSH", 11)) != "P":
        raise SourceContractBroken(NOT_PRODUCTION)
    control_id = message.text(Path("MSH", 10))
    if control_id is None:
        raise SourceContractBroken(NO_ID)
    key = message.text(event.key) if event.key is not None else control_id
    if key is None:
        raise SourceContractBroken(NO_KEY)
    as_of, about = _time(shape, message.text(Path("MSH", 7))), _claim(shape, message)
    word = message.text(event.lock) if event.lock is not None else None
    locks = frozenset((OTHER_LOCK,)) if word not in (None, "N") else frozenset[str]()
    record = SourceRecord(event.schema, _data(event, message, locks), where, as_of, about)
    sender = _sender(shape, message, custodian)
    return Arrival(event.kind, key, sender, as_of, about, None if event.deletes else record, protected=locks)


def _data(event: Event, message: Message, locks: frozenset[str]) -> dict[str, Any]:
    data: dict[str, Any] = {name: text for name, path in event.fields.items() if (text := message.text(path)) is not None}
    if event.each is not None:
        data[event.each.name] = _items(event.each, message)
    if locks:
        data[LOCKS] = sorted(locks)
    return data


def _items(each: Each, message: Message) -> list[dict[str, str]]:
    nearest: dict[str, Segment] = {}
    items = []
    for segment in message.segments:
        nearest[segment.name] = segment
        if segment.name == each.segment:
            found = ((name, nearest[path.segment].text(path)) for name, path in each.fields.items() if path.segment in nearest)
            items.append({name: text for name, text in found if text is not None})
    return items


def _sender(shape: Shape, message: Message, custodian: str) -> str:
    if shape.sender is None:
        return custodian
    code = message.text(shape.sender)
    if code is None or not _CODE.fullmatch(code):
        raise SourceContractBroken(NO_SENDER)
    return f"ods:{code}"


def _claim(shape: Shape, message: Message) -> Claim:
    people = [segment for segment in message.segments if segment.name == "PID"]
    if len(people) != 1:
        raise SourceContractBroken(TWO_PEOPLE if people else UNKEYED)
    keys = set()
    for repetition in people[0].field(3):
        types = {part(repetition, Path("PID", 3, 5)), part(repetition, Path("PID", 3, 4))}
        if types & shape.number_type and (text := part(repetition, Path("PID", 3))) is not None:
            keys.add(text.replace(" ", "").replace("-", "") if shape.identity == "nhs_number" else text)
    if len(keys) != 1:
        raise SourceContractBroken(TWO_PEOPLE if keys else UNKEYED)
    born = _day(people[0].text(Path("PID", 7)))
    key = keys.pop()
    return Claim(nhs_number=key, birth_date=born) if shape.identity == "nhs_number" else Claim(local_id=key, birth_date=born)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    if not _TIME.fullmatch(text):  # a year or a month alone is no birth date that can be compared
        raise SourceContractBroken(BAD_BIRTH_DATE)
    try:
        return datetime.strptime(text[:8], "%Y%m%d").date()  # noqa: DTZ007 - a day
    except ValueError:
        raise SourceContractBroken(BAD_BIRTH_DATE) from None


def _time(shape: Shape, text: str | None) -> datetime:
    found = _TIME.fullmatch(text or "")
    if found is None:
        raise SourceContractBroken(NO_TIME)
    day, hour, minute, second, fraction, offset = found.groups()
    try:
        moment = datetime.strptime(day + (hour or "00") + (minute or "00") + (second or "00"), "%Y%m%d%H%M%S")  # noqa: DTZ007
        zone = ZoneInfo(shape.zone) if offset is None else _offset(offset)
        micros = int((fraction or "0").ljust(6, "0"))  # two messages of one second keep their order
        return moment.replace(tzinfo=zone, microsecond=micros).astimezone(UTC)
    except (ValueError, OverflowError):
        raise SourceContractBroken(NO_TIME) from None


def _offset(text: str) -> timezone:
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
