"""`gateway drop open`: a kept file is shown to its owner, whole or not at all, and the log has it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.drop import app
from gateway.cli.local_counts import where_it_is
from gateway.connectors import kept
from gateway.connectors.drop import Drop
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


@pytest.fixture
def kept_for_child(sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a drop took and refused a row of -> the file as it was sent."""
    monkeypatch.setenv("GATEWAY_VAR", str(tmp_path))
    source = '{"adapter": "child_health", "custodian": "ods:RXX99", "agreement": "a", "title": "t"}'
    monkeypatch.setenv("GATEWAY_SOURCES", f'{{"child": {source}, "other": {source}}}')
    sent = tmp_path / "jabs.csv"
    sent.write_bytes(b"jabs")
    keys = Keys.load(tmp_path / "keys", mode="sandbox")
    drop = Drop(
        tmp_path / "sources" / "child" / "drop",
        suffixes=frozenset((".csv",)),
        cap_bytes=100,
        keep_days=7,
        snapshot=False,
        now=lambda: datetime.now(UTC),
        seal=lambda plain: keys.seal("file-sealing", plain, b"child"),
        settle_s=0,
    )
    (tmp_path / "sources" / "child" / "drop" / "9990000107.csv").write_bytes(b"jabs")
    taken = drop.take()
    assert taken is not None
    taken.rows = [("row 2", "a bad row")]
    taken.refuse("no good")
    return sent


def test_a_file_as_it_was_sent_leads_to_its_delivery_and_a_delivery_opens_by_its_name(kept_for_child: Path) -> None:
    found = CliRunner().invoke(app, ["find", str(kept_for_child)])
    assert found.exit_code == 0
    place, rows = found.output.splitlines()
    assert (place.endswith(".csv: no good"), rows) == (True, "row 2: a bad row")
    name = place.removeprefix("child: refused/").removesuffix(": no good")
    assert CliRunner().invoke(app, ["refused", "--names"]).output == f"child: 1 x no good\n  {name}\n"
    for given in (name, f"{name}.sealed"):
        shown = CliRunner().invoke(app, ["open", given, "--source", "child"])
        assert (shown.exit_code, shown.stdout_bytes) == (0, b"jabs")
        assert f"{name}.rows" in shown.stderr
    for source in ("other", "none"):
        assert CliRunner().invoke(app, ["open", name, "--source", source]).exit_code == 1


def test_a_file_that_no_drop_keeps_is_said_to_be_none(kept_for_child: Path) -> None:
    kept_for_child.write_bytes(b"others")
    found = CliRunner().invoke(app, ["find", str(kept_for_child)])
    assert found.exit_code == 1
    assert "no drop keeps delivery-" in found.stderr
    assert CliRunner().invoke(app, ["find", str(kept_for_child.with_name("absent"))]).exit_code == 1


def test_who_takes_an_item_about_a_delivery_is_told_how_to_open_it_and_where_its_rows_stand() -> None:
    said = where_it_is("delivery-0123456789abcdef.csv")
    assert "gateway drop open delivery-0123456789abcdef.csv --source" in said
    assert "delivery-0123456789abcdef.csv.rows" in said
    assert "delivery-0123456789abcdef.csv.reason" in said
