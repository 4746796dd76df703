"""`gateway database upgrade` on an empty database."""

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import main


def test_upgrade_makes_the_tables_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'g.db'}",
        "GATEWAY_SOURCES": "{}",
        "GATEWAY_PDS__BASE_URL": "http://127.0.0.1:1",
        "GATEWAY_PDS__ODS": "A99901",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    answer = CliRunner().invoke(main, ["database", "upgrade"])
    assert answer.exit_code == 0
    assert "schema" in answer.output
    with sqlite3.connect(tmp_path / "g.db") as connection:
        assert connection.execute("SELECT count(*) FROM event").fetchone() == (0,)
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "mysql://x")
    assert CliRunner().invoke(main, ["database", "upgrade"]).exit_code == 1
