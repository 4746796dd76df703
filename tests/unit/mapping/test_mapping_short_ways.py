"""What is quick about nearly every record is no other answer than the long way gives."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mappings
from adapters.gp import answer
from adapters.gp.record import split
from gateway.adapter import SourceRecord
from gateway.mapping import Context, Maps, Run, load, map_record
from gateway.mapping.context import Unusable
from gateway.mapping.functions import codeableSTU3, codingSTU3
from gateway.mapping.r4 import PRIMITIVES
from gateway.mapping.values import CodeableConcept, Coding, Primitive, dateTime, instant
from gateway.mapping.values import date as to_date
from gateway.nhs_number import NhsNumber
from tests.perf.gp_record import structured

DESCRIPTION = "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-coding-sctdescid"
ODD: tuple[Any, ...] = (None, "", " ", "x", 1, True, [], {}, [None], ["x", "y"], [[]], {"reference": "Observation/zz"})


NUMBER = NhsNumber("9990000107")


class LongWay(dict[str, Any]):
    """An object that no short way takes, for it is not just a dict."""


@pytest.fixture(scope="module")
def maps() -> Maps:
    return load(Path(mappings.__path__[0]))


@pytest.fixture(scope="module")
def records() -> tuple[SourceRecord, ...]:
    return split(answer.bundle(structured("amara", 60_000))).records


def context() -> Context:
    return Context("gp", lambda kind, key: f"{kind}-{key}", "p", NUMBER, datetime(2026, 1, 1, tzinfo=UTC), "ods:A99901")


def spoilt(record: SourceRecord, chance: Random) -> SourceRecord:
    """The record with a few of its parts gone, doubled, or something else."""
    data = deepcopy(record.data)
    for _ in range(chance.randint(0, 4)):
        parts = [part for part in nodes(data) if part]
        part = chance.choice(parts)
        if isinstance(part, dict):
            name = chance.choice(list(part))
            part[name] = deepcopy(chance.choice([*ODD, [part[name], deepcopy(part[name])], part[name]]))
        else:
            part.append(deepcopy(chance.choice([*ODD, part[0]])))
    return SourceRecord(record.schema, data, record.where, record.as_of, record.about)


def nodes(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from nodes(part)


@pytest.mark.parametrize("seed", range(6))
def test_one_block_of_one_map_makes_what_the_long_way_makes(maps: Maps, records: tuple[SourceRecord, ...], seed: int) -> None:
    chance = Random(seed)
    refused = 0
    for record in records:
        given_ = spoilt(record, chance)
        short, long = map_record(maps, "gp", given_, context()), map_record(maps, "gp", given_, context(), account=True)
        assert (short.resources, short.refused, short.unknown_codes) == (long.resources, long.refused, long.unknown_codes)
        assert [list(one.body) for one in short.resources] == [list(one.body) for one in long.resources]
        refused += len(short.refused)
    assert refused


PARTS = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from(["http://snomed.info/sct", "http://hl7.org/fhir/v3/NullFlavor ", "urn:x"]),
        "code": st.sampled_from(["1", "UNK ", " a"]),
        "display": st.sampled_from(["Cough", ""]),
        "version": st.just("2"),
        "userSelected": st.booleans(),
        "extension": st.sampled_from(
            [
                [{"url": DESCRIPTION, "extension": [{"url": "descriptionDisplay", "valueString": "Dry cough"}]}],
                [{"url": DESCRIPTION, "extension": [{"url": "DESCRIPTIONDISPLAY", "valueString": "Dry cough"}]}],
                [{"url": "urn:other", "valueString": "kept"}],
            ]
        ),
    },
)


@given(PARTS)
def test_a_coding_is_the_same_by_either_way(parts: dict[str, Any]) -> None:
    run = Run(context(), {})
    assert codingSTU3(run, Coding(parts)) == codingSTU3(run, Coding(LongWay(parts)))


@given(st.lists(PARTS, max_size=3), st.sampled_from([None, "", "words"]))
def test_a_concept_is_the_same_by_either_way(codings: list[dict[str, Any]], text: str | None) -> None:
    run = Run(context(), {})
    whole = {"coding": codings} | ({} if text is None else {"text": text})
    long = {"coding": [LongWay(one) for one in codings]} | ({} if text is None else {"text": text})
    assert codeableSTU3(run, CodeableConcept(whole)) == codeableSTU3(run, CodeableConcept(LongWay(long)))


DAYS = st.builds(
    "{:04d}-{:02d}-{:02d}".format, st.sampled_from([0, 1, 1900, 2000, 2023, 2024, 9999]), st.integers(0, 13), st.integers(0, 32)
)
TIMES = st.builds(
    "T{:02d}:{:02d}:{:02d}".format, st.integers(0, 25), st.sampled_from([0, 59, 60]), st.sampled_from([0, 59, 60, 61])
)
TAILS = st.sampled_from(["", "Z", "+00:00", "+01:00", "-01:00", "+02:00", ".5Z", ".123+00:00", ".Z", "z"])
NEARLY = st.one_of(DAYS, st.builds("".join, st.tuples(DAYS, TIMES, TAILS)))


def is_real(day: str) -> bool:
    try:
        return date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False


@settings(max_examples=400)
@given(NEARLY)
def test_a_date_passes_where_r4_and_the_calendar_have_it_and_as_it_stands(said: str) -> None:
    for name, function in (("date", to_date), ("dateTime", dateTime), ("instant", instant)):
        stands = PRIMITIVES[name].fullmatch(said) is not None and is_real(said[:10])
        assert (kept(function, said) == said) is stands


def kept(function: Callable[[Primitive], str | None], said: str) -> str | None:
    try:
        return function(Primitive(said))
    except Unusable:
        return None
