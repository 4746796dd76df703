"""What a request asks the database, it asks by index: ten million people cost it what ten thousand do."""

import sqlite3
from types import ModuleType

import pytest

from gateway.store import facts, log_statements, persons, subjects
from gateway.store.database import Statement
from gateway.store.schema import upgrade

SMALL = {"family", "feed", "CONSTANT"}  # a person's own numbers; a row for each source that pushes
ON_EVERY_REQUEST = ((persons, "_BY_NUMBER"), (persons, "_BY_ID"), (facts, "_READ"), (subjects, "_VERSION"))
WRITTEN = ((persons, "_RETRACE"), (persons, "_EXPIRE"), (persons, "_ALIASES_FOLLOW"), (log_statements, "ENDS"))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    path = tmp_path_factory.mktemp("scale") / "scale.db"
    upgrade(f"sqlite:///{path}")
    return sqlite3.connect(path)


@pytest.mark.parametrize(("module", "name"), ON_EVERY_REQUEST + WRITTEN)
def test_no_statement_of_the_line_reads_a_whole_table(database: sqlite3.Connection, module: ModuleType, name: str) -> None:
    statement: Statement = getattr(module, name)
    sql = statement.sql("sqlite")
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", ("",) * sql.count("?"))]
    assert [step for step in plan if step.startswith("SCAN ") and step.split()[1] not in SMALL] == []
