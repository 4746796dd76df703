"""The `gateway` command: one file per noun, loaded only when its noun is spoken, so that `--help` is quick."""

import importlib
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

# noun -> one line of help, as `gateway --help` prints it without loading the noun's file
NOUNS = {
    "adapter": "Adapters: a new one from a sample; can a source be reached.",
    "check": "Check manifests, mappings, policy and descriptions.",
    "client": "Registered systems: add, list, rotate, revoke.",
    "consent": "Consents and objections.",
    "crosswalk": "Local ids and the verified NHS numbers they belong to.",
    "database": "The gateway's own database: its schema.",
    "drop": "The files that a drop folder keeps sealed for a few days.",
    "identity": "Local people to NHS numbers, and what people must settle.",
    "key": "A key pair for a partner system.",
    "keys": "The gateway's own secret keys.",
    "log": "The audit log: why a decision was made, and whether the log holds together.",
    "map": "Mappings: run, check, compare, explain, document, export.",
    "openapi": "The API's description, written or compared.",
    "parcel": "What is to be delivered to other systems: list, show, retry, recall.",
    "policy": "The rules: check, explain, activate.",
    "protection": "Locks that protect people: how many, whose, and who decided that one ends.",
    "relationship": "Who cares for whom, from when to when.",
    "serve": "Serve FHIR R4, tokens and discovery.",
    "suppression": "Deaths and losses that stop contact, and who decided that it may go on.",
    "token": "An access token, by the real exchange with a running gateway.",
}


class _Nouns(TyperGroup):
    """Imports gateway.cli.<noun> when it is named: an `app` is a group, a `command` a single command."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        _dressed(self)

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(NOUNS)

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in NOUNS:
            return None
        module: Any = importlib.import_module(f"gateway.cli.{name}")
        noun = typer.Typer(add_completion=False, no_args_is_help=True)
        if hasattr(module, "app"):
            noun.add_typer(module.app, name=name, help=NOUNS[name])
            return _dressed(typer.main.get_group(noun).commands[name])
        noun = typer.Typer(add_completion=False)
        noun.command(name, help=module.command.__doc__)(module.command)
        return _dressed(typer.main.get_command(noun))


def _dressed(command: Any) -> Any:
    """A command that helps and complains in boxes and colours on a terminal, and in plain text anywhere else or under NO_COLOR.

    NO_COLOR alone would take the colours away and leave the other escape codes.
    """
    plain = "NO_COLOR" in os.environ or not (sys.stdout.isatty() and sys.stderr.isatty())
    command.rich_markup_mode = None if plain else "rich"
    for inner in getattr(command, "commands", {}).values():
        _dressed(inner)
    return command


main = typer.Typer(
    cls=_Nouns, add_completion=False, no_args_is_help=True, help="The shared care gateway.", pretty_exceptions_enable=False
)


@main.callback()
def _gateway() -> None:
    """The shared care gateway."""
