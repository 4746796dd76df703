"""What maps do to records: labels, constants, absence, refusals, tracebacks on the YAML line."""

import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.mapping import Context, MapResult, Maps, Unusable, encode, map_record, shape_faults
from gateway.mapping.context import Run
from gateway.model import CareClass, Category, Mark, Unless

Mapped = Callable[..., MapResult]
FINDINGS = "clinic/findings.yaml"


def body(result: MapResult, number: int = 0) -> dict[str, Any]:
    assert result.refused == ()
    return dict(result.resources[number].body)


def test_a_finding_becomes_an_allergy(mapped: Mapped, finding: Any):
    result = mapped(findings=[{**finding, "signs": [{"name": "rash", "how_bad": "1"}, {"name": "cough"}]}])
    assert body(result) == {
        "resourceType": "AllergyIntolerance",
        "id": "p.clinic.AllergyIntolerance-c1-f1",
        "meta": {"profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-AllergyIntolerance"]},
        "identifier": [{"system": "urn:clinic:finding", "value": "f1"}],
        "clinicalStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]
        },
        "type": "allergy",
        "code": {
            "coding": [
                {"system": "http://snomed.info/sct", "code": "91934008", "display": "Allergy to nut"},
                {"system": "urn:clinic:allergy", "code": "NUT", "display": "Nuts"},
            ]
        },
        "patient": {"reference": "Patient/" + "p" * 26},
        "recordedDate": "2024-03-14",
        "reaction": [
            {"manifestation": [{"text": "rash"}], "severity": "mild"},
            {"manifestation": [{"text": "cough"}]},
        ],
    }
    assert shape_faults(body(result)) == []


def test_labels_come_from_the_fields_that_the_lines_read(mapped: Mapped, finding: Any):
    made = mapped(findings=[finding], weights=[{"id": "w1", "kilograms": Decimal("9.80")}]).resources
    allergy, weight = made
    assert (allergy.category, allergy.care_class) == (Category.ALLERGIES, CareClass.SPECIAL)  # the remark is special
    assert allergy.paths == {
        Mark.THIRD_PARTY: (("note", "text"),),
        Mark.LOCATING: (("code", "text"), ("note", "text"), ("reaction", "manifestation", "text")),
    }  # words beside a code may name a place
    assert (weight.category, weight.care_class) == (Category.CHILD_HEALTH_REVIEWS, CareClass.HEALTH)
    assert weight.paths == {Mark.LOCATING: (("performer",),)}
    assert (allergy.mapping, allergy.where, allergy.source) == ("clinic/findings@1.0.0", "row 1", "clinic")


def test_the_maps_own_words_are_no_sources_words(loaded: Callable[..., Maps]):
    maps = loaded((FINDINGS, "      note[0].text: remark\n", "      note[0].text: first(remark, = 'Nothing was said')\n"))
    block = maps.plans("clinic")[0].blocks[0]
    found = {path: path[-1] for path in block.paths[Mark.LOCATING]}
    last = found["note", "text"]
    assert isinstance(last, Unless)
    assert last.words == {"Nothing was said"}
    assert not isinstance(found["code", "text"], Unless)
    assert not any(isinstance(path[-1], Unless) for path in block.paths[Mark.THIRD_PARTY])


def test_what_adapters_give_is_known_without_data(clinic: Maps):
    assert clinic.gives("clinic") == {
        (Category.ALLERGIES, CareClass.SPECIAL),
        (Category.CHILD_HEALTH_REVIEWS, CareClass.HEALTH),
    }


def test_a_condition_on_a_marked_field_marks_the_whole_resource(loaded: Callable[..., Maps]):
    maps = loaded((FINDINGS, "when: closed != true", "when: remark != 'kept back'"))
    block = maps.plans("clinic")[0].blocks[0]
    assert ("*",) in block.paths[Mark.THIRD_PARTY]


def test_a_constant_never_makes_an_element_alone(
    mapped: Mapped, loaded: Callable[..., Maps], context: Context, record: Any, finding: Any
):
    maps = loaded(
        (FINDINGS, "      note[0].text: remark\n", "      note[0].text: remark\n      note[0].time: = '2024-01-01'\n"),
        (FINDINGS, "device.display:", "device.type: = 'Device'\n      device.display:"),
    )
    data = {"child_id": "c1", "findings": [finding], "weights": [{"id": "w1", "kilograms": Decimal("9.8")}]}
    result = map_record(maps, "clinic", record(**data), context)
    assert "note" not in body(result)
    assert "device" not in body(result, 1)
    data["findings"][0]["remark"] = "seen"
    assert body(map_record(maps, "clinic", record(**data), context))["note"] == [{"text": "seen", "time": "2024-01-01"}]


def test_a_constant_with_nothing_beside_it_stands_by_itself(mapped: Mapped):
    made = body(mapped(weights=[{"id": "w1"}]))
    assert made["code"] == {"coding": [{"system": "http://snomed.info/sct", "code": "27113001"}]}
    assert "valueQuantity" not in made


@pytest.mark.parametrize("absent", [None, "", "  ", []])
def test_an_absent_source_writes_nothing(mapped: Mapped, finding: Any, absent: Any):
    made = body(mapped(findings=[{**finding, "seen_on": absent, "remark": absent, "signs": absent}]))
    assert made.keys().isdisjoint({"recordedDate", "note", "reaction"})


def test_an_unknown_code_is_kept_as_text_where_the_map_says_so(mapped: Mapped, finding: Any):
    assert body(mapped(findings=[{**finding, "allergy": "new word"}]))["code"] == {"text": "new word"}


def test_an_unmatched_code_keeps_the_sources_own_coding(mapped: Mapped, finding: Any):
    code = body(mapped(findings=[{**finding, "allergy": "ODD"}]))["code"]
    assert code == {"coding": [{"system": "urn:clinic:allergy", "code": "ODD", "display": "Something odd"}]}


def test_a_resource_without_its_required_element_is_refused_and_the_rest_go_on(mapped: Mapped, finding: Any):
    broken = {name: value for name, value in finding.items() if name != "allergy"}
    result = mapped(findings=[broken, {**finding, "id": "f2"}])
    assert [made.body["id"] for made in result.resources] == ["p.clinic.AllergyIntolerance-c1-f2"]
    assert [(one.where, one.reason) for one in result.refused] == [
        ("row 1, AllergyIntolerance 1", "AllergyIntolerance.code is required and the source gave none (clinic/findings.yaml:6)")
    ]


def test_a_code_outside_the_binding_is_refused_at_run_time(mapped: Mapped, finding: Any):
    (refused,) = mapped(findings=[{**finding, "kind": "secret-word"}]).refused
    assert refused.reason == "a code outside the element's required codes (clinic/findings.yaml:16)"


def test_a_resource_without_its_key_is_refused(mapped: Mapped):
    (refused,) = mapped(weights=[{"kilograms": Decimal(9)}]).refused
    assert refused.reason.startswith("the key of the resource is absent")


def test_when_leaves_a_resource_out_without_a_refusal(mapped: Mapped, finding: Any):
    result = mapped(findings=[{**finding, "closed": True}])
    assert (result.resources, result.refused) == ((), ())


def test_a_single_value_counts_as_a_list_of_one_where_the_dictionary_says_it_repeats(mapped: Mapped, finding: Any):
    assert mapped(findings=finding) == mapped(findings=[finding])


def test_a_list_where_the_dictionary_promises_one_value_is_refused_never_cut(mapped: Mapped, finding: Any):
    (refused,) = mapped(findings=[{**finding, "seen_on": ["2024-03-14", "2024-03-15"]}]).refused
    assert refused.reason.startswith("a field repeats where the field dictionary says it does not (clinic/findings.yaml:19)")
    assert mapped(findings=[{**finding, "seen_on": ["2024-03-14"]}]).refused == ()


@pytest.mark.parametrize("odd", [{"x": 1}, [["a"]], 7.5, True, "text"])
def test_odd_values_are_refused_not_raised(mapped: Mapped, finding: Any, odd: Any):
    for name in ("id", "allergy", "state", "seen_on", "signs"):
        result = mapped(findings=[{**finding, name: odd}])
        assert len(result.resources) + len(result.refused) == 1
    assert len(mapped(findings=odd).refused) <= 1


def test_both_spellings_of_an_extension_are_read(mapped: Mapped):
    for url in ("urn:clinic:scale", "urn:clinic:Scale"):
        weight = {"id": "w1", "extension": [{"url": "urn:other", "valueString": "no"}, {"url": url, "valueString": "scale 7"}]}
        assert body(mapped(weights=[weight]))["device"] == {"display": "scale 7"}


def test_a_reference_gets_our_id_where_its_type_is_one_we_make_and_only_its_display_elsewhere(mapped: Mapped):
    by = {"reference": "Practitioner/7", "display": "Dr Example"}
    assert body(mapped(weights=[{"id": "w", "by": by}]))["performer"] == [
        {"reference": "Practitioner/p.clinic.Practitioner-7", "display": "Dr Example"}
    ]
    for outside in ("Organization/7", "#7", "https://elsewhere.example/Practitioner/7", "urn:uuid:7"):
        made = body(mapped(weights=[{"id": "w", "by": {**by, "reference": outside}}]))
        assert made["performer"] == [{"display": "Dr Example"}]


def test_decimals_keep_their_digits(mapped: Mapped):
    made = body(mapped(weights=[{"id": "w", "kilograms": Decimal("9.80")}]))
    assert b'"value":9.80' in encode(made)


def test_a_record_of_a_schema_without_a_map_is_refused(clinic: Maps, context: Context, record: Any):
    result = map_record(clinic, "clinic", record("clinic-child-9", x="1"), context, account=True)
    assert [one.reason for one in result.refused] == ["no map reads this kind of record"]
    assert result.accounting is not None
    assert result.accounting.unmapped == ("x",)


def test_the_traceback_of_a_line_names_the_mapping_file_and_line(clinic: Maps, context: Context, finding: Any):
    (block, _) = clinic.by_schema[("clinic", "clinic-child-1")][0].blocks
    data = {"child_id": "c1", "findings": [{**finding, "seen_on": "never"}]}
    with pytest.raises(Unusable) as caught:
        block.build(Run(context, clinic.codes), data, data["findings"][0])
    frames = [(Path(frame.filename).name, frame.lineno, frame.line) for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert ("findings.yaml", 19, "recordedDate: seen_on | dateTime") in frames


def test_two_runs_give_the_same_bytes_whatever_the_order_of_the_input(mapped: Mapped, finding: Any):
    shuffled = dict(reversed(finding.items()))
    one, two = (encode([made.body for made in mapped(findings=[each]).resources]) for each in (finding, shuffled))
    assert one == two


def test_a_reference_to_a_block_of_the_same_record_leads_to_its_id(loaded: Callable[..., Maps], context: Context, record: Any):
    maps = loaded(
        (
            FINDINGS,
            "ignore:\n",
            "  EpisodeOfCare:\n    category: centre-involvement\n    key: child_id\n    when: sex.exists()\n    set:\n"
            "      status: = 'active'\n      patient: = ref('Patient')\n"
            "  Encounter:\n    category: centre-attendance\n    key: child_id\n    set:\n      status: = 'finished'\n"
            "      class.code: = 'AMB'\n      subject: = ref('Patient')\n      episodeOfCare[0]: = ref('EpisodeOfCare')\n"
            "ignore:\n",
        )
    )
    with_one = map_record(maps, "clinic", record(child_id="c1", sex="1"), context)
    assert body(with_one, 1)["episodeOfCare"] == [{"reference": "EpisodeOfCare/" + str(body(with_one)["id"])}]
    assert "episodeOfCare" not in body(map_record(maps, "clinic", record(child_id="c1"), context))


def test_a_reference_to_a_refused_block_of_the_same_record_is_not_written(
    loaded: Callable[..., Maps], context: Context, record: Any
):
    maps = loaded(
        (
            FINDINGS,
            "resources:\n",
            "resources:\n  Encounter:\n    category: centre-attendance\n    key: child_id\n    set:\n      status: = 'finished'\n"
            "      class.code: = 'AMB'\n      subject: = ref('Patient')\n      episodeOfCare[0]: = ref('EpisodeOfCare')\n"
            "  EpisodeOfCare:\n    category: centre-involvement\n    key: child_id\n    set:\n"
            "      status: sex | code\n      patient: = ref('Patient')\n",
        )
    )
    result = map_record(maps, "clinic", record(child_id="c1", sex="no such status"), context)
    assert [made.body["resourceType"] for made in result.resources] == ["Encounter"]
    assert "episodeOfCare" not in result.resources[0].body
    assert len(result.refused) == 1


def test_two_forms_of_a_choice_at_once_are_refused(loaded: Callable[..., Maps], context: Context, record: Any, finding: Any):
    maps = loaded((FINDINGS, "recordedDate: seen_on", "onsetString: remark\n      onsetDateTime: seen_on"))
    result = map_record(maps, "clinic", record(child_id="c1", findings=[{**finding, "remark": "early"}]), context)
    assert [one.reason.split(" (")[0] for one in result.refused] == ["AllergyIntolerance.onset[x] has more than one value"]
    assert map_record(maps, "clinic", record(child_id="c1", findings=[finding]), context).refused == ()


def test_first_takes_the_first_that_is_present(loaded: Callable[..., Maps], context: Context, record: Any, finding: Any):
    maps = loaded((FINDINGS, "note[0].text: remark", "note[0].text: first(remark, state | text, = 'nothing')"))
    for given, wanted in (({"remark": "a"}, "a"), ({}, "open")):
        result = map_record(maps, "clinic", record(child_id="c1", findings=[{**finding, **given}]), context)
        assert body(result)["note"] == [{"text": wanted}]


def test_a_line_of_its_own_when(loaded: Callable[..., Maps], context: Context, record: Any, finding: Any):
    maps = loaded(
        (FINDINGS, "note[0].text: remark", "note[0].text: {from: remark, when: state in ('over') and kind = 'allergy'}")
    )
    for state, wanted in (("over", True), ("open", False)):
        result = map_record(maps, "clinic", record(child_id="c1", findings=[{**finding, "remark": "a", "state": state}]), context)
        assert ("note" in body(result)) == wanted


def test_where_keeps_the_entries_that_match(loaded: Callable[..., Maps], context: Context, record: Any, finding: Any):
    maps = loaded((FINDINGS, "note[0].text: remark", "note[0].text: signs.where(name='rash').how_bad.first() | text"))
    signs = [{"name": "cough", "how_bad": "1"}, {"name": "rash", "how_bad": "3"}]
    result = map_record(maps, "clinic", record(child_id="c1", findings=[{**finding, "signs": signs}]), context)
    assert body(result)["note"] == [{"text": "3"}]


def test_code_maps_are_served_as_concept_maps(clinic: Maps):
    maps = {one["id"]: one for one in clinic.concept_maps()}
    assert all(shape_faults(one) == [] for one in maps.values())
    rows = maps["clinic-severity"]["group"][0]
    assert rows["target"] == "http://hl7.org/fhir/reaction-event-severity"
    assert rows["element"][1] == {
        "code": "3",
        "display": "Very",
        "target": [
            {"equivalence": "inexact", "code": "severe", "display": "Severe", "comment": "the clinic has no word between"}
        ],
    }


def test_the_hash_names_the_bytes_that_were_loaded(clinic: Maps, loaded: Callable[..., Maps]):
    assert clinic.hash != loaded((FINDINGS, "version: 1.0.0", "version: 1.0.1")).hash


def test_each_goes_over_lists_inside_lists_and_sees_the_item_around_and_the_record(
    loaded: Callable[..., Maps], context: Context, record: Any, finding: Any
):
    maps = loaded(
        (
            FINDINGS,
            "          manifestation[0].text: name\n",
            "          manifestation[0].text: name\n          description: '%outer.allergy | text'\n"
            "          note[+]:\n            each: how_bad\n            set:\n              text: '%record.child_id'\n",
        ),
        ("clinic/source.yaml", "findings.signs.how_bad: {type: code, class: health}", DEEPER),
        (FINDINGS, "          severity: how_bad | translate('clinic-severity')\n", ""),
    )
    signs = [{"name": "rash", "how_bad": [{"at": "1"}, {"at": "2"}]}, {"name": "cough"}]
    result = map_record(maps, "clinic", record(child_id="c1", findings=[{**finding, "signs": signs}]), context)
    assert body(result)["reaction"] == [
        {"manifestation": [{"text": "rash"}], "description": "NUT", "note": [{"text": "c1"}, {"text": "c1"}]},
        {"manifestation": [{"text": "cough"}], "description": "NUT"},
    ]


DEEPER = """findings.signs.how_bad: {type: object, repeats: true}
      findings.signs.how_bad.at: {type: string, class: health}"""


def test_of_a_choice_the_type_that_a_line_gives_is_the_element_that_is_written(
    loaded: Callable[..., Maps], context: Context, record: Any, finding: Any
):
    line = (
        "onsetString: {from: remark, when: kind = 'allergy'}\n"
        "      onsetDateTime: {from: seen_on | dateTime, when: kind != 'allergy'}"
    )
    maps = loaded((FINDINGS, "recordedDate: seen_on | dateTime", line))
    for kind, wanted in (("allergy", {"onsetString": "early"}), ("intolerance", {"onsetDateTime": "2024-03-14"})):
        given = {**finding, "remark": "early", "kind": kind}
        made = body(map_record(maps, "clinic", record(child_id="c1", findings=[given]), context))
        assert {name: made[name] for name in made if name.startswith("onset")} == wanted
