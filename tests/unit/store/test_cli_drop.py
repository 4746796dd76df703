"""`gateway drop open`: a kept file is shown to its owner, whole or not at all, and the log has it."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.drop import app
from gateway.connectors import kept
from gateway.ports import LogQuestion
from gateway.store import Keys, open_store


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {
        "GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'g.db'}",
        "GATEWAY_KEYS": str(tmp_path / "keys"),
        "GATEWAY_SOURCES": "{}",
        "GATEWAY_PDS__BASE_URL": "http://127.0.0.1:1",
        "GATEWAY_PDS__ODS": "A99901",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    keys = Keys.create_sandbox(tmp_path / "keys")
    asyncio.run(_store(tmp_path, keys))
    (tmp_path / "in").write_bytes(b"\xff<secret/>" * 300_000)
    kept.keep(lambda plain: keys.seal("file-sealing", plain, b"authority"), tmp_path / "in", tmp_path / "d-1.xml.sealed")
    return tmp_path / "d-1.xml.sealed"


async def _store(folder: Path, keys: Keys) -> list[object]:
    store = await open_store(f"sqlite:///{folder / 'g.db'}", keys, name="test")
    try:
        return [event.body["detail"] for event in await store.log.ask(LogQuestion(kind="administration"))]
    finally:
        await store.close()


def test_a_kept_file_is_shown_and_the_log_has_it(sealed: Path) -> None:
    shown = CliRunner().invoke(app, ["open", str(sealed), "--source", "authority"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout_bytes == b"\xff<secret/>" * 300_000
    keys = Keys.load(sealed.parent / "keys", mode="sandbox")
    assert asyncio.run(_store(sealed.parent, keys)) == [{"act": "drop-open", "source": "authority", "delivery": "d-1.xml"}]


@pytest.mark.parametrize("harm", ["another source", "cut", "altered", "gone"])
def test_of_a_file_that_is_not_whole_or_not_this_sources_nothing_is_shown(sealed: Path, harm: str) -> None:
    body = sealed.read_bytes()
    if harm == "cut":
        sealed.write_bytes(body[:-1])
    elif harm == "altered":
        sealed.write_bytes(body[:-9] + bytes([body[-9] ^ 1]) + body[-8:])
    elif harm == "gone":
        sealed.unlink()
    shown = CliRunner().invoke(app, ["open", str(sealed), "--source", "centre" if harm == "another source" else "authority"])
    assert shown.exit_code == 1
    assert b"secret" not in shown.stdout_bytes
    assert "d-1.xml.sealed" in shown.stderr


def test_what_is_refused_is_counted_by_its_reason(sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_VAR", str(tmp_path))
    source = (
        '{"adapter": "child_health", "custodian": "ods:RXX99", "agreement": "a", "title": "t", "options": {"drop": "in-here"}}'
    )
    monkeypatch.setenv("GATEWAY_SOURCES", f'{{"child": {source}, "other": {source}}}')
    assert CliRunner().invoke(app, ["refused"]).output == "Nothing is refused in any drop.\n"
    folder = tmp_path / "sources" / "child" / "in-here" / "refused"
    folder.mkdir(parents=True)
    for number, reason in enumerate(("not XML", "an event that this source does not know", "not XML")):
        (folder / f"delivery-{number}.xml.reason").write_text(f"{reason}\nrefused at 2026-01-01\n", "utf-8")
    said = CliRunner().invoke(app, ["refused"]).output
    assert said == "child: 1 x an event that this source does not know\nchild: 2 x not XML\n"
