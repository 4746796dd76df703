"""Policy cases: one JSON file per case, its name a sentence, run against the real engine.

Each case shows one rule: `permit/` that it lets something through (or, for a forbid, that it leaves it alone), `deny/` that
it does not. A rule without both is a fault, which also finds rules that can never apply.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources.abc import Traversable
from typing import Any, Literal

from gateway.model import CareClass, Category, Mark, Purpose
from gateway.policy.circumstances import ACCESSES, AGE_BANDS, UNSAID
from gateway.policy.faults import Broken, exactly, read_json

_GIVEN_TEXT = ("organisation", "role", "purpose", "on")
_GIVEN_MORE: Mapping[str, type] = {
    "case_reference": bool,
    "traced": bool,
    "relationships": list,
    "consents": dict,
    "objection": bool,
    "protected": bool,
    "deceased": bool,
    "age_band": str,
    "access": str,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case as written."""

    name: str  # file name without .json: a sentence
    permit: bool
    shows: str  # id of the rule it is about
    organisation: str
    role: str
    purpose: str
    on: date
    given: Mapping[str, Any]
    action: Literal["see", "keep", "know", "send"]
    category: Category | None
    care_class: CareClass
    mark: Mark | None
    agreement: str | None  # of the source asked; None: the trace itself, or the log
    terms: frozenset[str] | None  # purposes the source's own terms allow; None: all
    locked: bool
    not_early_years: bool
    send_to: str  # action send: code of the organisation it goes to
    decided_by: frozenset[str]  # rules the answer must name, exactly


def read_case(file: Traversable, permit: bool) -> Case:
    """One file -> its `Case`. Raises `Broken`."""
    tree = exactly(read_json(file), {"shows": str, "given": dict, "ask": dict, "decided_by": list}, {}, "the case")
    given = exactly(tree["given"], dict.fromkeys(_GIVEN_TEXT, str), _GIVEN_MORE, "given")
    ask = exactly(
        tree["ask"],
        {},
        {
            "category": str,
            "care_class": str,
            "mark": str,
            "agreement": str,
            "source_terms": list,
            "locked": bool,
            "not_early_years": bool,
            "withheld": bool,
            "send_to": str,
        },
        "ask",
    )
    if ("category" in ask) == ("mark" in ask):
        raise Broken("ask: name a category or a mark, not both")
    try:
        on = date.fromisoformat(given["on"])
        category = Category(ask["category"]) if "category" in ask else None
        care_class = CareClass(ask.get("care_class", CareClass.IDENTITY))
        mark = Mark(ask["mark"]) if "mark" in ask else None
        Purpose(given["purpose"])
    except ValueError as error:
        raise Broken("a date, category, care class, mark or purpose that does not exist") from error
    if given.get("age_band", "unknown") not in AGE_BANDS:
        raise Broken("given: age_band must be one of: " + ", ".join(AGE_BANDS))
    if given.get("access", UNSAID) not in ACCESSES:
        raise Broken("given: access must be one of: " + ", ".join(ACCESSES))
    return Case(
        name=file.name.removesuffix(".json"),
        permit=permit,
        shows=tree["shows"],
        organisation=given["organisation"],
        role=given["role"],
        purpose=given["purpose"],
        on=on,
        given=given,
        action="keep" if mark else "know" if ask.get("withheld") else "send" if "send_to" in ask else "see",
        category=category,
        care_class=care_class,
        mark=mark,
        agreement=ask.get("agreement"),
        terms=frozenset(ask["source_terms"]) if "source_terms" in ask else None,
        locked=ask.get("locked", False),
        not_early_years=ask.get("not_early_years", False),
        send_to=ask.get("send_to", ""),
        decided_by=frozenset(tree["decided_by"]),
    )


def case_files(folder: Traversable) -> Iterator[tuple[str, Traversable, bool]]:
    """Every case file with its path in the folder and whether it must permit."""
    for kind in ("permit", "deny"):
        place = folder.joinpath("cases", kind)
        for file in sorted(place.iterdir(), key=lambda item: item.name) if place.is_dir() else ():
            if file.name.endswith(".json"):
                yield f"cases/{kind}/{file.name}", file, kind == "permit"
