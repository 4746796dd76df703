"""Records shaped to take long: each shape took minutes, or gigabytes, when something was looked through once for each of many."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import process_time
from typing import Any

import pytest

from adapters.gp import entries
from adapters.gp.record import split
from gateway.adapter import SourceContractBroken
from tests.unit.adapters.gp_records import record

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
MANY = 20_000
SECONDS = 3.0  # of CPU: a tenth of it is enough on a quiet machine; looked through for each, six times as much was not
ONE_KEY = [{"system": "s", "value": "1"}]
Resources = list[dict[str, Any]]


def holders() -> Resources:
    return [{"resourceType": "List", "id": str(number), "contained": []} for number in range(MANY)]


def holders_among_staff() -> Resources:
    staff = [{"resourceType": "Organization", "id": str(number), "name": "Riverside"} for number in range(MANY)]
    return staff + holders()


def small_ones_under_the_key_of_a_wide_one() -> Resources:
    wide: dict[str, Any] = {f"x{number}": 0 for number in range(10 * MANY)}
    first = {"resourceType": "List", "id": "a", "identifier": ONE_KEY, **wide}
    return [first, *({"resourceType": "List", "id": str(number), "identifier": ONE_KEY} for number in range(MANY))]


@pytest.mark.parametrize("shape", [holders, holders_among_staff, small_ones_under_the_key_of_a_wide_one])
def test_many_of_one_shape_take_no_longer_than_as_many_of_any(shape: Callable[[], Resources]) -> None:
    bundle = record(*shape())
    started = process_time()
    made = split(bundle, as_of=NOW)
    assert process_time() - started < SECONDS
    assert len(made.records) >= MANY


def test_an_id_or_a_name_longer_than_any_is_told_nowhere() -> None:
    far, name = "1" * 300, "N" * 300
    held = {"resourceType": "AllergyIntolerance", "id": "a"}
    staff = {"resourceType": "Organization", "id": "o", "name": name}
    by = {"item": {"reference": "#a"}}
    made = split(
        record(
            {"resourceType": "List", "id": far, "contained": [held], "entry": [by], "source": {"reference": "Organization/o"}},
            staff,
        ),
        as_of=NOW,
    )
    (listed,) = (one for one in made.records if one.schema == "gpc-list-stu3")
    (inner,) = (one for one in made.records if one.schema == "gpc-allergyintolerance-stu3")
    assert listed.data["resource"]["entry"] == [{"item": {"reference": f"AllergyIntolerance/{inner.data['key']}"}}]
    assert listed.data["resource"]["source"] == {"reference": "Organization/o"}


def test_one_resource_more_than_any_record_has_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MOST", 3)  # the Patient is one of them
    two = [{"resourceType": "List", "id": str(number)} for number in range(2)]
    assert len(split(record(*two), as_of=NOW).records) == 2
    for more in (
        [*two, {"resourceType": "List", "id": "2"}],
        [two[0], {**two[1], "contained": [{"resourceType": "Condition", "id": "2"}]}],
        [*two, 7],
    ):
        bundle = record(*two)
        bundle["entry"][1:] = [{"resource": each} if isinstance(each, dict) else each for each in more]
        with pytest.raises(SourceContractBroken, match="more resources"):
            split(bundle, as_of=NOW)


def test_resources_alike_but_for_how_a_number_is_written_are_two() -> None:
    one, other, text = ({"resourceType": "List", "identifier": ONE_KEY, "x": value} for value in (1, 1.0, "1"))
    made = split(record(one, other, text, dict(one)), as_of=NOW)
    assert len({item.data["key"] for item in made.records}) == len(made.records) == 3
