"""Intake: sender, person check, trace, shelve, record. What is doubtful is set aside with a reason and never half taken."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import structs

from gateway.adapter import Arrival, Claim, Loss
from gateway.flows.intake import BIRTH_DATE, NHS_NUMBER, NOT_TRACED, OLDER, SHRINKS, intake, intake_each
from gateway.flows.intake import SENDER as NO_SENDER
from gateway.flows.shelving import SourceShelf, shelved
from gateway.model import NotUsable
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry, Listed, NewWork, ShelfRow, ShelfStored, Suppression
from tests import fakes

pytestmark = pytest.mark.anyio

SENDER = "ods:RXX99"
OTHER = "9990001111"


@dataclass
class Shelf:
    owed: list[NewWork] = field(default_factory=list)
    if_contested: list[NewWork] = field(default_factory=list)
    rows: list[ShelfRow] = field(default_factory=list)
    replaced_at: datetime | None = None
    order: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    held: int = 0
    unlisted_: int = 0
    held_at: datetime | None = None
    locks: Any = None
    listed: list[Listed | None] = field(default_factory=list)
    unread: int = 0

    async def delivered_at(self, source: str) -> datetime | None:
        return self.held_at

    async def unlisted(self, source: str, rows: Sequence[ShelfRow], at: datetime) -> tuple[int, int]:
        return self.held, self.unlisted_

    async def put_each(
        self,
        deliveries: Sequence[tuple[Sequence[ShelfRow], Entry]],
        owed: Sequence[NewWork],
        *,
        if_contested: Sequence[NewWork] = (),
        listed: Sequence[Listed | None] = (),
    ) -> list[int]:
        self.order.append("shelf")
        self.listed += listed
        for rows, entry in deliveries:
            self.rows += rows
            self.entries.append(entry)
        self.owed += owed
        self.if_contested += if_contested
        return [len(rows) for rows, _ in deliveries]

    async def replace(
        self, source: str, rows: Sequence[ShelfRow], delivered_at: datetime, entry: Entry, *, unread: int = 0
    ) -> int:
        self.replaced_at, self.unread = delivered_at, unread
        return (await self.put_each([(rows, entry)], ()))[0]

    async def append(self, entries: Sequence[Entry], owed: Sequence[NewWork]) -> None:
        self.entries += entries
        self.owed += owed

    async def open(self, items: Sequence[NewWork], at: datetime) -> int:
        self.owed += items
        return len(items)

    async def assert_locks(self, source: str, locks: Any, at: datetime, *, snapshot: bool) -> None:
        self.order.append("locks")
        self.locks = locks

    async def number_of(self, source: str, local_id: str) -> NhsNumber | None:
        return fakes.AMARA if local_id == "LA1" else None


@dataclass
class Delivery:
    name: str = "delivery-1"
    snapshot: bool = False
    as_of: datetime = fakes.NOW
    fault: str | None = None
    became: str = ""
    doubts: dict[str, int] = field(default_factory=dict)
    rows: Sequence[tuple[str, str]] = ()

    def done(self) -> None:
        self.became = "refused" if self.fault else "done"

    def refuse(self, reason: str) -> None:
        self.became = f"refused: {reason}"


class Tracer:
    def __init__(self) -> None:
        self.persons = self
        self.expired: list[NhsNumber] = []

    async def expire(self, number: NhsNumber) -> None:
        self.expired.append(number)

    async def trace(self, number: NhsNumber, **_: Any) -> Any:
        return fakes.identity(number=number) if number == fakes.AMARA else NotUsable("unknown", number)


class Told:
    """What was told of deaths and losses, and when: before the copy that goes with it."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf, self.told = shelf, list[Suppression]()

    async def put(self, told: Sequence[Suppression]) -> int:
        self.shelf.order.append("losses")
        self.told += told
        return len(told)


def parts(shelf: Shelf) -> Any:
    return SimpleNamespace(
        log=shelf, shelf=shelf, work=shelf, protections=shelf, suppressions=Told(shelf), crosswalk=shelf, identity=Tracer(),
        now=lambda: fakes.NOW,
        allow_test_numbers=True, policy=SimpleNamespace(hash="hash"),
    )  # fmt: skip


def arrival(about: Claim | None = None, **changes: Any) -> Arrival:
    about = about or Claim(nhs_number=fakes.AMARA.value, birth_date=fakes.BORN)
    values = {
        "kind": "k",
        "business_id": "b",
        "sender": SENDER,
        "as_of": fakes.NOW,
        "about": about,
        "record": fakes.record(about),
    }
    return Arrival(**{**values, **changes})


async def take(
    *arrivals: Arrival,
    delivery: Delivery | None = None,
    shelf: Shelf | None = None,
    options: dict[str, Any] | None = None,
    **source: Any,
) -> tuple[Shelf, Delivery, str]:
    shelf, delivery = shelf or Shelf(), delivery or Delivery()
    active = fakes.active("child", fakes.FakeSource(), custodian=SENDER, **source)
    active = replace(active, settings=replace(active.settings, options=options or {}))
    return shelf, delivery, await intake(parts(shelf), active, delivery, arrivals)


async def test_a_record_of_a_traced_person_reaches_the_shelf_with_its_event():
    shelf, delivery, became = await take(arrival())
    assert (became, delivery.became, len(shelf.rows)) == ("taken", "done", 1)
    assert shelf.rows[0].holder == fakes.AMARA
    assert json.loads(shelf.rows[0].body)["about"] == [fakes.AMARA.value, None, fakes.BORN.isoformat()]
    assert shelf.entries[0].detail["kept"] == 1


@pytest.mark.parametrize(
    ("doubtful", "reason"),
    [
        (arrival(sender="ods:OTHER"), NO_SENDER),
        (arrival(Claim(nhs_number="9990000108")), NHS_NUMBER),
        (arrival(Claim()), NHS_NUMBER),
        (arrival(Claim(nhs_number=OTHER)), NOT_TRACED),
        (arrival(Claim(nhs_number=fakes.AMARA.value, birth_date=date(2020, 1, 1))), BIRTH_DATE),
    ],
)
async def test_a_doubtful_record_is_set_aside_with_its_reason_and_nothing_of_it_is_kept(doubtful, reason):
    shelf, delivery, became = await take(doubtful)
    assert (became, delivery.became, shelf.rows) == ("quarantined", f"refused: {reason}", [])
    assert shelf.entries[0].detail["doubtful"] == {reason: 1}


async def test_a_doubtful_record_does_not_take_the_good_ones_with_it():
    shelf, delivery, became = await take(arrival(), arrival(Claim(nhs_number=OTHER)))
    assert (became, delivery.became, len(shelf.rows)) == ("taken", "done", 1)
    assert shelf.entries[0].detail["doubtful"] == {NOT_TRACED: 1}


async def test_a_deletion_is_shelved_as_one():
    shelf, _, _ = await take(arrival(record=None))
    assert shelf.rows[0].body is None


async def test_an_unreadable_delivery_is_recorded_and_refused():
    shelf, delivery, became = await take(delivery=Delivery(fault="not XML"))
    assert (became, delivery.became) == ("refused", "refused")
    assert (shelf.entries[0].outcome, shelf.entries[0].detail["reason"]) == ("failure", "not XML")


async def test_locks_are_known_before_the_copy_that_carries_them_can_be_read():
    locked = arrival(Claim(local_id="LA1", birth_date=fakes.BORN), protected=frozenset({"refuge"}))
    unmatched = arrival(Claim(local_id="LA2"), protected=frozenset({"refuge"}))
    delivery = Delivery(snapshot=True, as_of=fakes.NOW - timedelta(hours=3))
    shelf, _, _ = await take(locked, unmatched, delivery=delivery, identity="local_id", feeds_protection=True)
    assert shelf.order == ["locks", "shelf"]
    assert shelf.locks == {fakes.AMARA: frozenset({"refuge"})}
    assert shelf.replaced_at == delivery.as_of
    assert {row.holder for row in shelf.rows} == {"LA1", "LA2"}


@pytest.mark.parametrize(("held", "unlisted", "became"), [(4, 3, "refused"), (4, 2, "taken"), (1, 1, "refused"), (0, 0, "taken")])
async def test_a_snapshot_that_drops_more_than_half_of_the_shelf_is_for_its_owner_to_explain(
    held: int, unlisted: int, became: str
):
    locked = arrival(protected=frozenset({"refuge"}))
    shelf = Shelf(held=held, unlisted_=unlisted)
    shelf, delivery, did = await take(locked, delivery=Delivery(snapshot=True), shelf=shelf, feeds_protection=True)
    assert did == became
    if became == "refused":
        assert (shelf.order, delivery.became) == ([], f"refused: {SHRINKS}")
        assert (shelf.entries[0].outcome, shelf.entries[0].detail["reason"]) == ("failure", SHRINKS)
    else:
        assert shelf.order == ["locks", "shelf"]


async def test_of_a_snapshot_too_its_owner_is_told_what_was_set_aside_and_it_is_not_whole():
    wrong_day = arrival(Claim(nhs_number=fakes.AMARA.value, birth_date=date(2020, 1, 1)))
    shelf, _, did = await take(arrival(), wrong_day, delivery=Delivery(snapshot=True))
    assert (did, [item.reason for item in shelf.owed], shelf.unread) == ("taken", [BIRTH_DATE], 1)


async def test_a_snapshot_that_shrinks_is_let_in_where_its_owner_has_explained_it():
    for allowed, became in ((True, "taken"), (False, "refused"), ("yes", "refused"), (1, "refused")):
        shelf = Shelf(held=4, unlisted_=4)
        _, _, did = await take(arrival(), delivery=Delivery(snapshot=True), shelf=shelf, options={"allow_shrink": allowed})
        assert did == became


async def test_a_snapshot_of_which_nobody_can_be_kept_changes_nothing_however_it_is_set():
    stranger = arrival(sender="ods:OTHER")
    for arrivals, reason in (((stranger,), NO_SENDER), ((), SHRINKS)):
        delivery = Delivery(snapshot=True)
        shelf, delivery, _ = await take(*arrivals, delivery=delivery, options={"allow_shrink": True}, feeds_protection=True)
        assert (shelf.order, delivery.became) == ([], f"refused: {reason}")


async def test_an_older_snapshot_changes_nothing_and_says_so():
    shelf = Shelf(held_at=fakes.NOW + timedelta(hours=1))
    shelf, delivery, _ = await take(arrival(), delivery=Delivery(snapshot=True), shelf=shelf, feeds_protection=True)
    assert (shelf.order, delivery.became) == ([], f"refused: {OLDER}")


async def test_the_lock_of_a_doubtful_record_protects_all_the_same_unless_its_sender_is_another():
    lock = frozenset({"refuge"})
    wrong_day = arrival(Claim(nhs_number=fakes.AMARA.value, birth_date=date(2020, 1, 1)), protected=lock)
    unknown = arrival(Claim(nhs_number=OTHER), protected=lock)
    stranger = arrival(Claim(nhs_number="9990000018"), sender="ods:OTHER", protected=lock)
    shelf, _, _ = await take(wrong_day, unknown, stranger, arrival(), feeds_protection=True)
    assert shelf.locks == {fakes.AMARA: lock, NhsNumber(OTHER): lock}


async def test_rows_that_the_reader_refused_are_counted_beside_the_doubtful_ones():
    shelf, _, became = await take(arrival(sender="x"), arrival(), delivery=Delivery(doubts={"a bad row": 2, NO_SENDER: 1}))
    assert became == "taken"
    assert shelf.entries[0].detail["doubtful"] == {NO_SENDER: 2, "a bad row": 2}
    _, delivery, became = await take(delivery=Delivery(doubts={"a bad row": 2}))
    assert (became, delivery.became) == ("quarantined", "refused: a bad row")


async def test_what_the_person_check_sets_aside_is_named_by_its_place_beside_what_the_reader_refused():
    about = Claim(nhs_number=fakes.AMARA.value, birth_date=date(2020, 1, 1))
    wrong_day = arrival(about, record=structs.replace(fakes.record(about), where="row 7"))
    gone = arrival(Claim(nhs_number=OTHER), record=None)
    delivery = Delivery(doubts={"a bad row": 1}, rows=[("row 2", "a bad row")])
    _, delivery, became = await take(wrong_day, gone, arrival(), delivery=delivery)
    assert became == "taken"
    rows = [("row 2", "a bad row"), ("row 7", BIRTH_DATE), ("k, without a record", NOT_TRACED)]
    assert delivery.rows == rows


async def news(*arrivals: Arrival) -> tuple[Any, Delivery, str]:
    """Arrivals that only say a person changed, taken in."""
    built, delivery = parts(Shelf()), Delivery()
    became = await intake(built, fakes.active("child", fakes.FakeSource(), custodian=SENDER), delivery, arrivals)
    return built, delivery, became


async def test_news_that_a_person_changed_expires_their_trace_and_keeps_nothing():
    built, delivery, became = await news(arrival(Claim(nhs_number=OTHER), record=None, expires_trace=True))
    assert (became, delivery.became) == ("taken", "done")
    assert built.identity.expired == [NhsNumber(OTHER)]  # though the tracer knows nobody of that number now
    assert built.shelf.rows == []
    assert (built.shelf.entries[0].detail["expired"], built.shelf.entries[0].detail["kept"]) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"sender": "ods:OTHER"}, NO_SENDER), ({"about": Claim(nhs_number="9990000108")}, NHS_NUMBER)],
)
async def test_doubtful_news_expires_nothing_and_waits_for_its_owner(changes, reason):
    built, delivery, became = await news(arrival(**changes, record=None, expires_trace=True))
    assert (became, delivery.became) == ("quarantined", f"refused: {reason}")
    assert built.identity.expired == []


DIED = Loss(fakes.AMARA.value, "death")
BACK = replace(DIED, taken_back=True)
AS_TOLD = Suppression(fakes.AMARA, "death", "child", fakes.NOW)


async def told(*arrivals: Arrival, delivery: Delivery | None = None) -> tuple[Any, str]:
    built = parts(Shelf())
    active = fakes.active("child", fakes.FakeSource(), custodian=SENDER)
    return built, await intake(built, active, delivery or Delivery(), arrivals)


async def test_a_death_is_known_before_the_copy_that_tells_of_it_can_be_read():
    built, became = await told(arrival(losses=(DIED,)))
    assert (became, built.shelf.order) == ("taken", ["losses", "shelf"])
    assert built.suppressions.told == [AS_TOLD]
    assert built.shelf.entries[0].detail["losses"] == 1
    assert built.shelf.owed == []
    assert built.identity.expired == [fakes.AMARA]  # a trace of before it would say that the child lives


async def test_a_death_of_somebody_not_traced_stops_contact_all_the_same():
    built, became = await told(arrival(Claim(nhs_number=OTHER), losses=(Loss(OTHER, "death"),)))
    assert became == "quarantined"
    assert built.suppressions.told == [replace(AS_TOLD, number=NhsNumber(OTHER))]


@pytest.mark.parametrize(
    "doubtful",
    [
        arrival(sender="ods:OTHER", losses=(DIED,)),
        arrival(sender="ods:OTHER", record=None, expires_trace=True, losses=(DIED,)),
        arrival(Claim(nhs_number=fakes.AMARA.value, birth_date=date(2020, 1, 1)), losses=(DIED,)),
        arrival(losses=(Loss("9990000108", "death"),)),
    ],
)
async def test_a_death_told_by_a_stranger_or_of_another_child_stops_nothing(doubtful):
    built, _ = await told(doubtful)
    assert built.suppressions.told == []


async def test_a_death_taken_back_lifts_nothing_and_is_somebodys_task():
    built, became = await told(arrival(record=None, expires_trace=True, losses=(BACK,)))
    assert (became, built.suppressions.told) == ("taken", [replace(AS_TOLD, taken_back=True)])
    (task,) = built.shelf.owed
    assert (task.kind, task.reason, task.person, task.owner) == ("suppression-taken-back", "death", fakes.AMARA, "owner")


async def test_news_with_a_doubt_of_its_reader_acts_and_still_waits_for_a_person():
    delivery = Delivery(doubts={"for a person to read": 1})
    built, became = await told(arrival(record=None, expires_trace=True, losses=(DIED,)), delivery=delivery)
    assert (became, delivery.became) == ("quarantined", "refused: for a person to read")
    assert built.suppressions.told == [AS_TOLD]


async def test_what_is_set_aside_is_its_owners_task_once_a_day_for_each_reason():
    built, _ = await told(arrival(sender="x"), arrival(), arrival(Claim(nhs_number=OTHER)))
    assert [(task.kind, task.reason, task.owner) for task in built.shelf.owed] == [
        ("set-aside", NO_SENDER, "owner"),
        ("set-aside", NOT_TRACED, "owner"),
    ]
    again, _ = await told(delivery=Delivery(name="another", fault=NO_SENDER))
    assert again.shelf.owed[0].key == built.shelf.owed[0].key
    assert (again.shelf.owed[0].local_ref, again.shelf.owed[0].person) == ("another", None)


async def test_several_messages_are_recorded_together_and_each_ends_where_it_belongs():
    built, names = parts(Shelf()), ("good", "doubtful", "broken")
    deliveries = [Delivery(name=name, fault="not XML" if name == "broken" else None) for name in names]
    active = fakes.active("child", fakes.FakeSource(), custodian=SENDER)
    became = await intake_each(built, active, list(zip(deliveries, ([arrival()], [arrival(sender="x")], []), strict=True)))
    assert became == ["taken", "quarantined", "refused"]
    assert [delivery.became for delivery in deliveries] == ["done", f"refused: {NO_SENDER}", "refused"]
    assert built.shelf.order == ["shelf"]
    assert [entry.detail["delivery"] for entry in built.shelf.entries] == list(names)


async def test_a_source_may_keep_its_copies_for_days_of_its_own():
    shelf, _, _ = await take(arrival(), options={"shelf_days": 30})
    assert shelf.rows[0].keep_until == fakes.NOW + timedelta(days=30)


async def test_how_soon_somebody_looks_at_what_was_set_aside_is_for_the_manifest_to_say():
    active = fakes.active("child", fakes.FakeSource(), custodian=SENDER)
    urgent = replace(active, manifest=replace(active.manifest, options={"look_within_h": 4}))
    for source, hours in ((active, 24), (urgent, 4)):
        shelf = Shelf()
        await intake(parts(shelf), source, Delivery(doubts={"a cell that is a formula": 1}), [arrival()])
        assert [item.due - fakes.NOW for item in shelf.owed] == [timedelta(hours=hours)]


@pytest.mark.parametrize(
    ("arrivals", "delivery", "as_of", "unread"),
    [
        ((arrival(),), Delivery(), fakes.NOW, 0),
        ((arrival(),), Delivery(doubts={"no number": 2}), fakes.NOW, 2),
        ((arrival(), arrival(Claim(nhs_number=OTHER))), Delivery(), fakes.NOW, 1),  # read, and of nobody the tracer knows
        ((), Delivery(doubts={"no number": 3}), None, 3),
        ((), Delivery(fault="not CSV"), None, 1),
    ],
    ids=["whole", "rows its reader refused", "a row of nobody", "no row is read", "no list"],
)
async def test_of_a_source_that_lists_everything_each_time_it_is_told_how_much_could_not_be_taken(
    arrivals: tuple[Arrival, ...], delivery: Delivery, as_of: datetime | None, unread: int
):
    active = fakes.active("child", fakes.FakeSource(), custodian=SENDER)
    lists = replace(active, manifest=replace(active.manifest, options={"lists_all": True}))
    for source, told in ((active, [None]), (lists, [Listed("child", as_of, unread)])):
        shelf = Shelf()
        await intake(parts(shelf), source, replace(delivery), arrivals)
        assert shelf.listed == told


async def test_one_record_of_two_people_is_its_owners_task_within_hours_and_tells_of_nobody():
    shelf, _, _ = await take(arrival(moves=True))
    (item,) = shelf.if_contested
    assert (item.kind, item.source, item.person, item.due - fakes.NOW) == ("contested", "child", None, timedelta(hours=4))
    assert [row.moves for row in shelf.rows] == [True]


async def test_what_is_held_of_somebody_else_too_comes_without_content_as_what_no_map_reads():
    class Store:
        async def heard(self, *_: Any) -> list[ShelfStored]:
            body = shelved(arrival(record=structs.replace(fakes.record(), data={"note": "seen"}))) or b""
            return [ShelfStored("k", "b", SENDER, fakes.NOW, body, contested) for contested in (False, True)]

    mine, contested = await SourceShelf(cast(Any, Store()), "child", lambda: fakes.NOW).newest(fakes.AMARA)
    assert (mine.schema, contested.schema) == (fakes.record().schema, "contested")
    assert (mine.data, contested.data, contested.about) == ({"note": "seen"}, {}, mine.about)
