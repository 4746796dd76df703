"""Every published GP Connect sample through the real reader and maps: what is mapped is R4, what is refused says why."""

import hashlib
import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class

import adapters.gp
import mappings
from adapters.gp.kinds import R4_TYPES, SCHEMAS
from adapters.gp.record import split
from gateway.adapter import SourceContractBroken, SourceRecord
from gateway.mapping import Context, MapResult, Maps, load, map_record, shape_faults
from gateway.mapping.rewrite import encode
from gateway.nhs_number import NhsNumber
from gateway.registry import load_manifest

pytestmark = pytest.mark.samples

SAMPLES = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "samples"
FOLDERS = ("NHSDigital__integration-adaptor-gp2gp", "nhsconnect__gpconnect")
MIXED = ("mapper/allergy/fhir-bundle.json", "uncategorised_response1.json")  # each holds a resource of a second Patient
ALL = sorted(path for folder in FOLDERS for path in (SAMPLES / folder).rglob("*.json")) if SAMPLES.is_dir() else []
FILES = [path for path in ALL if not path.as_posix().endswith(MIXED)]
NAMES = [str(path.relative_to(SAMPLES)) for path in FILES]
NUMBER = NhsNumber("9990000107")
LOCATOR = re.compile(r"entry \d+(, List, contained \d+)?(, [A-Za-z ]+)?", re.ASCII)

NO_PLACE_IN_R4 = {  # reported as unmapped, not lost in silence; R4 has one reason for not giving a vaccine
    "immunization-multiple-reason-not-given.json": "resource.explanation.reasonNotGiven.",
    "example-allergy-intolerance-resource-2.json": "resource.extension.",  # an extension of Patient, misplaced
}

each_sample = pytest.mark.parametrize("path", FILES or [None], ids=NAMES or ["no samples"])


@pytest.fixture(scope="module")
def maps() -> Maps:
    return load(Path(mappings.__path__[0]))


def context() -> Context:
    def mint(kind: str, key: str) -> str:
        return hashlib.sha256(f"{kind}/{key}".encode()).hexdigest()[:20]

    return Context("gp", mint, "a" * 26, NUMBER, datetime(2026, 1, 5, 9, 0, tzinfo=UTC), "ods:A99901")


def bundle_of(path: Path | None) -> dict[str, Any]:
    """A sample as a provider would send it: template words filled in, lone resources with a Patient beside them."""
    if path is None:
        pytest.skip("the folder of published samples (../shared/samples) is not here: nothing to read")
    text = path.read_text("utf-8-sig")
    text = re.sub(r"\{%.*?%\}", "", text)
    text = re.sub(r"\{\{jsonPath.*?\}\}", NUMBER.value, text)
    read: dict[str, Any] = json.loads(text)
    if read["resourceType"] == "Bundle":
        return _with_patient({**read, "type": "collection"})
    return _completed(read)


def _completed(resource: dict[str, Any]) -> dict[str, Any]:
    """A lone fixture -> a collection with what it refers to: these files were cut out of whole records."""
    subject = "subject" if resource["resourceType"] in ("Condition", "MedicationRequest", "MedicationStatement") else "patient"
    resource.setdefault(subject, {"reference": "Patient/none"})
    patient = resource[subject]["reference"].removeprefix("Patient/")
    entries = [{"resource": _patient(patient)}, {"resource": resource}]
    medicine = resource.get("medicationReference", {}).get("reference", "")
    if medicine:
        entries.append(
            {"resource": {"resourceType": "Medication", "id": medicine.partition("/")[2], "code": {"text": "a medicine"}}}
        )
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _with_patient(bundle: dict[str, Any]) -> dict[str, Any]:
    entries = bundle["entry"]
    if any(entry.get("resource", {}).get("resourceType") == "Patient" for entry in entries):
        return bundle
    named = re.search(r'"Patient/([^"]+)"', json.dumps(entries))
    return {**bundle, "entry": [{"resource": _patient(named.group(1) if named else "none")}, *entries]}


def _patient(own_id: str) -> dict[str, Any]:
    identifier = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": NUMBER.value}
    return {"resourceType": "Patient", "id": own_id, "identifier": [identifier]}


def mapped(maps: Maps, path: Path | None) -> list[tuple[SourceRecord, MapResult]]:
    records = split(bundle_of(path), as_of=datetime(2026, 1, 5, 9, 0, tzinfo=UTC)).records
    return [(record, map_record(maps, "gp", record, context(), account=True)) for record in records]


@each_sample
def test_what_is_mapped_is_r4_and_what_is_refused_says_where_and_why(path: Path | None, maps: Maps):
    for record, result in mapped(maps, path):
        for resource in result.resources:
            assert shape_faults(resource.body) == []
            assert resource.where == record.where
        for refusal in result.refused:
            assert LOCATOR.match(refusal.where)
            assert refusal.reason
            assert not re.search(r"\d{6}", refusal.reason)


@each_sample
def test_a_common_client_library_reads_what_is_mapped(path: Path | None, maps: Maps):
    for _, result in mapped(maps, path):
        for resource in result.resources:
            body = readable(json.loads(encode(resource.body)))
            get_fhir_model_class(body["resourceType"]).model_validate(body)


def readable(value: Any) -> Any:
    """Without `_value[x]` of extensions: R4 has it (2.4.1), and the models of fhir.resources 8.3 do not."""
    if isinstance(value, dict):
        return {name: readable(item) for name, item in value.items() if not ("url" in value and name.startswith("_value"))}
    return [readable(item) for item in value] if isinstance(value, list) else value


@each_sample
def test_every_clinical_resource_becomes_one_resource_or_one_refusal(path: Path | None, maps: Maps):
    for record, result in mapped(maps, path):
        if record.schema in SCHEMAS.values():
            assert len(result.resources) + len(result.refused) == 1
            assert {resource.body["resourceType"] for resource in result.resources} <= {
                R4_TYPES.get(kind, kind) for kind in SCHEMAS
            }


@each_sample
def test_every_field_of_a_clinical_resource_is_mapped_or_ignored_with_a_reason(path: Path | None, maps: Maps):
    for record, result in mapped(maps, path):
        if record.schema in SCHEMAS.values() and not result.refused:
            assert result.accounting is not None
            allowed = NO_PLACE_IN_R4.get(path.name if path else "", "nothing")
            assert [name for name in result.accounting.unmapped if not name.startswith(allowed)] == []


@each_sample
def test_no_reference_leads_out_of_the_record(path: Path | None, maps: Maps):
    results = mapped(maps, path)
    made = {f"{item.body['resourceType']}/{item.body['id']}" for _, result in results for item in result.resources}
    refused = any(result.refused for _, result in results)
    for _, result in results:
        for resource in result.resources:
            for reference in re.findall(r'"reference": "([^"]+)"', json.dumps(dict(resource.body), default=str)):
                assert reference == "Patient/" + "a" * 26 or reference in made or refused


@each_sample
def test_every_vaccination_keeps_its_procedure_and_says_whether_it_was_given(path: Path | None, maps: Maps):
    for record, result in mapped(maps, path):
        if record.schema == SCHEMAS["Immunization"]:
            for resource in result.resources:
                expected = "not-done" if record.data["resource"]["notGiven"] else "completed"
                assert resource.body["status"] == expected
                if "VaccinationProcedure" in json.dumps(record.data):
                    urls = [extension["url"] for extension in resource.body["extension"]]
                    assert "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-VaccinationProcedure" in urls


def test_the_samples_hold_every_kind_and_most_of_it_maps(samples: Path, maps: Maps):
    outcomes: Counter[tuple[str, bool]] = Counter()
    for path in FILES:
        for record, result in mapped(maps, path):
            outcomes[record.schema, bool(result.resources)] += 1
    rare = ("DiagnosticReport", "Specimen", "QuestionnaireResponse", "ReferralRequest", "ProcedureRequest")
    for kind, schema in SCHEMAS.items():
        assert outcomes[schema, True] >= (1 if kind in rare else 25), schema


@pytest.mark.parametrize("name", MIXED)
def test_a_sample_that_holds_a_resource_of_a_second_patient_is_refused_whole(name: str, samples: Path):
    (path,) = [path for path in ALL if path.as_posix().endswith(name)]
    with pytest.raises(SourceContractBroken):
        split(bundle_of(path))


def test_a_sample_still_wrapped_in_its_web_page_is_read_from_the_file(samples: Path):
    wrapped = samples / "nhsconnect__gpconnect/_includes/accessrecord_structured/meds_response.json"
    assert list(adapters.gp.read_file(load_manifest(adapters.gp), wrapped.name, wrapped.read_bytes()))
