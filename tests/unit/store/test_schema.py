"""The migrations make exactly the tables the program speaks of."""

import io
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.store.schema import _config, _head, check_schema, upgrade
from gateway.store.tables import METADATA


def test_the_migrations_end_at_the_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'g.db'}"
    check_schema(url)
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        assert set(sqlalchemy.inspect(connection).get_table_names()) == {*METADATA.tables, "alembic_version"}
    engine.dispose()


def test_the_number_of_the_newest_file_is_alembics_head() -> None:
    assert ScriptDirectory.from_config(_config()).get_current_head() == _head()


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'g.db'}"
    upgrade(url)
    upgrade(url)
    check_schema(url)


def test_the_folder_of_the_database_is_made_private(tmp_path: Path) -> None:
    check_schema(f"sqlite:///{tmp_path / 'var' / 'g.db'}")
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700


def test_postgresql_gets_its_tables_as_sql_alone() -> None:
    config = _config()
    config.output_buffer = io.StringIO()
    command.upgrade(config, "base:head", sql=True)
    script = config.output_buffer.getvalue()
    for table in METADATA.tables:
        assert f"CREATE TABLE {table} (" in script


def test_an_audit_log_is_never_migrated_backwards(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'g.db'}"
    upgrade(url)
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        with pytest.raises(NotImplementedError):
            command.downgrade(config, "base")
    engine.dispose()
