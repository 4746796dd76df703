"""`gateway adapter new`: what a sample tells, what it does not, and that no value of it is copied."""

import json
import tomllib
from pathlib import Path

import pytest

from gateway.kit.scaffold import Guess, Made, SampleRefused, scaffold
from gateway.mapping import MappingFaults, load

SAMPLE = """\
Ref;NHS No;Born;Forename;Seen on;Kind;Weight;Remark;Changed
R-17;9990000107;14/03/2024;Amara;02/12/2025;review;7.25;Lives with aunt;2025-12-03
R-18;9990001111;09/01/2025;Amara;04/12/2025;review;8.5;;2025-12-04
"""


def guessed(made: Made, name: str) -> Guess:
    return next(guess for guess in made.guesses if guess.name == name)


@pytest.fixture
def made() -> Made:
    return scaffold("health_visiting", "csv-drop", SAMPLE.encode("utf-8-sig"))


def test_no_value_of_the_sample_is_copied(made: Made):
    written = "".join([*made.adapter.values(), *made.mapping.values()])
    for value in ("R-17", "Amara", "14/03/2024", "02/12/2025", "review", "7.25", "aunt", "9990001111"):
        assert value not in written


def test_columns_that_say_whose_record_it_is_and_since_when_are_guessed(made: Made):
    table = tomllib.loads(made.adapter["manifest.toml"])
    assert table["identity"] == "nhs_number"
    assert table["csv"] == {
        "schema": "health-visiting-1",
        "kind": "record",
        "delivers": "increments",
        "columns": ["Ref", "NHS No", "Born", "Forename", "Seen on", "Kind", "Weight", "Remark", "Changed"],
        "identity": "NHS No",
        "birth_date": "Born",
        "key": "Ref",
        "as_of": "Changed",
        "delimiter": ";",
        "dates": "%d/%m/%Y",
    }
    assert table["purposes"] == []


NUMBERS = """\
Contact id,Household,Weight,Visits,Postcode area,Batch,Day
1001,2,7.25,3,07,202611,20260105
1002,2,8,12,08,202612,20260106
1003,3,9.5,4,07,202701,20260107
"""


def test_numbers_written_as_text_are_numbers_and_get_invented_ones(tmp_path: Path):
    made = scaffold("early_help", "csv-drop", NUMBERS.encode())
    types = {guess.name: (guess.type, guess.invented) for guess in made.guesses}
    assert types == {
        "Contact id": ("string", "1"),  # what names something is no number
        "Household": ("integer", "1"),
        "Weight": ("decimal", "1.5"),
        "Visits": ("integer", "1"),
        "Postcode area": ("code", "1"),  # and keeps its zeros
        "Batch": ("integer", "1"),  # six digits are no day
        "Day": ("string", "20260105"),
    }
    case = json.loads(made.mapping["cases/first.in.json"])
    assert (case["data"]["Weight"], case["data"]["Visits"]) == ("1.5", "1")


def test_a_class_that_cannot_be_guessed_is_the_most_restricted(made: Made):
    assert guessed(made, "Kind").care_class == "special"
    assert not guessed(made, "Kind").sure
    assert guessed(made, "Forename").care_class == "identity"
    assert guessed(made, "Remark").marks == {"locating", "third-party", "opinion"}


def test_every_field_is_undecided_and_the_map_does_not_load_until_they_are(made: Made, tmp_path: Path):
    for name, text in made.mapping.items():
        file = tmp_path / "health_visiting" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    with pytest.raises(MappingFaults) as faults:
        load(tmp_path)
    (fault,) = faults.value.faults
    assert fault.message == "9 fields are still undecided: each needs a line under set:, or its reason under ignore:"


def test_a_json_sample_gives_lists_and_numbers_their_types():
    made = scaffold("clinic", "http-json", json.dumps([{"id": "a", "tags": ["x"], "open": True, "count": 3, "sub": {}}]).encode())
    assert guessed(made, "tags").repeats
    assert [guessed(made, name).type for name in ("open", "count", "sub")] == ["boolean", "integer", "object"]


@pytest.mark.parametrize(
    ("name", "connector", "sample"),
    [
        ("Health", "csv-drop", b"a,b\n1,2\n"),
        ("../x", "csv-drop", b"a,b\n1,2\n"),
        ("clinic", "sql", b"a,b\n1,2\n"),
        ("clinic", "csv-drop", b""),
        ("clinic", "csv-drop", b"a,b\n"),
        ("clinic", "csv-drop", b"a,a\n1,2\n"),
        ("clinic", "http-json", b"{"),
        ("clinic", "http-json", b"[1]"),
        ("clinic", "http-json", b"[" * 100_000),
    ],
)
def test_what_cannot_be_used_is_said_without_a_value(name: str, connector: str, sample: bytes):
    with pytest.raises(SampleRefused):
        scaffold(name, connector, sample)
