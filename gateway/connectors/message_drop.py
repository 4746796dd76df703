"""Connector `message-drop`: STU3 message Bundles (XML or JSON) from a drop folder to the shelf, and from the shelf to the line.

The manifest names the events: `[events.CODE]` with `also` (other codes of the same event), `schema`, `focus` (types the header
may point at), `reads` (field of the record -> resource type), `gives` (R4 types, where they are others), `consent` (a question
that must be answered yes), `each` (a field of `reads` whose resources each stand under their own identifier), `of_child` (a
question that says whether a form is about the child) and `about_baby` (a birth, addressed by the mother); `expires_trace` lists
events that only say a person changed, and `deaths` those of them that say a person died; `work` lists events that ask a service
to act, `not_mapped` those known and not taken yet. What is not taken is refused with its reason, waits in the drop's refused/
folder and is its owner's task: nothing is dropped silently.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from gateway.adapter import (
    Adapter,
    Arrival,
    Delivery,
    Loss,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    Tools,
    Tree,
    Want,
)
from gateway.connectors.drop import Opened, opened_drop, records_of
from gateway.connectors.message_batch import KIND, is_batch, is_r4, read_batch, read_r4
from gateway.connectors.message_birth import read_birth
from gateway.connectors.message_bundle import Message, event_of, read_change, read_message
from gateway.connectors.message_consent import is_agreed, is_of_child
from gateway.connectors.message_csds import GIVES, contacts_of, extract_of, read_extract
from gateway.connectors.message_losses import DEATH, death_told, screening_says_died
from gateway.connectors.stu3 import read_stu3
from gateway.errors import StartupRefused

NOT_MAPPED: Final = "an event that is known but not mapped yet"
OWNERS_WORK: Final = "a failsafe message: work for the service it names, by the day it names"
NOT_KNOWN: Final = "an event that this source does not know"
WRONG_FOCUS: Final = "the focus is not what this event is about"
NOT_NAMED: Final = "a deletion of a visit that does not name what was recorded at it"

CAP_BYTES: Final = 1_000_000
_GIVEN: Final[Mapping[str, frozenset[str]]] = {KIND: frozenset(("Immunization",))}  # of what comes otherwise than as messages
_USED: Final = frozenset(("MessageHeader", "Patient", "Organization", "Practitioner", "Location"))  # read into others
_SUFFIXES: Final = frozenset((".xml", ".json", ".dat", ".csv"))


@dataclass(frozen=True, slots=True)
class Event:
    """One event that is taken, as the manifest describes it."""

    kind: str
    schema: str
    focus: frozenset[str]
    reads: Mapping[str, str]  # field of the record -> resource type
    gives: frozenset[str]  # R4 types that its maps make of them, where those are others
    about_baby: bool  # a birth: addressed by the mother, kept for the baby
    consent: str  # item of its questionnaire that must say yes, else the record goes to no early years; "" where there is none
    each: str  # field whose resources each stand under their own identifier: one visit brings several; "" where there is none
    of_child: str  # item that says whose needs a form tells of; one about others is read as `household`; "" where there is none


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> Adapter:
    """A manifest and a source -> its adapter, its intake too. Raises `StartupRefused` for options that cannot be used."""
    since = source.options.get("tells_since")
    if since is not None and not _is_day(str(since)):
        raise StartupRefused(f"sources.{source.name}.options.tells_since is a day: 2024-04-01")
    return MessageDrop(manifest, source, tools)


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """One message -> its record; none when it deletes or is news alone; a batch -> its rows' records.

    Raises `SourceContractBroken` when it cannot be used, `RowsRefused` where rows of it cannot.
    """
    return records_of(_read_any(manifest, _events(manifest), body, "", datetime.now(UTC)))


class MessageDrop:
    """One source whose messages arrive in a folder: `Adapter` over its shelf, `Intake` over its folder."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest = manifest
        self._source = source
        self._tools = tools
        self._events = _events(manifest)
        self._kinds = {event.kind: event for event in self._events.values()}
        self._drop = opened_drop(source, tools, suffixes=_SUFFIXES, cap_bytes=CAP_BYTES, snapshot=False)

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        delivered = await self._tools.shelf.delivered_at()
        yield SourceFacts(as_of=delivered, stale=self._is_stale(delivered))
        for number in (patient.number, *patient.superseded):
            for kept in await self._tools.shelf.newest(number):
                event = self._kinds.get(kept.kind)
                given = event.gives if event is not None else _GIVEN.get(kept.kind, frozenset())
                if want.types & given:
                    yield SourceRecord(
                        kept.schema, kept.data, kept.where, kept.as_of, kept.about, kept.locked, kept.not_early_years
                    )

        if want.types & GIVES:
            for claim in await self._tools.local_ids.of(patient):
                async for record in contacts_of(self._tools, claim, patient.birth_date):
                    yield record

    def arrivals(self) -> AsyncIterator[tuple[Delivery, Sequence[Arrival]]]:
        """Each waiting message; one that is not usable comes empty and ends in refused/."""
        return self._drop.arrivals(self._read)

    def _read(self, body: bytes) -> Opened:
        return _read_any(self._manifest, self._events, body, self._source.custodian, self._tools.now())

    def _is_stale(self, delivered: Any) -> bool:
        if self._source.max_age_h is None:
            return False
        return delivered is None or self._tools.now() - delivered > timedelta(hours=self._source.max_age_h)


def _read_any(manifest: Manifest, events: Mapping[str, Event], body: bytes, custodian: str, now: datetime) -> Opened:
    """A message, a batch file, an extract or one R4 Immunization: which of them, the file itself says."""
    if is_batch(body):
        return read_batch(body, custodian, now)
    extract = extract_of(body)
    if extract is not None:
        return read_extract(extract, body, custodian, now)
    tree = read_stu3(body)
    return read_r4(body, custodian) if is_r4(tree) else _opened(manifest, events, tree)


def _opened(manifest: Manifest, events: Mapping[str, Event], bundle: Tree) -> Opened:
    code = event_of(bundle)
    if code in manifest.options.get("expires_trace", ()):
        return _news(read_change(bundle), is_death=code in manifest.options.get("deaths", ()))
    event = events.get(code)
    if event is None:
        raise SourceContractBroken(_why_not(manifest, code))
    if not event.about_baby:
        message = read_message(bundle)
        return Opened(message.as_of, _arrivals(event, message))
    birth = read_birth(bundle)
    if birth.message is not None:
        arrival = _arrival(event, read_message(birth.message), birth.losses)
        return Opened(arrival.as_of, (arrival,))
    news = read_change(bundle, of=birth.losses[0].nhs_number)
    arrival = Arrival(code, news.id, news.sender, news.as_of, news.about, None, expires_trace=True, losses=birth.losses)
    return Opened(news.as_of, (arrival,), (("message", birth.doubt),) if birth.doubt else ())


def _why_not(manifest: Manifest, code: str) -> str:
    for reason, option in ((OWNERS_WORK, "work"), (NOT_MAPPED, "not_mapped")):
        if code in manifest.options.get(option, ()):
            return f"{reason}: {code}" if reason == NOT_MAPPED else reason  # a code of the manifest's own list
    return NOT_KNOWN


def _news(news: Message, *, is_death: bool) -> Opened:
    arrival = Arrival(
        kind=news.event,
        business_id=news.id,
        sender=news.sender,
        as_of=news.as_of,
        about=news.about,
        record=None,
        expires_trace=True,
        losses=_losses(news, is_death=is_death),
    )
    return Opened(news.as_of, (arrival,))


def _losses(message: Message, *, is_death: bool = False) -> tuple[Loss, ...]:
    """What the person of a message, or a screening that came too late, tells of a death."""
    told = {death_told(person) for person in message.people} - {None}
    died = "died" in told or screening_says_died(message.resources) or (is_death and not told)
    if not (died or told):
        return ()
    return (Loss(message.about.nhs_number or "", DEATH, taken_back=not died),)


def _arrival(event: Event, message: Message, losses: tuple[Loss, ...] = ()) -> Arrival:
    if message.focus is not None and message.focus not in event.focus:
        raise SourceContractBroken(WRONG_FOCUS)
    return Arrival(
        kind=event.kind,
        business_id=message.business_id or message.id,
        sender=message.sender,
        as_of=message.as_of,
        about=message.about,
        record=None if message.change == "delete" else _record(event, message),
        losses=losses or _losses(message),
    )


def _arrivals(event: Event, message: Message) -> tuple[Arrival, ...]:
    """A message -> what it brings: one arrival, or one for each resource that stands by itself and one for the rest.

    Two messages of one visit bring two vaccines, and neither may take the other's place. A deletion that points at a visit
    deletes what it names of it, and what was kept under the visit; one that names nothing is refused, or that would stay shown.
    """
    whole = _arrival(event, message)
    kind = event.reads.get(event.each, "")
    own = list(dict.fromkeys(message.identified.get(kind, ())))
    if message.change == "delete":
        if kind and message.focus != kind and not own:
            raise SourceContractBroken(NOT_NAMED)
        keys = own if whole.business_id in own else [*own, whole.business_id]
        return tuple(replace(whole, business_id=key, losses=whole.losses if key == keys[0] else ()) for key in keys)
    if not own:
        return (whole,)
    listed = message.resources.get(kind, ())
    groups = {key: [one for one in listed if isinstance(one, dict) and one["key"] == key] for key in own}
    if rest := [one for one in listed if isinstance(one, dict) and one["key"] not in groups]:
        groups[whole.business_id] = [*groups.get(whole.business_id, ()), *rest]
    return tuple(
        replace(
            whole,
            business_id=key,
            record=_record(event, replace(message, resources={**message.resources, kind: group})),
            losses=whole.losses if key == own[0] else (),
        )
        for key, group in groups.items()
    )


def _record(event: Event, message: Message) -> SourceRecord:
    unread = sorted(message.types - set(event.reads.values()) - _USED)
    data: dict[str, Tree] = {"event": message.event, "change": message.change, "message": message.id, "unread": unread}
    data |= {field: list(message.resources.get(kind, ())) for field, kind in event.reads.items()}
    if event.of_child:
        forms = data["forms"]
        assert isinstance(forms, list)
        data["forms"] = [form for form in forms if is_of_child(form, event.of_child)]
        data["household"] = [form for form in forms if not is_of_child(form, event.of_child)]
    return SourceRecord(
        schema=event.schema,
        data=data,
        where=f"{event.kind} of {message.as_of.isoformat()}",
        as_of=message.as_of,
        about=message.about,
        locked=message.locked,
        not_early_years=not _may_go_on(event, message),
    )


def _may_go_on(event: Event, message: Message) -> bool:
    return event.consent == "" or is_agreed(message.resources.get("QuestionnaireResponse", ()), event.consent)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _events(manifest: Manifest) -> dict[str, Event]:
    found: dict[str, Event] = {}
    for kind, table in manifest.options.get("events", {}).items():
        reads, about_baby = dict(table["reads"]), bool(table.get("about_baby"))
        gives = frozenset(table.get("gives", reads.values()))
        asked = table.get("consent", ""), table.get("each", ""), table.get("of_child", "")
        event = Event(kind, table["schema"], frozenset(table["focus"]), reads, gives, about_baby, *asked)
        found |= dict.fromkeys((kind, *table.get("also", ())), event)
    return found
