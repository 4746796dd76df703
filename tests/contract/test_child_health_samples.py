"""Published child health messages through the reader and the maps: mapped and sound, or refused with a place and a reason."""

import json
from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest

import adapters.child_health
import mappings
from gateway.adapter import Manifest, NhsNumber, SourceRecord
from gateway.connectors import message_drop
from gateway.errors import SourceContractBroken
from gateway.mapping import Context, load, map_record, shape_faults
from gateway.model import Mark
from gateway.registry import load_manifest

pytestmark = pytest.mark.samples

FOLDERS = (
    "nhsconnect__STU3-FHIR-Assets/Examples",
    "nhsconnect__Events-Management/pages/messages/messages/examples",
)
MAPPED = {
    "DCH-AllergiesAndAdverseReactions-Bundle-Example-1": ("dch-record-1", {"AllergyIntolerance": 3}),
    "DCH-AssessmentScales-Bundle-Example-1": ("dch-review-1", {"Encounter": 1, "Observation": 3}),
    "DCH-BloodSpotCardReceived-Bundle-Example-1": ("dch-record-1", {"Specimen": 1}),
    "DCH-BloodSpotSampleTaken-Bundle-Example-1": ("dch-screening-1", {"Procedure": 1}),
    "DCH-BloodSpotTestOutcome-Bundle-Example-1": ("dch-screening-1", {"DiagnosticReport": 1, "Procedure": 9}),
    "DCH-DevelopmentalSkills-Bundle-Example-1": ("dch-review-1", {"Encounter": 1, "Observation": 1}),
    "DCH-FeedingStatus-Bundle-Example-1": ("dch-review-1", {"Encounter": 1, "QuestionnaireResponse": 1}),
    "DCH-IndividualRequirements-Bundle-Example-1": ("dch-record-1", {"ClinicalImpression": 1, "Communication": 1}),
    "DCH-MedicationStatement-Bundle-Example-1-": ("dch-record-1", {"MedicationStatement": 3}),
    "DCH-NIPE-Outcome-Bundle-Example-1": ("dch-screening-1", {"Procedure": 4}),
    "DCH-NewbornHearing-Bundle-Example-1": ("dch-screening-1", {"DiagnosticReport": 1, "Procedure": 4}),
    "DCH-Observation-Bundle-Example-1": ("dch-review-1", {"Encounter": 1, "Observation": 8}),
    "DCH-ProfessionalContact-Professional-Bundle-Example-1": ("dch-contact-1", {"EpisodeOfCare": 1}),
    "DCH-ProfessionalContact-Team-Bundle-Example-1": ("dch-contact-1", {"EpisodeOfCare": 1}),
    "DCH-SocialContext-Bundle-Example-1": ("dch-record-1", {"ClinicalImpression": 1}),
    "DCH-Vaccination-Bundle-Example-1": ("dch-vaccinations-1", {"Immunization": 1}),
}

SENDERLESS = "no responsible organisation with an ODS code"
REFUSED = {  # each with its reason: nothing is dropped silently
    "DCH-ProblemList-Bundle-Example-1": SENDERLESS,
    "Event-MessageHeader-Bundle-Example-1": f"{message_drop.NOT_MAPPED}: additional-demographics-1",
}
CHANGES = ("PDS-Change-Of-GP-ems-example",)  # only news that a person changed: read, and nothing kept


@pytest.fixture
def manifest() -> Manifest:
    return load_manifest(adapters.child_health)


def messages(samples: Path) -> list[Path]:
    found = [path for folder in FOLDERS for path in sorted((samples / folder).iterdir()) if path.suffix in (".xml", ".json")]
    if not found:
        pytest.skip("no child health messages among the published samples")
    return found


def read(manifest: Manifest, path: Path) -> SourceRecord:
    (record,) = message_drop.read_file(manifest, path.name, path.read_bytes())
    return record


def context(record: SourceRecord) -> Context:
    return Context(
        source="child-health",
        mint=lambda kind, key: sha256(f"{kind} {key}".encode()).hexdigest()[:20],
        person="a" * 26,
        number=NhsNumber(record.about.nhs_number or ""),
        as_of=datetime(2026, 5, 4, tzinfo=UTC),
        custodian="ods:RXX99",
    )


def test_every_sample_is_read_or_refused_with_its_reason(samples: Path, manifest: Manifest) -> None:
    for path in messages(samples):
        if path.stem in MAPPED:
            assert read(manifest, path).schema == MAPPED[path.stem][0], path.name
            continue
        if path.stem in CHANGES:
            assert list(message_drop.read_file(manifest, path.name, path.read_bytes())) == [], path.name
            continue
        with pytest.raises(SourceContractBroken) as refused:
            read(manifest, path)
        assert refused.value.reason == REFUSED[path.stem], path.name


def test_a_problem_list_of_a_sender_with_a_code_is_mapped(samples: Path, manifest: Manifest) -> None:
    bundle = json.loads((samples / FOLDERS[0] / "DCH-ProblemList-Bundle-Example-1.json").read_text("utf-8"))
    bundle["entry"][0]["resource"]["source"]["endpoint"] = "urn:nhs-uk:addressing:ods:RXX99"
    (record,) = message_drop.read_file(manifest, "m", json.dumps(bundle).encode())
    result = map_record(load(files(mappings)), "child_health", record, context(record), account=True)
    assert result.refused == ()
    assert [made.body["clinicalStatus"]["coding"][0]["code"] for made in result.resources] == ["resolved", "resolved"]
    assert [fault for made in result.resources for fault in shape_faults(made.body)] == []
    assert result.accounting is not None
    assert result.accounting.unmapped == ()


def test_xml_and_json_of_one_sample_read_alike(samples: Path, manifest: Manifest) -> None:
    for stem in MAPPED.keys() - {"DCH-AllergiesAndAdverseReactions-Bundle-Example-1"}:  # published with two ids of one allergy
        from_xml, from_json = (read(manifest, samples / FOLDERS[0] / f"{stem}{suffix}") for suffix in (".xml", ".json"))
        assert from_xml.about == from_json.about
        assert from_xml.as_of == from_json.as_of
        assert from_xml.data == from_json.data


@pytest.mark.parametrize("suffix", [".xml", ".json"])
@pytest.mark.parametrize("stem", sorted(MAPPED))
def test_a_read_sample_maps_to_sound_resources_and_leaves_no_field_unexplained(
    samples: Path, manifest: Manifest, stem: str, suffix: str
) -> None:
    record = read(manifest, samples / FOLDERS[0] / f"{stem}{suffix}")
    result = map_record(load(files(mappings)), "child_health", record, context(record), account=True)
    assert result.refused == ()
    assert Counter(made.body["resourceType"] for made in result.resources) == MAPPED[stem][1]
    assert [fault for made in result.resources for fault in shape_faults(made.body)] == []
    assert result.accounting is not None
    assert result.accounting.unmapped == ()


def test_no_demographic_of_a_sample_reaches_a_resource(samples: Path, manifest: Manifest) -> None:
    maps = load(files(mappings))
    for stem in MAPPED:
        record = read(manifest, samples / FOLDERS[0] / f"{stem}.xml")
        text = repr([made.body for made in map_record(maps, "child_health", record, context(record)).resources])
        assert not any(value in text for value in (str(record.about.nhs_number), "DAWKINS", "Dawkins", "Sandmoor"))


def test_the_scores_inside_an_assessment_stand_by_themselves_and_are_pointed_at(samples: Path, manifest: Manifest) -> None:
    record = read(manifest, samples / FOLDERS[0] / "DCH-AssessmentScales-Bundle-Example-1.xml")
    made = [each.body for each in map_record(load(files(mappings)), "child_health", record, context(record)).resources]
    scores = {f"Observation/{each['id']}": each for each in made if each["resourceType"] == "Observation"}
    (whole,) = [each for each in scores.values() if "derivedFrom" in each]
    assert {to["reference"] for to in whole["derivedFrom"]} == set(scores) - {f"Observation/{whole['id']}"}
    assert not any("contained" in each for each in made)


def test_the_needs_of_a_parent_are_told_as_those_of_others(samples: Path, manifest: Manifest) -> None:
    record = read(manifest, samples / FOLDERS[0] / "DCH-IndividualRequirements-Bundle-Example-1.xml")
    made = map_record(load(files(mappings)), "child_health", record, context(record)).resources
    (needs,) = [each for each in made if each.body["resourceType"] == "ClinicalImpression"]
    assert needs.body["code"] == {"text": "The household, as asked by the child health service"}
    assert ("finding", "itemCodeableConcept", "coding") in {path[:3] for path in needs.paths[Mark.THIRD_PARTY]}


def test_who_else_works_with_the_child_is_not_told(samples: Path, manifest: Manifest) -> None:
    record = read(manifest, samples / FOLDERS[0] / "DCH-ProfessionalContact-Team-Bundle-Example-1.xml")
    text = repr([made.body for made in map_record(load(files(mappings)), "child_health", record, context(record)).resources])
    assert "ocial" not in text
    assert "moved" not in text


def test_published_immunisations_are_mapped_by_batch_file_and_as_r4(samples: Path, manifest: Manifest) -> None:
    folder, maps = samples / "NHSDigital__immunisation-fhir-api", load(files(mappings))
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in (".csv", ".json")]
    assert found
    for path in found:
        (record,) = message_drop.read_file(manifest, path.name, path.read_bytes())
        result = map_record(maps, "child_health", record, context(record), account=True)
        assert [made.body["resourceType"] for made in result.resources] == ["Immunization"], path.name
        assert [fault for made in result.resources for fault in shape_faults(made.body)] == []
        assert result.accounting is not None
        assert result.accounting.unmapped == ()
