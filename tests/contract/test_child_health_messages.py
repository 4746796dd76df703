"""The sandbox's child health messages through the reader and the maps: what a partner system would get of each."""

import json
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files

import adapters.child_health
import mappings
from gateway.adapter import NhsNumber, SourceRecord
from gateway.connectors import message_drop
from gateway.connectors.message_drop import read_file
from gateway.disclosure.stripping import strip
from gateway.errors import SourceContractBroken
from gateway.mapping import Context, Maps, load, map_record, shape_faults
from gateway.model import Category, MappedResource, Mark
from gateway.registry import load_manifest
from sandbox.child_health import letters
from sandbox.families import BY_KEY

MANIFEST = load_manifest(adapters.child_health)


@cache
def maps() -> Maps:
    return load(files(mappings))


def records() -> list[SourceRecord]:
    found = []
    for letter in letters():
        try:
            found += read_file(MANIFEST, letter.name, letter.body())
        except SourceContractBroken:
            continue
    return found


def mapped(record: SourceRecord) -> tuple[MappedResource, ...]:
    context = Context(
        source="child-health",
        mint=lambda kind, key: sha256(f"{kind} {key}".encode()).hexdigest()[:20],
        person="a" * 26,
        number=NhsNumber(record.about.nhs_number or ""),
        as_of=datetime(2026, 5, 4, tzinfo=UTC),
        custodian="ods:RXX99",
    )
    result = map_record(maps(), "child_health", record, context, account=True)
    assert result.refused == ()
    assert result.accounting is not None
    assert result.accounting.unmapped == ()
    return result.resources


def of(key: str) -> list[MappedResource]:
    number = BY_KEY[key].nhs_number
    return [made for record in records() if record.about.nhs_number == number for made in mapped(record)]


def test_every_message_that_is_read_maps_to_sound_resources_with_every_field_explained() -> None:
    made = [resource for record in records() for resource in mapped(record)]
    assert len(made) > 80
    assert [fault for resource in made for fault in shape_faults(resource.body)] == []


def test_the_maps_give_what_the_manifest_says_and_nothing_else() -> None:
    given = {(made.body["resourceType"], made.category.value) for record in records() for made in mapped(record)}
    assert given == set(MANIFEST.gives.items())
    assert {category for category, _ in maps().gives("child_health")} == {
        Category.IMMUNISATIONS,
        Category.CHILD_HEALTH_REVIEWS,
        Category.ALLERGIES,
        Category.MEDICATIONS,
        Category.PROBLEMS,
        Category.OTHER_HEALTH,
        Category.CHILD_PROTECTION,
    }


def test_what_is_said_of_a_household_and_by_name_of_a_family_is_of_others() -> None:
    told = {made.body["resourceType"]: made for made in of("ben") if "household" in made.where or "contacts" in made.where}
    kin, home = told["RelatedPerson"], told["ClinicalImpression"]
    left = strip(kin.body, kin.paths[Mark.THIRD_PARTY])
    assert left is not None
    assert left.keys() == {"resourceType", "id", "meta", "patient", "relationship", "extension"}  # no name
    assert [each["valueBoolean"] for each in left["extension"]] == [True, True]  # what is claimed of her
    asked = strip(home.body, home.paths[Mark.THIRD_PARTY])
    assert asked is not None
    assert {*asked["finding"][0], *asked["finding"][1]} == {"basis"}  # that it was asked, and nothing of what was answered
    assert "9990022321" not in json.dumps(kin.body)
    assert "Placeholder" not in json.dumps(kin.body)  # how they live, in words


def test_a_warning_says_that_there_is_a_risk_and_never_why() -> None:
    warnings = [made for made in of("ben") if made.body["resourceType"] == "Flag"]
    assert {made.body["code"]["coding"][0]["code"] for made in warnings} == {"1064461000000103", "1064311000000109"}
    assert {made.category for made in warnings} == {Category.CHILD_PROTECTION}
    assert {made.care_class.value for made in warnings} == {"safeguarding"}
    assert "Uncle" not in json.dumps([made.body for made in warnings])


def test_a_vaccine_that_was_refused_is_never_shown_as_given() -> None:
    states = {
        made.body["extension"][0]["valueCodeableConcept"]["coding"][0]["code"]: made.body["status"]
        for made in of("jonah")
        if made.body["resourceType"] == "Immunization"
    }
    assert states == {"1082441000000108": "completed", "308081000000105": "not-done"}


def test_measurements_keep_their_unit_and_point_at_their_review() -> None:
    (visit,) = [made for made in of("oscar") if made.body["resourceType"] == "Encounter"]
    measured = [made.body for made in of("oscar") if made.body["resourceType"] == "Observation"]
    assert {(body["valueQuantity"]["code"], str(body["valueQuantity"]["value"])) for body in measured} == {
        ("kg", "9.4"),
        ("cm", "74.5"),
        ("cm", "46.1"),
    }
    assert {body["encounter"]["reference"] for body in measured} == {f"Encounter/{visit.body['id']}"}
    assert visit.body["type"][0]["coding"][0]["code"] == "0021"


def test_who_and_where_is_marked_as_locating() -> None:
    for made in of("amara"):
        for name in ("performer", "location", "serviceProvider", "identifier"):
            if name in made.body:
                assert any(path[0] == name for path in made.paths[Mark.LOCATING]), (made.body["resourceType"], name)


def test_the_same_message_again_makes_the_same_ids() -> None:
    first, again = ([made.body for record in records() for made in mapped(record)] for _ in range(2))
    assert first == again


def test_what_screening_found_is_kept_from_the_readers_of_reviews() -> None:
    made = [each for each in of("ben") if each.body["resourceType"] in ("Procedure", "DiagnosticReport")]
    assert len(made) == 6
    assert {each.category for each in made} == {Category.OTHER_HEALTH}
    assert [each.body["resourceType"] for each in of("ben")].count("Encounter") == 3  # no visit tells that there was a screening


def test_a_blood_spot_outcome_stands_under_snomed_and_a_laboratory_code_does_not() -> None:
    outcomes = [
        [(coding["system"], coding["code"]) for coding in each.body["outcome"]["coding"]]
        for each in of("ben")
        if each.body["resourceType"] == "Procedure" and "report" in each.body
    ]
    own = "https://fhir.nhs.uk/STU3/CodeSystem/DCH-BloodSpotOutcome-1"
    assert sorted(outcomes) == [[("http://snomed.info/sct", "429106008"), (own, "429106008")], [(own, "8")]]


def test_early_years_progress_without_a_parents_yes_is_marked_and_with_it_is_not() -> None:
    forms = [
        (record.about.nhs_number, made.not_early_years)
        for record in records()
        for made in mapped(record)
        if made.body["resourceType"] == "QuestionnaireResponse" and "early-years" in made.where
    ]
    assert sorted(forms) == sorted([(BY_KEY["amara"].nhs_number, False), (BY_KEY["jonah"].nhs_number, True)])


def test_why_a_family_left_a_service_is_not_given() -> None:
    (contact,) = [made for made in of("oscar") if made.body["resourceType"] == "EpisodeOfCare"]
    assert contact.category is Category.OTHER_HEALTH
    assert contact.body["type"][0]["coding"][0]["code"] == "1078501000000104"
    assert any(path[0] == "managingOrganization" for path in contact.paths[Mark.LOCATING])


def test_a_request_for_one_type_reads_every_event_that_gives_it() -> None:
    events = message_drop._events(MANIFEST)
    for record in records():
        made = {resource.body["resourceType"] for resource in mapped(record)}
        assert made <= events[record.data["event"]].gives, record.where


def test_what_is_said_of_others_at_home_goes_with_the_mark_for_it() -> None:
    (at_home,) = [made for made in of("ben") if "Uncle" in str(made.body)]
    assert (at_home.body["resourceType"], at_home.category) == ("ClinicalImpression", Category.OTHER_HEALTH)
    assert {Mark.THIRD_PARTY, Mark.LOCATING} <= set(at_home.paths)
