"""The functions of outward maps: the same names as of inward ones, turned round. `date('%d/%m/%Y')` writes what it read.

Absent is never passed in; None means absent; `Unusable` refuses the record. Pure: no files, no network, no clock.
"""

import datetime as clock
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway import nhs_number
from gateway.mapping import values
from gateway.mapping.codes import CodeMap
from gateway.mapping.context import Unusable, Writing, as_object
from gateway.mapping.functions import UCUM, Function, describe
from gateway.mapping.stu3 import description_in_stu3, system_in_stu3
from gateway.mapping.values import (
    Anything,
    Boolean,
    Code,
    CodeableConcept,
    Coding,
    Date,
    DateTime,
    Decimal,
    Identifier,
    Integer,
    Period,
    Primitive,
    Quantity,
    Reference,
    Text,
)
from gateway.nhs_number import NhsNumber

NO_ROW: Final = "a code that the code map cannot turn back"


def text(value: Primitive) -> Text | None:
    """Any simple value as text, trimmed."""
    if isinstance(value, bool):
        return Text("true" if value else "false")
    return values.text(value)


def date(value: Primitive, form: str = "", zone: str = "") -> Date | None:
    """A whole day -> ISO text, or a text of another form. Of a moment: its day as said, or in `zone`.

    >>> date(Primitive("2024-03-14"), "%d/%m/%Y")
    '14/03/2024'
    >>> date(Primitive("2024-07-01T23:30:00Z"), "", "Europe/London")
    '2024-07-02'
    """
    given = values.dateTime(value)
    if given is None:
        return None
    if len(given) > 10 and zone:
        given = DateTime(datetime.fromisoformat(given).astimezone(ZoneInfo(zone)).isoformat())
    try:
        day = clock.date.fromisoformat(given[:10])
    except ValueError:
        raise Unusable("a date without its day, where a whole one belongs") from None
    return Date(day.strftime(form) if form else day.isoformat())


def dateTime(value: Primitive, form: str = "", zone: str = "") -> DateTime | None:  # noqa: N802 - FHIR's name
    """A moment -> ISO text; with `zone` the time there, without its offset; with `form` a text of that form.

    Raises `Unusable` for the hour that comes twice when clocks go back: without its offset nobody could tell which.

    >>> dateTime(Primitive("2024-07-01T09:30:00Z"), "", "Europe/London")
    '2024-07-01T10:30:00'
    """
    given = values.dateTime(value)
    if given is None or not (form or zone):
        return given
    if len(given) <= 10:
        if form:
            raise Unusable("a day without its time, where a time belongs")
        return given
    moment = datetime.fromisoformat(given)
    if zone:
        there = moment.astimezone(ZoneInfo(zone))
        if there.replace(fold=0).utcoffset() != there.replace(fold=1).utcoffset():
            raise Unusable("an hour that comes twice, where no zone is written")
        moment = there.replace(tzinfo=None)
    return DateTime(moment.strftime(form) if form else moment.isoformat())


def boolean(value: Boolean, yes: str = "", no: str = "") -> Anything:
    """true and false as they are, or as the two texts named.

    >>> boolean(Boolean(True), "Y", "N")
    'Y'
    """
    if not yes:
        return Anything(value)
    return Anything(yes if value else no)


def translate(run: Writing, value: Primitive, name: str) -> Code | None:
    """An R4 code -> the source's code, by the code map read backwards."""
    found = values.text(value)
    if found is None:
        return None
    back = run.codes[name].back.by_code.get(found)
    if back is None:
        raise Unusable(NO_ROW)
    return Code(back)


def codeable(run: Writing, value: CodeableConcept, name: str) -> Code | None:
    """A CodeableConcept -> the source's own code in it, else the one its target coding was made from."""
    whole = as_object(value)
    codings = whole.get("coding") or []
    if not codings:
        said = whole.get("text")
        if said and run.codes[name].keep_text:
            return Code(str(said))
        raise Unusable(NO_ROW)
    return Code(_back(run.codes[name], [as_object(one) for one in codings]))


def coding(run: Writing, value: Coding, name: str) -> Code | None:
    """A Coding -> the source's code; or its code in the system whose URI is given, absent in another."""
    whole = as_object(value)
    if ":" in name:
        return values.code(Primitive(whole.get("code", ""))) if whole.get("system") == name else None
    return Code(_back(run.codes[name], [whole]))


def codeableSTU3(value: CodeableConcept) -> CodeableConcept | None:  # noqa: N802 - the name maps use
    """An R4 CodeableConcept -> STU3: every coding in order, systems in their STU3 spelling."""
    whole = dict(_told(as_object(value)))
    if "coding" in whole:
        whole["coding"] = [coded for one in whole["coding"] if (coded := codingSTU3(one))]
    return CodeableConcept(whole) or None


def codingSTU3(value: Coding) -> Coding | None:  # noqa: N802 - the name maps use
    """An R4 Coding -> STU3: its system in the STU3 spelling, its SNOMED description as CareConnect has it."""
    whole = dict(_told(as_object(value)))
    if isinstance(whole.get("system"), str):
        whole["system"] = system_in_stu3(whole["system"])
    if "extension" in whole:
        whole["extension"] = [description_in_stu3(one) for one in whole["extension"]]
    return Coding(whole) or None


def copy(value: Anything, type_: str) -> Anything:
    """An element of the very same type, without our own ids and addresses. `type_` is given by the compiler."""
    return Anything(_told(value))


def quantitySTU3(value: Quantity) -> Quantity | None:  # noqa: N802 - `quantity` without arguments
    """A Quantity, which STU3 has with the same parts."""
    return Quantity(_told(as_object(value))) or None


def period(value: Period) -> Period | None:
    """A Period, which STU3 has with the same parts."""
    return Period(_told(as_object(value))) or None


def reference(value: Reference) -> Reference | None:
    """A Reference -> its name and business identifier. Never our address of it, never a person's NHS number."""
    whole = as_object(value)
    made: dict[str, Any] = {name: whole[name] for name in ("identifier", "display") if name in whole}
    if "identifier" in made:
        made["identifier"] = _told(as_object(made["identifier"]))
        if made["identifier"].get("system") == nhs_number.SYSTEM:
            del made["identifier"]
    return Reference(made) or None


def identifier(value: Identifier, system: str) -> Text | None:
    """An Identifier of this system -> its value; absent for another."""
    whole = as_object(value)
    return values.text(Primitive(whole.get("value", ""))) if whole.get("system") == system else None


def nhsNumber(value: Primitive) -> Text:  # noqa: N802 - the name maps use
    """An NHS number -> its ten digits, checked."""
    if isinstance(value, NhsNumber):
        return Text(value.value)
    try:
        return Text(nhs_number.parse(str(values.text(value) or ""), allow_test=True).value)
    except nhs_number.NotAnNhsNumber:
        raise Unusable("not an NHS number") from None


def quantity(value: Quantity, unit: str, ucum: str = "") -> Decimal | None:
    """A Quantity in this UCUM unit -> its number; in another it is refused, never converted."""
    whole = as_object(value)
    if "value" not in whole:
        return None
    if whole.get("code") != (ucum or unit) or whole.get("system") != UCUM or "comparator" in whole:
        raise Unusable("a quantity in another unit than the recipient takes")
    return values.decimal(whole["value"])


def integer(value: Primitive) -> Integer | None:
    """A whole number, or its text."""
    return values.integer(value)


def _back(codes: CodeMap, codings: list[dict[str, Any]]) -> str:
    """The source's own code among codings, else the one row that leads to one of them."""
    for one in codings:
        if one.get("system") == codes.source_system and one.get("code") in codes.rows:
            return str(one["code"])
    back = codes.back.by_coding
    for one in codings:
        found = back.get((str(one.get("system", "")), str(one.get("code", ""))))
        if found is not None:
            return found
    raise Unusable(NO_ROW)


def _told(value: Any) -> Any:
    """A copy without what is ours: element ids, and addresses of our resources."""
    if isinstance(value, Mapping):
        return {name: _told(part) for name, part in value.items() if name not in ("id", "reference")}
    return [_told(part) for part in value] if isinstance(value, list) else value


SHARED: Final[Mapping[str, Function]] = {
    call.__name__: describe(call)
    for call in (
        text,
        values.code,
        date,
        dateTime,
        values.instant,
        values.decimal,
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
    )
}
