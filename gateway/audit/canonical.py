"""Canonical bytes of an audit event: what its commitment covers and what an auditor reads back.

Compact UTF-8 JSON, keys sorted, then the five facts the log itself adds, always last and in this order: r4_index (against
which definitions of R4 and UK Core the maps of this process were checked), event, recorded_at, writer, writer_seq. Ten
digits that stand alone and pass the NHS number check are starred in every text but staff, organisation and role, so that a
mistake elsewhere cannot turn the log into a list of patients.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from gateway.nhs_number import NhsNumber, NotAnNhsNumber
from gateway.ports import Entry

STARS = "**********"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError("not a JSON value")


_encode = msgspec.json.Encoder(order="sorted", decimal_format="number", enc_hook=_plain).encode
# Every byte by what it means to _TEN: a digit, a letter, or neither. One pass of C finds whether any text may hold a number.
_SHAPES = (
    bytes(b"0"[0] if chr(byte).isdigit() else b"a"[0] if chr(byte).isalpha() else b" "[0] for byte in range(128)) + b" " * 128
)
_ALONE = b" " + b"0" * 10 + b" "
_RUN = b"0" * 10
_TEN = re.compile(r"(?<![0-9A-Za-z])[0-9]{10}(?![0-9A-Za-z])", re.ASCII)  # ten digits inside a hash are not a number
_LONGEST = 255  # of a text that has a column
_TEXTS = (
    "kind",
    "outcome",
    "organisation",
    "system",
    "staff",
    "staff_name",
    "role",
    "purpose",
    "request_id",
    "correlation_id",
    "address",
)
_KEPT = frozenset({"staff", "organisation", "role"})  # whose form is checked before they get here


def settled(entry: Entry, person_key: bytes | None) -> tuple[Entry, bytes]:
    """An entry -> the entry as it can be stored, and its canonical JSON object, the person by keyed hash only.

    Hostile text is recorded, made harmless; it never stops the log. Raises `TypeError` for a value that is not JSON.
    """
    words = (entry.organisation, entry.system, entry.outcome, entry.purpose, entry.kind, entry.request_id)
    if max(map(len, words)) > _LONGEST or "\0" in "".join(words):
        entry = _made_sound(entry)
    try:
        encoded = _entry_bytes(entry, person_key)
    except UnicodeEncodeError:
        entry = _made_sound(entry)
        encoded = _entry_bytes(entry, person_key)
    shapes = encoded.translate(_SHAPES)
    if _ALONE in shapes or (b"\\" in encoded and _RUN in shapes):  # an escape ends in a letter or digit that is none
        entry = _starred_entry(entry)
        encoded = _entry_bytes(entry, person_key)
    return entry, encoded


def event_bytes(entry: bytes, *, r4_index: str, event: str, recorded_at: datetime, writer: str, writer_seq: int) -> bytes:
    """The entry's bytes with the five facts the log adds."""
    tail = f',"r4_index":"{r4_index}","event":"{event}","recorded_at":"{recorded_at.isoformat()}"'
    tail += f',"writer":"{writer}","writer_seq":{writer_seq}}}'
    return entry[:-1] + tail.encode()


def commitment(salt: bytes, canonical: bytes) -> bytes:
    """SHA-256 over salt and canonical bytes: after erasure of both, the log still verifies by this alone."""
    return hashlib.sha256(salt + canonical).digest()


def commitment_text(committed: bytes) -> str:
    """A commitment as receipts and auditors see it: base64url without padding."""
    return base64.urlsafe_b64encode(committed).rstrip(b"=").decode()


def signed_bytes(*, event: str, commitment_text: str, writer: str, recorded_at: datetime) -> bytes:
    """What a receipt's signature covers. The place in its writer's sequence is in the bytes that the commitment is made from."""
    lines = ("shared-care-gateway receipt v2", event, commitment_text, writer, recorded_at.isoformat())
    return "\n".join(lines).encode()


def digesting(salt: bytes) -> "hashlib._Hash":
    """The salted SHA-256 of a resource, begun: of the bytes it leaves as, which have their keys sorted at every depth."""
    return hashlib.sha256(salt)


def body_digest(salt: bytes, body: Mapping[str, Any]) -> str:
    """The same in hex of a copy, in whatever order its keys are: proves or disproves it."""
    return hashlib.sha256(salt + _encode(body)).hexdigest()


def _entry_bytes(entry: Entry, person_key: bytes | None) -> bytes:
    return _encode(
        {
            **{name: getattr(entry, name) for name in _TEXTS},
            "at": entry.at,
            "detail": entry.detail,
            "person": None if person_key is None else person_key.hex(),
        }
    )


def _made_sound(entry: Entry) -> Entry:
    texts = {name: _sound(getattr(entry, name))[:_LONGEST] for name in _TEXTS}
    return replace(entry, **texts, detail=_sound(entry.detail))


def _starred_entry(entry: Entry) -> Entry:
    texts = {name: _starred(getattr(entry, name)) for name in _TEXTS if name not in _KEPT}
    return replace(entry, **texts, detail=_starred(msgspec.json.decode(_encode(entry.detail))))


def _sound(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(value, Mapping):
        return {_sound(name): _sound(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(item) for item in value]
    return value


def _starred(value: Any) -> Any:
    if isinstance(value, str):
        return _TEN.sub(_stars, value)
    if isinstance(value, dict):
        return {_starred(name): _starred(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_starred(item) for item in value]
    return value


def _stars(run: "re.Match[str]") -> str:
    try:
        NhsNumber(run.group())
    except NotAnNhsNumber:
        return run.group()
    return STARS
