"""Commands about what goes to other systems."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import main


@pytest.mark.parametrize("option", ["--recipient", "--sender"])
@pytest.mark.parametrize("code", ["nonsense", "ods:", "dfe-urn:1", "gss:E08999901 or so", "ods:a99902"])
def test_writing_for_what_is_no_organisation_is_refused_and_the_code_not_repeated(option: str, code: str, tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"resourceType": "Task", "status": "requested", "intent": "order"}), "utf-8")
    done = CliRunner().invoke(main, ["map", "write", "gp", "practice-task-1", str(file), option, code])
    assert (done.exit_code, option in done.output, "nonsense" in done.output) == (2, True, False)
