"""The functions that go after `|`. Their annotations are the static types the checker works with.

Absent is never passed in; None means absent; `Unusable` refuses the resource. Pure: no files, no network, no clock.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway import nhs_number
from gateway.mapping.codes import CodeMap, CodeRow
from gateway.mapping.context import Run, Targets, Unusable, as_object
from gateway.mapping.described import Function, describe
from gateway.mapping.rewrite import our_reference, rewrite
from gateway.mapping.stu3 import description_extension, is_description, system_in_r4
from gateway.mapping.values import (
    Address,
    Annotation,
    Anything,
    Boolean,
    Code,
    CodeableConcept,
    Coding,
    ContactPoint,
    Date,
    DateTime,
    Decimal,
    Dosage,
    HumanName,
    Identifier,
    Instant,
    Integer,
    Period,
    Primitive,
    Quantity,
    Reference,
    Text,
    Time,
    Uri,
    boolean,
    code,
    date,
    dateTime,
    decimal,
    instant,
    integer,
    text,
)

__all__ = [
    "SHARED",
    "Address",
    "Annotation",
    "Anything",
    "Boolean",
    "Code",
    "CodeableConcept",
    "Coding",
    "ContactPoint",
    "Date",
    "DateTime",
    "Decimal",
    "Dosage",
    "Function",
    "HumanName",
    "Identifier",
    "Instant",
    "Integer",
    "Period",
    "Primitive",
    "Quantity",
    "Reference",
    "Targets",
    "Text",
    "Time",
    "Unusable",
    "Uri",
    "block_key",
    "boolean",
    "code",
    "codeable",
    "codeableSTU3",
    "coding",
    "codingSTU3",
    "copy",
    "date",
    "dateTime",
    "decimal",
    "describe",
    "identifier",
    "instant",
    "integer",
    "nhsNumber",
    "period",
    "quantity",
    "quantitySTU3",
    "ref",
    "reference",
    "text",
    "translate",
]

_CODING_PARTS: Final = {"system": str, "version": str, "code": str, "display": str, "userSelected": bool}
_USUAL_CONCEPT: Final = frozenset(("coding", "text"))
UCUM: Final = "http://unitsofmeasure.org"


def translate(run: Run, value: Primitive, name: str) -> Code | None:
    """A source code -> the target code of a code map."""
    found, row, _ = _row(run, value, name)
    if found is None:
        return None
    if row is None or not row.code:
        raise Unusable("a code that the code map does not know")
    return Code(row.code)


def codeable(run: Run, value: Primitive, name: str) -> CodeableConcept | None:
    """A source code -> the target coding, then the source's own."""
    codes = run.codes[name]
    row = codes.rows.get(value) if isinstance(value, str) else None
    if row is None:  # blank, in need of trimming, or unknown
        found, row, _ = _row(run, value, name)
        if found is None:
            return None
        if row is None:
            return CodeableConcept({"text": found})
    own = {"system": codes.source_system, "code": row.source}
    if row.source_display:
        own["display"] = row.source_display
    if not row.code:
        return CodeableConcept({"coding": [own]})
    return CodeableConcept({"coding": [_target(row), own]})


def coding(run: Run, value: Primitive, name: str) -> Coding | None:
    """A source code -> one Coding: through a code map, or in the system whose URI is given."""
    if ":" in name:
        own = code(value)
        return None if own is None else Coding({"system": name, "code": own})
    found, row, _ = _row(run, value, name)
    if found is None:
        return None
    if row is None or not row.code:
        raise Unusable("a code that the code map does not know")
    return Coding(dict(_target(row)))


def codeableSTU3(run: Run, value: CodeableConcept) -> CodeableConcept | None:  # noqa: N802 - the name maps use
    """An STU3 CodeableConcept -> R4: every coding in order, systems in their R4 spelling."""
    whole = as_object(value)
    made: dict[str, Any] = {}
    if "coding" in whole:
        codings = whole["coding"]
        kept = []
        for one in codings if isinstance(codings, list) else [codings]:
            new = codingSTU3(run, one)
            if new is not None:
                kept.append(new)
        if kept:
            made["coding"] = kept
        if len(whole) == 1:
            return CodeableConcept(made) if made else None
    if whole.keys() <= _USUAL_CONCEPT and (shown := whole.get("text", "")).__class__ is str:
        if shown:
            made["text"] = shown
        return CodeableConcept(made) if made else None
    rest = {name: part for name, part in whole.items() if name != "coding"}
    if rest:
        made |= rewrite("CodeableConcept", rest, run) or {}
    return CodeableConcept(made) if made else None


def codingSTU3(run: Run, value: Coding) -> Coding | None:  # noqa: N802 - the name maps use
    """An STU3 Coding -> R4: its system in the R4 spelling, its SNOMED description as UK Core has it."""
    if value.__class__ is dict:
        usual = _usual_coding(value)
        if usual is not None:
            return Coding(usual) if usual else None
    whole = dict(as_object(value))
    if isinstance(whole.get("system"), str):
        whole["system"] = system_in_r4(whole["system"])
    if isinstance(whole.get("code"), str):
        whole["code"] = whole["code"].strip()  # providers send a blank after it
    if "extension" in whole:
        listed = whole["extension"] if isinstance(whole["extension"], list) else [whole["extension"]]
        whole["extension"] = [_description(as_object(one)) for one in listed]
    return Coding(rewrite("Coding", whole, run) or {}) or None


def copy(run: Run, value: Anything, type_: str) -> Anything:
    """An element of the very same type, as it is, its references rewritten. `type_` is given by the compiler."""
    return Anything(rewrite(type_, value, run))


def identifier(value: Primitive, system: str) -> Identifier | None:
    """A text -> Identifier in this system."""
    found = text(value)
    return None if found is None else Identifier({"system": system, "value": found})


def nhsNumber(value: Primitive) -> Identifier | None:  # noqa: N802 - the name maps use
    """An NHS number -> Identifier, its check digit checked."""
    try:
        number = value if isinstance(value, nhs_number.NhsNumber) else nhs_number.parse(str(text(value) or ""), allow_test=True)
    except nhs_number.NotAnNhsNumber:
        raise Unusable("not an NHS number") from None
    return Identifier({"system": nhs_number.SYSTEM, "value": number.value})


def quantity(value: Primitive, unit: str, ucum: str = "") -> Quantity | None:
    """A number -> Quantity in a UCUM unit."""
    found = decimal(value)
    if found is None:
        return None
    return Quantity({"value": found, "unit": unit, "system": UCUM, "code": ucum or unit})


def quantitySTU3(run: Run, value: Quantity) -> Quantity | None:  # noqa: N802 - `quantity` without arguments
    """An STU3 Quantity -> R4, which has the same parts."""
    return Quantity(rewrite("Quantity", value, run) or {}) or None


def period(run: Run, value: Period) -> Period | None:
    """An STU3 Period -> R4, its two ends checked."""
    made = rewrite("Period", value, run) or {}
    for end in ("start", "end"):
        if end in made:
            checked = dateTime(made[end])
            if checked is None:
                del made[end]
            else:
                made[end] = checked
    return Period(made) or None


def reference(run: Run, value: Reference, targets: Targets) -> Reference | None:
    """A source's Reference -> ours where a map makes that type; else its display only."""
    whole = value if value.__class__ is dict else as_object(value)
    made: dict[str, Any] = {}
    named = whole.get("reference")
    if isinstance(named, str):
        type_, _, rest = named.strip().partition("/")
        type_ = STU3_TYPES.get(type_, type_)
        if type_ in targets:
            if not rest or "/" in rest or "#" in rest:
                ours = our_reference(f"{type_}/{rest}", run)
            else:
                ours = run.person_reference(rest) if type_ == "Patient" else f"{type_}/{run.ctx.mint(type_, rest)}"
            if ours:
                made["reference"] = ours
    shown = whole.get("display")
    if isinstance(shown, str) and (shown := shown.strip()):
        made["display"] = shown
    return Reference(made) if made else None


def ref(run: Run, value: Primitive, block: str) -> Reference | None:
    """A key -> Reference to the resource the named block makes from that key."""
    found = text(value)
    if found is None:
        return None
    type_, _, name = block.partition("#")
    return Reference({"reference": f"{type_}/{run.ctx.mint(type_, block_key(name, (found,)))}"})


def block_key(name: str, parts: tuple[str, ...]) -> str:
    """What an id is made from: the key's parts, behind the block's name where it has one."""
    joined = parts[0]
    if len(parts) > 1:
        joined = "|".join(parts)
        if "\\" in joined or joined.count("|") >= len(parts):
            joined = "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)
    return f"{name}/{joined}" if name else joined


STU3_TYPES: Final = {"ReferralRequest": "ServiceRequest", "ProcedureRequest": "ServiceRequest"}


SHARED: Final[Mapping[str, Function]] = {
    call.__name__: describe(call)
    for call in (
        text,
        code,
        date,
        dateTime,
        instant,
        decimal,
        integer,
        boolean,
        translate,
        codeable,
        coding,
        codeableSTU3,
        codingSTU3,
        copy,
        identifier,
        nhsNumber,
        quantity,
        quantitySTU3,
        period,
        reference,
        ref,
    )
}


def _usual_coding(value: dict[str, Any]) -> dict[str, Any] | None:
    """The usual parts of a coding, each of its kind, with or without the SNOMED description that GP systems send beside them.

    In one pass, for that is nearly every coding there is. Empty: nothing is said; None: it is of another form.
    """
    made: dict[str, Any] = {}
    described: dict[str, Any] | None = None
    for name, part in value.items():
        if part.__class__ is _CODING_PARTS.get(name):
            if part != "":
                made[name] = system_in_r4(part) if name == "system" else part
        elif name != "extension" or (described := _described(part)) is None:
            return None
    if "code" in made:
        made["code"] = made["code"].strip()  # providers send a blank after it
    if described is not None:
        if not made or made.get("code") == "":
            return None
        made["extension"] = [described]
    return made


def _described(listed: Any) -> dict[str, Any] | None:
    """The extensions of a coding, where they are the SNOMED description alone -> UK Core's; else None."""
    if listed.__class__ is not list or len(listed) != 1 or listed[0].__class__ is not dict:
        return None
    url = listed[0].get("url")
    described = description_extension(listed[0]) if url.__class__ is str and is_description(url) else None
    return described if described is not None and described["valueString"].__class__ is str else None


def _row(run: Run, value: Primitive, name: str) -> tuple[Text | None, CodeRow | None, CodeMap]:
    codes = run.codes[name]
    if isinstance(value, str) and (row := codes.rows.get(value)) is not None:
        return Text(row.source), row, codes
    found = text(value)
    if found is None:
        return None, None, codes
    row = codes.rows.get(found)
    if row is None:
        run.unknown_codes[name] = run.unknown_codes.get(name, 0) + 1
    if row is None and not codes.keep_text:
        raise Unusable("a code that the code map does not know")
    return found, row, codes


def _target(row: CodeRow) -> dict[str, str]:
    if row.display:
        return {"system": row.system, "code": row.code, "display": row.display}
    return {"system": row.system, "code": row.code}


def _description(extension: dict[str, Any]) -> dict[str, Any]:
    if is_description(str(extension.get("url", ""))):
        return description_extension(extension) or extension
    return extension
