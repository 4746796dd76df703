"""The data-flow matrix: which care class, with which marks, may reach whom at most, from mappings and policy, without data.

For each kind of recipient the person is the one for whom the rules are kindest: every relationship and consent, nothing
against, every agreement that names the recipient in force. So a cell that is empty is a promise; one that is filled is not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain
from typing import Final

from gateway.adapter import Manifest
from gateway.kit.lines import flow_text, lines, path_text
from gateway.kit.outward import outward_lines
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.run import R4_SCHEMA, Maps
from gateway.model import Access, CareClass, Category, Grain, Mark, Organisation, SourceTerms
from gateway.policy import REGISTERED_PRACTICE, Agreement, Circumstances, Policy, Rulings

KINDS: Final = {
    "gp": "gp-practice",
    "child-health": "community-health",
    "cp-is": "local-authority",
}  # a source's kind, where its custodian's is called otherwise
TITLE: Final = "# Data-flow matrix\n"
ABOUT: Final = """\
Which care class, with which marks, may reach whom **at most**, and for which purposes: worked out from `mappings/`,
`consent_policy/` and the manifests, without any data, for the person for whom the rules are kindest: every relationship and
consent, no objection, not protected, every agreement that names the recipient in force. An empty cell is a promise; a filled
one still needs the person's own facts. A mark that is not kept is taken out, and the rest of the resource goes on. What no map
makes (the traced Patient, the access log) is not here.

Written by `gateway map flow --write docs`. `gateway check` fails while this page is not what mappings and policy say, and
names every new recipient. [The same as a picture](flow-matrix.svg).
"""


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """What lines of a map share: the source, what the resource counts as, and what must be kept for the line to stay."""

    source: str
    category: Category
    care_class: CareClass
    marks: tuple[Mark, ...]

    def __str__(self) -> str:
        return f"{self.source}: {self.category}, {self.care_class}, {' and '.join(self.marks) or 'no mark'}"


@dataclass(frozen=True, slots=True, order=True)
class Recipient:
    """A role at a kind of organisation."""

    role: str
    organisation: str

    def __str__(self) -> str:
        return f"{self.role} at {self.organisation}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """One line of a map, or one element of a source that speaks R4."""

    row: Row
    map: str
    target: str
    source: str


@dataclass(frozen=True, slots=True, order=True)
class Told:
    """One line of an outward map: what another system is told of a person, when somebody sends it."""

    recipient: str  # the kind of system: an adapter's name
    map: str
    target: str
    source: str
    care_class: str
    marks: tuple[Mark, ...]

    def __str__(self) -> str:
        return f"{self.recipient}: {self.target}, {self.care_class}, {' and '.join(self.marks) or 'no mark'}"


_Caller = tuple[Recipient, str, Mapping[Access, tuple[Rulings, ...]]]  # who, for which purpose, what is decided at each visit


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every row, who may receive it, and for which purposes; and what is written to other systems."""

    recipients: tuple[Recipient, ...]
    cells: Mapping[Row, Mapping[Recipient, tuple[str, ...]]]
    stretches: tuple[Stretch, ...]
    kept: Mapping[tuple[str, CareClass, tuple[Mark, ...]], int]  # fields that no line reads: how many
    told: tuple[Told, ...]
    withheld: tuple[tuple[str, str, str], ...]  # of outward maps: map, element, why

    def reached(self) -> list[Recipient]:
        """Those whom anything may reach."""
        return [one for one in self.recipients if any(one in cells for cells in self.cells.values())]


def matrix(maps: Maps, policy: Policy, manifests: Iterable[Manifest]) -> Matrix:
    """Mappings, policy and manifests -> the matrix."""
    found = {manifest.name: manifest for manifest in manifests}
    stretches = tuple(stretch for name in sorted(found) for stretch in _stretches(maps, found[name]))
    callers = list(_callers(policy))
    recipients = tuple(sorted({recipient for recipient, _, _ in callers}))
    rows = sorted({stretch.row for stretch in stretches})
    cells = {row: _reached(policy, found[row.source], row, callers) for row in rows}
    plans = [plan for name in sorted(found) for plan in maps.outward_plans(name)]
    told = tuple(one for plan in plans for one in _told(plan))
    withheld = tuple((plan.source.map, path_text(path), reason) for plan in plans for path, reason in plan.source.withhold)
    return Matrix(recipients, cells, stretches, _kept(maps, found), told, withheld)


def page(made: Matrix) -> str:
    """The matrix as docs/flow-matrix.md."""
    rows = {row: number for number, row in enumerate(made.cells, start=1)}
    reached = made.reached()
    out = [
        TITLE,
        ABOUT,
        "## Who may receive what\n",
        "| no. | source | category | care class | marks | " + " | ".join(map(str, reached)) + " |",
        "|---|---|---|---|---|" + "---|" * len(reached),
    ]
    for row, number in rows.items():
        cells = [" ".join(made.cells[row].get(one, ())) for one in reached]
        shown = " and ".join(row.marks) or "none"
        out.append(f"| {number} | {row.source} | {row.category} | {row.care_class} | {shown} | " + " | ".join(cells) + " |")
    others = ", ".join(str(one) for one in made.recipients if one not in reached)
    out.append(f"\nNothing of these sources may reach: {others or 'nobody else is known'}.")
    out.append("\n## Line by line\n\nThe number is the row above whose recipients may receive it.\n")
    out += ["| map | target | from | row |", "|---|---|---|---|"]
    for one in made.stretches:
        out.append(f"| {one.map} | {_code(one.target)} | {_code(one.source)} | {rows[one.row]} |")
    out.append("\n## What reaches nobody\n\nFields of each source that no line passes on.\n")
    out += ["| source | care class | marks | fields |", "|---|---|---|---|"]
    for (source, care_class, marks), count in sorted(made.kept.items()):
        out.append(f"| {source} | {care_class} | {' and '.join(marks) or 'none'} | {count} |")
    out.append("\n## What is written to other systems\n")
    out.append("When somebody sends it, decided at that moment for that recipient; a map writes nothing by itself.\n")
    out += ["| system | map | field | from | care class | marks |", "|---|---|---|---|---|---|"]
    for told in made.told:
        what = (_code(told.target), _code(told.source), told.care_class, " and ".join(told.marks) or "none")
        out.append(f"| {told.recipient} | {told.map} | {' | '.join(what)} |")
    out += ["\nNever written, whoever sends:\n", "| map | element | why |", "|---|---|---|"]
    out += [f"| {name} | {_code(path)} | {why} |" for name, path, why in made.withheld]
    return "\n".join(out) + "\n"


def told_rows(made: Matrix) -> Iterator[dict[str, object]]:
    """The matrix for machines: whom each row may reach for which purposes, then what is written to other systems."""
    for row, cells in made.cells.items():
        reaches = {str(one): list(purposes) for one, purposes in cells.items() if purposes}
        said = {"source": row.source, "category": row.category, "class": row.care_class, "marks": list(row.marks)}
        yield {**said, "reaches": reaches}
    for told in made.told:
        said = {"system": told.recipient, "map": told.map, "field": told.target, "from": told.source}
        yield {**said, "class": told.care_class, "marks": list(told.marks)}


def news(made: Matrix, committed: str) -> list[str]:
    """What the matrix lets reach whom and the committed page does not say."""
    told = set(_committed(committed))
    now = [(str(row), str(one), purpose) for row, cells in made.cells.items() for one in cells for purpose in cells[one]]
    found = [f"{row} would newly reach {one} for {purpose}" for row, one, purpose in now if (row, one, purpose) not in told]
    written = set(_written(committed))
    return found + [f"{one} would newly be written" for one in map(str, made.told) if one not in written]


def _committed(text: str) -> Iterator[tuple[str, str, str]]:
    """The first table of a committed page: row, recipient, purpose."""
    names: list[str] = []
    for line in text.partition("## Line by line")[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells[:1] == ["no."]:
            names = cells[5:]
        elif len(cells) > 5 and cells[0].isdigit():
            marks = "no mark" if cells[4] == "none" else cells[4]
            row = f"{cells[1]}: {cells[2]}, {cells[3]}, {marks}"
            for name, cell in zip(names, cells[5:], strict=False):
                yield from ((row, name, purpose) for purpose in cell.split())


def _written(text: str) -> Iterator[str]:
    """The table of what is written, of a committed page."""
    for line in text.partition("## What is written to other systems")[2].splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "\0").split("|")[1:-1]]
        if len(cells) == 6 and cells[0] not in ("system", "---"):
            marks = "no mark" if cells[5] == "none" else cells[5]
            yield f"{cells[0]}: {cells[2].strip('` ')}, {cells[4]}, {marks}"


def _told(plan: OutwardPlan) -> Iterator[Told]:
    for line in outward_lines(plan):
        source = "".join(f"{path_text(group.each)}: " for group in line.groups) + flow_text(line.line.flow)
        care_class = line.care_class or "none"
        yield Told(plan.adapter, plan.source.map, line.target, source, care_class, tuple(sorted(line.marks)))


def _stretches(maps: Maps, manifest: Manifest) -> Iterator[Stretch]:
    for plan in maps.plans(manifest.name):
        for line in lines(plan):
            whole = {mark for mark, paths in line.block.paths.items() if ("*",) in paths}
            row = Row(manifest.name, line.block.category, line.block.care_class, tuple(sorted(line.marks | whole)))
            yield Stretch(row, plan.source.map, line.place, flow_text(line.line.flow))
    if R4_SCHEMA in manifest.reads:
        for type_ in sorted(manifest.gives):
            labels = maps.lane.types[type_]
            yield Stretch(Row(manifest.name, labels.category, labels.care_class, ()), R4_SCHEMA, type_, "what carries no mark")
            for mark, paths in sorted(labels.paths.items()):
                row = Row(manifest.name, labels.category, labels.care_class, (mark,))
                yield from (Stretch(row, R4_SCHEMA, ".".join((type_, *path)), "the same element") for path in paths)


def _callers(policy: Policy) -> Iterator[_Caller]:
    """Every role at every organisation for every purpose, with the kindest people and whatever kind of visit it says it is."""
    law = {name for name, row in policy.law.items() if row.starts is not None}
    organisations: dict[str, Organisation] = {party.organisation.code: party.organisation for party in policy.parties.values()}
    for organisation in sorted(organisations.values(), key=lambda one: one.code):
        agreements = frozenset(_names(policy, organisation.code, law))
        for role in sorted(set(policy.roles.values())):
            for purpose in sorted(policy.rules.enums["Purpose"]):
                caller = Circumstances(
                    organisation=organisation.code,
                    organisation_kind=organisation.kind.value,
                    role="",
                    role_group=role,
                    purpose=purpose,
                    agreements=agreements,
                    has_case_reference=True,
                    usable=True,
                    relationships=frozenset(),
                    consents=frozenset(),
                    objection=False,
                    protected=False,
                    deceased=False,
                    age_band="unknown",
                )
                visits = {access: policy.kindest(caller._replace(access=access.value)) for access in Access}
                yield Recipient(role, organisation.kind.value), purpose, visits


def _visits(policy: Policy, category: Category) -> Iterable[Access]:
    """The kinds of visit that tell callers apart: one where no rule of the category reads it, since every answer is the same."""
    told = any("access" in rule.reads and rule.about in ("", category) for rule in policy.rules.by_id.values())
    return Access if told else (Access.UNSAID,)


def _names(policy: Policy, organisation: str, law: set[str]) -> Iterator[str]:
    """What is in force on the kindest day: every agreement this organisation has signed or will have."""
    yield from (f"law:{name}" for name in law)
    for agreement in policy.agreements.values():
        flows = [flow for flow in agreement.flows if organisation in flow.to and flow.basis <= law]
        if flows and agreement.signed(organisation, date.max):
            yield agreement.id
            yield from (f"{agreement.id}#{flow.id}" for flow in flows)


def _reached(policy: Policy, manifest: Manifest, row: Row, callers: list[_Caller]) -> dict[Recipient, tuple[str, ...]]:
    grain = Grain(row.category, row.care_class, manifest.name)
    every = [_terms(manifest, agreement, row) for agreement in policy.agreements.values() if _own(policy, manifest, agreement)]
    found: dict[Recipient, set[str]] = {}
    visits = _visits(policy, row.category)
    for recipient, purpose, by_visit in callers:
        for rulings in chain.from_iterable(by_visit[access] for access in visits):
            seen = any(rulings.see(grain, terms).allowed for terms in every)
            if seen and all(rulings.keep(mark).allowed for mark in row.marks):
                found.setdefault(recipient, set()).add(purpose)
    return {recipient: tuple(sorted(purposes)) for recipient, purposes in sorted(found.items())}


def _own(policy: Policy, manifest: Manifest, agreement: Agreement) -> bool:
    """Whether a source of this kind could be under the agreement: its giver is of that kind."""
    if agreement.gives == REGISTERED_PRACTICE:
        return manifest.kind == "gp"
    party = policy.parties.get(agreement.gives)
    kind = KINDS.get(manifest.kind, manifest.kind)
    known = {one.organisation.kind.value for one in policy.parties.values()}
    return party is not None and (party.organisation.kind.value == kind or kind not in known)


def _terms(manifest: Manifest, agreement: Agreement, row: Row) -> SourceTerms:
    return SourceTerms(
        source=manifest.name,
        kind=manifest.kind,
        agreement=agreement.id,
        gives=frozenset({(row.category, row.care_class)}),
        purposes=manifest.purposes,
        never_for=manifest.never_for,
        custodian=agreement.gives,
    )


def _kept(maps: Maps, manifests: Mapping[str, Manifest]) -> dict[tuple[str, CareClass, tuple[Mark, ...]], int]:
    """Fields of each source that no line reads."""
    found: dict[tuple[str, CareClass, tuple[Mark, ...]], int] = {}
    for (name, schema), fields in sorted(maps.schemas.items()):
        read = {field for plan in maps.plans(name) if plan.schema.name == schema for line in lines(plan) for field in line.reads}
        written = maps.outward.get((name, schema))
        if written is not None:  # what only we write there is nothing that the source holds
            read |= {".".join(line.names) for line in outward_lines(written.plan)}
        for field in fields.fields.values() if name in manifests else ():
            above = field.key.split(".")
            whole = any(".".join(above[:end]) in read for end in range(1, len(above) + 1))
            if field.care_class is not None and not whole and field.key not in read:
                key = (name, field.care_class, tuple(sorted(field.marks)))
                found[key] = found.get(key, 0) + 1
    return found


def _code(text: str) -> str:
    shown = text.replace("|", "\\|")
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"
