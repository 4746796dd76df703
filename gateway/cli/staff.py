"""Who does something that is in the log for ever: a member of staff as tokens and relationships name them, `SYSTEM|ID`."""

from typing import Final

import typer

FORM: Final = "write SYSTEM|ID, as the log has it of callers: sds|100000000001"


def staff(text: str | None) -> str | None:
    """The text as given, an option left out as None. Raises `BadParameter` for any other form, which is exit 2."""
    if text is None:
        return None
    system, _, number = text.partition("|")
    if not (text.isprintable() and system.strip() and number.strip()) or "|" in number or text != text.strip():
        raise typer.BadParameter(FORM)
    return text
