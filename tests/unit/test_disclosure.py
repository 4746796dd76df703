from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from msgspec import structs
from policy_world import EVERY_TYPE, PERSON, SOURCES, facts, identity, mapped, policy, recorded, request

from gateway import systems
from gateway.consent import decide
from gateway.disclosure import Page, disclose
from gateway.disclosure.paging import ENTRY_BYTES
from gateway.errors import InternalFault, PolicyNotActive
from gateway.model import (
    CareClass,
    Category,
    ConsentFact,
    Mark,
    Permit,
    PersonId,
    Purpose,
    RefusedRecord,
    SourceReport,
    SourceState,
    Unless,
)

WIDE = Page(500, 1_000_000)
SUBJECT = {"reference": f"Patient/{PERSON}"}
ANSWERED = [SourceReport(name, SourceState.ANSWERED) for name in SOURCES]


def permit(**kwargs) -> Permit:
    made = decide(facts(**kwargs), policy(), SOURCES)
    assert isinstance(made, Permit), made
    return made


def disclosed(resources=(), *, of=None, under=None, reports=ANSWERED, refused=(), page=WIDE):
    who = of or identity()
    return disclose(resources, reports, refused, recorded(permit() if under is None else under), who, policy(), page=page)


def allergy(key="a1", **more):
    elements = {"patient": SUBJECT, "code": {"text": "Penicillin"}} | more.pop("elements", {})
    return mapped("AllergyIntolerance", "gp", Category.ALLERGIES, CareClass.HEALTH, key=key, **more, **elements)


def jab(key="i1", **more):
    elements = {
        "status": "completed",
        "vaccineCode": {"text": "MMR"},
        "patient": SUBJECT,
        "occurrenceDateTime": "2025-03-01",
    } | more.pop("elements", {})
    return mapped("Immunization", "child-health", Category.IMMUNISATIONS, CareClass.HEALTH, key=key, **more, **elements)


def flag(care_class=CareClass.SAFEGUARDING, **more):
    return mapped(
        "Flag",
        "authority",
        Category.CHILD_PROTECTION,
        care_class,
        **more,
        status="active",
        code={"text": "Child protection plan"},
        subject=SUBJECT,
        author={"display": "Northshire Council"},
    )


def kinds(made):
    return [item.body["resourceType"] for item in made.resources]


def body(made, kind):
    return next(item.body for item in made.resources if item.body["resourceType"] == kind)


# --------------------------------------------------------------------------------------------- deciding item by item


def test_what_is_permitted_leaves_with_its_rules_and_labels():
    made = disclosed([allergy()])
    item = made.resources[1]
    assert (item.rules, item.stripped, item.source) == (("direct-care-gp",), (), "gp")
    assert item.body["meta"]["security"] == [
        {"system": systems.V3_CONFIDENTIALITY, "code": "N"},
        {"system": systems.CARE_CLASS, "code": "health"},
    ]
    assert made.withheld == {}


def test_the_original_is_not_touched():
    item = allergy(
        paths={Mark.THIRD_PARTY: (("note",),)}, elements={"note": [{"text": "of the mother"}], "meta": {"profile": ["p"]}}
    )
    made = disclosed([item])
    assert "note" not in body(made, "AllergyIntolerance")
    assert body(made, "AllergyIntolerance")["meta"]["profile"] == ["p"]
    assert item.body["note"] == [{"text": "of the mother"}]
    assert item.body["meta"] == {"profile": ["p"]}


def test_a_locked_item_is_withheld_and_the_others_leave():
    made = disclosed([allergy("a1", locked=True), allergy("a2")])
    assert [item.body["id"] for item in made.resources[1:]] == [f"{PERSON}.gp.a2"]
    assert made.withheld == {"source-lock": 1}


def test_each_item_is_decided_by_its_own_class():
    made = disclosed([flag(), flag(CareClass.SPECIAL, key="k2")])
    assert kinds(made) == ["Patient", "Flag"]
    assert made.withheld == {"special-facts-outside-an-enquiry": 1}


def test_an_unknown_category_or_class_is_withheld():
    made = disclosed(
        [structs.replace(allergy(), category="allergies-of-a-kind"), structs.replace(allergy("a2"), care_class="odd")]
    )
    assert kinds(made) == ["Patient"]
    assert made.withheld == {"unknown-label": 2}


def test_an_unknown_mark_is_withheld():
    made = disclosed([allergy(paths={"odd-mark": (("note",),)})])
    assert made.withheld == {"unknown-label": 1}


@pytest.mark.parametrize(
    "security",
    [
        [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}],
        [{"system": "urn:somebody", "code": "N"}],
        [{}],
        {"code": "N"},
    ],
)
def test_a_label_we_do_not_know_means_the_most_restricted(security):
    made = disclosed([allergy(elements={"meta": {"security": security}})])
    assert made.withheld == {"special-facts-outside-an-enquiry": 1}


def test_a_label_that_restricts_nothing_is_kept_beside_ours():
    normal = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}
    made = disclosed([allergy(elements={"meta": {"security": [normal]}})])
    assert body(made, "AllergyIntolerance")["meta"]["security"][-1] == normal


def test_a_source_the_permit_does_not_cover_gives_nothing():
    made = disclosed([structs.replace(allergy(), source="elsewhere")])
    assert made.withheld == {"source-not-covered": 1}
    under = permit()
    assert disclosed([allergy()], under=replace(under, sources=under.sources - {"gp"})).withheld == {"source-not-covered": 1}
    assert disclosed([allergy()], under=replace(under, terms={})).withheld == {"source-not-covered": 1}


def test_an_item_under_another_sources_agreement_does_not_leave_by_this_one():
    made = disclosed([mapped("Encounter", "gp", Category.CHILD_HEALTH_REVIEWS, CareClass.HEALTH, subject=SUBJECT)])
    assert made.withheld == {"no-agreement": 1}


def test_a_source_makes_no_patient_and_nothing_unasked_leaves():
    other = mapped("Patient", "gp", Category.DEMOGRAPHICS, CareClass.IDENTITY, name=[{"text": "somebody else"}])
    unasked = mapped("Basic", "gp", Category.ALLERGIES, CareClass.HEALTH)
    made = disclosed([other, unasked])
    assert kinds(made) == ["Patient"]
    assert "somebody else" not in repr(made.resources)


def test_scopes_narrow_what_leaves():
    asked = request(scopes=frozenset({"system/Immunization.rs"}))
    assert kinds(disclosed([allergy(), jab()], under=permit(asked=asked))) == ["Immunization"]


def test_a_read_answers_with_the_one_resource_asked_for():
    asked = request(types=frozenset({"AllergyIntolerance"}), interaction="read", resource_id=f"{PERSON}.gp.a2")
    made = disclosed([allergy("a1"), allergy("a2")], under=permit(asked=asked))
    assert [item.body["id"] for item in made.resources] == [f"{PERSON}.gp.a2"]


def test_two_records_with_one_id_are_one_and_a_refusal():
    second = allergy(elements={"code": {"text": "another"}})
    made = disclosed([allergy(), second], refused=[RefusedRecord("gp", "entry 9", "not a date")])
    assert kinds(made) == ["Patient", "AllergyIntolerance"]
    assert body(made, "AllergyIntolerance")["code"] == {"text": "Penicillin"}
    assert [refused.reason for refused in made.refused] == ["not a date", "another record has the same id"]


def test_another_policy_than_the_permits_releases_nothing():
    with pytest.raises(PolicyNotActive):
        disclosed(under=replace(permit(), policy_hash="another"))


def test_a_person_without_a_row_cannot_be_answered_for():
    with pytest.raises(InternalFault):
        disclosed(of=identity(person=None))


def test_withheld_is_told_only_where_the_permit_says_so():
    enquiry = permit(role="social-worker", purpose=Purpose.S47, case="C1")
    assert disclosed([flag(locked=True)], under=enquiry).withheld_known == {Category.CHILD_PROTECTION}
    assert disclosed([flag(locked=True)]).withheld_known == frozenset()


# ------------------------------------------------------------------------------------------------------------- marks


def test_a_mark_is_stripped_item_by_item_and_the_rest_stays():
    item = jab(
        paths={Mark.THIRD_PARTY: (("performer", "actor", "display"), ("note", "0", "text"))},
        elements={
            "performer": [{"actor": {"display": "Nurse"}}, {"actor": {"reference": "Practitioner/p"}}],
            "note": [{"text": "of the mother"}, {"text": "of the child"}],
        },
    )
    made = disclosed([item])
    left = body(made, "Immunization")
    assert left["performer"] == [{"actor": {"reference": "Practitioner/p"}}]
    assert left["note"] == [{"text": "of the child"}]
    assert made.resources[1].stripped == (Mark.THIRD_PARTY,)


def test_resources_of_one_map_share_their_marks():
    paths = {Mark.THIRD_PARTY: (("note",),), Mark.LOCATING: ()}
    made = disclosed([jab(key, paths=paths, elements={"note": [{"text": "of the mother"}]}) for key in ("i1", "i2")])
    assert ["note" in item.body for item in made.resources[1:]] == [False, False]


def test_a_place_kept_for_an_extension_stays_in_its_place():
    item = jab(
        paths={Mark.THIRD_PARTY: (("education", "referenceList", "secret"),)},
        elements={"education": [None, {"referenceList": {"secret": 1}}]},
    )
    assert body(disclosed([item]), "Immunization")["education"] == [None]


def test_a_nested_primitive_goes_with_its_extension():
    actor = {"display": "Nurse", "_display": {"id": "x"}, "type": "Practitioner"}
    item = jab(paths={Mark.THIRD_PARTY: (("performer", "actor", "display"),)}, elements={"performer": [{"actor": actor}]})
    assert body(disclosed([item]), "Immunization")["performer"] == [{"actor": {"type": "Practitioner"}}]


def test_an_extension_in_the_place_of_a_required_value_counts():
    item = jab(paths={Mark.THIRD_PARTY: (("note",),)}, elements={"note": [{"text": "x"}], "_status": {"extension": []}})
    del item.body["status"]
    assert body(disclosed([item]), "Immunization")["_status"] == {"extension": []}


def test_a_path_may_lead_deep():
    deep = {"actor": {"identifier": {"system": "urn:x", "value": "1"}, "display": "Nurse"}}
    item = jab(paths={Mark.THIRD_PARTY: (("performer", "actor", "identifier", "value"),)}, elements={"performer": [deep]})
    assert body(disclosed([item]), "Immunization")["performer"] == [
        {"actor": {"identifier": {"system": "urn:x"}, "display": "Nurse"}}
    ]


def test_a_mark_that_takes_nothing_out_is_not_said_to_have():
    paths = {Mark.THIRD_PARTY: (("performer", "actor"), ("note",), ("performer", "function", "text"))}
    made = disclosed([jab(paths=paths, elements={"performer": [{"function": {}}]})])
    assert made.resources[1].stripped == ()
    assert body(made, "Immunization")["performer"] == [{"function": {}}]


def test_a_primitives_extension_goes_with_it():
    item = allergy(
        paths={Mark.THIRD_PARTY: (("recordedDate",), ("asserter", "display"))},
        elements={"recordedDate": "2025-01-01", "_recordedDate": {"id": "x"}, "_asserter": {"display": "x", "id": "y"}},
    )
    left = body(disclosed([item]), "AllergyIntolerance")
    assert "recordedDate" not in left
    assert "_recordedDate" not in left
    assert left["_asserter"] == {"id": "y"}


def test_paths_that_lead_nowhere_change_nothing():
    paths = {
        Mark.THIRD_PARTY: (
            ("note", "7"),
            ("note", "1"),
            ("code", "text", "deeper"),
            ("nothing", "here"),
            ("note", "0", "nothing"),
        )
    }
    made = disclosed([allergy(paths=paths, elements={"note": [{"text": "words"}]})])
    assert body(made, "AllergyIntolerance")["note"] == [{"text": "words"}]
    assert made.resources[1].stripped == ()


def test_an_item_of_a_list_goes_by_its_place():
    item = allergy(paths={Mark.THIRD_PARTY: (("note", "0"),)}, elements={"note": [{"text": "one"}, {"text": "two"}]})
    assert body(disclosed([item]), "AllergyIntolerance")["note"] == [{"text": "two"}]
    only = allergy(paths={Mark.THIRD_PARTY: (("note", "0"),)}, elements={"note": [{"text": "one"}]})
    assert "note" not in body(disclosed([only]), "AllergyIntolerance")


def test_what_a_source_left_out_itself_does_not_withhold_the_rest():
    item = mapped(
        "AllergyIntolerance",
        "gp",
        Category.ALLERGIES,
        CareClass.HEALTH,
        paths={Mark.THIRD_PARTY: (("asserter", "display"),)},
        asserter={"display": "x", "reference": "Patient/y"},
    )
    assert body(disclosed([item]), "AllergyIntolerance")["asserter"] == {"reference": "Patient/y"}


def test_every_mark_may_stand_on_one_resource():
    paths = dict.fromkeys(Mark, (("note",),))
    made = disclosed([allergy(paths=paths, elements={"note": [{"text": "x"}]})])
    assert "note" not in body(made, "AllergyIntolerance")


@pytest.mark.parametrize("path", [("*",), (), ("patient",), ("patient", "reference")])
def test_a_resource_that_would_not_be_whole_is_withheld(path):
    made = disclosed([allergy(paths={Mark.THIRD_PARTY: (path,)})])
    assert kinds(made) == ["Patient"]
    assert made.withheld == {"mark:third-party": 1}


def test_a_choice_element_counts_as_required_whichever_type_it_has():
    paths = {Mark.THIRD_PARTY: (("occurrenceDateTime",),)}
    assert disclosed([jab(paths=paths)]).withheld == {"mark:third-party": 1}


def test_a_type_whose_needs_are_not_known_is_withheld_when_stripped():
    item = mapped(
        "Goal",
        "gp",
        Category.ALLERGIES,
        CareClass.HEALTH,
        paths={Mark.THIRD_PARTY: (("note",),)},
        note=[{"text": "x"}],
        subject=SUBJECT,
    )
    asked = request(types=EVERY_TYPE | {"Goal"})
    assert disclosed([item], under=permit(asked=asked)).withheld == {"mark:third-party": 1}


def test_nothing_left_of_the_whole_resource_is_withheld():
    paths = {Mark.THIRD_PARTY: (("resourceType",), ("id",), ("patient",), ("code",))}
    assert disclosed([allergy(paths=paths)]).withheld == {"mark:third-party": 1}


def test_opinion_stays_for_a_gp_and_goes_for_a_centre():
    item = jab(paths={Mark.OPINION: (("note",),)}, elements={"note": [{"text": "seems well"}]})
    assert "note" in body(disclosed([item]), "Immunization")
    consent = frozenset({ConsentFact("share-centres", "permit")})
    centre = permit(role="centre-worker", purpose=Purpose.COC, consents=consent)
    assert "note" not in body(disclosed([item], under=centre), "Immunization")


NOPAT = [{"system": "http://hl7.org/fhir/v3/ActCode", "code": "NOPAT"}]


def test_what_is_not_for_the_family_never_reaches_it():
    family = replace(permit(), strip=permit().strip | {Mark.NOT_FOR_FAMILY})
    marked = jab("i2", paths={Mark.NOT_FOR_FAMILY: (("*",),)})
    normal = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}
    plain = jab("i3", elements={"meta": {"security": [normal]}})
    made = disclosed([jab("i1", elements={"meta": {"security": NOPAT}}), marked, plain], under=family)
    assert [item.body["id"] for item in made.resources[1:]] == [f"{PERSON}.child-health.i3"]
    assert made.withheld == {"mark:not-for-family": 2}


def test_a_professional_sees_what_is_not_for_the_family_and_that_it_is_not():
    made = disclosed([jab(elements={"meta": {"security": NOPAT}})])
    assert body(made, "Immunization")["meta"]["security"][-1]["code"] == "NOPAT"


# --------------------------------------------------------------------------------------------------------- protected


def test_every_locating_fact_of_a_protected_person_goes_marked_or_not():
    item = jab(
        elements={
            "meta": {"profile": ["urn:p"], "source": "urn:meadowvale", "tag": [{"code": "from-meadowvale"}]},
            "identifier": [{"system": "urn:northshire", "value": "1"}],
            "text": {"status": "generated", "div": "<div>Willow Street</div>"},
            "contained": [{"resourceType": "Organization", "id": "o"}],
            "location": {"reference": "Location/l1", "display": "Willow Centre"},
            "manufacturer": {"display": "Maker"},
            "performer": [
                {"actor": {"reference": "Organization/o1", "display": "Meadowvale"}},
                {"actor": {"display": "Dr Near"}},
            ],
            "site": {"coding": [{"code": "LA", "display": "left arm"}], "text": "left arm"},
            "note": [
                {"text": "no reaction", "authorReference": {"reference": "https://x/Practitioner/p"}},
                {"time": "2025-01-01"},
            ],
            "encounter": {"reference": "#contained"},
            "reaction": [{"detail": {"reference": "Practitioner/p"}}],
            "reasonReference": [{"reference": "urn:uuid:1"}],
            "extension": [
                {"url": "urn:procedure", "valueCodeableConcept": {"text": "MMR vaccination"}},
                {"url": "urn:place", "valueAddress": {"city": "Northshire"}},
            ],
        },
    )
    made = disclosed([item], under=permit(protected=True))
    left = dict(body(made, "Immunization"))
    assert set(left.pop("meta")) == {"profile", "security"}
    assert left == {
        "resourceType": "Immunization",
        "id": f"{PERSON}.child-health.i1",
        "status": "completed",
        "vaccineCode": {"text": "MMR"},
        "patient": SUBJECT,
        "occurrenceDateTime": "2025-03-01",
        "site": {"text": "left arm"},
        "note": [{"text": "no reaction"}],
        "extension": [{"url": "urn:procedure", "valueCodeableConcept": {"text": "MMR vaccination"}}],
    }


@pytest.mark.parametrize(
    ("coding", "left"),
    [
        ({"system": "http://snomed.info/sct", "code": "38598009", "display": "MMR"}, True),
        ({"system": "http://snomed.info/sct", "code": "38598008", "display": "MMR"}, False),
        ({"system": "http://snomed.info/sct", "code": "WillowRefuge", "display": "Willow refuge"}, False),
        ({"system": "https://fhir.nhs.uk/STU3/CodeSystem/DCH-ReasonNotGiven-1", "code": "3", "display": "MMR"}, True),
        ({"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "NA", "display": "MMR"}, True),
        ({"system": "https://willow.example/codes", "code": "1", "display": "Willow refuge"}, False),
        ({"system": "http://snomed.info/sct/willow", "code": "1", "display": "Willow refuge"}, False),
        ({"system": "https://fhir.nhs.uk/Id/ods-organization-code", "code": "1", "display": "Willow refuge"}, False),
        ({"system": "http://snomed.info/sct", "display": "Willow refuge"}, False),
        ({"code": "1", "display": "Willow refuge"}, False),
    ],
)
def test_a_code_goes_for_a_protected_person_with_all_it_says_unless_a_terminology_vouches_for_it(coding, left):
    item = jab(elements={"vaccineCode": {"coding": [coding, {"system": "http://snomed.info/sct", "code": "27113001"}]}})
    made = disclosed([item], under=permit(protected=True))
    first = body(made, "Immunization")["vaccineCode"]["coding"][0]
    assert first == (coding if left else {"system": "http://snomed.info/sct", "code": "27113001"})
    assert body(disclosed([item]), "Immunization")["vaccineCode"]["coding"][0] == coding


def test_words_that_a_map_says_itself_stay_for_a_protected_person_and_a_sources_do_not():
    for said, left in (("Registered with a centre", True), ("Registered with Willow Centre", False)):
        item = jab(
            elements={"vaccineCode": {"coding": [{"system": "http://snomed.info/sct", "code": "27113001"}], "text": said}},
            paths={Mark.LOCATING: (("vaccineCode", Unless("text", frozenset({"Registered with a centre"}))),)},
        )
        shown = body(disclosed([item], under=permit(protected=True)), "Immunization")
        assert ("text" in shown["vaccineCode"]) is left
        assert body(disclosed([item]), "Immunization")["vaccineCode"]["text"] == said


def test_a_name_beside_a_link_goes_for_a_protected_person_and_the_link_stays():
    item = jab(
        elements={
            "patient": {**SUBJECT, "display": "Kiran, of Willow refuge"},
            "encounter": {"reference": f"Encounter/{PERSON}.gp.e", "display": "Visit at Willow refuge", "type": "Encounter"},
            "note": [{"text": "no reaction", "authorString": "Dr Near, Willow refuge"}],
        },
    )
    left = body(disclosed([item], under=permit(protected=True)), "Immunization")
    assert (left["patient"], left["encounter"]) == (SUBJECT, {"reference": f"Encounter/{PERSON}.gp.e"})
    assert left["note"] == [{"text": "no reaction"}]


def test_the_flag_of_a_protected_child_stays_without_its_author():
    made = disclosed([flag()], under=permit(protected=True))
    assert "author" not in body(made, "Flag")
    assert "Northshire" not in repr(made.resources)


def test_places_and_people_of_a_protected_person_go_whole():
    place = mapped("Location", "gp", Category.ALLERGIES, CareClass.HEALTH, name="Willow Centre")
    asked = request(types=EVERY_TYPE | {"Location"})
    made = disclosed([place], under=permit(asked=asked, protected=True))
    assert made.withheld == {"mark:locating": 1}


def test_a_resource_that_is_nothing_but_a_place_goes_whole():
    odd = mapped("Flag", "authority", Category.CHILD_PROTECTION, CareClass.SAFEGUARDING, display="x")
    odd = structs.replace(odd, body={"resourceType": "Flag", "id": "x", "reference": "Organization/o1"})
    assert disclosed([odd], under=permit(protected=True)).withheld == {"mark:locating": 1}


def test_a_resource_about_a_place_goes_whole_for_a_protected_person():
    odd = mapped("Flag", "authority", Category.CHILD_PROTECTION, CareClass.SAFEGUARDING)
    odd = structs.replace(odd, body={**flag().body, "subject": {"reference": "Location/l1"}})
    assert disclosed([odd], under=permit(protected=True)).withheld == {"mark:locating": 1}


def test_nothing_is_said_to_be_stripped_where_nothing_locates():
    made = disclosed([jab()], under=permit(protected=True))
    assert made.resources[1].stripped == ()


def test_a_backbone_that_loses_what_it_needs_goes_as_a_whole():
    visit = mapped(
        "EpisodeOfCare",
        "authority",
        Category.SOCIAL_CARE_INVOLVEMENT,
        CareClass.SOCIAL_CARE,
        paths={Mark.LOCATING: (("statusHistory", "period"),)},
        status="active",
        patient=SUBJECT,
        statusHistory=[{"status": "active", "period": {"start": "2025"}}],
        managingOrganization={"display": "Northshire Council"},
    )
    made = disclosed([visit], under=permit(protected=True))
    assert set(body(made, "EpisodeOfCare")) == {"resourceType", "id", "status", "patient", "meta"}
    assert made.resources[1].stripped == (Mark.LOCATING,)


def test_a_backbone_that_is_no_list_is_held_to_the_same():
    paths = {Mark.THIRD_PARTY: (("protocolApplied", "authority"), ("protocolApplied", "doseNumberString"))}
    named = {"series": "x", "authority": {"display": "x"}}
    lost = disclosed([jab(paths=paths, elements={"protocolApplied": {**named, "doseNumberString": "one"}})])
    assert "protocolApplied" not in body(lost, "Immunization")
    kept = disclosed([jab(paths=paths, elements={"protocolApplied": {**named, "doseNumberPositiveInt": 1}})])
    assert body(kept, "Immunization")["protocolApplied"] == {"series": "x", "doseNumberPositiveInt": 1}


# ------------------------------------------------------------------------------------------------------- the Patient


def test_the_patient_is_the_traces_with_our_id_and_comes_first():
    made = disclosed([allergy()])
    patient = made.resources[0].body
    assert patient["id"] == PERSON
    assert patient["address"]
    assert "somethingNew" not in patient
    assert "contact" not in patient  # other people
    assert made.resources[0].rules == ("direct-care-gp",)


@pytest.mark.parametrize("hidden", ["protected", "stale"])
def test_a_protected_or_stale_patient_has_no_address_telecom_or_practice(hidden):
    who = identity(stale=hidden == "stale")
    made = disclosed(of=who, under=permit(of=who, protected=hidden == "protected"))
    assert set(made.resources[0].body) == {"resourceType", "id", "identifier", "name", "birthDate", "meta"}


def test_the_answer_speaks_with_the_id_that_the_caller_used():
    old = PersonId("b" * 26)
    assert disclosed(of=identity(alias=old)).resources[0].body["id"] == old


def test_no_patient_where_demographics_are_not_permitted():
    under = permit()
    hidden = replace(under, facts=replace(under.facts, agreements=frozenset()))
    made = disclosed(under=hidden)
    assert made.resources == ()
    assert made.withheld == {"no-agreement": 1}


# ----------------------------------------------------------------------------------------------------------- reports


def test_every_source_of_the_permit_is_reported_and_no_other():
    made = disclosed([allergy()], reports=[*ANSWERED, SourceReport("elsewhere", SourceState.ANSWERED)][1:])
    assert {report.source: report.state for report in made.reports} == {
        "authority": SourceState.NOTHING,
        "centre": SourceState.NOTHING,
        "child-health": SourceState.NOTHING,
        "gp": SourceState.NOTHING,
    }


def test_a_source_whose_all_was_withheld_looks_like_one_that_held_nothing():
    warned = [SourceReport("gp", SourceState.ANSWERED, warnings=(("allergies", "confidential-items"),))]
    withheld = disclosed([allergy(locked=True)], reports=warned)
    report = next(report for report in withheld.reports if report.source == "gp")
    assert (report.state, report.warnings) == (SourceState.NOTHING, ())


@pytest.mark.parametrize("state", [SourceState.ANSWERED, SourceState.STALE])
def test_a_source_whose_records_were_refused_and_that_shows_nothing_has_failed_and_is_never_none(state):
    refused = [RefusedRecord("gp", "entry 9", "a code that the code map does not know")]
    at = datetime(2026, 11, 21, tzinfo=UTC)
    reports = [SourceReport(name, state, at) for name in SOURCES]
    for resources, states in (
        ([], (SourceState.FAILED, "records-refused", None)),
        ([allergy(locked=True)], (SourceState.FAILED, "records-refused", None)),
        ([allergy()], (state, "", at)),
    ):
        made = {report.source: report for report in disclosed(resources, reports=reports, refused=refused).reports}
        assert (made["gp"].state, made["gp"].reason, made["gp"].as_of) == states
        assert made["gp"].warnings == ((("", "records-refused"),) if made["gp"].as_of else ())
        assert made["child-health"].state is not SourceState.FAILED


def test_a_warning_is_shown_only_for_a_category_that_is_permitted():
    warned = [
        SourceReport("gp", SourceState.ANSWERED, warnings=(("allergies", "confidential-items"), ("medications", "disabled")))
    ]
    made = disclosed([allergy()], reports=warned)
    assert next(report for report in made.reports if report.source == "gp").warnings == (("allergies", "confidential-items"),)


def test_a_failed_source_stays_failed():
    made = disclosed(reports=[SourceReport("gp", SourceState.FAILED)])
    assert {report.source: report.state for report in made.reports}["gp"] is SourceState.FAILED


# ------------------------------------------------------------------------------------------------------------- pages


def keys(made):
    return [f"{item.body['resourceType']}/{item.body['id'].rsplit('.', 1)[-1]}" for item in made.resources]


MANY = [jab("i2"), allergy("a2"), jab("i1"), allergy("a1")]
IN_ORDER = [f"Patient/{PERSON}", "AllergyIntolerance/a1", "AllergyIntolerance/a2", "Immunization/i1", "Immunization/i2"]


def test_the_order_is_fixed_whatever_order_sources_answer_in():
    assert keys(disclosed(MANY)) == keys(disclosed(MANY[::-1])) == IN_ORDER


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_pages_by_count_join_to_the_whole(count):
    seen, after = [], None
    for _ in range(10):
        made = disclosed(MANY, page=Page(count, 1_000_000, after))
        seen += keys(made)
        assert len(made.resources) <= count
        after = made.next_key
        if after is None:
            break
        assert len(made.resources) == count
    assert seen == IN_ORDER


def test_a_page_ends_before_it_is_too_large_and_holds_at_least_one():
    made = disclosed(MANY, page=Page(500, 1))
    assert keys(made) == IN_ORDER[:1]
    assert made.next_key == f"Patient/{PERSON}"
    sizes = [len(item.encoded) for item in disclosed(MANY).resources]
    two = sum(sizes[:2]) + 2 * ENTRY_BYTES
    assert len(disclosed(MANY, page=Page(500, two)).resources) == 2
    assert len(disclosed(MANY, page=Page(500, two - 1)).resources) == 1


def test_the_bytes_carried_are_the_body():
    made = disclosed([allergy(elements={"criticality": "high", "onsetAge": {"value": Decimal("1.50")}})])
    assert b'"value":1.50' in made.resources[1].encoded
    assert all(msgspec.json.decode(item.encoded)["id"] == item.body["id"] for item in made.resources)


# -------------------------------------------------------------------------------------------------------- Provenance

WITH_PROVENANCE = request(types=EVERY_TYPE | {"Provenance"})


def provenances(made):
    return {item.source: item.body for item in made.resources if item.body["resourceType"] == "Provenance"}


def test_each_source_that_gave_has_one_provenance_naming_its_custodian():
    newer = structs.replace(allergy("a2"), as_of=datetime(2026, 11, 21, 13, 0, tzinfo=UTC))
    found = provenances(disclosed([newer, allergy(), jab(), flag(locked=True)], under=permit(asked=WITH_PROVENANCE)))
    assert set(found) == {"gp", "child-health"}
    gp = found["gp"]
    assert gp["agent"][0]["who"] == {
        "type": "Organization",
        "identifier": {"system": systems.ODS_CODE, "value": "A99901"},
        "display": "Riverside Surgery",
    }
    assert [target["reference"] for target in gp["target"]] == [f"AllergyIntolerance/{PERSON}.gp.{key}" for key in ("a1", "a2")]
    assert gp["recorded"] == "2026-11-21T13:00:00.000Z"
    assert gp["entity"] == [{"role": "source", "what": {"display": "mapped by a/map@1.0.0"}}]
    assert found["child-health"]["agent"][0]["who"]["display"] == "Meadowvale Community Health"


def test_a_protected_persons_provenance_names_a_kind_and_no_organisation():
    found = provenances(disclosed([allergy(), jab()], under=permit(asked=WITH_PROVENANCE, protected=True)))
    assert [body["agent"][0]["who"] for body in found.values()] == [
        {"display": "A child health record"},
        {"display": "A GP record"},
    ]
    assert "entity" not in found["gp"]
    assert not any(name in repr(found) for name in ("Riverside", "A99901", "Meadowvale", "RXX99"))


def test_a_custodian_without_a_system_of_codes_is_named_only():
    consents = frozenset({ConsentFact("share-health", "permit")})
    visit = mapped(
        "EpisodeOfCare", "centre", Category.CENTRE_INVOLVEMENT, CareClass.OPERATIONAL, status="active", patient=SUBJECT
    )
    found = provenances(disclosed([visit], under=permit(asked=WITH_PROVENANCE, consents=consents)))
    assert found["centre"]["agent"][0]["who"] == {"type": "Organization", "display": "Willow Children's Centre"}


def test_a_custodian_nobody_knows_is_named_by_kind():
    who = identity(practice=None)
    found = provenances(disclosed([allergy()], of=who, under=permit(of=who, asked=WITH_PROVENANCE)))
    assert found["gp"]["agent"][0]["who"] == {"type": "Organization", "display": "A GP record"}


def test_a_provenance_id_is_stable_and_fits():
    one, two = (provenances(disclosed([allergy()], under=permit(asked=WITH_PROVENANCE)))["gp"]["id"] for _ in range(2))
    assert one == two
    assert one.startswith(f"{PERSON}.gp.")
    assert len(one) <= 64


def test_a_sources_own_lock_on_a_person_is_told_to_nobody_but_those_who_may_know_what_is_withheld():
    locked = [SourceReport("gp", SourceState.NOTHING, warnings=(("allergies", "locked-at-source"),))]
    for may_know, heard in ((frozenset(), ()), (frozenset({Category.ALLERGIES}), (("allergies", "locked-at-source"),))):
        made = disclosed(under=replace(permit(), may_know_withheld=may_know), reports=locked)
        assert next(report for report in made.reports if report.source == "gp").warnings == heard
