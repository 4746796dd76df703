"""Each rule that runs an adapter finds what it is for, and lets a sound adapter pass."""

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.adapter import (
    Claim,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceRecord,
    SourceRefused,
    SourceSettings,
    SourceUnavailable,
    Tools,
    Want,
)
from gateway.connectors import sql
from gateway.kit.conformance import RULES, Subject
from gateway.kit.running import NotChecked
from gateway.mapping.cases import cases
from tests.unit.kit.clinic import make

README = """# Clinic

```toml
[sources.clinic]
adapter = "clinic"
custodian = "ods:X99901"
agreement = "clinic"
title = "Clinic"
options = { base_url = "https://clinic.invalid" }
```
"""
RUNNING = ("settings", "errors", "slow", "empty", "wrong-person", "read-only", "number-in-url", "no-network")
AT = datetime(2026, 1, 5, tzinfo=UTC)
Fetch = Callable[[Tools, PatientIdentity], AsyncIterator[SourceRecord]]


def manifest(**changes: Any) -> Manifest:
    made = Manifest(
        name="clinic",
        title="Clinic",
        connector=None,
        owner="A team",
        identity="nhs_number",
        kind="gp",
        reads=("clinic-1",),
        gives={"Encounter": "child-health-reviews"},
        purposes=frozenset({"TREAT"}),
        never_for=frozenset(),
        feeds_protection=False,
        budget_s=1.0,
    )
    return replace(made, **changes)


async def good(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
    """As an adapter should: asks by body, sorts what comes back, passes on the answer's own key."""
    answer = await asked(tools, "POST", "https://clinic.invalid/search", patient)
    for row in rows(answer.body):
        about = Claim(nhs_number=row["number"], birth_date=date.fromisoformat(row["born"]))
        yield SourceRecord("clinic-1", {}, "row 1", AT, about)


async def asked(tools: Tools, method: str, url: str, patient: PatientIdentity) -> Any:
    body = patient.number.value.encode()
    answer = await tools.http.request(method, url, headers={}, body=body, deadline_s=9, cap_bytes=9_000_000)
    if answer.status in (401, 403):
        raise SourceRefused("refused")
    if answer.status != 200:
        raise SourceUnavailable("later")
    return answer


def rows(body: bytes) -> list[Any]:
    import msgspec

    try:
        read = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise SourceContractBroken("not JSON") from None
    if not isinstance(read, list):
        raise SourceContractBroken("not a list")
    return read


def subject(folder: Path, fetch: Fetch, *, readme: str = README, told: Manifest | None = None, **answers: str) -> Subject:
    maps = make(folder / "mappings")
    place = folder / "package"
    (place / "answers").mkdir(parents=True)
    (place / "__init__.py").touch()
    for name, body in answers.items():
        (place / "answers" / f"{name.replace('_', '-')}.json").write_text(body, "utf-8")
    spec = spec_from_file_location("clinic", place / "__init__.py", submodule_search_locations=[str(place)])
    assert spec is not None
    package = module_from_spec(spec)

    class Clinic:
        def __init__(self, tools: Tools) -> None:
            self._tools = tools

        async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord]:
            async for item in fetch(self._tools, patient):
                yield item

    def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> Clinic:
        return Clinic(tools)

    package.build = build  # type: ignore[attr-defined]
    own: Any = tuple(cases(maps, "clinic"))
    none: Any = None
    return Subject("clinic", package, told or manifest(), none, maps, own, {}, readme, _no_connector, ())


def _no_connector(name: str) -> ModuleType:
    raise AssertionError(name)


def found(one: Subject, rule: str) -> list[str]:
    return list(RULES[rule](one))


ONE = '[{"number": "9990000107", "born": "2024-03-14"}]'


@pytest.mark.parametrize("rule", RUNNING)
def test_a_sound_adapter_keeps_each_rule(tmp_path: Path, rule: str):
    assert found(subject(tmp_path, good, one_person=ONE, nobody="[]"), rule) == []


@pytest.mark.parametrize(
    ("readme", "says"),
    [
        ("# Clinic", "has no toml block"),
        (README.replace('title = "Clinic"\n', ""), "not one that the gateway's settings accept"),
        (README.replace("agreement", "agrement"), "not one that the gateway's settings accept"),
        (README.replace('adapter = "clinic"', 'adapter = "another"'), "sets another adapter"),
    ],
)
def test_settings_that_do_not_set_the_adapter_are_found(tmp_path: Path, readme: str, says: str):
    (fault,) = found(subject(tmp_path, good, readme=readme), "settings")
    assert says in fault


def test_an_adapter_that_sorts_every_answer_alike_is_found(tmp_path: Path):
    async def careless(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
        answer = await tools.http.request("GET", "https://x", headers={}, deadline_s=1, cap_bytes=9)
        if answer.status != 200:
            raise SourceUnavailable(answer.body.decode())
        assert answer.body.decode("ascii")
        for item in ():
            yield item

    faults = found(subject(tmp_path, careless), "errors")
    assert "an answer of 401 must be SourceRefused, came out as SourceUnavailable" in faults
    assert "an answer of 429: its error holds a value" in faults
    assert "an answer cut short must be SourceContractBroken, came out as no error" in faults
    assert "hostile answer not-text: UnicodeDecodeError instead of one of the four errors" in faults


def test_an_adapter_that_swallows_its_budget_or_leaves_a_request_open_is_found(tmp_path: Path):
    async def stubborn(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
        with pytest.raises(asyncio.CancelledError):
            await asked(tools, "POST", "https://x", patient)
        for item in ():
            yield item

    assert found(subject(tmp_path, stubborn), "slow") == ["a source that never answers came out as no error"]


def test_a_source_that_holds_nothing_must_give_nothing(tmp_path: Path):
    async def insists(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
        answer = await asked(tools, "POST", "https://x", patient)
        if not rows(answer.body):
            raise SourceContractBroken("nothing there")
        for item in ():
            yield item

    assert found(subject(tmp_path, insists, nobody="[]"), "empty") == [
        "a source that holds nothing came out as SourceContractBroken"
    ]


@pytest.mark.parametrize(("rule", "lacks"), [("empty", "answers/nobody.json"), ("wrong-person", "answers/one-person.json")])
def test_what_cannot_be_looked_at_without_the_sources_own_words_is_not_checked(tmp_path: Path, rule: str, lacks: str):
    with pytest.raises(NotChecked, match=lacks):
        found(subject(tmp_path, good), rule)


def test_an_adapter_that_stamps_the_number_asked_for_on_every_record_is_found(tmp_path: Path):
    async def stamps(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
        answer = await asked(tools, "POST", "https://x", patient)
        for _ in rows(answer.body):
            yield SourceRecord("clinic-1", {}, "row 1", AT, Claim(nhs_number=patient.number.value))

    faults = found(subject(tmp_path, stamps, one_person=ONE), "wrong-person")
    assert faults == ["answers/one-person: of another number, its records pass as the person's all the same"]


def test_an_adapter_that_stamps_what_its_shelf_holds_is_found(tmp_path: Path):
    async def stamps(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
        for held in await tools.shelf.newest(patient.number):
            yield SourceRecord("clinic-1", held.data, held.where, AT, Claim(nhs_number=patient.number.value))

    faults = found(subject(tmp_path, stamps), "wrong-person")
    assert faults.count("a record of its shelf about somebody else passes as the person's") == 3


@pytest.mark.parametrize(
    ("method", "url", "says"),
    [
        ("DELETE", "https://x/children", "fetching sends DELETE"),
        ("PUT", "https://x", "fetching sends PUT"),
        ("POST", "https://x/createChild", "writes"),
    ],
)
def test_an_adapter_that_writes_while_it_fetches_is_found(tmp_path: Path, method: str, url: str, says: str):
    async def writes(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
        await asked(tools, method, url, patient)
        for item in ():
            yield item

    assert any(says in fault for fault in found(subject(tmp_path, writes), "read-only"))


def test_a_number_in_a_url_is_found_and_is_not_told(tmp_path: Path):
    async def tells(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
        await asked(tools, "GET", f"https://x/children/{patient.number.value}", patient)
        for item in ():
            yield item

    one = subject(tmp_path, tells)
    assert set(found(one, "number-in-url")) == {"a URL holds the person's key"}
    marked = replace(one, manifest=manifest(options={"route": {"child": {"key_in_path": True}}}))
    assert found(marked, "number-in-url") == []


def test_an_adapter_that_goes_to_the_network_by_itself_is_stopped_and_found(tmp_path: Path):
    async def by_itself(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
        socket.create_connection(("127.0.0.1", 9), timeout=1).close()
        for item in ():
            yield item

    (fault,) = found(subject(tmp_path, by_itself), "no-network")
    assert fault.startswith("goes past the tools it is lent: socket.")


def test_outside_a_check_the_network_is_there():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


# ------------------------------------------------------------------------------------------------------- databases

DATABASE = README.replace('base_url = "https://clinic.invalid"', 'database_url = "sqlite:////srv/clinic.db"')
TABLE = "create table visit (number text, born text);\n"
VISIT = "insert into visit values ('9990000107', '2024-03-14');\n"


def register(folder: Path, *, stamps: bool = False, **scripts: str) -> Subject:
    """A clinic that is a database: asked by the connector's own driver, as any other."""

    async def unused(tools: Tools, patient: PatientIdentity) -> AsyncIterator[SourceRecord]:
        for item in ():
            yield item

    one = subject(folder, unused, readme=DATABASE)
    for name, body in scripts.items():
        (folder / "package" / "answers" / f"{name.replace('_', '-')}.sql").write_text(body, "utf-8")
    number = "'9990000107'" if stamps else "number"
    where = ":nhs_number is not null" if stamps else "number = :nhs_number"
    query = {"schema": "clinic-1", "types": ["Encounter"], "person": "number", "birth_date": "born"}
    options = {"query": {"visit": {**query, "sql": f"select {number} as number, born from visit where {where}"}}}
    one.package.build = sql.build  # type: ignore[attr-defined]
    return replace(one, manifest=manifest(connector="sql", options=options))


@pytest.mark.parametrize("rule", RUNNING)
def test_a_sound_database_keeps_each_rule(tmp_path: Path, rule: str):
    assert found(register(tmp_path, nobody=TABLE, one_person=TABLE + VISIT), rule) == []


@pytest.mark.parametrize(("rule", "lacks"), [("empty", "answers/nobody.sql"), ("wrong-person", "answers/one-person.sql")])
def test_a_database_whose_tables_are_not_known_is_not_checked(tmp_path: Path, rule: str, lacks: str):
    with pytest.raises(NotChecked, match=lacks):
        found(register(tmp_path), rule)


def test_a_database_that_stamps_the_number_asked_for_is_found(tmp_path: Path):
    faults = found(register(tmp_path, stamps=True, one_person=TABLE + VISIT), "wrong-person")
    assert faults == ["answers/one-person: of another number, its records pass as the person's all the same"]


def test_an_adapter_that_waits_for_a_busy_database_past_its_budget_is_found(tmp_path: Path):
    one = register(tmp_path)

    class Waits:
        def __init__(self, address: str) -> None:
            self._file = address.removeprefix("sqlite:///")

        async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord]:
            with closing(sqlite3.connect(self._file, timeout=1.1)) as database:
                for _ in database.execute("select * from sqlite_master"):
                    yield SourceRecord("clinic-1", {}, "row 1", AT, Claim(nhs_number="9990000107"))

    one.package.build = lambda manifest, source, tools: Waits(source.options["database_url"])  # type: ignore[attr-defined]
    faults = found(one, "slow")
    assert faults == [
        "a source that never answers came out as OperationalError",
        "a source that never answers is not stopped at its budget",
    ]
    assert "a database that is gone must be SourceUnavailable, came out as no error" in found(one, "errors")
