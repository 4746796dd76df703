"""Settings: what is set is used, what is not known stops the start, and no value is repeated."""

from pathlib import Path

import pytest
import typer
from pydantic import ValidationError

from gateway.cli import say
from gateway.settings import Settings

LEAST = {"GATEWAY_PDS__BASE_URL": "https://pds.example", "GATEWAY_PDS__ODS": "X99990", "GATEWAY_SOURCES": "{}"}


@pytest.fixture(autouse=True)
def _least(monkeypatch):
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)


def faults(**given) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as refused:
        Settings(**given)
    assert "secret-value" not in str(refused.value)
    return [(".".join(map(str, item["loc"])), item["type"]) for item in refused.value.errors()]


def test_the_environment_is_enough():
    settings = Settings()
    assert settings.pds.base_url == "https://pds.example"
    assert settings.database() == "sqlite:///var/gateway.db"
    assert settings.public_base() == "http://127.0.0.1:8000"


@pytest.mark.parametrize("name", ["GATEWAY_TRACE_FRESHS", "gateway_audit", "GATEWAY_POLICY_OFF", "GATEWAY_SOURCE__GP__ADAPTER"])
def test_a_misspelt_name_in_the_environment_is_refused_and_not_passed_over(monkeypatch, name):
    monkeypatch.setenv(name, "secret-value")
    meant = name.upper().removeprefix("GATEWAY_").partition("__")[0].lower()
    assert faults() == [(meant, "extra_forbidden")]


def test_a_misspelt_name_inside_a_table_is_refused_too(monkeypatch):
    monkeypatch.setenv("GATEWAY_PDS__PER_SECONDS", "secret-value")
    assert faults() == [("pds.per_seconds", "extra_forbidden")]


def test_a_misspelt_name_in_the_file_is_refused_too(monkeypatch, tmp_path: Path):
    (tmp_path / "gateway.toml").write_text('pot = "secret-value"\n', "utf-8")
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "gateway.toml"))
    assert faults() == [("pot", "extra_forbidden")]


@pytest.mark.parametrize("body", [None, b"a = = b", b"\xff\xfe"])
def test_a_file_that_is_not_there_or_no_toml_gets_one_line_without_its_words(monkeypatch, tmp_path: Path, capsys, body):
    file = tmp_path / "secret-value.toml"
    if body is not None:
        file.write_bytes(body)
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    with pytest.raises(typer.Exit) as left:
        say.settings()
    assert left.value.exit_code == 2
    said = capsys.readouterr().err
    assert said == "gateway: settings: the file that GATEWAY_CONFIG names cannot be read as TOML\n"


def test_the_environment_outweighs_the_file(monkeypatch, tmp_path: Path):
    (tmp_path / "gateway.toml").write_text("port = 8100\npage_count = 7\n", "utf-8")
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "gateway.toml"))
    monkeypatch.setenv("GATEWAY_PORT", "8200")
    settings = Settings()
    assert (settings.port, settings.page_count) == (8200, 7)


def test_a_value_that_does_not_fit_is_refused_by_name_and_never_repeated(monkeypatch):
    monkeypatch.setenv("GATEWAY_TOKEN_S", "301")
    assert faults() == [("token_s", "less_than_equal")]
    monkeypatch.setenv("GATEWAY_TOKEN_S", "secret-value")
    assert faults() == [("token_s", "int_parsing")]


def test_a_secret_does_not_print_itself(monkeypatch):
    monkeypatch.setenv("GATEWAY_PDS__API_KEY", "secret-value")
    settings = Settings()
    assert settings.pds.api_key is not None
    assert settings.pds.api_key.get_secret_value() == "secret-value"
    assert "secret-value" not in repr(settings)


@pytest.mark.parametrize("name", ["Gp", "a.b", "a b", "fifteen-letters", "é"])
def test_a_source_whose_name_would_not_fit_an_id_is_refused(name):
    source = {"adapter": "gp", "custodian": "registered-practice", "agreement": "gp-record", "title": "GP"}
    assert faults(sources={name: source}) == [("sources", "value_error")]
