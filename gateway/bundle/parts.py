"""What every answer is made of: how it looks, its receipt, an issue of its outcome."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from gateway import systems
from gateway.model import Receipt

encode = msgspec.json.Encoder(decimal_format="number").encode


class Delivered(NamedTuple):
    """What a pushing source last delivered: the same for everyone."""

    at: datetime | None
    stale: bool
    unread: bool = False  # rows of its newest list could not be taken: of whom they are nobody can say


@dataclass(frozen=True, slots=True)
class Look:
    """How sources are named, where links point, how cursors are sealed, what each pushing source last delivered."""

    base_url: str
    titles: Mapping[str, tuple[str, str]]  # source -> (kind, title)
    seal: Callable[[bytes], str]
    deliveries: Mapping[str, Delivered]  # by pushing source


@dataclass(frozen=True, slots=True)
class Answer:
    """What api sends. `shows_records` False: api holds it back to the next time bucket."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]
    shows_records: bool


def issue_of(severity: str, code: str, text: str, *, spine: str = "") -> dict[str, Any]:
    """One issue of an OperationOutcome, with the code that Spine's clients know where there is one."""
    details: dict[str, Any] = {"text": text}
    if spine:
        details = {"coding": [{"system": systems.SPINE_ERROR, "code": spine}], "text": text}
    return {"severity": severity, "code": code, "details": details}


def receipt_header(receipt: Receipt) -> tuple[tuple[str, str], ...]:
    """A receipt -> the header that carries it whole, to be verified.

    It holds no number of the log's: what an answer cost in events would tell an empty one from another.
    """
    value = f"{receipt.event}.{receipt.writer}.{receipt.commitment}.{receipt.signature}"
    return (("Gateway-Receipt", value),)


def receipt_identifier(receipt: Receipt) -> dict[str, str]:
    """A receipt -> the identifier that names its event."""
    return {"system": systems.RECEIPT, "value": receipt.event}
