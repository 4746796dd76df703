"""The Eclipse query and its simulator against GraphQL itself: graphql-core reads the same schema and gives the same answers."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import graphql as core
import pytest

import adapters.local_authority_eclipse
from gateway import mapping
from gateway.adapter import HttpAnswer, Purpose, SourceFacts, SourceRecord, SourceSettings, Want
from gateway.connectors import graphql
from gateway.mapping.cases import context
from gateway.nhs_number import NhsNumber
from gateway.registry import load_manifest
from sandbox.eclipse import KNOWN, SCHEMA, results
from sandbox.families import BY_KEY
from sandbox.graphql_service import answer, read_schema

MANIFEST = load_manifest(adapters.local_authority_eclipse)
QUERY = MANIFEST.options["graphql"]["query"]
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
NUMBERS = {key: more[0].get("nhsNumber", BY_KEY[key].nhs_number) for key, more in KNOWN.items()}
CODES = Path(str(files("mappings"))) / "codes"


def simulated(number: str, query: str = QUERY) -> Any:
    return answer(read_schema(SCHEMA), {"query": query, "variables": {"nhsNo": number}}, lambda _, given: results(given))


class Door:
    """The simulator without its socket."""

    async def request(self, method: str, url: str, *, body: bytes, **_: Any) -> HttpAnswer:
        return HttpAnswer(200, {}, json.dumps(simulated(json.loads(body)["variables"]["nhsNo"])).encode())


async def fetched(key: str) -> tuple[list[SourceRecord], SourceFacts]:
    options = {"base_url": "https://eclipse.example", "credential": "c", "code_maps": str(CODES)}
    settings = SourceSettings("live", "local_authority_eclipse", "gss:E08999901", "A", "Live", 5.0, None, 7, options)
    tools: Any = SimpleNamespace(now=lambda: NOW, http=Door())
    source = graphql.build(MANIFEST, settings, tools)
    patient: Any = SimpleNamespace(number=NhsNumber(NUMBERS[key]), superseded=())
    asked: AsyncIterator[Any] = source.fetch(patient, Want(frozenset({"*"}), Purpose.TREAT, {}, "c-1"))
    *records, facts = [one async for one in asked]
    return records, facts


def test_the_query_is_sound_by_the_published_names():
    schema = core.build_schema(SCHEMA)
    assert core.validate_schema(schema) == []
    assert core.validate(schema, core.parse(QUERY)) == []


@pytest.mark.parametrize("key", sorted(KNOWN))
def test_the_simulator_answers_as_graphql_does(key: str):
    root = {"personByCriteria": lambda _, **given: results(given)}
    done = core.graphql_sync(core.build_schema(SCHEMA), QUERY, root, variable_values={"nhsNo": NUMBERS[key]})
    assert done.errors is None
    assert simulated(NUMBERS[key]) == {"data": done.data}


@pytest.mark.parametrize(
    "query",
    [
        "query ($nhsNo: String!) { personByCriteria(nhsNo: $nhsNo) { results { ... on Person { hairColour } } } }",
        "query ($nhsNo: String!) { personByCriteria(nhsNo: $nhsNo, colour: 3) { cursor { returned } } }",
        "query ($nhsNo: String!) { personByCriteria(nhsNo: $nhsNo) { cursor } }",
        "query ($nhsNo: String!) { personByCriteria(nhsNo: $nhsNo) { results { ... on Nobody { id } } } }",
        "query ($other: String!) { personByCriteria(nhsNo: $other) { cursor { returned } } }",
        "{ personByCriteria",
    ],
)
def test_the_simulator_refuses_what_graphql_refuses(query: str):
    assert simulated("9990000107", query)["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    try:
        document = core.parse(query)
    except core.GraphQLSyntaxError:
        return
    done = core.graphql_sync(core.build_schema(SCHEMA), query, variable_values={"nhsNo": "9990000107"})
    assert core.validate(core.build_schema(SCHEMA), document) or done.errors


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("key", "protected", "locked"),
    [
        ("amara", set(), [False]),
        ("grace", set(), [False, False]),
        ("hugo", {"address-lock"}, [False]),
        ("jonah", {"disclosure-lock"}, [True]),
        ("mia", {"disclosure-lock"}, [True]),
        ("noor", set(), [False]),
        ("eli-after", {"adoption"}, [False]),
        ("ben", {"disclosure-lock"}, []),
        ("petra", {"disclosure-lock"}, []),
    ],
)
async def test_the_authoritys_own_locks_are_read(key: str, protected: set[str], locked: list[bool]):
    records, facts = await fetched(key)
    assert facts.protected == protected
    assert [record.locked for record in records] == locked
    kept_back = key in ("ben", "petra")
    assert {code for _, code in facts.warnings} == ({"locked-at-source"} if kept_back else set())
    assert {category for category, _ in facts.warnings} == (set(MANIFEST.gives.values()) if kept_back else set())


@pytest.mark.anyio
async def test_a_birth_date_is_claimed_only_where_it_is_a_day():
    assert [record.about.birth_date for record in (await fetched("amara"))[0]] == [date(2024, 3, 14)]
    assert [record.about.birth_date for record in (await fetched("oscar"))[0]] == [None]


@pytest.mark.anyio
@pytest.mark.parametrize("key", sorted(KNOWN))
async def test_every_person_of_the_simulator_maps_with_every_field_explained(key: str):
    maps = mapping.load(files("mappings"))
    for record in (await fetched(key))[0]:
        result = mapping.map_record(maps, MANIFEST.name, record, context(MANIFEST.name), account=True)
        assert result.accounting is not None
        assert result.accounting.unmapped == ()
        assert len(result.refused) == (key == "noor"), "the code that nobody reviewed"
        assert result.unknown_codes == ({"eclipse-classification": 1} if key == "noor" else {})
        assert "CHILD." not in json.dumps([made.body for made in result.resources], default=str)
