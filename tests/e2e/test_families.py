"""What each family of the sandbox is there to show."""

import json

import pytest
from whole_place import World, holds_a_number, outcome, references, resources, shape, states, today, told

from gateway.mapping import shape_faults
from sandbox.demo import CENTRE, GP, VISITOR, WORKER, Asker
from sandbox.families import BY_KEY, NAMES, PEOPLE, address_of

FIRST_PART = 26  # of our ids: the person


def said(response) -> str:
    """All a caller can see: body and headers."""
    return response.text + "\n" + "\n".join(f"{name}: {value}" for name, value in response.headers.items())


def locating(key: str) -> list[str]:
    """Everything that would tell where this person is: home, phone, practice, organisations, sources' names, local ids."""
    person = BY_KEY[key]
    address = address_of(person)
    words = [address.line, address.town, address.postcode, "07700900", person.practice, *NAMES.values()]
    words += ["Willow", "Northshire", "Meadowvale", "Riverside", "E08999901", "199901", "RXX99", "Garden room", "Health room"]
    return [*words, *filter(None, (person.local_id, person.centre_id))]


def test_known_to_all_four_shows_every_sources_state_and_record(world: World) -> None:
    answer = world.everything(GP, "amara")
    assert states(answer) == {"gp": "answered", "child-health": "answered", "authority": "answered", "centre": "answered"}
    kinds = {resource["resourceType"] for resource in resources(answer)}
    assert kinds == {
        *("Patient", "AllergyIntolerance", "Condition", "Encounter", "EpisodeOfCare", "Flag", "Immunization", "Medication"),
        *("MedicationRequest", "MedicationStatement", "Observation", "Provenance", "QuestionnaireResponse"),
        *("CareTeam", "DiagnosticReport", "DocumentReference", "List", "ServiceRequest", "Specimen"),
    }
    sources = {resource["id"].split(".")[1] for resource in resources(answer) if resource["resourceType"] != "Patient"}
    assert sources == {"gp", "child-health", "local-authority", "childrens-centre"}
    centre = world.everything(CENTRE, "amara")
    assert states(centre) == {"centre": "answered"}
    assert {"EpisodeOfCare", "Encounter"} <= {resource["resourceType"] for resource in resources(centre)}


@pytest.mark.parametrize("asker", [GP, VISITOR, CENTRE, WORKER], ids=lambda asker: asker.client)
def test_every_resource_of_every_answer_is_ours_in_uk_core_shape_and_leads_somewhere(asker: Asker, world: World) -> None:
    seen = 0
    for person in PEOPLE:
        if (asker is WORKER and person.key not in ("amara", "kiran")) or person.key == "noor":
            continue  # nothing to see of others, and a slow source only waits
        answer = world.everything(asker, person.key)
        assert answer.status_code == 200
        given = resources(answer)
        (patient,) = [resource for resource in given if resource["resourceType"] == "Patient"] or [None]
        assert (patient is None) == (not given)
        known = {f"{resource['resourceType']}/{resource['id']}" for resource in given}
        assert len(known) == len(given)
        for entry, resource in zip(answer.json()["entry"], given, strict=False):
            seen += 1
            assert shape_faults(resource) == []
            assert resource["id"].split(".")[0] == patient["id"]
            assert len(patient["id"]) == FIRST_PART
            assert entry["fullUrl"] == f"{world.place.base}/fhir/{resource['resourceType']}/{resource['id']}"
            assert set(references(resource)) <= known
            if resource["resourceType"] != "Patient":
                assert holds_a_number(json.dumps(resource)) is None
    assert seen > 10


def test_every_resource_shown_can_be_read_by_its_id(world: World) -> None:
    shown = resources(world.everything(GP, "amara"))
    for resource in shown:
        if resource["resourceType"] != "Provenance":  # comes with what it is about
            again = world.get(GP, f"/fhir/{resource['resourceType']}/{resource['id']}")
            assert again.json() == resource


def test_known_to_two_shows_two_and_the_others_as_nothing_to_show(world: World) -> None:
    answer = world.everything(GP, "ben")
    assert states(answer) == {
        "gp": "answered",
        "child-health": "answered",
        "authority": "nothing-to-show",
        "centre": "nothing-to-show",
    }
    assert "none shareable by this route" in told(answer)["centre"]
    assert "not on the delivery of" in told(answer)["authority"]
    assert not resources(answer, "Flag")


def test_a_superseded_number_answers_with_the_new_one_and_the_old_id_stays_an_alias(world: World) -> None:
    new = BY_KEY["chloe"].nhs_number
    (by_old,) = resources(world.find(VISITOR, "9990002126"), "Patient")
    (by_new,) = resources(world.find(VISITOR, new), "Patient")
    assert by_old["id"] == by_new["id"]
    assert [identifier["value"] for identifier in by_old["identifier"]] == [new]
    ((old_id,),) = world.ask_database("select id from person where status = 'superseded'")
    assert old_id != by_new["id"]
    by_alias = world.get(VISITOR, f"/fhir/Patient/{old_id}/$everything")
    assert {resource["id"].split(".")[0] for resource in resources(by_alias)} == {old_id}
    assert "9990002126" not in by_alias.text

    def content(response) -> list[str]:
        bodies = [resource for resource in resources(response) if resource["resourceType"] not in ("Patient", "Provenance")]
        return sorted(
            json.dumps(resource.get("code") or resource.get("vaccineCode") or resource["resourceType"]) for resource in bodies
        )

    assert content(by_alias) == content(world.everything(VISITOR, "chloe")) != []


def test_a_restricted_person_has_no_locating_fact_in_any_answer_and_gp_connect_is_not_asked(world: World) -> None:
    before = world.seen("gp")
    for asker in (VISITOR, CENTRE):
        answer = world.everything(asker, "dara")
        assert resources(answer, "Patient")
        assert not [word for word in locating("dara") if word in said(answer)]
    answer = world.everything(VISITOR, "dara")
    assert states(answer) == {
        "gp": "nothing-to-show",
        "child-health": "answered",
        "local-authority": "answered",
        "childrens-centre": "answered",
    }
    assert resources(answer, "Immunization")  # clinical facts stay
    for resource in resources(answer):
        assert (
            not {"address", "telecom", "generalPractitioner", "managingOrganization", "serviceProvider", "location"}
            & resource.keys()
        )
    assert world.seen("gp") == before


def test_a_person_who_is_not_restricted_keeps_the_facts_that_locate(world: World) -> None:
    (patient,) = resources(world.find(VISITOR, BY_KEY["amara"].nhs_number), "Patient")
    assert patient["address"][0]["postalCode"] == address_of(BY_KEY["amara"]).postcode
    assert patient["generalPractitioner"][0]["identifier"]["value"] == "A99901"


def test_a_number_invalidated_after_adoption_answers_nothing_and_links_to_nothing(world: World) -> None:
    before, after = BY_KEY["eli-before"], BY_KEY["eli-after"]
    empty = world.everything(VISITOR, "eli-before")
    assert shape(empty) == shape(world.find(VISITOR, "9990020302"))
    new = world.everything(VISITOR, "eli-after")
    (patient,) = resources(new, "Patient")
    for word in (before.nhs_number, before.family, before.local_id, before.centre_id):
        assert word not in said(new)
    assert after.nhs_number not in said(empty)
    assert states(new)["authority"] == "nothing-to-show"  # the old name's case is not the new name's
    assert not world.ask_database(
        "select 1 from person where successor = ? or (id = ? and successor is not null)", patient["id"], patient["id"]
    )


def test_a_person_invalidated_later_is_sealed_and_the_number_starts_anew_if_it_ever_lives_again(world: World) -> None:
    petra = BY_KEY["petra"].nhs_number
    (patient,) = resources(world.find(VISITOR, petra), "Patient")
    world.sandbox("invalidated", "pds", petra)
    world.change("update person set expired = true where id = ?", patient["id"])  # as a change event does
    nobody = world.find(VISITOR, "9990021317")
    assert shape(world.find(VISITOR, petra)) == shape(nobody)
    by_id = world.get(VISITOR, f"/fhir/Immunization?patient={patient['id']}")
    assert shape(by_id)[0] == 200
    assert resources(by_id) == []
    world.heal()
    assert resources(world.find(VISITOR, petra), "Patient") == []  # who cared for her was linked to the number that died
    world.relate("caseload", petra, VISITOR.organisation, starts=today())
    (anew,) = resources(world.find(VISITOR, petra), "Patient")
    assert anew["id"] != patient["id"]
    assert resources(world.get(VISITOR, f"/fhir/Immunization?patient={patient['id']}")) == []
    assert world.get(VISITOR, f"/fhir/Patient/{patient['id']}").status_code == 404


def test_a_death_is_shown_with_the_record(world: World) -> None:
    answer = world.everything(GP, "farah")
    (patient,) = resources(answer, "Patient")
    assert patient["deceasedDateTime"].startswith("2026-01-15")
    assert resources(answer, "Immunization")
    assert states(answer)["gp"] == "nothing-to-show"


def test_twins_are_never_mixed(world: World) -> None:
    answers = {key: world.everything(GP, key) for key in ("grace", "hugo")}
    ids = {key: {resource["id"] for resource in resources(answer)} for key, answer in answers.items()}
    assert not ids["grace"] & ids["hugo"]
    for mine, other in (("grace", "hugo"), ("hugo", "grace")):
        text = answers[mine].text
        assert BY_KEY[mine].nhs_number in text
        for word in (BY_KEY[other].nhs_number, BY_KEY[other].given, BY_KEY[other].local_id, BY_KEY[other].centre_id):
            assert word not in text


def test_a_recorded_objection_gives_the_empty_answer_and_its_reason_to_the_audit_alone(world: World) -> None:
    answer = world.find(GP, BY_KEY["isla"].nhs_number)
    assert shape(answer) == shape(world.find(GP, "9990020302"))
    assert "objection" not in said(answer).lower()
    (event,) = world.of_request(answer)
    assert (event["kind"], event["outcome"], event["detail"]["reason"]) == (
        "decision",
        "deny",
        "objection-to-direct-care-sharing",
    )
    assert event["detail"]["caller_level"] is False


def test_consent_refused_at_the_centre_closes_the_centres_view_and_not_a_section_47_enquiry(world: World) -> None:
    jonah = BY_KEY["jonah"]
    assert resources(world.everything(CENTRE, "jonah")) == []
    world.relate(
        "allocated-worker",
        jonah.nhs_number,
        WORKER.organisation,
        staff=f"{WORKER.organisation}|{WORKER.subject}",
        case=WORKER.case,
        starts=today(),
    )
    answer = world.everything(WORKER, "jonah")
    assert states(answer)["centre"] == "answered"
    assert {"EpisodeOfCare", "Encounter"} <= {resource["resourceType"] for resource in resources(answer)}


@pytest.mark.parametrize(
    ("asker", "key"), [(GP, "kiran"), (VISITOR, "kiran"), (CENTRE, "kiran"), (WORKER, "kiran"), (GP, "leah"), (VISITOR, "leah")]
)
def test_a_refuge_known_to_the_authority_alone_hides_where_mother_and_child_are_from_every_answer(
    asker: Asker, key: str, world: World
) -> None:
    answer = world.everything(asker, key)
    assert resources(answer, "Patient")
    assert len(resources(answer)) > 2
    assert not [word for word in (*locating("kiran"), *locating("leah")) if word in said(answer)]
    assert set(states(answer)) <= {"gp", "child-health", "local-authority", "childrens-centre"}
    for kind, resource in {resource["resourceType"]: resource for resource in resources(answer)}.items():
        if kind == "Provenance":  # comes with what it is about
            continue
        again = world.get(asker, f"/fhir/{kind}/{resource['id']}")
        assert again.status_code == 200
        assert not [word for word in (*locating("kiran"), *locating("leah")) if word in said(again)]


def test_a_practice_without_gp_connect_shows_nothing_by_this_route(world: World) -> None:
    answer = world.everything(VISITOR, "petra")
    assert states(answer)["gp"] == "nothing-to-show"
    assert resources(answer, "Immunization")
    assert "none shareable by this route" in told(answer)["gp"]
    assert outcome(answer)["issue"][-1]["details"]["text"].startswith("This answer holds what this caller may be shown")
