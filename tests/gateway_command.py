"""The `gateway` command as its own process runs it, run in this one: importing it takes longer than most of its work.

That the program itself starts, reads its settings and speaks is shown wherever `demo` seeds a place, which does it by processes.
"""

import asyncio
import os
import subprocess
import threading
from collections.abc import Mapping

import pytest
from typer.testing import CliRunner

from gateway.cli import main

_ONE_AT_A_TIME = threading.Lock()  # the environment and standard input are the whole process's


def gateway(environment: Mapping[str, str], *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """The settings of a place, a command -> what it printed and its exit code. An exception that it lets out is let out."""
    with _ONE_AT_A_TIME, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GATEWAY_") and name not in environment]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        loops = asyncio.get_event_loop_policy()
        try:
            done = CliRunner().invoke(main, list(arguments), input=stdin, prog_name="gateway")
        finally:
            asyncio.set_event_loop_policy(loops)  # a long command takes a faster one
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(["gateway", *arguments], done.exit_code, done.stdout, done.stderr)
