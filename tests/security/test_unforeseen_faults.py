"""A fault of ours that nothing foresaw: said by its status alone, as every other refusal is, and recorded."""

import json
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from gateway import app
from gateway.api import fhir
from gateway.ports import Entry
from tests import fakes

pytestmark = pytest.mark.anyio

SECRET = "9990000107"


async def breaks(*_: Any) -> None:
    raise ZeroDivisionError(SECRET)


async def test_an_unforeseen_fault_is_an_outcome_with_an_event_and_says_nothing(monkeypatch, caplog):
    recorded: list[Entry] = []

    async def record(entry: Entry) -> None:
        recorded.append(entry)

    monkeypatch.setattr(fhir, "authenticate", breaks)
    caller = SimpleNamespace(failures=SimpleNamespace(record=record), token_url="", base_url="", fhir_url="")
    parts: Any = SimpleNamespace(caller=caller, now=lambda: fakes.NOW, types=lambda: frozenset(), base_url="http://gateway")
    transport = httpx.ASGITransport(app.create(parts, SimpleNamespace(body_bytes=1000)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        answer = await http.get("/fhir/Patient")
    assert answer.status_code == 500
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert SECRET not in answer.text + str(answer.headers) + caplog.text + json.dumps([entry.detail for entry in recorded])
    assert [entry.detail["status"] for entry in recorded] == [500]
    assert "x-request-id" in answer.headers
