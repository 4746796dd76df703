"""No command prints escape codes into a pipe, nor on a terminal under NO_COLOR: its help, and what it says of wrong words."""

import os
import pty
import subprocess
import sys

import pytest

WALK = """
import sys
import typer
from gateway.cli import main

group = typer.main.get_command(main)
context = group.make_context("gateway", [], resilient_parsing=True)
told = []
for noun in group.list_commands(context):
    command = group.get_command(context, noun)
    told += [[noun], *([noun, verb] for verb in getattr(command, "commands", {}))]
for words in ([], *told):
    for more in (["--help"], ["--no-such-option"]):
        try:
            main([*words, *more], prog_name="gateway")
        except SystemExit:
            pass
        print("SAID", *words, *more, flush=True)
"""


def on_a_terminal_under_no_color() -> str:
    ours, theirs = pty.openpty()
    env = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "200"}
    with subprocess.Popen([sys.executable, "-c", WALK], env=env, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # a terminal whose other side is gone
                break
            if not part:
                break
            said += part
        assert process.wait(timeout=120) == 0
    os.close(ours)
    return said.decode("utf-8")


def assert_plain(said: str) -> None:
    commands = [line for line in said.splitlines() if line.startswith("SAID")]
    assert len(commands) > 80
    assert said.count("Usage:") >= len(commands) / 2
    assert said.count("No such option") >= len(commands) / 3
    assert [line for line in said.splitlines() if "\x1b" in line] == []


def test_no_command_prints_escape_codes_into_a_pipe(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    exec(WALK, {"__name__": "walk"})
    out, err = capfd.readouterr()
    assert_plain(out + err)


def test_no_command_prints_escape_codes_on_a_terminal_under_no_color():
    assert_plain(on_a_terminal_under_no_color())
