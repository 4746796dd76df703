"""The language does not creep: what it has is listed here, and anything new needs a decision record first."""

import gzip
import json
import re
from pathlib import Path

import pytest

from gateway.kit import r4_index
from gateway.mapping.functions import SHARED
from gateway.mapping.grammar import BLOCK, OUTWARD_TOP, TOKEN, TOP
from gateway.mapping.r4 import Index, index

DOCS = Path(__file__).resolve().parents[3] / "docs" / "mapping-language.md"


def test_the_tokens_are_frozen():
    assert set(TOKEN.groupindex) == {"space", "text", "odd", "number", "scope", "word", "mark"}
    assert TOP == ("map", "version", "reads", "because", "resources", "ignore", "undecided")
    assert OUTWARD_TOP == ("map", "version", "writes", "because", "takes", "set", "ignore", "withhold", "undecided")
    assert BLOCK == ("category", "key", "each", "when", "profile", "set")


def test_every_shared_function_is_described_on_the_page_and_no_other():
    rows = [line.split("|")[1] for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `")]
    described = {name for row in rows for name in re.findall(r"`(\w+)[(`]", row)}
    assert described == set(SHARED) - {"quantitySTU3"}  # `quantity` without arguments


def test_every_shared_function_says_what_it_takes_and_gives():
    known = {"Anything"} | {"CodeableConcept", "Coding", "Identifier", "Quantity", "Period", "Reference"}
    for name, function in SHARED.items():
        assert function.call.__doc__, name
        assert function.gives in known or function.gives[0].islower(), name


def test_the_index_holds_all_of_r4_and_stays_small():
    shipped = Path(r4_index.__file__).parent.parent / "mapping" / "r4_index.json.gz"
    assert shipped.stat().st_size < 200_000
    assert len(index().resources()) == 147
    assert index().elements("Observation")["valueQuantity"].choice == "value[x]"
    assert index().elements("Meta").keys() == {
        "id",
        "extension",
        "versionId",
        "lastUpdated",
        "source",
        "profile",
        "security",
        "tag",
    }
    assert index().elements("Patient.communication")["language"].min == 1
    narrowed = index().profile("https://fhir.hl7.org.uk/StructureDefinition/UKCore-MedicationRequest")
    assert narrowed is not None
    assert narrowed["substitution"].min == 1


@pytest.fixture
def definitions(tmp_path: Path) -> tuple[Path, Path]:
    """Tiny definitions in the shapes of the public packages."""
    r4, uk_core = tmp_path / "r4", tmp_path / "uk"
    r4.mkdir()
    uk_core.mkdir()
    thing = {
        "resourceType": "StructureDefinition",
        "type": "Thing",
        "kind": "resource",
        "abstract": False,
        "snapshot": {
            "element": [
                {"path": "Thing", "min": 0, "max": "*"},
                {"path": "Thing.text", "min": 0, "max": "1", "type": [{"code": "Narrative"}]},
                {
                    "path": "Thing.state",
                    "min": 1,
                    "max": "1",
                    "type": [{"code": "code"}],
                    "binding": {"strength": "required", "valueSet": "urn:set|1"},
                },
                {"path": "Thing.part", "min": 0, "max": "*", "type": [{"code": "BackboneElement"}]},
                {"path": "Thing.part.text", "min": 0, "max": "1", "type": [{"code": "string"}]},
                {"path": "Thing.part.part", "min": 0, "max": "*", "contentReference": "#Thing.part"},
            ]
        },
    }
    sets = [
        {
            "resourceType": "ValueSet",
            "url": "urn:set",
            "compose": {"include": [{"system": "urn:codes"}], "exclude": [{"system": "urn:codes", "concept": [{"code": "c"}]}]},
        },
        {"resourceType": "CodeSystem", "url": "urn:codes", "concept": [{"code": "a", "concept": [{"code": "b"}]}, {"code": "c"}]},
    ]
    bundles = {
        "profiles-resources": [thing],
        "profiles-types": [],
        "valuesets": sets,
        "v3-codesystems": [],
        "extension-definitions": [],
    }
    for name, resources in bundles.items():
        (r4 / f"{name}.json").write_text(json.dumps({"entry": [{"resource": one} for one in resources]}), "utf-8")
    (uk_core / "UKCore-Thing.xml").write_text(
        '<StructureDefinition xmlns="http://hl7.org/fhir"><url value="urn:uk-thing"/><version value="1"/><type value="Thing"/>'
        '<differential><element id="Thing.part"><path value="Thing.part"/><min value="1"/></element>'
        '<element id="Thing.part:slice"><path value="Thing.part"/><min value="3"/></element>'
        "</differential></StructureDefinition>",
        "utf-8",
    )
    return r4, uk_core


def test_the_index_is_built_from_definitions_the_same_bytes_each_time(definitions: tuple[Path, Path], tmp_path: Path):
    built = r4_index.build(*definitions)
    assert built["types"]["Thing"]["elements"].keys() == {"state", "part"}
    assert built["types"]["Thing.part"]["elements"].keys() == {"text", "part"}
    assert built["types"]["Thing.part"]["elements"]["part"]["types"] == ["Thing.part"]
    assert built["bindings"] == {"urn:set": {"urn:codes": ["a", "b"]}}
    assert built["profiles"]["urn:uk-thing"]["elements"] == {"part": {"min": 1}}
    out = tmp_path / "index.json.gz"
    size = r4_index.write(built, out)
    first = out.read_bytes()
    assert size == len(first)
    r4_index.write(json.loads(gzip.decompress(first)), out)
    assert out.read_bytes() == first


DERIVED = """<StructureDefinition xmlns="http://hl7.org/fhir"><url value="urn:uk-weighed"/><version value="1"/>
<type value="Thing"/><baseDefinition value="urn:uk-thing"/><differential>
<element id="Thing.state"><path value="Thing.state"/>
<binding><strength value="extensible"/><valueSet value="urn:uk-set"/></binding></element>
<element id="Thing.value[x]:valueQuantity"><path value="Thing.value[x]"/><min value="1"/></element>
</differential></StructureDefinition>"""
MARKED = """<StructureDefinition xmlns="http://hl7.org/fhir"><url value="urn:mark"/><version value="1"/><type value="Extension"/>
<context><type value="element"/><expression value="Thing.part"/></context><differential>
<element id="Extension"><path value="Extension"/><max value="1"/></element>
<element id="Extension.extension:how"><path value="Extension.extension"/><min value="1"/><max value="1"/></element>
<element id="Extension.extension:how.value[x]"><path value="Extension.extension.value[x]"/><type><code value="code"/></type>
<binding><strength value="required"/><valueSet value="urn:uk-set"/></binding></element>
<element id="Extension.value[x]"><path value="Extension.value[x]"/><max value="0"/></element>
</differential></StructureDefinition>"""
SET = """<ValueSet xmlns="http://hl7.org/fhir"><url value="urn:uk-set"/>
<compose><include><system value="urn:uk-codes"/></include></compose></ValueSet>"""
CODES = """<CodeSystem xmlns="http://hl7.org/fhir"><url value="urn:uk-codes"/><content value="complete"/>
<concept><code value="x"/><concept><code value="y"/></concept></concept></CodeSystem>"""


def test_uk_core_gives_bases_slices_by_type_extensions_and_its_own_value_sets(definitions: tuple[Path, Path], tmp_path: Path):
    r4, uk_core = definitions
    (uk_core / "UKCore-Weighed.xml").write_text(DERIVED, "utf-8")
    (uk_core / "Extension-Mark.xml").write_text(MARKED, "utf-8")
    for folder, text in (("valuesets", SET), ("codesystems", CODES)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.xml").write_text(text, "utf-8")
    built = r4_index.build(r4, uk_core)
    assert built["bindings"]["urn:uk-set"] == {"urn:uk-codes": ["x", "y"]}
    assert built["profiles"]["urn:uk-weighed"]["elements"] == {
        "part": {"min": 1},  # of the profile that this one is made from
        "state": {"extensible": "urn:uk-set"},
        "valueQuantity": {"min": 1},
    }
    assert built["extensions"]["urn:mark"] == {
        "types": [],
        "max": 1,
        "parts": {"how": {"types": ["code"], "codes": "urn:uk-set", "min": 1, "max": 1}},
        "contexts": ["Thing.part"],
    }
    made = Index(built)
    assert made.extension("urn:mark").parts["how"].codes == {"urn:uk-codes": frozenset({"x", "y"})}
    assert made.profile("urn:uk-weighed")["state"].loose == {"urn:uk-codes": frozenset({"x", "y"})}


@pytest.mark.samples
def test_the_shipped_index_holds_uk_core_as_published(samples: Path):
    folder = samples / "NHSDigital__FHIR-R4-UKCORE-STAGING-MAIN" / "structuredefinitions"
    published = {r4_index._from_xml(file)["url"] for file in folder.glob("*.xml")}
    missing = {url for url in published if index().profile(url) is None and index().extension(url) is None}
    assert missing == set()
