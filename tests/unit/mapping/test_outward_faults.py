"""Every mistake in an outward map that hurts is named at load, with file, line and column, and what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.mapping import Fault, MappingFaults, Maps, load
from gateway.systems import UK_CORE

MAP = "desk/ask-out.yaml"
TARGET = "desk/target.yaml"
CODES = "codes/desk-urgency.csv"

FILES = {
    "desk/source.yaml": "schemas: []\n",
    TARGET: """\
schemas:
  - schema: desk-ask-1
    about: what a desk takes
    fields:
      ref: {type: string, class: operational, required: true}
      number: {type: string, class: identity, required: true}
      day: {type: date, class: operational}
      sure: {type: boolean, class: operational}
      urgency: {type: code, class: operational, codes: [slow, fast]}
      words: {type: string, repeats: true, class: health}
      lines: {type: object, repeats: true}
      lines.text: {type: string, class: health}
      lines.kind: {type: code, class: operational, required: true}
      coded: {type: CodeableConcept, class: health}
      "extension('urn:x:seen').valueBoolean": {type: boolean, class: health}
""",
    MAP: """\
map: desk/ask-out
version: 1.0.0
writes: desk-ask-1
because: synthetic
takes:
  ServiceRequest: one
  PractitionerRole: optional
set:
  ref: "%ctx.key"
  number: "%ctx.nhs_number | nhsNumber"
  day: ServiceRequest.authoredOn | date
  sure: ServiceRequest.doNotPerform
  urgency: ServiceRequest.priority | translate('desk-urgency')
  words[+]: ServiceRequest.reasonCode.text
  lines[+]:
    each: ServiceRequest.note
    when: text.exists()
    set:
      text: text
      kind: = 'note'
  coded: ServiceRequest.code | copy
  lines[+]:
    each: PractitionerRole.telecom
    set:
      text: value
      kind: system | code
ignore:
  ServiceRequest.subject: said by the number
withhold:
  ServiceRequest.encounter: leads to the record
undecided: []
""",
    CODES: """\
# title: urgency
# licence: our own rows
source,source_display,target_system,target,target_display,equivalence,note,approved_by,on
slow,Slow,http://hl7.org/fhir/request-priority,routine,Routine,equivalent,,A. Reviewer,2026-01-05
fast,Fast,http://hl7.org/fhir/request-priority,urgent,Urgent,equivalent,,A. Reviewer,2026-01-05
""",
}
Faults = Callable[..., list[Fault]]


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Maps]:
    """The desk's maps after these edits (file, old text, new text); fails when an edit changes nothing."""

    def load_edited(*edits: tuple[str, str, str]) -> Maps:
        for name, text in FILES.items():
            for file, old, new in edits:
                if file == name:
                    assert old in text
                    text = text.replace(old, new, 1)
            place = tmp_path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, "utf-8")
        return load(tmp_path)

    return load_edited


@pytest.fixture
def faults(loaded: Callable[..., Maps]) -> Faults:
    def edited(*edits: tuple[str, str, str]) -> list[Fault]:
        with pytest.raises(MappingFaults) as caught:
            loaded(*edits)
        return list(caught.value.faults)

    return edited


def test_the_desk_loads_without_a_fault(loaded: Callable[..., Maps]):
    assert ("desk", "desk-ask-1") in loaded().outward


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ("  day: Serv", "  dayy: Serv", (11, 3), "desk-ask-1 has no field 'dayy' (did you mean 'day'?)"),
        ("      text: text", "      txt: text", (19, 7), "desk-ask-1 has no field 'lines.txt' (did you mean 'text'?)"),
        ('  number: "%ctx.nhs_number | nhsNumber"\n', "", (9, 3), "desk-ask-1 requires 'number' and no line writes it"),
        ("      kind: = 'note'\n", "", (15, 3), "desk-ask-1 requires 'lines.kind' and no line writes it"),
        ("authoredOn | date", "authoredOn", (11, 8), "day is date, this line gives dateTime (add | date)"),
        (".doNotPerform", ".priority", (12, 9), "sure is boolean, this line gives code (add | boolean)"),
        ("words[+]: ", "words: ", (14, 3), "words repeats in source.yaml: say words[0] or words[+]"),
        ("  day: Serv", "  day[0]: Serv", (11, 3), "day does not repeat in source.yaml: leave out the [ ]"),
        (
            "reasonCode.text",
            "reasoncode.text",
            (14, 13),
            "ServiceRequest has no element 'reasoncode' (did you mean 'reasonCode'?)",
        ),
        (
            ".authoredOn | date",
            ".occurrence | date",
            (11, 8),
            "ServiceRequest has no element 'occurrence' (did you mean 'occurrenceDateTime'?)",
        ),
        ("  day: ServiceRequest.authoredOn", "  day: Task.authoredOn", (11, 8), "this map takes no Task"),
        (
            "day: ServiceRequest.authoredOn",
            "day: ServiceRequest.note.time",
            (11, 8),
            "this path repeats: say first(), or write to [+]",
        ),
        (
            "  ServiceRequest: one",
            "  ServiceRequset: one",
            (6, 3),
            "R4 has no resource 'ServiceRequset' (did you mean 'ServiceRequest'?)",
        ),
        ("PractitionerRole: optional", "PractitionerRole: maybe", (7, 21), "takes says one, optional or many of a type"),
        (
            "| translate('desk-urgency')",
            "| translate('desk-urgncy')",
            (13, 38),
            "no code map 'desk-urgncy' (did you mean 'desk-urgency'?)",
        ),
        (
            '  ref: "%ctx.key"',
            "  ref: ServiceRequest.id",
            (9, 8),
            "id is the gateway's own and means nothing to a recipient",
        ),
        ('  ref: "%ctx.key"', '  ref: "%ctx.person"', (9, 9), "%ctx has no 'person'"),
        ('  ref: "%ctx.key"', "  ref: = ref('Patient')", (9, 8), "an outward map has no = ref()"),
        (
            "writes: desk-ask-1",
            "writes: desk-ask-2",
            (3, 9),
            "source.yaml has no schema 'desk-ask-2' (did you mean 'desk-ask-1'?)",
        ),
        ("map: desk/ask-out", "map: other/ask-out", (1, 6), "a map of this folder is named desk/..."),
        ("undecided: []", "undecided: [day]", (31, 12), "1 fields are still undecided"),
        ("  day: ", "  ref: ", (11, 3), "this name stands here twice"),
        (
            "coded: ServiceRequest.code | copy",
            "coded: ServiceRequest.code",
            (21, 10),
            "coded is CodeableConcept, this line gives CodeableConcept (add | copy)",
        ),
        (
            "coded: ServiceRequest.code | copy",
            "coded.codng[0].code: ServiceRequest.status | code",
            (21, 9),
            "desk-ask-1 has no field 'coded.codng' (did you mean 'coding'?)",
        ),
        ("      kind: = 'note'", "      kind: = 5", (20, 13), "kind is code, this constant is not"),
        (
            "urgency: ServiceRequest.priority | translate('desk-urgency')",
            "urgency: = 'fst'",
            (13, 12),
            "urgency takes only: fast, slow (did you mean 'fast'?)",
        ),
        ("subject: said", "subjct: said", (28, 3), "ServiceRequest has no element 'subjct' (did you mean 'subject'?)"),
        (
            "  ServiceRequest.encounter: leads",
            "  ServiceRequest.note: leads",
            (30, 3),
            "line 15 reads it, so it is neither ignored nor withheld",
        ),
        (
            "  ServiceRequest.subject: said",
            "  ServiceRequest.code: said",
            (28, 3),
            "line 21 reads it, so it is neither ignored nor withheld",
        ),
        ("leads to the record", "", (30, 3), "a withheld element needs its reason"),
        (
            "each: ServiceRequest.note",
            "each: ServiceRequest.nots",
            (16, 11),
            "ServiceRequest has no element 'nots' (did you mean 'note'?)",
        ),
        (
            "coded: ServiceRequest.code | copy",
            "coded.extension('urn:x:seen').valueBoolean: ServiceRequest.doNotPerform",
            (21, 9),
            "has no such extension here: add it to source.yaml",
        ),
    ],
)
def test_a_mistake_is_named_where_it_stands(faults: Faults, old: str, new: str, at: tuple[int, int], message: str):
    found = faults((MAP, old, new))
    here = [fault for fault in found if message in fault.message]
    assert here, [str(fault) for fault in found]
    assert (here[0].file, here[0].line) == (MAP, at[0])
    assert here[0].column == at[1]


def test_a_resource_that_no_line_reads_is_named(faults: Faults):
    gone = "  lines[+]:\n    each: PractitionerRole.telecom\n    set:\n      text: value\n      kind: system | code\n"
    (fault,) = faults((MAP, gone, ""))
    assert (fault.line, fault.message) == (7, "no line reads the PractitionerRole that this map takes")


def test_an_entry_of_constants_alone_is_named(faults: Faults):
    found = faults((MAP, "      text: text\n", "      text: = 'a note'\n"))
    assert any("every line of this entry is a constant" in fault.message and fault.line == 15 for fault in found)


def test_a_map_of_constants_alone_is_named(tmp_path: Path):
    for name, text in FILES.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        start = text.index("set:\n") + 5 if name == MAP else 0
        constants = text[:start] + "  ref: = 'a'\n  number: = 'b'\n" if name == MAP else text
        place.write_text(
            constants.replace("  ServiceRequest: one\n  PractitionerRole: optional\n", "  ServiceRequest: one\n"), "utf-8"
        )
    with pytest.raises(MappingFaults, match="every line is a constant: this map would tell nothing of anybody"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "day: {from: ServiceRequest.authoredOn | date, when: ServiceRequest.authoredOn.empty()}",
            "it reads what its condition says is absent",
        ),
        (
            "day: {from: ServiceRequest.authoredOn | date, when: ServiceRequest.note.exists() and ServiceRequest.note.empty()}",
            "its conditions exclude each other",
        ),
        (
            "day: {from: ServiceRequest.authoredOn | date, "
            "when: \"ServiceRequest.status = 'active' and ServiceRequest.status != 'active'\"}",
            "its conditions exclude each other",
        ),
        (
            "day: first(= '2026-01-05', ServiceRequest.authoredOn | date)",
            "never reached: the constant before it is always present",
        ),
        (
            "day: first(ServiceRequest.authoredOn | date, ServiceRequest.authoredOn | date)",
            "never reached: first() has this choice already",
        ),
    ],
)
def test_a_line_that_can_never_do_anything_is_named(faults: Faults, line: str, message: str):
    (fault,) = faults((MAP, "day: ServiceRequest.authoredOn | date", line))
    assert fault.line == 11
    assert message in fault.message


def test_a_line_behind_a_condition_that_excludes_its_own_is_named(faults: Faults):
    (fault,) = faults((MAP, "      text: text", "      text: {from: text, when: text.empty()}"))
    assert (fault.line, fault.message) == (19, "this line is never reached: its conditions exclude each other")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "fast,Fast,http://hl7.org/fhir/request-priority,urgent,Urgent",
            "fast,Fast,http://hl7.org/fhir/request-priority,routine,Routine",
            "codes/desk-urgency.csv:4 and :5 lead to one target: nothing says which is the way back",
        ),
        (
            "fast,Fast,http://hl7.org/fhir/request-priority",
            "fast,Fast,urn:other",
            "",
        ),
        ("fast,Fast", "quick,Quick", "codes/desk-urgency.csv:5 gives a code that source.yaml does not list for urgency"),
    ],
)
def test_a_code_map_that_cannot_be_turned_round_is_named(
    loaded: Callable[..., Maps], faults: Faults, old: str, new: str, message: str
):
    if not message:
        assert loaded((CODES, old, new)).outward  # another system is no doubt: the codes still differ
        return
    (fault,) = faults((CODES, old, new))
    assert (fault.file, fault.line, fault.column) == (MAP, 13, 38)
    assert message in fault.message


def test_a_code_map_without_one_equivalent_row_cannot_be_read_backwards(faults: Faults):
    (fault,) = faults((CODES, "Routine,equivalent,,", "Routine,wider,,"), (CODES, "Urgent,equivalent,,", "Urgent,narrower,,"))
    assert "has no equivalent row, so it cannot be read backwards" in fault.message


def test_two_maps_of_one_schema_are_named(tmp_path: Path, loaded: Callable[..., Maps]):
    loaded()
    (tmp_path / "desk/zweite.yaml").write_text(FILES[MAP].replace("desk/ask-out", "desk/zweite"), "utf-8")
    with pytest.raises(MappingFaults, match=r"zweite\.yaml:3:9: desk/ask-out\.yaml writes this schema already"):
        load(tmp_path)


def test_a_schema_in_both_dictionaries_is_named(tmp_path: Path, loaded: Callable[..., Maps]):
    loaded()
    (tmp_path / "desk/source.yaml").write_text(FILES[TARGET], "utf-8")
    with pytest.raises(MappingFaults, match=r"schema 'desk-ask-1' is in source\.yaml already"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("codes: [slow, fast]", "codes: slow", "codes is a list in [ ], of a field of type code or string"),
        ("required: true}\n      day", "require: true}\n      day", "a field has no 'require' (did you mean 'required'?)"),
    ],
)
def test_a_mistake_in_the_dictionary_is_named(faults: Faults, old: str, new: str, message: str):
    found = faults((TARGET, old, new))
    assert any(fault.file == TARGET and message in fault.message for fault in found), [str(fault) for fault in found]


def test_no_extension_but_a_published_one_is_read_under_an_official_address(faults: Faults):
    wrong = f"ServiceRequest.extension('{UK_CORE}Extension-UKCore-SourceOfServiceRequst').valueCodeableConcept | copy"
    (fault,) = faults((MAP, "ServiceRequest.code | copy", wrong))
    assert "no such extension is published there (did you mean 'https://fhir.hl7.org.uk" in fault.message


def test_the_value_of_a_published_extension_has_its_type(faults: Faults):
    wrong = f"ServiceRequest.extension('{UK_CORE}Extension-UKCore-SourceOfServiceRequest').valueBoolean"
    (fault,) = faults((MAP, "ServiceRequest.doNotPerform", wrong))
    assert "this extension's value is CodeableConcept, not boolean" in fault.message


def test_an_extension_is_read_where_it_can_stand(faults: Faults):
    source = f"extension('{UK_CORE}Extension-UKCore-SourceOfServiceRequest')"
    wrong = f"ServiceRequest.note.first().{source}.valueCodeableConcept | copy"
    (fault,) = faults((MAP, "ServiceRequest.code | copy", wrong))
    assert (fault.file, fault.line, fault.column) == (MAP, 21, 10)
    assert fault.message == "this extension stands on ServiceRequest, not here: it is never found"
