"""Canonical bytes of an audit event: what its commitment covers and what an auditor reads back.

Compact UTF-8 JSON, keys sorted, then the four facts the log itself adds, always last and in this order: event,
recorded_at, writer, writer_seq. A ten-digit text that passes the NHS number check is starred wherever it stands in
free detail, so that a mistake elsewhere cannot turn the log into a list of patients.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
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
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_RUN = b"0" * 10
_TEN = re.compile(r"(?<![0-9])[0-9]{10}(?![0-9])", re.ASCII)
_KEPT = frozenset({"staff", "system", "organisation", "role"})  # whose form is checked before they get here


def entry_bytes(entry: Entry, person_key: bytes | None) -> bytes:
    """An entry -> its canonical JSON object, the person by keyed hash only. Raises `TypeError` for a value that is not JSON."""
    fields: dict[str, Any] = {
        "address": entry.address,
        "at": entry.at,
        "correlation_id": entry.correlation_id,
        "detail": entry.detail,
        "kind": entry.kind,
        "organisation": entry.organisation,
        "outcome": entry.outcome,
        "person": None if person_key is None else person_key.hex(),
        "purpose": entry.purpose,
        "request_id": entry.request_id,
        "role": entry.role,
        "staff": entry.staff,
        "staff_name": entry.staff_name,
        "system": entry.system,
    }
    encoded = _encode(fields)
    if _RUN in encoded.translate(_ZEROS):
        read = msgspec.json.decode(encoded)
        encoded = _encode({name: value if name in _KEPT else _starred(value) for name, value in read.items()})
    return encoded


def event_bytes(entry: bytes, *, event: str, recorded_at: datetime, writer: str, writer_seq: int) -> bytes:
    """The entry's bytes with the four facts the log adds."""
    tail = f',"event":"{event}","recorded_at":"{recorded_at.isoformat()}","writer":"{writer}","writer_seq":{writer_seq}}}'
    return entry[:-1] + tail.encode()


def commitment(salt: bytes, canonical: bytes) -> bytes:
    """SHA-256 over salt and canonical bytes: after erasure of both, the log still verifies by this alone."""
    return hashlib.sha256(salt + canonical).digest()


def commitment_text(committed: bytes) -> str:
    """A commitment as receipts and auditors see it: base64url without padding."""
    return base64.urlsafe_b64encode(committed).rstrip(b"=").decode()


def signed_bytes(*, event: str, commitment_text: str, writer: str, writer_seq: int, recorded_at: datetime) -> bytes:
    """What a receipt's signature covers."""
    lines = ("shared-care-gateway receipt v1", event, commitment_text, writer, str(writer_seq), recorded_at.isoformat())
    return "\n".join(lines).encode()


def body_digest(salt: bytes, body: Mapping[str, Any]) -> str:
    """A disclosed resource -> its salted SHA-256 in hex, over sorted compact JSON: proves or disproves a copy."""
    return hashlib.sha256(salt + _encode(body)).hexdigest()


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
