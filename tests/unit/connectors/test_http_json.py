"""The http-json connector: what is asked, where the key goes, whose each record is, how failures are sorted, what is said."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

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
    SourceTimedOut,
    SourceUnavailable,
    StartupRefused,
    Want,
)
from gateway.connectors import http_json, json_records, json_tree
from gateway.connectors.http import PooledHttp
from gateway.nhs_number import NhsNumber

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NUMBER, OLDER = "9990000107", "9990000115"
BASE = "https://service.example/api"
ROUTE: dict[str, Any] = {
    "types": ["Encounter"],
    "method": "POST",
    "path": "contacts/search",
    "json": {"nhsNumber": ":nhs_number", "why": "for :purpose", "include": ["notes", 3]},
    "schema": "contact-1",
    "records": "data.items",
    "identity": "child.number",
    "birth_date": "child.born",
}


def manifest(keyed: str = "nhs_number", auth: Any = None, more: Any = None, **changes: Any) -> Manifest:
    route = {name: value for name, value in {**ROUTE, **changes}.items() if value is not None}
    options: dict[str, Any] = {"route": {"contacts": route, **(more or {})}}
    if auth:
        options["auth"] = auth
    return Manifest(
        "desk", "A desk", "http-json", "nobody", keyed, "childrens-centre", ("contact-1",), {"Encounter": "centre-attendance"},
        frozenset({"TREAT"}), frozenset(), False, 1.0, options,
    )  # fmt: skip


class FakeHttp:
    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[Any] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None, deadline_s: float, cap_bytes: int
    ) -> HttpAnswer:
        self.asked.append(SimpleNamespace(method=method, url=url, headers=headers, body=body, s=deadline_s, cap=cap_bytes))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return HttpAnswer(answer, {}, b"")
        return HttpAnswer(200, {}, answer if isinstance(answer, bytes) else json.dumps(answer).encode())


def item(number: Any = NUMBER, **more: Any) -> dict[str, Any]:
    return {"child": {"number": number, "born": "2024-03-14"}, **more}


def page(*items: Any, **more: Any) -> dict[str, Any]:
    return {"data": {"items": list(items)}, **more}


class Ids:
    async def of(self, patient: object) -> Sequence[Claim]:
        return [Claim(local_id="L 1/2"), Claim(nhs_number=NUMBER)]


def source(http: Any, made: Manifest | None = None, budget_s: float = 1.0, **options: Any) -> http_json.HttpJson:
    tools: Any = SimpleNamespace(now=lambda: NOW, http=http, local_ids=Ids())
    where = SourceSettings("desk", "desk", "ods:A1", "A", "Desk", budget_s, None, 7, {"base_url": BASE, **options})
    return http_json.build(made or manifest(), where, tools)


async def ask(
    http: Any, made: Manifest | None = None, types: str = "Encounter", superseded: Sequence[str] = (), **options: Any
) -> tuple[list[SourceRecord], SourceFacts]:
    patient: Any = SimpleNamespace(number=NhsNumber(NUMBER), superseded=tuple(NhsNumber(one) for one in superseded))
    want = Want(frozenset({types}), Purpose.TREAT, {"organisation": "ods:A99901"}, "c-1")
    *records, facts = [one async for one in source(http, made, **options).fetch(patient, want)]
    assert isinstance(facts, SourceFacts)
    return records, facts


async def test_the_key_goes_in_the_body_and_the_answer_says_whose_each_record_is():
    http = FakeHttp(page(item(weight="x"), item("999 000 0115")))
    records, facts = await ask(http)
    [sent] = http.asked
    assert (sent.method, sent.url) == ("POST", f"{BASE}/contacts/search")
    assert json.loads(sent.body) == {"nhsNumber": NUMBER, "why": "for TREAT", "include": ["notes", 3]}
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["X-Correlation-ID"] == "c-1"
    assert NUMBER not in sent.url + str(sent.headers)
    assert 0 < sent.s <= 1.0
    first, second = records
    about = Claim(nhs_number=NUMBER, birth_date=date(2024, 3, 14))
    assert first == SourceRecord("contact-1", item(weight="x"), "item 1", NOW, about)
    assert (second.where, second.about.nhs_number) == ("item 2", "9990000115")  # whoever it is: the person check decides
    assert facts == SourceFacts()


async def test_the_key_may_go_in_a_form_or_a_header():
    http = FakeHttp(page(), page())
    await ask(http, manifest(json=None, form={"n": ":nhs_number", "x": "a b"}))
    await ask(http, manifest(json=None, method="GET", headers={"X-Child": "number=:nhs_number"}, query={"sort": "a b"}))
    form, header = http.asked
    assert parse_qsl(form.body.decode()) == [("n", NUMBER), ("x", "a b")]
    assert form.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert (header.headers["X-Child"], header.url, header.body) == (f"number={NUMBER}", f"{BASE}/contacts/search?sort=a+b", None)


async def test_the_credential_is_sent_as_the_manifest_says():
    http = FakeHttp(page())
    await ask(http, manifest(auth={"header": "Authorization", "prefix": "Bearer "}), credential="secret-1")
    assert http.asked[0].headers["Authorization"] == "Bearer secret-1"
    with pytest.raises(StartupRefused, match="header"):
        source(http, manifest(auth={"prefix": "x"}), credential="secret-1")
    for credential in (None, "", "a\r\nb", "é"):
        with pytest.raises(StartupRefused) as raised:
            source(http, manifest(auth={"header": "X"}), credential=credential)
        assert "secret" not in str(raised.value)


async def test_every_number_and_every_local_id_of_the_person_is_asked_for():
    http = FakeHttp(page(item()), page(item(OLDER)))
    records, _ = await ask(http, superseded=[OLDER])
    assert [json.loads(sent.body)["nhsNumber"] for sent in http.asked] == [NUMBER, OLDER]
    assert len(records) == 2
    http = FakeHttp(page(item(7)))
    made = manifest("local_id", json=None, method="GET", path="children/:local_id/contacts", key_in_path=True)
    records, _ = await ask(http, made)
    assert http.asked[0].url == f"{BASE}/children/L%201%2F2/contacts"
    assert records[0].about == Claim(local_id="7", birth_date=date(2024, 3, 14))


async def test_a_route_is_not_asked_for_types_it_does_not_make():
    http = FakeHttp()
    assert await ask(http, types="Flag") == ([], SourceFacts())
    assert http.asked == []


async def test_a_header_that_a_key_would_break_is_not_sent():
    class Broken(Ids):
        async def of(self, patient: object) -> Sequence[Claim]:
            return [Claim(local_id="a\r\nX-Admin: 1")]

    made = source(FakeHttp(), manifest("local_id", json=None, method="GET", headers={"X-Child": ":local_id"}))
    made._service._tools.local_ids = Broken()  # type: ignore[misc]
    with pytest.raises(SourceContractBroken):
        [one async for one in made.fetch(SimpleNamespace(), Want(frozenset({"*"}), Purpose.TREAT, {}, "c"))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (401, SourceRefused),
        (403, SourceRefused),
        (408, SourceUnavailable),
        (429, SourceUnavailable),
        (500, SourceUnavailable),
        (502, SourceUnavailable),
        (503, SourceUnavailable),
        (504, SourceUnavailable),
        (204, SourceContractBroken),
        (302, SourceContractBroken),
        (400, SourceContractBroken),
        (404, SourceContractBroken),
        (501, SourceContractBroken),
        (SourceTimedOut("late"), SourceTimedOut),
    ],
)
async def test_failures_are_sorted_by_what_to_do(answer: Any, error: type[SourceError]):
    with pytest.raises(error):
        await ask(FakeHttp(answer))


async def test_a_status_that_means_nothing_is_held_is_empty_only_where_the_manifest_says_so():
    assert await ask(FakeHttp(404), manifest(nothing=[404])) == ([], SourceFacts())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{",
        b'{"data": NaN}',
        b'{"data": {}, "data": {}}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b"\xff\xfe",
        b'{"a":"' + b"\xff" + b'"}',
        b"[" * 3000 + b"]" * 3000,
        b'{"n": ' + b"9" * 5000 + b"}",
        b'{"n": 1e99999999999999999999}',
        (b'{"a":' * 70) + b"1" + b"}" * 70,
    ],
)
async def test_what_is_not_sound_json_breaks_the_contract(body: bytes):
    with pytest.raises(SourceContractBroken) as raised:
        await ask(FakeHttp(body))
    assert raised.value.reason in (json_tree.NOT_JSON, json_tree.TOO_DEEP)


async def test_a_whole_character_written_in_two_halves_is_sound():
    records, _ = await ask(FakeHttp(json.dumps(page(item(note="\U0001f600"))).encode()))
    assert records[0].data["note"] == "\U0001f600"


async def test_decimals_keep_their_digits():
    body = json.dumps(page(item(weight="W"))).replace('"W"', "3.50").encode()
    records, _ = await ask(FakeHttp(body))
    assert records[0].data["weight"] == Decimal("3.50")
    assert str(records[0].data["weight"]) == "3.50"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (page(item(None)), json_records.UNKEYED),
        (page(item("")), json_records.UNKEYED),
        (page(item(True)), json_records.UNKEYED),
        (page(item(["9990000107"])), json_records.UNKEYED),
        (page({}), json_records.UNKEYED),
        (page({"child": "9990000107"}), json_records.UNKEYED),
        (page({"child": {"number": NUMBER, "born": "14/03/2024"}}), json_records.BAD_BIRTH_DATE),
        (page({"child": {"number": NUMBER, "born": 2024}}), json_records.BAD_BIRTH_DATE),
        (page("text"), json_records.NO_RECORDS_THERE),
        (page(item(), None), json_records.NO_RECORDS_THERE),
        ({"data": {"items": "text"}}, json_records.NO_RECORDS_THERE),
        (page(*[item()] * 10_001), json_records.NO_RECORDS_THERE),
    ],
)
async def test_a_record_that_does_not_plainly_say_whose_it_is_discards_the_answer(answer: Any, reason: str):
    with pytest.raises(SourceContractBroken) as raised:
        await ask(FakeHttp(answer))
    assert raised.value.reason == reason


@pytest.mark.parametrize("answer", [{}, [], {"data": None}, {"data": {"items": None}}, {"data": {"items": []}}, {"data": []}])
async def test_no_records_is_no_error(answer: Any):
    assert await ask(FakeHttp(answer)) == ([], SourceFacts())


async def test_the_answer_may_say_once_whose_it_is_and_be_the_record_itself():
    made = manifest(records="$", identity="$.child.number", as_of="updated")
    records, _ = await ask(FakeHttp(item(updated="2026-11-20T10:00:00+01:00")), made)
    assert [record.as_of for record in records] == [datetime(2026, 11, 20, 9, tzinfo=UTC)]
    for updated in ("2026-11-20T10:00:00", 3, "soon"):
        with pytest.raises(SourceContractBroken):
            await ask(FakeHttp(item(updated=updated)), made)


@pytest.mark.parametrize(
    ("more", "locked"),
    [
        ({"shut": False}, False),
        ({"shut": "N"}, False),
        ({"shut": True}, True),
        ({"shut": "Y"}, True),
        ({"shut": []}, True),
        ({}, True),
    ],
)
async def test_a_record_is_locked_unless_it_plainly_says_that_it_is_not(more: dict[str, Any], locked: bool):
    records, _ = await ask(FakeHttp(page(item(**more))), manifest(locked="shut"))
    assert [record.locked for record in records] == [locked]


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        (None, set()),
        ([], set()),
        (False, set()),
        ("N", set()),
        ("Refuge", {"refuge"}),
        (["adoption", "x"], {"adoption", "disclosure-lock"}),
        (True, {"disclosure-lock"}),
        ({"at": "12 Hidden Street"}, {"disclosure-lock"}),
    ],
)
async def test_a_lock_on_the_person_protects_and_its_own_word_goes_no_further(said: Any, kinds: set[str]):
    _, facts = await ask(FakeHttp(page(item(flags=said))), manifest(locks="flags"))
    assert facts.protected == kinds
    _, facts = await ask(FakeHttp(page(flags=said)), manifest(locks="$.flags"))
    assert facts.protected == kinds


async def test_pages_are_followed_by_the_services_own_link():
    http = FakeHttp(page(item(), links={"next": "more?c=2"}), page(item(), links={"next": f"{BASE}/more?c=3"}), page(item()))
    records, _ = await ask(http, manifest(next="links.next"))
    assert [record.where for record in records] == ["item 1", "item 2", "item 3"]
    assert [(sent.method, sent.url, sent.body is None) for sent in http.asked[1:]] == [
        ("GET", f"{BASE}/more?c=2", True),
        ("GET", f"{BASE}/more?c=3", True),
    ]
    assert http.asked[1].cap < http.asked[0].cap == json_records.CAP_BYTES


@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.example/x",
        "http://service.example/api",
        "//elsewhere.example",
        f"more?n={NUMBER}",
        3,
        ["x"],
        "http://[x",
    ],
)
async def test_a_link_elsewhere_or_with_the_number_in_it_is_not_followed(link: Any):
    http = FakeHttp(page(item(), links={"next": link}))
    with pytest.raises(SourceContractBroken) as raised:
        await ask(http, manifest(next="links.next"))
    assert raised.value.reason == json_records.BAD_LINK
    assert len(http.asked) == 1


async def test_pages_are_counted_until_one_is_empty_or_the_last_is_reached():
    http = FakeHttp(page(item()), page(item()), page())
    await ask(http, manifest(page="p", first_page=0, query={"size": 1}))
    assert [urlsplit(sent.url).query for sent in http.asked] == ["size=1&p=0", "size=1&p=1", "size=1&p=2"]
    http = FakeHttp(page(item(), meta={"last": 2}), page(item(), meta={"last": 2}))
    await ask(http, manifest(page="p", last_page="meta.last"))
    assert len(http.asked) == 2


async def test_a_service_that_pages_for_ever_breaks_the_contract():
    with pytest.raises(SourceContractBroken) as raised:
        await ask(FakeHttp(*[page(item())] * 60), manifest(page="p"))
    assert raised.value.reason == json_records.MORE_PAGES


async def test_the_budget_is_of_all_pages_together():
    class Slow(FakeHttp):
        async def request(self, *args: Any, **more: Any) -> HttpAnswer:
            await asyncio.sleep(0.03)
            return await super().request(*args, **more)

    http, started = Slow(*[page(item())] * 60), time.monotonic()
    patient: Any = SimpleNamespace(number=NhsNumber(NUMBER), superseded=())
    made = source(http, manifest(page="p"), budget_s=0.1)
    with pytest.raises(SourceTimedOut):
        [one async for one in made.fetch(patient, Want(frozenset({"*"}), Purpose.TREAT, {}, "c"))]
    assert time.monotonic() - started < 1
    assert len(http.asked) < 10


async def test_a_number_in_a_path_is_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers[-1])
        writer.close()

    head = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    echo = json.dumps({"error": f"no child {NUMBER}"}).encode()
    answers = [
        b"",
        b"garbage " + NUMBER.encode() + b"\r\n\r\n",
        head % (b"500 X", 2) + b"{}",
        head % (b"404 X", len(echo)) + echo,
    ]
    answers += [head % (b"200 OK", len(echo)) + echo[:-1] + b"!", head % (b"301 X\r\nLocation: /" + NUMBER.encode(), 0)]
    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    made = manifest(json=None, method="GET", path="children/:nhs_number", key_in_path=True)
    said = []
    with caplog.at_level(logging.DEBUG):
        async with PooledHttp() as http:
            for address in [*[base] * len(answers), "http://127.0.0.1:1", "http://nowhere.invalid"]:
                answers.insert(0, answers.pop())
                with pytest.raises(SourceError) as raised:
                    await ask(http, made, base_url=address)
                said.append(repr(raised.value) + str(raised.value) + raised.value.reason)
    server.close()
    assert len(set(said)) > 3
    told = "".join(said) + caplog.text + "".join(str(record.__dict__) for record in caplog.records) + "".join(capfd.readouterr())
    assert NUMBER not in told


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "PUT"},
        {"method": None},
        {"types": []},
        {"path": ""},
        {"path": "children/:nhs_number"},
        {"key_in_path": True},
        {"path": "contacts?n=1"},
        {"path": "https://elsewhere.example/x"},
        {"path": "../admin"},
        {"query": {"n": ":nhs_number"}},
        {"json": {"nhsNumber": "9990000107"}},
        {"json": None},
        {"form": {"n": ":nhs_number"}},
        {"method": "GET"},
        {"schema": "other"},
        {"records": "data[0]"},
        {"records": "a..b"},
        {"identity": None},
        {"identity": ""},
        {"locked": 3},
        {"next": "a", "page": "p"},
        {"next": "$$"},
        {"nothing": [401]},
        {"nothing": [500]},
        {"page": "p", "first_page": "1"},
        {"colour": "red"},
    ],
)
def test_a_manifest_that_cannot_be_kept_is_refused_at_start(changes: dict[str, Any]):
    with pytest.raises(StartupRefused, match=r"adapters/desk/manifest\.toml: \[route\.contacts\]"):
        http_json.read_routes(manifest(**changes))


@pytest.mark.parametrize("base_url", [None, 3, "service.example", "ftp://service.example"])
def test_a_source_without_an_address_is_refused_at_start(base_url: Any):
    with pytest.raises(StartupRefused, match="base_url"):
        source(FakeHttp(), base_url=base_url)


def test_a_file_is_one_answer_of_the_route_its_name_begins_with():
    body = json.dumps(page(item())).encode()
    assert [one.where for one in http_json.read_file(manifest(), "any.json", body)] == ["item 1"]
    two = manifest(more={"visits": {**ROUTE, "records": "visits"}})
    assert len(list(http_json.read_file(two, "cases/contacts-1.json", body))) == 1
    assert list(http_json.read_file(two, "visits.json", body)) == []
    with pytest.raises(SourceContractBroken):
        http_json.read_file(two, "other.json", body)
