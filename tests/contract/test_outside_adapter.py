"""An adapter in a repository of its own is examined by the same kit: `gateway check NAME` there, and nothing else to write."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.mapping import load
from gateway.mapping.cases import cases
from tests.walkthrough import FENCE, PAGE

GATEWAY = Path(sys.executable).parent / "gateway"
QUALITY = "tier: {tier}\ndone: {{}}\nexempt: {{}}\nmissing: {{}}\n"
README = """# Early help contacts

```toml
[sources.early-help]
adapter = "early_help"
custodian = "dfe-urn:199901"
agreement = "centre-record"
title = "Early help"
options = { drop = "drop" }
```
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of docs/writing-an-adapter.md as its author left them."""
    folder = tmp_path_factory.mktemp("repository")
    for found in FENCE.finditer(PAGE.read_text("utf-8")):
        if found["title"]:
            file = folder / found["title"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(found["body"], "utf-8")
    package = folder / "adapters" / "early_help"
    (package / "__init__.py").write_text('"""Early help."""\n', "utf-8")
    (package / "README.md").write_text(README, "utf-8")
    (package / "quality.yaml").write_text(QUALITY.format(tier="sandbox"), "utf-8")
    maps = load(folder / "mappings")
    for case in cases(folder / "mappings", "early_help"):
        case.accept(case.run(maps))
    assert gateway(folder, "adapter", "readme", "early_help", "--write").returncode == 0
    return folder


@pytest.fixture
def repository(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "repository"))


def gateway(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return subprocess.run([GATEWAY, *arguments], cwd=folder, env=kept, capture_output=True, text=True, check=False, timeout=60)


def test_every_rule_up_to_pilot_is_met_by_an_adapter_without_python(repository: Path):
    (repository / "adapters/early_help/quality.yaml").write_text(QUALITY.format(tier="pilot"), "utf-8")
    done = gateway(repository, "check", "early_help", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["claimed"], told["met"]) == ("pilot", "pilot")
    assert {rule for rule, faults in told["faults"].items() if faults} == {"tried"}


def test_a_tier_claimed_and_not_met_fails(repository: Path):
    (repository / "adapters/early_help/quality.yaml").write_text(QUALITY.format(tier="live"), "utf-8")
    done = gateway(repository, "check", "early_help")
    assert done.returncode == 1
    assert "done.tried says against which real system" in done.stderr


def test_what_breaks_in_their_repository_is_named_with_its_place(repository: Path):
    file = repository / "mappings/early_help/early_help.yaml"
    file.write_text(file.read_text("utf-8").replace("  Worker: names a member of staff\n", ""), "utf-8")
    done = gateway(repository, "check", "early_help")
    assert done.returncode == 1
    assert "Worker" in done.stderr


def test_neither_a_pipe_nor_no_color_gets_escape_codes(repository: Path):
    done = gateway(repository, "check", "early_help")
    assert "\x1b" not in done.stdout + done.stderr
