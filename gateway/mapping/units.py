"""In which unit each kind of measurement is given: a resource just made -> the same in those units, and what was sent.

Converted is only what is in no doubt: a unit of the reviewed table (unit_tables.py), an exact product, within the range in
which it can be true. Anything else stays as it was sent; what cannot be true, or has no unit that can be read, is flagged. A
unit that is only a known word gets its UCUM code beside it wherever it stands.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Clamped, Context, Decimal, Inexact, InvalidOperation, Overflow, Rounded, Subnormal
from typing import Any, Final

from gateway.mapping.functions import UCUM
from gateway.model import Original

GIVEN: Final = frozenset({"Observation", "QuestionnaireResponse"})  # types that are gone through
_FLAGS: Final = "urn:shared-care-gateway:CodeSystem:plausibility"
_OUTSIDE, _UNCLEAR = "outside-plausible-range", "unit-unclear"
_SAID: Final = {
    _OUTSIDE: "outside the plausible range: check with the sender",
    _UNCLEAR: "no unit that can be read: check with the sender",
}
_PARTS: Final = ("value", "comparator", "unit", "system", "code")  # of a Quantity: all that is told of what was sent
_EXACT: Final = Context(prec=64, traps=[Clamped, Inexact, InvalidOperation, Overflow, Rounded, Subnormal])
_WEEKS_AND_DAYS: Final = re.compile(r"([0-9]{1,2})\s*([a-z]*)\s*(\+|and)?\s*([0-6])\s*([a-z]*)")
_DAYS_IN_A_WEEK: Final = 7
_LARGE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of measurement. `factors`: UCUM code -> what one of it comes to in the unit given; "" is a number alone."""

    name: str
    gives: str
    factors: Mapping[str, Decimal]
    whole: frozenset[str]  # units of which only whole numbers are converted
    least: Decimal
    most: Decimal
    weeks_and_days: bool  # may come as "39+4", or as two parts


@dataclass(frozen=True, slots=True)
class Units:
    """The reviewed table of one adapter."""

    names: Mapping[str, str]  # UCUM code -> how the unit is written
    words: Mapping[str, str]  # what a sender writes, in small letters -> UCUM code
    kinds: tuple[Kind, ...]
    places: Mapping[tuple[str, str], int]  # system and code of a measurement -> the place of its kind

    def given(self, resource: dict[str, Any]) -> tuple[Original, ...]:
        """A resource nobody else holds yet, changed in place -> what was sent of what was converted."""
        if resource["resourceType"] == "QuestionnaireResponse":
            self._answers(resource.get("item", ()))
            return ()
        kind = self._kind(resource)
        found = self._weeks_and_days(kind, resource) if kind is not None and kind.weeks_and_days else None
        originals = [found] if found is not None else self._value(kind, resource, ())
        for number, part in enumerate(resource.get("component", ())):
            own = self._kind(part)
            if own is not None and own is kind and own.weeks_and_days:
                own = None  # weeks, or days, that could not be joined: each alone is no length of anything
            originals += self._value(own, part, ("component", number))
        for number, limits in enumerate(resource.get("referenceRange", ())):
            for name in ("low", "high"):
                if name in limits:
                    limits[name], _, original = self._quantity(kind, limits[name], ("referenceRange", number, name))
                    originals += original
        return tuple(originals)

    def _kind(self, node: Mapping[str, Any]) -> Kind | None:
        codings = node.get("code", {}).get("coding", ())
        places = [place for one in codings if (place := self.places.get((one.get("system"), one.get("code")))) is not None]
        return self.kinds[min(places)] if places else None

    def _value(self, kind: Kind | None, node: dict[str, Any], path: tuple[str | int, ...]) -> list[Original]:
        if "valueQuantity" not in node:
            return []
        node["valueQuantity"], flag, originals = self._quantity(kind, node["valueQuantity"], (*path, "valueQuantity"))
        _flagged(node, flag)
        return originals

    def _quantity(
        self, kind: Kind | None, sent: dict[str, Any], path: tuple[str | int, ...]
    ) -> tuple[dict[str, Any], str, list[Original]]:
        """A quantity as sent -> as given, its flag ("" for none), and what was sent where that is something else."""
        number = sent.get("value")
        if kind is None or isinstance(number, bool) or not isinstance(number, int | Decimal):
            return self._worded(sent), "", []  # no kind of ours, or nothing to compare: a comparator alone
        code = self._unit(kind, sent)
        amount = None if code is None else _amount(kind, code, number)
        if amount is None:
            return self._worded(sent), _UNCLEAR, []
        if not kind.least <= amount <= kind.most:
            return self._worded(sent), _OUTSIDE, []
        if code in kind.whole:
            if number != int(number):
                return self._worded(sent), _UNCLEAR, []  # 39.4 weeks may be 39 weeks and 4 days
            amount = int(amount)
        rest = {name: part for name, part in sent.items() if name not in ("unit", "system", "code")}
        gave = {**rest, "value": number if code == kind.gives else amount, **self._named(kind.gives)}
        if gave == sent:
            return sent, "", []
        return gave, "", [Original(path, gave, (("valueQuantity", _told(sent)),))]

    def _unit(self, kind: Kind, sent: Mapping[str, Any]) -> str | None:
        """The UCUM code of a quantity where it is one of its kind's, and nothing beside it says another; "" for no unit."""
        said = str(sent.get("unit", "")).strip().lower()
        code = sent.get("code")
        if sent.get("system", UCUM) != UCUM:
            return None
        if code is None:
            code = self.words.get(said) if said else ""
        elif self.words.get(said, code) != code:
            return None
        return code if code in kind.factors else None

    def _worded(self, sent: dict[str, Any]) -> dict[str, Any]:
        """As it was sent, with the UCUM code of a known word beside it."""
        code = self.words.get(str(sent.get("unit", "")).strip().lower())
        if code is None or "code" in sent or "system" in sent:
            return sent
        return {**sent, "system": UCUM, "code": code}

    def _named(self, code: str) -> dict[str, str]:
        return {"unit": self.names[code], "system": UCUM, "code": code} if code else {}

    def _weeks_and_days(self, kind: Kind, node: dict[str, Any]) -> Original | None:
        """Weeks and days in words, or as two parts of the measurement's own code -> one value in days. None: it is neither."""
        sent: tuple[tuple[str, Any], ...]
        parts: list[dict[str, Any]] = []
        if "valueString" in node:
            days, sent = self._said(node["valueString"]), (("valueString", node["valueString"]),)
        elif any(name.startswith("value") or name == "dataAbsentReason" for name in node):
            return None
        else:
            parts = [part for part in node.get("component", ()) if self._kind(part) is kind]
            found = {self._unit(kind, part.get("valueQuantity", {})): part.get("valueQuantity", {}) for part in parts}
            whole = len(parts) == len(found) and found.keys() == {"wk", "d"}
            days = _joined(found["wk"], found["d"]) if whole else None
            sent = tuple(("valueQuantity", _told(one)) for one in found.values())
        if days is None:
            _flagged(node, _UNCLEAR if parts else "")
            return None
        if not kind.least <= days <= kind.most:
            _flagged(node, _OUTSIDE)
            return None
        node.pop("valueString", None)
        if left := [part for part in node.get("component", ()) if part not in parts]:
            node["component"] = left
        else:
            node.pop("component", None)
        node["valueQuantity"] = {"value": days, **self._named(kind.gives)}
        return Original(("valueQuantity",), node["valueQuantity"], sent)

    def _said(self, text: str) -> int | None:
        """ "39+4", "39 weeks 4 days" -> days. Only figures and words of the table, so that what was sent is no free text."""
        found = _WEEKS_AND_DAYS.fullmatch(text.strip().lower())
        if found is None:
            return None
        weeks, week, between, days, day = found.groups()
        known = (not week or self.words.get(week) == "wk") and (not day or self.words.get(day) == "d")
        return int(weeks) * _DAYS_IN_A_WEEK + int(days) if known and (between or (week and day)) else None

    def _answers(self, items: Iterable[dict[str, Any]]) -> None:
        """A form's own quantities are of no kind we know: a known word gets its code beside it, whatever else."""
        for item in items:
            for answer in item.get("answer", ()):
                if "valueQuantity" in answer:
                    answer["valueQuantity"] = self._worded(answer["valueQuantity"])
            self._answers(item.get("item", ()))


def _amount(kind: Kind, code: str, number: int | Decimal) -> Decimal | int | None:
    """A number in one of its kind's units -> in the unit given, with the digits it had. None: it would not be exact."""
    factor = kind.factors[code]
    if factor == 1:
        return number
    try:
        made = _EXACT.multiply(Decimal(number), factor)
        exponent = made.as_tuple().exponent
        return _EXACT.quantize(made, Decimal(1)) if isinstance(exponent, int) and exponent > 0 else made
    except ArithmeticError:
        return None


def _joined(weeks: Mapping[str, Any], days: Mapping[str, Any]) -> int | None:
    """Whole weeks, and the days of one more -> days."""
    week, day = (None if "comparator" in one else _whole(one.get("value")) for one in (weeks, days))
    return None if week is None or day is None or day >= _DAYS_IN_A_WEEK else week * _DAYS_IN_A_WEEK + day


def _whole(number: Any) -> int | None:
    """A whole number of a size that something can have."""
    if isinstance(number, bool) or not isinstance(number, int | Decimal) or not 0 <= number < _LARGE:
        return None
    return int(number) if number == int(number) else None


def _told(sent: Mapping[str, Any]) -> dict[str, Any]:
    return {name: sent[name] for name in _PARTS if name in sent}


def _flagged(node: dict[str, Any], flag: str) -> None:
    if flag:
        said = {"coding": [{"system": _FLAGS, "code": flag}], "text": _SAID[flag]}
        node["interpretation"] = [*node.get("interpretation", ()), said]
