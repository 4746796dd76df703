"""units.yaml -> the reviewed table of an adapter's units. Checked as it is read. Its form: docs/mapping-language.md."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

import yaml

from gateway import systems
from gateway.mapping.grammar import at, compose
from gateway.mapping.r4 import suggestion
from gateway.mapping.reading import MapReader
from gateway.mapping.tree import Fault
from gateway.mapping.units import Kind, Units

TOP: Final = ("title", "because", "approved_by", "on", "units", "kinds")
KIND: Final = ("codes", "gives", "from", "whole", "weeks_and_days", "least", "most", "note")
LISTS: Final[Mapping[str, str]] = {"snomed": systems.SNOMED, "loinc": "http://loinc.org"}
# What one of a unit comes to in its base, exactly. Source: UCUM, tables 1 to 5 (prefixes, base and customary units).
BASES: Final[Mapping[str, tuple[str, Decimal]]] = {
    code: (base, Decimal(one))
    for base, units in {
        "g": {"kg": "1000", "g": "1", "mg": "0.001", "ug": "0.000001", "ng": "0.000000001"},
        "m": {"km": "1000", "m": "1", "dm": "0.1", "cm": "0.01", "mm": "0.001", "um": "0.000001"},
        "L": {"L": "1", "l": "1", "dL": "0.1", "dl": "0.1", "mL": "0.001", "ml": "0.001", "uL": "0.000001", "ul": "0.000001"},
        "s": {"wk": "604800", "d": "86400", "h": "3600", "min": "60", "s": "1", "ms": "0.001"},
    }.items()
    for code, one in units.items()
}


def read_units(text: str, file: str) -> tuple[Units, list[Fault]]:
    """units.yaml's text -> the table, and what is wrong with it. Raises `MappingFaults` when not YAML."""
    root = compose(text, file)
    reader = _Reader(text, file)
    top = reader.names(root, TOP, "units.yaml")
    for name in TOP:
        if name not in top:
            reader.fault(at(root), f"'{name}:' is missing")
    names, words = reader.units(top.get("units"))
    kinds: list[Kind] = []
    places: dict[tuple[str, str], int] = {}
    for key, node in reader.pairs(top["kinds"], "kinds") if "kinds" in top else ():
        kind, codes = reader.kind(str(key.value), node, names)
        for code, where in codes:
            if places.setdefault(code, len(kinds)) != len(kinds):
                reader.fault(at(where), f"this code is one of {kinds[places[code]].name} already")
        kinds.append(kind)
    return Units(names, words, tuple(kinds), places), reader.faults


class _Reader(MapReader):
    """Reads the parts; `faults` holds what is wrong with them."""

    def units(self, node: yaml.Node | None) -> tuple[dict[str, str], dict[str, str]]:
        """How each unit is written, and which words mean it."""
        names: dict[str, str] = {}
        words: dict[str, str] = {}
        for key, value in self.pairs(node, "units") if node is not None else ():
            code = str(key.value)
            rows = self.names(value, ("unit", "words"), "a unit")
            if "unit" not in rows or not self.scalar(rows["unit"]):
                self.fault(at(key), "a unit says how it is written: 'unit:'")
            names[code] = self.scalar(rows["unit"]) if "unit" in rows else ""
            for one in self.listed(rows.get("words"), "words"):
                word = self.scalar(one)
                if word != word.lower() or not word:
                    self.fault(at(one), "a word stands here in small letters: a sender's are read without regard to them")
                if words.setdefault(word, code) != code:
                    self.fault(at(one), f"this word means {words[word]} already: only words that mean one thing")
        return names, words

    def kind(self, name: str, node: yaml.Node, names: Mapping[str, str]) -> tuple[Kind, list[tuple[tuple[str, str], yaml.Node]]]:
        """One kind of measurement, and the codes that name it."""
        rows = self.names(node, KIND, "a kind")
        for needed in ("codes", "gives", "from", "least", "most", "note"):
            if needed not in rows:
                self.fault(at(node), f"{name} needs '{needed}:'")
        codes = []
        for key, listed in self.pairs(rows["codes"], "codes") if "codes" in rows else ():
            if key.value not in LISTS:
                self.fault(at(key), f"codes are of {' or '.join(LISTS)}{suggestion(str(key.value), LISTS)}")
            codes += [((LISTS.get(key.value, ""), self.scalar(one)), one) for one in self.listed(listed, "codes")]
        gives = self.scalar(rows["gives"]) if "gives" in rows else ""
        factors: dict[str, Decimal] = {}
        for key, value in self.pairs(rows["from"], "from") if "from" in rows else ():
            if key.value and key.value not in names:
                self.fault(at(key), f"units: has no '{key.value}'{suggestion(str(key.value), names)}")
            factor = self.number(value, positive=True)
            factors[str(key.value)] = factor.normalize()  # 1E+2 rather than 100: no digits are made up
            wrong = _not_as_ucum(str(key.value), gives, factor)
            if wrong:
                self.fault(at(value), wrong)
        if factors.get(gives) != 1:
            self.fault(at(rows.get("gives", node)), "the unit given stands under 'from:' with 1")
        whole = frozenset(self.scalar(one) for one in self.listed(rows.get("whole"), "whole"))
        for one in whole:
            if one not in factors or factors[one] != factors[one].to_integral_value():
                self.fault(at(rows["whole"]), "'whole:' names units under 'from:' that come to a whole number")
        both = self.scalar(rows["weeks_and_days"]) if "weeks_and_days" in rows else "false"
        if both not in ("true", "false") or (both == "true" and not (gives == "d" and factors.get("wk") == 7)):
            self.fault(at(rows["weeks_and_days"]), "weeks_and_days is true or false, and true of a kind given in d from wk: 7")
        least, most = (self.number(rows[end]) if end in rows else Decimal(0) for end in ("least", "most"))
        if least > most:
            self.fault(at(rows["least"]), "least is more than most")
        return Kind(name, gives, factors, whole, least, most, both == "true"), codes

    def listed(self, node: yaml.Node | None, what: str) -> list[yaml.Node]:
        """A list's nodes."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        if node is not None:
            self.fault(at(node), f"{what}: is a list in [ ]")
        return []

    def number(self, node: yaml.Node, *, positive: bool = False) -> Decimal:
        """An exact number; 1 after a fault."""
        try:
            found = Decimal(self.scalar(node))
        except InvalidOperation:
            found = Decimal("NaN")
        if not found.is_finite() or (positive and found <= 0):
            self.fault(at(node), f"this must be a number{' above 0' if positive else ''}")
            return Decimal(1)
        return found


def _not_as_ucum(unit: str, gives: str, factor: Decimal) -> str:
    """Why a factor between two metric units is not the one UCUM gives; "" where it is, or UCUM's table here has not both."""
    if unit == gives or unit not in BASES or gives not in BASES:
        return ""
    (base, one), (other, into) = BASES[unit], BASES[gives]
    if base != other:
        return f"{unit} and {gives} do not measure the same"
    exact = one / into
    if exact * into != one:
        return f"one {unit} is no exact number of {gives}: give this kind in a smaller unit"
    return "" if factor == exact else f"not what UCUM says: one {unit} is {exact.normalize():f} {gives}"
