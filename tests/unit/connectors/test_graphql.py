"""The graphql connector: one query, the key in its variables, errors sorted, what is redacted kept locked."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter import (
    Claim,
    HttpAnswer,
    Manifest,
    Purpose,
    SourceContractBroken,
    SourceError,
    SourceFacts,
    SourceRecord,
    SourceRefused,
    SourceSettings,
    SourceUnavailable,
    StartupRefused,
    Want,
)
from gateway.connectors import graphql, json_records
from gateway.connectors.graphql_query import is_one_query
from gateway.nhs_number import NhsNumber

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NUMBER = "9990000107"
QUERY = (
    "query ($n: ID!, $after: String) { child(n: $n) { __typename number born contacts(after: $after) { nodes { __typename } } } }"
)
TABLE: dict[str, Any] = {
    "path": "graphql",
    "types": ["Encounter"],
    "query": QUERY,
    "variables": {"n": ":nhs_number", "first": 50},
    "page_info": "$.data.child.contacts.pageInfo",
    "after": "after",
    "typenames": ["Contact"],
    "locked": ["RedactedContact"],
    "protects": {"ProtectedChild": "refuge"},
    "person": "$.data.child",
    "schema": "contact-1",
    "records": "$.data.child.contacts.nodes",
    "identity": "$.data.child.number",
    "birth_date": "$.data.child.born",
}


def manifest(**changes: Any) -> Manifest:
    table = {name: value for name, value in {**TABLE, **changes}.items() if value is not None}
    return Manifest(
        "hub", "A hub", "graphql", "nobody", "nhs_number", "local-authority", ("contact-1",), {"Encounter": "centre-attendance"},
        frozenset({"TREAT"}), frozenset(), False, 1.0, {"graphql": table, "auth": {"header": "X-Key"}},
    )  # fmt: skip


class FakeHttp:
    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[Any] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, deadline_s: float, cap_bytes: int
    ) -> HttpAnswer:
        self.asked.append(SimpleNamespace(method=method, url=url, headers=headers, body=json.loads(body)))
        answer = self._answers.pop(0)
        return HttpAnswer(answer, {}, b"") if isinstance(answer, int) else HttpAnswer(200, {}, json.dumps(answer).encode())


def said(*nodes: Any, following: str | None = None, number: Any = NUMBER, typename: str = "Child", **more: Any) -> dict[str, Any]:
    info = {"hasNextPage": following is not None, "endCursor": following}
    contacts = {"nodes": list(nodes), "pageInfo": info}
    return {"data": {"child": {"__typename": typename, "number": number, "born": "2024-03-14", "contacts": contacts}}, **more}


def contact(typename: Any = "Contact", **more: Any) -> dict[str, Any]:
    return {"__typename": typename, **more}


async def ask(http: Any, types: str = "Encounter", **changes: Any) -> tuple[list[SourceRecord], SourceFacts]:
    tools: Any = SimpleNamespace(now=lambda: NOW, http=http)
    options = {"base_url": "https://hub.example", "credential": "secret-1"}
    made = graphql.build(manifest(**changes), SourceSettings("hub", "hub", "gss:E1", "A", "Hub", 1.0, None, 7, options), tools)
    patient: Any = SimpleNamespace(number=NhsNumber(NUMBER), superseded=())
    *records, facts = [one async for one in made.fetch(patient, Want(frozenset({types}), Purpose.TREAT, {}, "c-1"))]
    assert isinstance(facts, SourceFacts)
    return records, facts


@pytest.mark.anyio
async def test_the_key_goes_in_the_variables_and_nowhere_else():
    http = FakeHttp(said(contact(at="x")))
    records, facts = await ask(http)
    [sent] = http.asked
    assert (sent.method, sent.url) == ("POST", "https://hub.example/graphql")
    assert sent.body == {"query": QUERY, "variables": {"n": NUMBER, "first": 50}}
    assert sent.headers["X-Key"] == "secret-1"
    assert NUMBER not in sent.url + str(sent.headers)
    about = Claim(nhs_number=NUMBER, birth_date=date(2024, 3, 14))
    assert records == [SourceRecord("contact-1", contact(at="x"), "item 1", NOW, about)]
    assert facts == SourceFacts()
    assert await ask(FakeHttp(), types="Flag") == ([], SourceFacts())


@pytest.mark.anyio
async def test_what_the_source_redacted_comes_locked_and_an_unknown_type_breaks_the_contract():
    records, _ = await ask(FakeHttp(said(contact(), contact("RedactedContact"))))
    assert [record.locked for record in records] == [False, True]
    for odd in ("SecretContact", None, 3, ["Contact"]):
        with pytest.raises(SourceContractBroken) as raised:
            await ask(FakeHttp(said(contact(), contact(odd))))
        assert raised.value.reason == graphql.UNKNOWN_TYPE


@pytest.mark.anyio
async def test_a_person_shown_as_protected_is_a_lock_and_brings_no_record():
    assert await ask(FakeHttp(said(contact(), typename="ProtectedChild"))) == ([], SourceFacts(protected=frozenset({"refuge"})))
    assert await ask(FakeHttp({"data": {"child": {"__typename": "ProtectedChild"}}})) == (
        [],
        SourceFacts(protected=frozenset({"refuge"})),
    )
    _, facts = await ask(FakeHttp(said(contact(), lock="adoption")), locks="$.lock")
    assert facts.protected == {"adoption"}


@pytest.mark.anyio
async def test_nobody_there_is_empty():
    assert await ask(FakeHttp({"data": {"child": None}, "errors": []})) == ([], SourceFacts())


@pytest.mark.anyio
async def test_a_record_of_nobody_breaks_the_contract():
    with pytest.raises(SourceContractBroken) as raised:
        await ask(FakeHttp(said(contact(), number=None)))
    assert raised.value.reason == json_records.UNKEYED


@pytest.mark.anyio
async def test_pages_are_followed_by_their_cursor():
    http = FakeHttp(said(contact(), following="c1"), said(contact(), following="c2"), said(contact()))
    records, _ = await ask(http)
    assert [sent.body["variables"].get("after") for sent in http.asked] == [None, "c1", "c2"]
    assert [record.where for record in records] == ["item 1", "item 2", "item 3"]


@pytest.mark.parametrize("following", ["", "c1"])
@pytest.mark.anyio
async def test_a_cursor_that_leads_nowhere_breaks_the_contract(following: str):
    with pytest.raises(SourceContractBroken) as raised:
        await ask(FakeHttp(said(following="c1"), said(following=following), said()))
    assert raised.value.reason == graphql.NO_CURSOR


def failing(*codes: Any) -> dict[str, Any]:
    return said(contact(), errors=[{"message": f"no {NUMBER}", "extensions": {"code": code}} for code in codes])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failing("UNAUTHENTICATED"), SourceRefused),
        (failing("INTERNAL_SERVER_ERROR", "forbidden"), SourceRefused),
        (failing("INTERNAL_SERVER_ERROR"), SourceUnavailable),
        (failing("THROTTLED", "TIMEOUT"), SourceUnavailable),
        (failing("THROTTLED", "BAD_USER_INPUT"), SourceContractBroken),
        (failing("GRAPHQL_VALIDATION_FAILED"), SourceContractBroken),
        (failing(None), SourceContractBroken),
        (failing(3), SourceContractBroken),
        (said(contact(), errors=["text"]), SourceContractBroken),
        (said(contact(), errors={"a": 1}), SourceContractBroken),
        ({"data": None}, SourceContractBroken),
        ({"data": []}, SourceContractBroken),
        ({}, SourceContractBroken),
        ([], SourceContractBroken),
        (401, SourceRefused),
        (429, SourceUnavailable),
        (400, SourceContractBroken),
    ],
)
@pytest.mark.anyio
async def test_errors_are_failures_with_data_beside_them_or_not_and_none_of_their_words_is_said(
    answer: Any, error: type[SourceError]
):
    with pytest.raises(error) as raised:
        await ask(FakeHttp(answer))
    assert type(raised.value) is error
    assert NUMBER not in str(raised.value)


@pytest.mark.parametrize(
    ("document", "one"),
    [
        (QUERY, True),
        ("{ a }", True),
        ('# mutation\nquery Q { a(text: "mutation { b }", more: {b: 1}) }', True),
        ("query { ...F } fragment F on Child { a }", True),
        ('query { a(t: """ } mutation { "quoted" """) }', True),
        ("mutation { a }", False),
        ("subscription { a }", False),
        ("query { a } mutation { b }", False),
        ("mutation M { b } query { a }", False),
        ("query A { a } query B { b }", False),
        ("query { a } { b }", False),
        ("type A { a: Int }", False),
        ("fragment F on Child { a }", False),
        ("query { a", False),
        ("query { a }}", False),
        ('query { a(t: "x) }', False),
        ("query { a ? }", False),
        ("", False),
        ("query", False),
    ],
)
def test_only_one_query_may_be_asked(document: str, one: bool):
    assert is_one_query(document) is one


@given(st.text(alphabet='{}()[]"#\\ \nqmutationery$:!.', max_size=40))
def test_no_document_makes_the_check_fail_otherwise(document: str):
    assert is_one_query("mutation { a } " + document) is False


@pytest.mark.parametrize(
    "changes",
    [
        {"query": "mutation { a }"},
        {"query": "query ($n: ID!) { child(n: $n) { contacts } }"},
        {"variables": {"n": NUMBER}},
        {"path": "graphql?n=1"},
        {"path": "https://elsewhere.example"},
        {"after": None},
        {"person": None},
        {"protects": {"ProtectedChild": "hidden"}},
        {"person": "$..x"},
        {"schema": "other"},
        {"identity": None},
        {"colour": "red"},
        {"types": None},
    ],
)
def test_a_manifest_that_cannot_be_kept_is_refused_at_start(changes: dict[str, Any]):
    with pytest.raises(StartupRefused, match=r"adapters/hub/manifest\.toml: \[graphql\]"):
        graphql.read_shape(manifest(**changes))


def test_a_file_is_one_answer():
    assert [one.where for one in graphql.read_file(manifest(), "x.json", json.dumps(said(contact())).encode())] == ["item 1"]
    with pytest.raises(SourceContractBroken):
        graphql.read_file(manifest(), "x.json", json.dumps(failing("X")).encode())
