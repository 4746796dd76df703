"""The faults that the language must never be silent about, one by one: each in an otherwise sound map, each with its place.

Each row is one fault put into the synthetic clinic's maps; what must be said, where, and what to do about it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.mapping import Fault, MappingFaults, Maps, load
from tests.unit.mapping.test_outward_faults import FILES
from tests.unit.mapping.test_outward_faults import MAP as DESK

MAP = "clinic/findings.yaml"
SOURCE = "clinic/source.yaml"
SEVERITY = "codes/clinic-severity.csv"
UK = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-"
Faults = Callable[..., list[Fault]]


@dataclass(frozen=True)
class Slip:
    """One fault: the edit that makes it, where it must be named, what must be said and what to do."""

    name: str
    old: str
    new: str
    line: int
    column: int
    says: str
    do: str
    file: str = MAP
    at: str = MAP  # the file that is named


SLIPS = [
    Slip(
        "F1 target typo", "recordedDate:", "recordedDte:", 19, 7, "has no element 'recordedDte'", "did you mean 'recordedDate'?"
    ),
    Slip("F2 list element without index", "note[0].text", "note.text", 20, 7, "note is a list in R4", "say note[0] or note[+]"),
    Slip(
        "F3 raw source code in a bound element",
        "kind | code",
        "kind",
        16,
        13,
        "type is code, this line gives string",
        "translate(",
    ),
    Slip(
        "F4 source field typo", "seen_on |", "seen_onn |", 19, 21, "has no field 'findings.seen_onn'", "did you mean 'seen_on'?"
    ),
    Slip(
        "F6 required element missing",
        "      patient: = ref('Patient')\n",
        "",
        6,
        3,
        "AllergyIntolerance.patient is required (min 1) and no line sets it",
        "add one for patient",
    ),
    Slip("F7 fixed value outside the binding", "= 'final'", "= 'finall'", 31, 15, "status takes only: amended", "mean 'final'?"),
    Slip("F9 syntax error", "kind | code", "kind | translate('x'", 16, 33, "line ends too early", "too early"),
    Slip(
        "wrong extension url: not published under an official address",
        "device.display:",
        f"extension('{UK}ConditionEpisod').valueString:",
        38,
        7,
        "no such extension is published there",
        f"did you mean '{UK}ConditionEpisode'?",
    ),
    Slip(
        "wrong extension url: a slip in the address itself",
        "device.display:",
        "extension('https://fhir.hl7.org.uk/StructureDefiniton/Extension-UKCore-ConditionEpisode').valueString:",
        38,
        7,
        "no such extension is published",
        f"did you mean '{UK}ConditionEpisode'?",
    ),
    Slip(
        "wrong extension url: a part's bare name where a whole address belongs",
        "device.display:",
        "extension('endDate').valueString:",
        38,
        7,
        "an extension's URL is a whole one",
        "https://...",
    ),
    Slip(
        "extension in the wrong place",
        "note[0].text:",
        f"extension('{UK}AllergyIntoleranceEnd').extension('endDate').valueDateTime:",
        20,
        7,
        "this extension stands on AllergyIntolerance.clinicalStatus",
        "not here",
    ),
    Slip(
        "extension of the wrong shape: a value where it has parts only",
        "note[0].text:",
        f"clinicalStatus.extension('{UK}AllergyIntoleranceEnd').valueString:",
        20,
        118,
        "this extension has no value of its own",
        "say extension('endDate') or extension('reasonEnded')",
    ),
    Slip(
        "extension of the wrong shape: a value of another type",
        "device.display:",
        "extension('http://hl7.org/fhir/StructureDefinition/data-absent-reason').valueString:",
        38,
        79,
        "this extension's value is code",
        "not string",
    ),
    Slip(
        "extension whose value is none of its required codes",
        "device.display: extension('urn:clinic:scale', 'urn:clinic:Scale').valueString",
        "extension('http://hl7.org/fhir/StructureDefinition/data-absent-reason').valueCode: = 'forgotten'",
        38,
        90,
        "valueCode takes only: as-text",
        "as-text, asked-declined",
    ),
    Slip(
        "code map target outside the binding",
        "translate('clinic-severity')",
        "translate('clinic-state')",
        25,
        31,
        "gives a code outside the required codes of severity",
        "mild, moderate, severe",
    ),
    Slip(
        "code map row inexact without a note",
        "the clinic has no word between",
        "",
        4,
        74,
        "an inexact row needs a note",
        "say what gets lost",
        SEVERITY,
        SEVERITY,
    ),
    Slip(
        "duplicate target line",
        "      note[0].text: remark\n",
        "      note[0].text: remark\n      note[0].text: id\n",
        21,
        7,
        "this name stands here twice",
        "keep one",
    ),
    Slip(
        "duplicate target line: the whole and a part of it",
        "      patient: =",
        "      code.text: id\n      patient: =",
        18,
        12,
        "code is already set whole by line 17",
        "keep one of the two",
    ),
    Slip(
        "duplicate target line: a part and then the whole",
        "      code: allergy | codeable('clinic-allergy')\n",
        "      code.extension('urn:x:y').valueString: id\n      code: allergy | codeable('clinic-allergy')\n",
        18,
        7,
        "code is set more than once",
        "keep one line, or name its parts",
    ),
    Slip(
        "duplicate target line: an entry that is added twice",
        "      note[0].text: remark\n",
        "      category[+]: kind | code\n      category[+]: kind | code\n",
        21,
        7,
        "this very line stands here twice",
        "keep one",
    ),
    Slip(
        "unreachable line: conditions that exclude each other",
        "recordedDate: seen_on | dateTime",
        "recordedDate: {from: seen_on | dateTime, when: kind = 'a' and kind = 'b'}",
        19,
        54,
        "this line is never reached",
        "its conditions exclude each other",
    ),
    Slip(
        "unreachable line: it reads what its condition says is absent",
        "recordedDate: seen_on | dateTime",
        "recordedDate: {from: seen_on | dateTime, when: seen_on.empty()}",
        19,
        28,
        "this line is never reached",
        "it reads what its condition says is absent",
    ),
    Slip(
        "unreachable choice: behind a constant",
        "recordedDate: seen_on | dateTime",
        "recordedDate: first(= '2024-01-01', seen_on | dateTime)",
        19,
        43,
        "never reached",
        "the constant before it is always present",
    ),
    Slip(
        "unreachable block: its own condition",
        "when: closed != true",
        "when: closed = true and closed = false",
        10,
        11,
        "this line is never reached",
        "its conditions exclude each other",
    ),
    Slip(
        "a label missing",
        "sex: {type: string, class: identity}",
        "sex: {type: string}",
        6,
        7,
        "a field needs its class",
        "one of identity",
        SOURCE,
        SOURCE,
    ),
    Slip(
        "a constant alone creating an element: one that would say nothing",
        "      identifier[0].value: id\n",
        "",
        12,
        7,
        "constants alone make this Identifier, and it would say nothing",
        "add a line for its value",
    ),
    Slip(
        "a constant alone creating an element: an entry for each item",
        "        set:\n          manifestation[0].text: name\n          severity: how_bad | translate('clinic-severity')\n",
        "        set:\n          manifestation[0].text: = 'a sign'\n",
        21,
        7,
        "every line of this entry is a constant",
        "it would say nothing of what it is made for",
    ),
    Slip(
        "a whole-element copy of the wrong type",
        "      valueQuantity: kilograms | quantity('kg')\n",
        "      note[+]: by | copy\n",
        36,
        21,
        "copy takes a whole element, this is Reference",
        "use | reference",
    ),
    Slip(
        "a whole-element copy into an element of another type",
        "findings.remark: {type: string,",
        "findings.remark: {type: Period,",
        20,
        21,
        "text is markdown, this line gives Period",
        "name its parts",
        SOURCE,
    ),
    Slip(
        "a function given the wrong type",
        "by | reference('Practitioner')",
        "by | date",
        37,
        26,
        "date takes a simple field, this is Reference",
        "use another function",
    ),
    Slip(
        "a function given a constant of the wrong type",
        "kilograms | quantity('kg')",
        "kilograms | quantity(5)",
        36,
        34,
        "quantity takes a text in quotes as unit",
        "this is a whole number",
    ),
    Slip(
        "a function given a form that no date has",
        "seen_on | dateTime",
        "seen_on | dateTime('dd/mm/yyyy', 'Europe/London')",
        19,
        31,
        "'dd/mm/yyyy' is no form of a date",
        "write %d, %m, %Y",
    ),
    Slip(
        "a function given a time zone that does not exist",
        "seen_on | dateTime",
        "seen_on | dateTime('', 'Europe/Londn')",
        19,
        31,
        "there is no time zone 'Europe/Londn'",
        "did you mean 'Europe/London'?",
    ),
    Slip(
        "YAML trap: a tag",
        "type: kind | code",
        "type: !kind code",
        16,
        13,
        "YAML keeps a word after ! for itself",
        "write the value in quotes",
    ),
    Slip(
        "a function that gives the wrong type",
        "kilograms | quantity('kg')",
        "kilograms | decimal",
        36,
        22,
        "valueQuantity is Quantity, this line gives decimal",
        "use a function that gives one",
    ),
]


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.name)
def test_a_fault_is_named_with_file_line_column_and_what_to_do(faults: Faults, slip: Slip):
    (fault,) = faults((slip.file, slip.old, slip.new))
    assert (fault.file, fault.line, fault.column) == (slip.at, slip.line, slip.column), str(fault)
    assert slip.says in fault.message
    assert slip.do in fault.message


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "says"),
    [
        ("  day: Serv", "  ref: Serv", 11, 3, "this name stands here twice: keep one"),
        (
            "  words[+]: ServiceRequest.reasonCode.text\n",
            "  words[+]: ServiceRequest.reasonCode.text\n  words[+]: ServiceRequest.reasonCode.text\n",
            15,
            3,
            "this very line stands here twice: it would write everything twice; keep one",
        ),
        (
            "  coded: ServiceRequest.code | copy\n",
            "  coded: ServiceRequest.code | copy\n  coded.text: ServiceRequest.status\n",
            22,
            9,
            "coded is already set whole by line 21: keep one of the two",
        ),
    ],
)
def test_a_duplicate_target_line_of_an_outward_map_is_named(
    tmp_path: Path, old: str, new: str, line: int, column: int, says: str
):
    for name, text in FILES.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        assert name != DESK or old in text
        place.write_text(text.replace(old, new, 1) if name == DESK else text, "utf-8")
    with pytest.raises(MappingFaults) as caught:
        load(tmp_path)
    found = [fault for fault in caught.value.faults if fault.message == says]
    assert [(fault.file, fault.line, fault.column) for fault in found] == [(DESK, line, column)], caught.value


def test_a_constant_alone_creating_a_resource_of_every_record_is_named(faults: Faults):
    block = (
        "  Encounter:\n    category: centre-attendance\n    key: child_id\n    set:\n      status: = 'finished'\n"
        "      class.code: = 'AMB'\n      subject: = ref('Patient')\nignore:\n"
    )
    (fault,) = faults((MAP, "ignore:\n", block))
    assert (fault.file, fault.line, fault.column) == (MAP, 39, 3)
    assert fault.message == "every line is a constant: each record would make this, and it would say nothing of it"


def test_the_extensions_parts_that_must_be_there_are_asked_for(faults: Faults):
    header = f"extension('{UK}RelatedProblemHeader')"
    edit = (
        MAP,
        "  Observation#weight:\n",
        f"  Condition:\n    category: other-health\n    key: child_id\n    set:\n"
        f"      subject: = ref('Patient')\n      {header}.extension('type').valueCode: sex | code\n  Observation#weight:\n",
    )
    (fault,) = faults(edit)
    assert fault.message == "this extension needs its part 'target' and no line sets it: add extension('target')"
    assert (fault.line, fault.column) == (31, 7)


def test_a_value_and_parts_of_one_extension_are_not_both(faults: Faults):
    lines = "      extension('urn:own').valueString: child_id\n      extension('urn:own').extension('a').valueString: child_id\n"
    (fault,) = faults((MAP, "      device.display:", lines.replace("child_id", "id") + "      device.display:"))
    assert (fault.line, fault.message) == (38, "an extension has one value, or parts: keep one of these lines")


def test_a_file_that_is_not_yaml_hides_no_fault_of_another(faults: Faults):
    found = faults((MAP, "because: synthetic", "because: a: b"), (SEVERITY, "the clinic has no word between", ""))
    assert [fault.file for fault in found] == [MAP, SEVERITY]


# ------------------------------------------------------------------------------------------------- extensible bindings

CATEGORY = """\
  Condition:
    category: other-health
    key: child_id
    set:
      subject: = ref('Patient')
      {line}
  Observation#weight:
"""
ROWS = """\
# licence: our own rows
source,source_display,target_system,target,target_display,equivalence,note,approved_by,on
a,A,https://fhir.hl7.org.uk/CodeSystem/UKCore-ConditionCategory,elsewhere,Elsewhere,equivalent,{note},A. Reviewer,2026-01-05
"""


def test_a_constant_outside_an_extensible_binding_is_warned_of_and_loads(loaded: Callable[..., Maps]):
    line = "category[0].coding[0].code: = 'elsewhere'\n      code.text: sex"
    maps = loaded((MAP, "  Observation#weight:\n", CATEGORY.format(line=line)))
    (warning,) = maps.warnings
    assert (warning.file, warning.line, warning.column) == (MAP, 31, 7)
    assert warning.message == "this code is none of those that R4 or UK Core asks for here wherever one of them fits"


def test_a_code_of_an_extensible_binding_is_warned_of_in_another_system_only(loaded: Callable[..., Maps]):
    code = "category[0].coding[0].code: = 'encounter-diagnosis'"
    right = "category[0].coding[0].system: = 'http://terminology.hl7.org/CodeSystem/condition-category'"
    wrong = "category[0].coding[0].system: = 'urn:another'"
    assert (
        loaded((MAP, "  Observation#weight:\n", CATEGORY.format(line="\n      ".join([right, code, "code.text: sex"])))).warnings
        == ()
    )
    (warning,) = loaded(
        (MAP, "  Observation#weight:\n", CATEGORY.format(line="\n      ".join([wrong, code, "code.text: sex"])))
    ).warnings
    assert "one of them has this code, in another system" in warning.message


@pytest.mark.parametrize("call", ["codeable", "translate"])
def test_a_code_map_row_outside_an_extensible_binding_says_in_its_note_why(
    loaded: Callable[..., Maps], faults: Faults, call: str
):
    target = "category[0]" if call == "codeable" else "category[0].coding[0].code"
    block = (MAP, "  Observation#weight:\n", CATEGORY.format(line=f"{target}: sex | {call}('own')"))
    (fault,) = faults(block, ("codes/own.csv", "", ROWS.format(note="")))
    assert (fault.file, fault.line, fault.column) == (MAP, 31, 7)
    assert fault.message == "codes/own.csv:3 gives a code outside those asked for here: its note says why none of them fits"
    assert loaded(block, ("codes/own.csv", "", ROWS.format(note="no word for it"))).warnings == ()
