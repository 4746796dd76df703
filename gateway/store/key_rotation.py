"""A key is replaced, what it sealed is sealed anew, it is forgotten: three steps, each by itself and each safe to stop.

Whoever holds an older key opens what it sealed and, of the signing keys, signs what we believe. So after a leak the new key
alone mends nothing: the old one has to go, and first everything that only it opens.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Column, Integer, LargeBinary, Table, and_, bindparam, func, literal_column, select, update

from gateway.store.database import Call, Database, Row, Statement, Work
from gateway.store.key_checks import forget_check
from gateway.store.keys import HASHING, Keys, new_key, read_key_file
from gateway.store.parcel_tables import PARCEL
from gateway.store.parcels import bound_to as parcel_bound_to
from gateway.store.sealing import opened
from gateway.store.shelf import bound_to as shelf_bound_to
from gateway.store.tables import CONSENT, CROSSWALK, LOCAL_RECORD, PERSON, SHELF, WORK_ITEM

REPLACEABLE: Final = ("number-sealing", "shelf-sealing", "file-sealing", "cursor", "receipt-signing", "token-signing")
FORGETTABLE: Final = ("number-sealing", "shelf-sealing", "file-sealing", "cursor", "token-signing")  # receipts are for ever
IRREPLACEABLE: Final = HASHING
CHUNK: Final = 2_000  # rows sealed anew in one transaction


@dataclass(frozen=True, slots=True)
class Change:
    """A key file as it is to be: written whole or not at all."""

    path: Path
    use: str
    current: str  # key ids
    previous: Sequence[str]
    content: Mapping[str, object]

    def write(self) -> None:
        """Durable on return. Raises `OSError`: nothing was changed."""
        part = self.path.with_suffix(".new")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(self.content, out, indent=2)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


@dataclass(frozen=True, slots=True)
class _Sealed:
    """One sealed column: which columns name its row, and what a value is bound to."""

    use: Literal["number-sealing", "shelf-sealing"]
    table: Table
    column: str
    names: tuple[str, ...]
    bound_to: Callable[..., tuple[bytes, ...]]


_SEALED: Final = (
    _Sealed("number-sealing", PERSON, "number_sealed", ("id",), lambda of: (b"number", of.encode())),
    _Sealed("number-sealing", PERSON, "trace_sealed", ("id",), lambda of: (b"trace", of.encode())),
    _Sealed("number-sealing", CONSENT, "words_sealed", ("id",), lambda of: (b"consent", of.encode())),
    _Sealed(
        "number-sealing",
        CROSSWALK,
        "row_sealed",
        ("source", "local_key"),
        lambda source, key: (b"crosswalk", source.encode(), bytes(key)),
    ),
    _Sealed(
        "number-sealing",
        LOCAL_RECORD,
        "record_sealed",
        ("source", "local_key"),
        lambda source, key: (b"local-record", source.encode(), bytes(key)),
    ),
    _Sealed("number-sealing", WORK_ITEM, "about_sealed", ("id",), lambda of: (b"work", of.encode())),
    _Sealed(
        "shelf-sealing",
        SHELF,
        "body_sealed",
        ("source", "sender", "kind", "business_key", "holder_key", "as_of"),
        shelf_bound_to,
    ),
    _Sealed("shelf-sealing", PARCEL, "content_sealed", ("id", "route"), parcel_bound_to),
    _Sealed("shelf-sealing", PARCEL, "reference_sealed", ("id",), lambda of: (b"parcel-reference", of.encode())),
)


def rotated(folder: Path, use: str) -> Change:
    """The file with a new current key, before the ones it replaces. Raises `StartupRefused` for a file that is none."""
    file = read_key_file(folder, use)
    before: Any = [file["current"], *file["previous"]]  # type: ignore[misc]
    current = new_key()
    content = {**file, "current": current, "previous": before}
    return Change(folder / f"{use}.json", use, current["id"], [str(key["id"]) for key in before], content)


def without_previous(folder: Path, use: str) -> Change:
    """The file with its current key alone; `previous`: the ids of those that go. Raises `StartupRefused`."""
    file: dict[str, Any] = read_key_file(folder, use)
    gone = [str(key["id"]) for key in file["previous"]]
    return Change(folder / f"{use}.json", use, str(file["current"]["id"]), gone, {**file, "previous": []})


async def sealed_under(database: Database, use: str, key_ids: Sequence[str]) -> int:
    """How many values only these keys open. Raises `StoreDown`."""
    count = 0
    for sealed in _SEALED:
        if sealed.use == use:
            for key_id in key_ids:
                rows = await database.read_long(_counting(sealed), {"key_id": bytes.fromhex(key_id)})
                count += rows[0][0]
    return count


async def forget(database: Database, change: Change) -> None:
    """The database asks for these keys no more. Raises `StoreDown`."""
    for key_id in change.previous:
        await database.write(forget_check(change.use, key_id))


async def reseal(database: Database, keys: Keys, told: Callable[[int], None]) -> int:
    """Everything that older keys sealed -> under the current ones, chunk by chunk, each durable; how many values.

    What another writer changes meanwhile is left as that writer sealed it. Raises `StoreDown`.
    """
    done = 0
    for sealed in _SEALED:
        for key_id in list(keys.checks[sealed.use])[1:]:
            wanted = {"key_id": bytes.fromhex(key_id), "limit": CHUNK}
            while rows := await database.read_long(_choosing(sealed), wanted):
                await database.write(_anew(sealed, keys, rows))
                done += len(rows)
                told(done)
    return done


def _anew(sealed: _Sealed, keys: Keys, rows: Sequence[Row]) -> Work[None]:
    values = []
    for *names, before in rows:
        bound = sealed.bound_to(*names)
        after = keys.seal(sealed.use, opened(keys, sealed.use, bytes(before), *bound), *bound)
        named = {f"its_{name}": value for name, value in zip(sealed.names, names, strict=True)}
        values.append({**named, "before": bytes(before), "after": after})
    yield Call(_replacing(sealed), {}, values)


def _of(sealed: _Sealed) -> Column[Any]:
    return sealed.table.c[sealed.column]


def _is_under(sealed: _Sealed) -> Any:
    first = func.substr(_of(sealed), literal_column("1", Integer), literal_column("4", Integer), type_=LargeBinary)
    return first == bindparam("key_id", type_=LargeBinary)


def _counting(sealed: _Sealed) -> Statement:
    return Statement(select(func.count()).select_from(sealed.table).where(_is_under(sealed)))


def _choosing(sealed: _Sealed) -> Statement:
    columns = [sealed.table.c[name] for name in sealed.names]
    return Statement(select(*columns, _of(sealed)).where(_is_under(sealed)).limit(bindparam("limit", type_=Integer)))


def _replacing(sealed: _Sealed) -> Statement:
    named = [
        sealed.table.c[name] == bindparam(f"its_{name}", type_=sealed.table.c[name].type)
        for name in (column.name for column in sealed.table.primary_key)
    ]
    still = _of(sealed) == bindparam("before", type_=LargeBinary)
    return Statement(
        update(sealed.table).where(and_(*named, still)).values({sealed.column: bindparam("after", type_=LargeBinary)})
    )
