"""GATEWAY_MODE=live starts with nothing of the sandbox, in one clear line each."""

import os
import subprocess
from pathlib import Path

import pytest

from sandbox import demo

LIVE = """mode = "live"
base_url = "https://gateway.example"
[pds]
base_url = "https://pds.example/FHIR/R4"
ods = "X99990"
[sources.gp]
adapter = "gp"
custodian = "registered-practice"
agreement = "gp-record"
title = "GP practice"
options = { ssp = "https://proxy.example/", consumer_asid = "200000000001" }
"""


def gateway(folder: Path, *arguments: str, config: str = LIVE, **environment: str) -> subprocess.CompletedProcess[str]:
    """One `gateway` command with these settings; none that is refused ever listens."""
    file = folder / "gateway.toml"
    file.write_text(config, "utf-8")
    settings = {"GATEWAY_CONFIG": str(file), "GATEWAY_VAR": str(folder), "GATEWAY_KEYS": str(folder / "keys")}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    command = [demo.GATEWAY, *arguments]
    return subprocess.run(
        command, env={**clean, **settings, **environment}, capture_output=True, text=True, check=False, timeout=30
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("gateway: ")
    assert all(word in line for word in words), line


def test_sandbox_keys_are_refused(tmp_path: Path) -> None:
    sandbox = LIVE.replace('"live"', '"sandbox"')
    assert gateway(tmp_path, "keys", "create", "--sandbox", config=sandbox).returncode == 0
    refused(gateway(tmp_path, "serve", GATEWAY_PORT="29471", GATEWAY_OPERATIONS_PORT="29472"), "sandbox")


@pytest.mark.parametrize(
    ("was", "becomes", "names"),
    [
        ('base_url = "https://gateway.example"', "", "GATEWAY_BASE_URL"),
        ("https://gateway.example", "http://gateway.example", "GATEWAY_BASE_URL"),
        ("https://pds.example", "http://127.0.0.1:8100/pds", "pds.base_url"),
        ("https://proxy.example/", "http://127.0.0.1:8100/ssp/", "sources.gp.options.ssp"),
        ("[sources.gp]", '[sds]\nbase_url = "http://127.0.0.1:8100/sds"\n[sources.gp]', "sds.base_url"),
    ],
)
def test_plain_http_is_refused(was: str, becomes: str, names: str, tmp_path: Path) -> None:
    config = LIVE.replace(was, becomes)
    assert config != LIVE
    refused(gateway(tmp_path, "serve", config=config, GATEWAY_PORT="29471", GATEWAY_OPERATIONS_PORT="29472"), names, "https")


def test_adapters_under_development_are_refused(tmp_path: Path) -> None:
    done = gateway(tmp_path, "serve", GATEWAY_ADAPTERS=str(tmp_path), GATEWAY_PORT="29471", GATEWAY_OPERATIONS_PORT="29472")
    refused(done, "GATEWAY_ADAPTERS")


def test_no_keys_at_all_are_refused_with_what_to_do(tmp_path: Path) -> None:
    refused(gateway(tmp_path, "serve", GATEWAY_PORT="29471", GATEWAY_OPERATIONS_PORT="29472"), "gateway keys create")


def test_a_switch_for_policy_or_audit_does_not_exist(tmp_path: Path) -> None:
    done = gateway(tmp_path, "serve", config="audit = false\npolicy_checks = false\n" + LIVE)
    refused(done, "audit", "policy_checks")


def test_a_secret_or_value_is_never_printed_with_a_wrong_setting(tmp_path: Path) -> None:
    config = LIVE.replace('ods = "X99990"', 'ods = "X99990"\napi_key = 7\nper_second = "very-secret-value"')
    done = gateway(tmp_path, "serve", config=config)
    assert done.returncode == 2
    assert "very-secret-value" not in done.stderr
    assert "pds.per_second" in done.stderr
