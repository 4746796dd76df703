"""Who does something that is in the log for ever: a member of staff as tokens and relationships name them, `SYSTEM|ID`."""

from typing import Final

import typer

FORM: Final = "write SYSTEM|ID, as the log has it of callers: sds|100000000001"


def staff(text: str | None) -> str | None:
    """The text as given, an option left out as None. Raises `BadParameter` for any other form, which is exit 2."""
    if text is not None and not is_staff(text):
        raise typer.BadParameter(FORM)
    return text


def is_staff(text: str) -> bool:
    """Whether this names somebody as the log and callers' tokens do."""
    system, _, number = text.partition("|")
    return bool(text.isprintable() and system.strip() and number.strip()) and "|" not in number and text == text.strip()
