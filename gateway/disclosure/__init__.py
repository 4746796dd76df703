"""Step 10, disclose: resources and a recorded permit -> `Disclosure`. Every way out passes here.

Each resource is decided again by its own labels, stripped of what its marks say must go, and labelled. A label that is
not known counts as the most restricted, so what carries it stays here.
"""

import asyncio
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import msgspec
from msgspec import UNSET

from gateway.disclosure.labels import labelled, labels_of, not_for_family, raised
from gateway.disclosure.paging import AT_A_TIME, Page, page_of
from gateway.disclosure.provenance import provenance
from gateway.disclosure.ready import UNKNOWN_LABEL, Paths, Ready, Work, readied, stands_for, taken_out, work_of
from gateway.disclosure.reports import UNREAD, reports_of
from gateway.disclosure.stripping import PATIENT_KEEPS, PATIENT_PATHS, strip
from gateway.disclosure.usual import Usual, usual
from gateway.errors import InternalFault, PolicyNotActive
from gateway.model import (
    CareClass,
    Category,
    Disclosed,
    Disclosure,
    Grain,
    MappedResource,
    Mark,
    PatientIdentity,
    Permit,
    Recorded,
    RefusedRecord,
    SourceReport,
)
from gateway.policy import GrainDecision, Policy, of
from gateway.resource import Typed, encoded, name_of

__all__ = ["AT_A_TIME", "UNREAD", "Page", "Ready", "disclose", "disclose_in_turns", "readied", "stands_for"]

KEPT = 1_024  # short ways kept for one set of circumstances; past that they are made for each answer
TURN_S = 0.002  # others get their turn this often


@dataclass(frozen=True, slots=True)
class _Ruling:
    """What policy said of one grain: the rules that permit it, or the rule that withholds it."""

    rules: tuple[str, ...]
    withheld_by: str


@dataclass(slots=True)
class _Run:
    """One disclosure while it is being made."""

    permit: Permit
    policy: Policy
    wanted: frozenset[str]
    withheld: Counter[str] = field(default_factory=Counter)
    withheld_from: set[Category] = field(default_factory=set)
    decided: dict[tuple[str, int, int, bool, bool], _Ruling] = field(default_factory=dict)
    work: dict[int, Work] = field(default_factory=dict)
    met: dict[int, tuple[MappedResource, _Ruling, Work]] = field(default_factory=dict)  # of each map: the one before
    gave: set[str] = field(default_factory=set)  # sources of which something may leave

    def hold(self, rule: str, category: Category | None, times: int = 1) -> None:
        self.withheld[rule] += times
        if category is not None:
            self.withheld_from.add(category)


def disclose(
    resources: Sequence[MappedResource],
    reports: Sequence[SourceReport],
    refused: Sequence[RefusedRecord],
    recorded: Recorded[Permit],
    identity: PatientIdentity,
    policy: Policy,
    *,
    page: Page,
) -> Disclosure:
    """What was mapped, decided item by item -> what will leave, in a fixed order, one page of it.

    Raises `PolicyNotActive` when the policy is another than the permit's, `InternalFault` for a person without a row.
    """
    steps = _disclosing(resources, reports, refused, recorded, identity, policy, page)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return _whole(done)


async def disclose_in_turns(
    resources: Sequence[MappedResource],
    reports: Sequence[SourceReport],
    refused: Sequence[RefusedRecord],
    recorded: Recorded[Permit],
    identity: PatientIdentity,
    policy: Policy,
    *,
    page: Page,
) -> Disclosure:
    """`disclose`, with a turn for everybody else every 2 ms: for an answer that may be of any size."""
    steps, since = _disclosing(resources, reports, refused, recorded, identity, policy, page), monotonic()
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return _whole(done)
        if monotonic() - since > TURN_S:
            await asyncio.sleep(0)
            since = monotonic()


def _whole(done: StopIteration) -> Disclosure:
    made = done.value
    assert isinstance(made, Disclosure)
    return made


def _disclosing(
    resources: Sequence[MappedResource],
    reports: Sequence[SourceReport],
    refused: Sequence[RefusedRecord],
    recorded: Recorded[Permit],
    identity: PatientIdentity,
    policy: Policy,
    page: Page,
) -> Generator[None, None, Disclosure]:
    """Pauses wherever somebody else may have a turn."""
    permit = recorded.value
    if policy.hash != permit.policy_hash:
        raise PolicyNotActive(reason="policy-changed-during-the-request")
    person = identity.alias or identity.person
    if person is None:
        raise InternalFault(reason="person-not-admitted")
    run = _Run(permit, policy, permit.facts.request.types_in_scope)
    released, twice = yield from _released(run, resources, _only(permit))
    run.gave.update([item.source for item, _ in released.values()])
    reports = tuple(reports_of(permit, reports, run.gave, {one.source for one in refused}))
    if "Provenance" in run.wanted:
        _add_provenance(run, released, identity, person)
    patient = _patient(run, identity, person)
    chosen, next_key = yield from page_of(patient, released, lambda key: _leaving(*released[key]), page)
    return Disclosure(
        permit=recorded,
        identity=identity,
        resources=chosen,
        reports=reports,
        withheld=dict(run.withheld),
        withheld_known=frozenset(run.withheld_from) & permit.may_know_withheld,
        refused=(*refused, *twice),
        next_key=next_key,
    )


def _only(permit: Permit) -> str | None:
    query = permit.facts.request.query
    return query.resource_id if query.interaction == "read" else None


def _released(
    run: _Run, resources: Sequence[MappedResource], only: str | None
) -> Generator[None, None, tuple[dict[str, tuple[MappedResource, Disclosed]], list[RefusedRecord]]]:
    """Every resource that may leave, by its key "Type/id", before paging; and those whose id was there already."""
    released: dict[str, tuple[MappedResource, Disclosed]] = {}
    twice: list[RefusedRecord] = []
    family, wanted, short = Mark.NOT_FOR_FAMILY in run.permit.strip, run.wanted, _Short(run)
    form: Any
    for number, item in enumerate(resources, start=1):
        if not number % AT_A_TIME:
            yield
        body = item.body
        if body.__class__ is Typed:
            form = body.form
            kind, own_id = body.kind, form.id
        elif body.__class__ is dict:
            form = None
            kind, own_id = body["resourceType"], body["id"]
        else:
            form = None
            kind, own_id = name_of(body)
        if kind not in wanted or kind == "Patient":  # the answer's one Patient is the trace's
            continue
        if only is not None and own_id != only:
            continue
        ready = body if form is None and body.__class__ is not dict and isinstance(body, Ready) else None
        if ready is not None and ready.times:
            if _of_ready(run, item, ready, family) is not None:
                run.gave.add(item.source)
            continue
        key = f"{kind}/{own_id}"
        if key in released:
            twice.append(RefusedRecord(item.source, item.where, "another record has the same id"))
            continue
        way = None if form is None else short.of(item, kind, form)
        out = None if way is None else way.disclosed(body)  # type: ignore[arg-type] # it is Typed
        if out.__class__ is Mark:
            run.hold(f"mark:{out}", item.category)
            continue
        out = out or (_decided(run, item, family=family) if ready is None else _of_ready(run, item, ready, family))
        if out is not None:
            released[key] = (item, out)  # type: ignore[assignment] # marks were dealt with
    return released, twice


class _Short:
    """The short ways of one disclosure. Made by the first resource of its kind, and kept with the decisions they follow from."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        permit = run.permit
        self._kept = run.policy.rulings(of(permit.facts)).kept
        self._key = (permit.strip, permit.sources)
        self._met: dict[tuple[Any, ...], Usual | None] = {}
        self._last: dict[str, tuple[MappedResource, Usual | None]] = {}  # of each type: the one before, and its way

    def of(self, item: MappedResource, kind: str, form: Any) -> Usual | None:
        meta = form.meta
        if meta is not UNSET and (meta.__class__ is not dict or "security" in meta):
            return None  # labels of its own are looked at one by one
        last = self._last.get(kind)
        if last is not None and _alike(item, last[0]):
            return last[1]
        way = self._found(item, kind, item.source, item.paths)
        self._last[kind] = item, way
        return way

    def _found(self, item: MappedResource, kind: str, source: str, paths: Paths) -> Usual | None:
        # all that is named by its place in memory is held by what is kept, or lives for ever
        key = (kind, source, id(paths), id(item.category), id(item.care_class), item.locked, item.not_early_years)
        try:
            return self._met[key]
        except KeyError:
            way = self._met[key] = self._first(item, (*key, *self._key))
            return way

    def _first(self, item: MappedResource, key: tuple[Any, ...]) -> Usual | None:
        if not isinstance(item.category, Category) or not isinstance(item.care_class, CareClass):
            return None
        terms, form = self._run.permit.terms.get(item.source), item.body.form.__class__  # type: ignore[attr-defined]
        held = self._kept.get(key)
        if held is not None and held[0] is terms and held[1] is item.paths and held[2] is form:
            kept: Usual | None = held[3]
            return kept
        ruling = _ruled(self._run, item.source, item.category, item.care_class, item.locked, item.not_early_years)
        way = None if ruling.withheld_by else usual(item, _marked(self._run, item.paths), ruling.rules)
        if len(self._kept) < KEPT:
            self._kept[key] = (terms, item.paths, form, way)
        return way


def _alike(one: MappedResource, other: MappedResource) -> bool:
    """Whether all that a decision depends on is the same, as it is for nearly all that one map makes of one record."""
    return (
        one.paths is other.paths
        and one.source == other.source
        and one.category is other.category
        and one.care_class is other.care_class
        and one.locked is other.locked
        and one.not_early_years is other.not_early_years
    )


def _decided(run: _Run, item: MappedResource, *, family: bool) -> Disclosed | None:
    """One resource -> what may leave of it, or None when it is withheld."""
    category, care_class = item.category, item.care_class
    if not isinstance(category, Category) or not isinstance(care_class, CareClass):
        run.hold(UNKNOWN_LABEL, None)
        return None
    labels = labels_of(item.body)
    met = run.met.get(id(item.paths))
    if met is not None and not labels and _alike(item, met[0]):
        _, ruling, work = met
    else:
        if labels:
            care_class = raised(care_class, labels)
            if family and not_for_family(labels):
                run.hold(f"mark:{Mark.NOT_FOR_FAMILY}", category)
                return None
        ruling = _ruled(run, item.source, category, care_class, item.locked, item.not_early_years)
        work = _marked(run, item.paths)
        if not labels:
            run.met[id(item.paths)] = (item, ruling, work)
    if ruling.withheld_by:
        run.hold(ruling.withheld_by, category)
        return None
    body, held, stripped = taken_out(item.body, work)
    if body is None:
        run.hold(held, category)
        return None
    return Disclosed(body, item.source, category, care_class, ruling.rules, stripped)


def _leaving(item: MappedResource, out: Disclosed) -> Disclosed:
    """What may leave -> as it will: labelled and encoded, once it is on the page."""
    if out.encoded:
        return out
    body = labelled(out.body, out.care_class, labels_of(item.body), ours=bool(out.stripped))
    return _out(body, out.source, out.category, out.care_class, out.rules, out.stripped)


def _of_ready(run: _Run, item: MappedResource, body: Ready, family: bool) -> Disclosed | None:
    """The same of a resource that was made ready in another process. Raises `InternalFault`: it was, for other marks."""
    if body.strip != run.permit.strip:
        raise InternalFault(reason="made-ready-for-another-permit")
    category, times = item.category, body.times or 1
    if not isinstance(category, Category) or not isinstance(body.care_class, CareClass):
        run.hold(UNKNOWN_LABEL, None, times)
        return None
    if family and body.family:
        run.hold(f"mark:{Mark.NOT_FOR_FAMILY}", category, times)
        return None
    ruling = _ruled(run, item.source, category, body.care_class, item.locked, item.not_early_years)
    if ruling.withheld_by or body.held:
        run.hold(ruling.withheld_by or body.held, category, times)
        return None
    return Disclosed(body, item.source, category, body.care_class, ruling.rules, body.stripped, body.encoded)


def _marked(run: _Run, paths: Paths) -> Work:
    """`work_of`, once for the resources of one map, which share their marks; all of them are alive while we work."""
    known = run.work.get(id(paths))
    if known is None:
        known = run.work[id(paths)] = work_of(run.permit.strip, paths)
    return known


def _ruled(run: _Run, source: str, category: Category, care_class: CareClass, locked: bool, not_early_years: bool) -> _Ruling:
    key = (source, id(category), id(care_class), locked, not_early_years)  # members of enums live for ever, and hash slowly
    known = run.decided.get(key)
    if known is None:
        terms = run.permit.terms.get(source)
        if terms is None or source not in run.permit.sources:
            known = _Ruling((), "source-not-covered")
        else:
            grain = Grain(category, care_class, source, locked, not_early_years)
            known = _ruling(run.policy.rulings(of(run.permit.facts)).see(grain, terms))
        run.decided[key] = known
    return known


def _ruling(decision: GrainDecision) -> _Ruling:
    if decision.allowed:
        return _Ruling(tuple(use.id for use in decision.rules), "")
    return _Ruling((), decision.forbidden_by[0].id)


def _out(
    body: Mapping[str, Any],
    source: str,
    category: Category,
    care_class: CareClass,
    rules: tuple[str, ...],
    gone: tuple[Mark, ...],
) -> Disclosed:
    return Disclosed(body, source, category, care_class, rules, gone, encoded(body))


def _patient(run: _Run, identity: PatientIdentity, person: str) -> Disclosed | None:
    """The trace's Patient with our id, reduced to what is known here and stripped like any other resource."""
    if "Patient" not in run.wanted:
        return None
    grain = Grain(Category.DEMOGRAPHICS, CareClass.IDENTITY, "")
    ruling = _ruling(run.policy.rulings(of(run.permit.facts)).see(grain))
    if ruling.withheld_by:
        run.hold(ruling.withheld_by, Category.DEMOGRAPHICS)
        return None
    known = {name: value for name, value in identity.patient.items() if name in PATIENT_KEEPS}
    body: dict[str, Any] = {**known, "resourceType": "Patient", "id": person}
    marks = tuple(mark for mark in PATIENT_PATHS if mark in run.permit.strip)
    left = strip(body, [path for mark in marks for path in PATIENT_PATHS[mark]])
    assert left is not None  # a Patient requires nothing, and its id is never stripped
    return _out(labelled(left, CareClass.IDENTITY), "", Category.DEMOGRAPHICS, CareClass.IDENTITY, ruling.rules, marks)


def _add_provenance(
    run: _Run, released: dict[str, tuple[MappedResource, Disclosed]], identity: PatientIdentity, person: str
) -> None:
    by_source: dict[str, list[tuple[MappedResource, Disclosed]]] = {}
    for _, (item, out) in sorted(released.items()):
        by_source.setdefault(item.source, []).append((item, out))
    for source, given in by_source.items():
        hidden = Mark.LOCATING in run.permit.strip
        made = provenance(run.permit.terms[source], given, identity, person, run.policy, protected=hidden)
        released[f"Provenance/{made.body['id']}"] = (given[0][0], msgspec.structs.replace(made, encoded=encoded(made.body)))
