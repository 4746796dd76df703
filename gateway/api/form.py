"""Raw bytes of a query string or form body -> name and value pairs, strictly; nothing of them ever echoed."""

import re
from urllib.parse import unquote_to_bytes

from gateway.errors import BadRequest, TooLarge

MOST_BYTES = 8_192
MOST_FIELDS = 40
MOST_VALUE = 2_000

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def pairs(raw: bytes, *, most_bytes: int = MOST_BYTES, most_value: int = MOST_VALUE) -> list[tuple[str, str]]:
    """application/x-www-form-urlencoded bytes -> pairs in order.

    Raises `TooLarge` past the caps and `BadRequest` for a broken escape, bytes that are not UTF-8, or control characters.
    """
    if len(raw) > most_bytes:
        raise TooLarge(reason="form-too-long")
    fields = [field for field in raw.split(b"&") if field]
    if len(fields) > MOST_FIELDS:
        raise TooLarge(reason="too-many-parameters")
    return [(_text(name, most_value), _text(value, most_value)) for name, _, value in (field.partition(b"=") for field in fields)]


def once(fields: list[tuple[str, str]], *, repeatable: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """Pairs -> values by name. Raises `BadRequest` when a name that may come once comes twice: two readers, two meanings."""
    values: dict[str, list[str]] = {}
    for name, value in fields:
        values.setdefault(name, []).append(value)
        if len(values[name]) > 1 and name not in repeatable:
            raise BadRequest(reason="parameter-repeated")
    return values


def _text(raw: bytes, most: int) -> str:
    if _BROKEN_ESCAPE.search(raw):
        raise BadRequest(reason="broken-escape")
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(reason="not-utf-8") from error
    if len(text) > most:
        raise TooLarge(reason="parameter-too-long")
    if _CONTROL.search(text):
        raise BadRequest(reason="control-character")
    return text
