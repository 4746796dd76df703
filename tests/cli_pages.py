"""docs/cli.md from the commands themselves: `python -m tests.cli_pages > docs/cli.md` writes it, a test compares it."""

from collections.abc import Iterator
from typing import Any

import typer

from gateway.cli import main

TOP = """# Commands

`gateway COMMAND --help` says the same in the terminal. Settings come from the environment and the file that
`GATEWAY_CONFIG` names ([running-it.md](running-it.md)). An NHS number is read from standard input, never from the command
line, where others could see it. Exit codes: 0 done; 1 refused, or faults were found; 2 the command or its settings cannot
be used.

This page is written by `python -m tests.cli_pages`; a test compares it with the commands.
"""


def cli_page() -> str:
    """The whole page."""
    return TOP + "".join(_sections())


def _sections() -> Iterator[str]:
    group: Any = typer.main.get_command(main)
    context = group.make_context("gateway", [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if not hasattr(command, "commands"):
            yield f"\n## gateway {name}\n\n{_described(command)}"
            continue
        yield f"\n## gateway {name}\n\n{_line(command.help)}\n"
        for inner in sorted(command.commands):
            yield f"\n### gateway {name} {inner}\n\n{_described(command.commands[inner])}"


def _described(command: Any) -> str:
    said = _line(command.help) + "\n"
    rows = [row for parameter in command.params if (row := _row(parameter))]
    if rows:
        said += "\n| argument or option | meaning |\n|---|---|\n" + "".join(rows)
    return said


def _row(parameter: Any) -> str:
    argument = parameter.param_type_name == "argument"
    name = (parameter.metavar or parameter.name or "").upper() if argument else ", ".join(parameter.opts)
    if "--help" in name:
        return ""
    meaning = _line(getattr(parameter, "help", None))
    notes = []
    if parameter.required:
        notes.append("required")
    elif parameter.default not in (None, "", False, ()) and not callable(parameter.default):
        notes.append(f"default `{parameter.default}`")
    if parameter.multiple and "repeat" not in meaning:
        notes.append("may be repeated")
    text = "; ".join(filter(None, [meaning, *notes])).replace("|", "\\|")
    return f"| `{name}` | {text} |\n"


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    print(cli_page(), end="")
