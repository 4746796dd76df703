"""GATEWAY_MODE=live starts with nothing of the sandbox, in one clear line each."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
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


SDS = '[sds]\nbase_url = "http://127.0.0.1:8100/sds"\n[sources.gp]'
REFUSED = {  # what is wrong -> settings, environment, words of the one line
    "no https address": (LIVE.replace('base_url = "https://gateway.example"', ""), {}, ("GATEWAY_BASE_URL", "https")),
    "plain http": (LIVE.replace("https://gateway.example", "http://gateway.example"), {}, ("GATEWAY_BASE_URL", "https")),
    "a simulated PDS": (LIVE.replace("https://pds.example", "http://127.0.0.1:8100/pds"), {}, ("pds.base_url", "https")),
    "a simulated SDS": (LIVE.replace("[sources.gp]", SDS), {}, ("sds.base_url", "https")),
    "a simulated source": (LIVE.replace("https://proxy.example/", "http://127.0.0.1:8100/ssp/"), {}, ("sources.gp.options.ssp",)),
    "adapters under development": (LIVE, {"GATEWAY_ADAPTERS": "/nowhere"}, ("GATEWAY_ADAPTERS",)),
    "no keys": (LIVE, {}, ("gateway keys create",)),
    "a switch for audit or policy": ("audit = false\npolicy_checks = false\n" + LIVE, {}, ("audit", "policy_checks")),
}


def gateway(folder: Path, *arguments: str, config: str = LIVE, **environment: str) -> subprocess.CompletedProcess[str]:
    """One `gateway` command with these settings; none that is refused ever listens."""
    folder.mkdir(exist_ok=True)
    file = folder / "gateway.toml"
    file.write_text(config, "utf-8")
    settings = {"GATEWAY_CONFIG": str(file), "GATEWAY_VAR": str(folder), "GATEWAY_KEYS": str(folder / "keys")}
    settings |= {"GATEWAY_PORT": "29471", "GATEWAY_OPERATIONS_PORT": "29472"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    command = [demo.GATEWAY, *arguments]
    return subprocess.run(
        command, env={**clean, **settings, **environment}, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """What `gateway serve` says to each, asked side by side."""
    folder = tmp_path_factory.mktemp("live")
    with ThreadPoolExecutor(max_workers=4) as several:
        asked = {
            why: several.submit(gateway, folder / str(number), "serve", config=config, **environment)
            for number, (why, (config, environment, _)) in enumerate(REFUSED.items())
        }
        return {why: done.result() for why, done in asked.items()}


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("gateway: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize("why", REFUSED)
def test_live_mode_refuses_to_start_with(why: str, said: dict[str, subprocess.CompletedProcess[str]]) -> None:
    refused(said[why], *REFUSED[why][2])


def test_live_mode_refuses_keys_made_for_the_sandbox(tmp_path: Path) -> None:
    sandbox = LIVE.replace('"live"', '"sandbox"')
    assert gateway(tmp_path, "keys", "create", "--sandbox", config=sandbox).returncode == 0
    refused(gateway(tmp_path, "serve"), "sandbox")


def test_live_mode_refuses_a_source_whose_adapter_was_not_tried_against_the_real_system(tmp_path: Path) -> None:
    assert gateway(tmp_path, "keys", "create").returncode == 0
    refused(gateway(tmp_path, "serve"), "sources.gp", "adapter gp", "tier pilot, not live", "gateway check gp")


def test_a_secret_or_value_is_never_printed_with_a_wrong_setting(tmp_path: Path) -> None:
    config = LIVE.replace('ods = "X99990"', 'ods = "X99990"\napi_key = 7\nper_second = "very-secret-value"')
    done = gateway(tmp_path, "serve", config=config)
    assert done.returncode == 2
    assert "very-secret-value" not in done.stderr
    assert "pds.per_second" in done.stderr
