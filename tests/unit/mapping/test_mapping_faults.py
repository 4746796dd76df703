"""Every mistake that hurts is named at load, with file, line and column: the ten seeded faults, and others."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.mapping import Fault, MapResult, Maps, map_record

FINDINGS = "clinic/findings.yaml"
SOURCE = "clinic/source.yaml"
Faults = Callable[..., list[Fault]]


def only(faults: list[Fault]) -> tuple[str, int, int, str]:
    assert len(faults) == 1, [str(fault) for fault in faults]
    fault = faults[0]
    return fault.file, fault.line, fault.column, fault.message


def test_f1_a_target_typo_is_named_with_the_right_element(faults: Faults):
    found = only(faults((FINDINGS, "recordedDate:", "recordedDte:")))
    assert found == (FINDINGS, 19, 7, "AllergyIntolerance has no element 'recordedDte' (did you mean 'recordedDate'?)")


def test_f2_a_list_element_without_an_index_is_named(faults: Faults):
    found = only(faults((FINDINGS, "note[0].text", "note.text")))
    assert found == (FINDINGS, 20, 7, "note is a list in R4: say note[0] or note[+]")


def test_f2_an_index_on_what_is_no_list_is_named(faults: Faults):
    assert "is not a list in R4" in only(faults((FINDINGS, "recordedDate:", "recordedDate[0]:")))[3]


def test_f3_a_raw_source_code_in_a_bound_element_is_named(faults: Faults):
    found = only(faults((FINDINGS, "type: kind | code", "type: kind")))
    assert found == (FINDINGS, 16, 13, "type is code, this line gives string (add | translate('…'))")


def test_f4_a_source_field_typo_is_named_with_the_right_field(faults: Faults):
    found = only(faults((FINDINGS, "seen_on |", "seen_onn |")))
    message = "clinic-child-1 has no field 'findings.seen_onn' (did you mean 'seen_on'?)"
    assert found == (FINDINGS, 19, 21, message)


def test_f5_a_source_code_not_in_the_code_map_refuses_with_the_line_and_never_the_value(
    mapped: Callable[..., MapResult], finding: Any
):
    result = mapped(findings=[{**finding, "state": "secret-word"}])
    assert result.resources == ()
    assert [(one.where, one.reason) for one in result.refused] == [
        ("row 1", "a code that the code map does not know (clinic/findings.yaml:15)")
    ]


def test_f6_a_required_element_that_no_line_sets_is_named(faults: Faults):
    found = only(faults((FINDINGS, "      patient: = ref('Patient')\n", "")))
    assert found == (FINDINGS, 6, 3, "AllergyIntolerance.patient is required (min 1) and no line sets it: add one for patient")


def test_f6_uk_cores_own_required_element_is_named(faults: Faults):
    found = only(faults((FINDINGS, "      code: allergy | codeable('clinic-allergy')\n", "")))
    assert found == (FINDINGS, 6, 3, "AllergyIntolerance.code is required (min 1) and no line sets it: add one for code")


def test_f6_a_required_part_of_an_element_is_named(faults: Faults):
    assert only(faults((FINDINGS, "          manifestation[0].text: name\n", "")))[3] == (
        "AllergyIntolerance.reaction.manifestation is required (min 1) and no line sets it: add one for manifestation"
    )


def test_f7_a_fixed_value_outside_the_binding_is_named_with_the_allowed_codes(faults: Faults):
    found = only(faults((FINDINGS, "status: = 'final'", "status: = 'finall'")))
    assert found[:3] == (FINDINGS, 31, 15)
    assert found[3].startswith("status takes only: amended, cancelled, corrected, entered-in-error, final")
    assert found[3].endswith("(did you mean 'final'?)")


def test_f7_a_fixed_code_inside_a_bound_concept_is_checked_too(faults: Faults):
    found = faults((FINDINGS, "coding[0].code: state | translate('clinic-state')", "coding[0].code: = 'open'"))
    assert "takes only: active, inactive, resolved" in only(found)[3]


def test_f8_a_new_field_of_the_source_is_reported_by_path_never_by_value(mapped: Callable[..., MapResult], finding: Any):
    result = mapped(findings=[{**finding, "religion": "secret-word"}], outcome2="secret-word")
    assert result.accounting is not None
    assert result.accounting.unmapped == ("findings.religion", "outcome2")


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ("kind | code", "kind | translate('clinic-state'", (16, 44), "line ends too early"),
        ("kind | code", "kind |", (16, 19), "line ends too early"),
        ("kind | code", "kind ~ code", (16, 18), "a character that does not belong here"),
        ("= 'final'", "= final", (31, 17), "expected a constant: 'text' in quotes, a number, true or false"),
        ("kind | code", "kind code", (16, 18), "unexpected text after the end of the expression"),
        ("closed != true", "closed", (10, 17), "a condition is x.exists()"),
    ],
)
def test_f9_a_syntax_error_is_named_where_it_stands(faults: Faults, old: str, new: str, at: tuple[int, int], message: str):
    file, line, column, said = only(faults((FINDINGS, old, new)))
    assert file == FINDINGS
    assert (line, column) == at
    assert said.startswith(message)


def test_f9_what_is_not_yaml_is_named_where_it_stands(faults: Faults):
    file, line, _, message = only(faults((FINDINGS, "because: synthetic", "because: %ctx")))
    assert (file, line) == (FINDINGS, 4)
    assert "needs quotes" in message


def test_f10_a_malformed_date_refuses_with_the_line_and_never_the_value(mapped: Callable[..., MapResult], finding: Any):
    result = mapped(findings=[{**finding, "seen_on": "14.3.2024"}])
    assert [one.reason for one in result.refused] == ["not a date and time (clinic/findings.yaml:19)"]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            FINDINGS,
            "| codeable('clinic-allergy')",
            "| codeabl('clinic-allergy')",
            "no function 'codeabl' (did you mean 'codeable'?)",
        ),
        (
            FINDINGS,
            "codeable('clinic-allergy')",
            "codeable('clinic-alergy')",
            "no code map 'clinic-alergy' (did you mean 'clinic-allergy'?)",
        ),
        (FINDINGS, "translate('clinic-severity')", "translate('clinic-state')", "outside the required codes of severity"),
        (FINDINGS, "category: allergies", "category: alergies", "no category 'alergies' (did you mean 'allergies'?)"),
        (FINDINGS, "AllergyIntolerance:", "AllergyIntolerence:", "R4 has no resource 'AllergyIntolerence' (did you mean"),
        (FINDINGS, "AllergyIntolerance:", "Patient:", "no map makes one"),
        (FINDINGS, "reads: clinic-child-1", "reads: clinic-child-2", "source.yaml has no schema 'clinic-child-2' (did you mean"),
        (FINDINGS, "map: clinic/findings", "map: other/findings", "a map of this folder is named clinic/..."),
        (FINDINGS, "sex: the answer's person is the traced one", "sex: ", "an ignored field needs its reason"),
        (FINDINGS, "undecided: []", "undecided: [sex]", "1 fields are still undecided"),
        (FINDINGS, "quantity('kg')", "date", "valueQuantity is Quantity, this line gives date"),
        (
            FINDINGS,
            "by | reference('Practitioner')",
            "by | copy",
            "copy takes a whole element, this is Reference (use | reference)",
        ),
        (FINDINGS, "reference('Practitioner')", "reference('Encounter')", "performer cannot lead to Encounter"),
        (
            FINDINGS,
            "patient: = ref('Patient')",
            "patient: = ref('Encounter')",
            "no map of this record has a block 'Encounter' without each",
        ),
        (FINDINGS, "    key: id\n", "    key: weights.id\n", "has no field 'weights.weights'"),
        (FINDINGS, "    key: id\n", "", "Observation needs 'key:'"),
        (FINDINGS, "subject: =", "id: =", "id is not a mapping's to write"),
        (
            FINDINGS,
            "recordedDate: seen_on | dateTime",
            "recordedDate: signs.name | dateTime",
            "this path repeats: say first(), or write to [+]",
        ),
        (FINDINGS, "recordedDate: seen_on", "onset: seen_on", "no element 'onset' (did you mean 'onsetDateTime'?)"),
        (
            FINDINGS,
            "code: allergy | codeable('clinic-allergy')",
            "code: = 'HH'",
            "code is CodeableConcept, a constant is text: write code.coding[0].system and code.coding[0].code, or read a field",
        ),
        (
            FINDINGS,
            "device.display:",
            "extension('https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-X').valueString:",
            "no such extension",
        ),
        (
            FINDINGS,
            "device.display:",
            "extension('http://hl7.org/fhir/StructureDefinition/data-absent-reason').valueString:",
            "this extension's value is code, not string",
        ),
        (
            FINDINGS,
            "note[0].text:",
            "clinicalStatus.extension('https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-AllergyIntoleranceEnd').extension('endDat').valueString:",
            "this extension has no part 'endDat' (did you mean 'endDate'?)",
        ),
        (
            FINDINGS,
            "note[0].text:",
            "extension('https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-AllergyIntoleranceEnd').extension('endDate').valueDateTime:",
            "this extension stands on AllergyIntolerance.clinicalStatus, not here",
        ),
        (
            FINDINGS,
            "device.display:",
            "extension('https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-ParentPresent').valueBoolean:",
            "this extension stands on Immunization, not here",
        ),
        (FINDINGS, "recordedDate: seen_on", "recordedDate: first(= '2024-01-01', seen_on)", "never reached: the constant"),
        (
            FINDINGS,
            "recordedDate: seen_on | dateTime",
            "recordedDate: {from: seen_on | dateTime, when: seen_on.empty()}",
            "never reached: it reads what its condition says is absent",
        ),
        (
            FINDINGS,
            "recordedDate: seen_on | dateTime",
            "recordedDate: {from: seen_on | dateTime, when: \"kind = 'a' and kind != 'a'\"}",
            "never reached: its conditions exclude each other",
        ),
        (FINDINGS, "device.display:", "modifierExtension('urn:x').valueString:", "no map makes a modifier extension"),
        (SOURCE, "child_id: {type: string, class: identity}", "child_id: {type: string}", "a field needs its class"),
        (SOURCE, "class: identity}", "class: idenity}", "unknown class (did you mean 'identity'?)"),
        (SOURCE, "marks: [locating]", "marks: [locatin]", "unknown mark (did you mean 'locating'?)"),
        (SOURCE, "repeats: true", "repeat: true", "a field has no 'repeat' (did you mean 'repeats'?)"),
        (SOURCE, "type: decimal", "type: decimel", "type is string, date"),
        ("codes/clinic-state.csv", "# licence: our own rows\n", "", "a '# licence:' line is missing"),
        ("codes/clinic-state.csv", "source,source_display", "source,display", "the header row must be"),
        ("codes/clinic-severity.csv", "the clinic has no word between", "", "an inexact row needs a note"),
        ("codes/clinic-severity.csv", "3,Very", "1,Very", "this source code stands here twice"),
        ("codes/clinic-allergy.csv", "unmatched", "equivalent", "an unmatched row has no target"),
        ("codes/clinic-allergy.csv", "equivalent", "alike", "equivalence is one of"),
        ("codes/clinic-allergy.csv", "A. Reviewer", "", "a row needs approved_by and on"),
        (
            "clinic/functions.py",
            "",
            "def odd(value: str) -> str:\n    return value\n",
            "needs the types of gateway.mapping.functions",
        ),
        (
            "clinic/functions_more.py",
            "",
            "def odd(value: str) -> str:\n    return value\n",
            "needs the types of gateway.mapping.functions",
        ),
        ("clinic/units.yaml", "", "title: none\n", "'kinds:' is missing"),
        (
            "r4-marks.yaml",
            "",
            "types:\n  Flag: {category: child-protection, class: safeguarding, plain: [codee]}\n",
            "Flag has no element 'codee'",
        ),
    ],
)
def test_what_cannot_be_right_is_named_at_load(faults: Faults, file: str, old: str, new: str, message: str):
    found = faults((file, old, new))
    assert any(message in fault.message for fault in found), [str(fault) for fault in found]
    assert all(fault.line >= 1 and fault.column >= 1 for fault in found)


def test_several_faults_are_named_at_once_in_the_order_of_the_file(faults: Faults):
    found = faults((FINDINGS, "recordedDate:", "recordedDte:"), (FINDINGS, "quantity('kg')", "quantty('kg')"))
    assert [fault.line for fault in found] == [19, 36]


def test_a_line_that_sets_the_whole_and_one_that_sets_a_part_is_named(faults: Faults):
    found = faults((FINDINGS, "      patient: =", "      code.text: id\n      patient: ="))
    assert any("already set whole" in fault.message for fault in found)


def test_an_override_replaces_a_code_map(loaded: Callable[..., Maps], tmp_path: Any, context: Any, record: Any, finding: Any):
    from gateway.mapping import load

    loaded()
    site = tmp_path / "site"
    site.mkdir()
    text = (tmp_path / "maps/codes/clinic-state.csv").read_text("utf-8").replace("open,Open", "begun,Begun")
    (site / "clinic-state.csv").write_text(text, "utf-8")
    maps = load(tmp_path / "maps", overrides=site)
    for state, made in (("begun", 1), ("open", 0)):
        result = map_record(maps, "clinic", record(child_id="c1", findings=[{**finding, "state": state}]), context)
        assert len(result.resources) == made


WEIGHED = """from gateway.mapping.functions import Quantity, Text


def weighed(value: Text) -> Quantity:
    return Quantity({"unit": value})
"""


def test_functions_may_lie_in_several_files_and_a_name_in_one_of_them_only(loaded: Callable[..., Maps], faults: Faults):
    loaded(("clinic/functions_more.py", "", WEIGHED), (FINDINGS, "kilograms | quantity('kg')", "by.display | weighed"))
    twice = faults(("clinic/functions.py", "", WEIGHED), ("clinic/functions_more.py", "", WEIGHED))
    assert only(twice) == ("clinic/functions_more.py", 4, 1, "weighed: another file has a function of this name")
