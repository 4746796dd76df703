"""Inputs that mean harm or are simply broken, for every reader and every map."""

from collections.abc import Iterator
from typing import Any, Final

from msgspec import structs

from gateway.adapter import SourceRecord

MARK: Final = "Zzyzxqwv"  # stands for a value: it may be in no message

_DEEP: Final = 100_000
_BOMB: Final = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "Zzyzxqwv"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><Message>&c;&c;</Message>'
)
FILES: Final[dict[str, bytes]] = {
    "empty": b"",
    "blank": b" \n\t\n",
    "truncated-json": b'{"resourceType": "Bundle", "entry": [{"resource": {"Zzyzxqwv": "Zzyzxqwv',
    "truncated-xml": b"<?xml version='1.0'?><Message><Header><Zzyzxqwv>Zzyzxqwv",
    "json-that-goes-too-deep": b"[" * _DEEP,
    "xml-that-goes-too-deep": b"<a>" * _DEEP,
    "entity-bomb": _BOMB.encode(),
    "outside-entity": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><Message>&b;Zzyzxqwv</Message>',
    "duplicate-keys": b'{"resourceType": "Zzyzxqwv", "resourceType": "Bundle", "resourceType": "Zzyzxqwv"}',
    "not-a-number": b'{"resourceType": "Bundle", "total": NaN, "Zzyzxqwv": Infinity}',
    "not-text": bytes(range(128, 256)),
    "another-encoding": "Zzyzxqwv".encode("utf-16"),
    "byte-order-mark": b"\xef\xbb\xbfZzyzxqwv,b\nZzyzxqwv,1\n",
    "formula-cells": b"a,b\n=cmd|'/c Zzyzxqwv'!A1,@SUM(1)\n",
    "unclosed-quote": b'a,b\n"Zzyzxqwv,1\n2,3\n',
    "null-bytes": b"a,b\nZzyz\x00xqwv,1\n",
    "huge-field": b"a,b\n" + b"Zzyzxqwv" * 200_000 + b",1\n",
    "zip": b"PK\x03\x04Zzyzxqwv",
    "message-of-another-kind": b"MSH|^~\\&|Zzyzxqwv|Zzyzxqwv\rPID|1||Zzyzxqwv\r",
}


def records(record: SourceRecord) -> Iterator[tuple[str, SourceRecord]]:
    """One good record -> what a broken source might send instead, each with its name."""
    for name, value in (("nothing", None), ("text", MARK), ("list", [[MARK]]), ("number", 10**40), ("empty", {})):
        yield f"whole-record-is-{name}", structs.replace(record, data=value)
    for name, change in _CHANGES.items():
        yield f"every-{name}", structs.replace(record, data=_changed(record.data, change))


def _changed(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {name: _changed(part, change) for name, part in value.items()}
    if isinstance(value, list):
        return [_changed(part, change) for part in value]
    return change(value)


_CHANGES: Final[dict[str, Any]] = {
    "value-is-another-text": lambda _: MARK,
    "value-is-an-object": lambda _: {MARK: MARK, "value": MARK},
    "value-is-a-list-of-two": lambda value: [value, MARK],
    "value-is-a-number": lambda _: -(10**40),
    "value-is-true": lambda _: True,
    "value-is-huge": lambda _: MARK * 2_000,
    "value-holds-a-null": lambda _: f"{MARK}\0{MARK}",
    "value-is-absent": lambda _: None,
}
