"""Connector `returns-drop`: whole returns as authorities write them, from a drop folder to the shelf, and from there to the line.

One source takes one format, which its option `format` chooses (default: the manifest's first). The manifest's `[returns]`
says what there is: see `returns_shape`. A delivery is a snapshot: who is no longer listed is gone. So one that is doubtful
in any part is refused as a whole and the last good one stands, until it is older than `max_age_h` and counts as stale.

A format whose files carry no date comes as a ZIP, whose entries say when they were written, or as a workbook, which says
when it was saved. Loose files of such a format are gathered: when nothing in the folder was written for `quiet_s` seconds
(a source's option, default 120) all of them together become one ZIP, and that is the delivery.

With the option `database_url` the tables of a format are read from a database instead: see `returns_database`.
"""

import asyncio
import os
import shutil
import uuid
import zipfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.adapter import (
    Arrival,
    Clock,
    Delivery,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    Tools,
    Want,
)
from gateway.connectors.drop import Opened, folder_of, opened_drop
from gateway.connectors.from_shelf import from_shelf
from gateway.connectors.returns_database import ReturnsDatabase
from gateway.connectors.returns_people import NO_IDENTITY, TWICE, arrival_of, everyone
from gateway.connectors.returns_read import elements_of, read
from gateway.connectors.returns_shape import Format, read_formats
from gateway.connectors.returns_worked import IDENTITY
from gateway.errors import StartupRefused

__all__ = ["NO_IDENTITY", "TWICE", "ReturnsDrop", "build", "everyone", "gather", "read_file"]

CAP_BYTES: Final = 64_000_000
MAX_AGE_H: Final = 48.0
QUIET_S: Final = 120.0
OTHER_FORMAT: Final = "a return of another format than this source sends"
WRONG_SENDER: Final = "the extract of another sender"
WHOSE: Final = "a record whose birth date cannot be read, or is two"
OTHER_NUMBER: Final = "a record whose own NHS number is not the person's"

_LOOSE = frozenset((".csv", ".xml"))
_CLAIM = ".gathering"
_GATHERING = timedelta(minutes=10)


class ReturnsDrop:
    """One source: `Adapter` over its shelf, `Intake` over its folder."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest, self._source, self._tools = manifest, source, tools
        self._formats = read_formats(manifest)
        chosen = str(source.options.get("format", next(iter(self._formats))))
        if chosen not in self._formats:
            raise StartupRefused(f"sources.{source.name}.options.format is one of {', '.join(self._formats)}")
        self._format = self._formats[chosen]
        self._database: ReturnsDatabase | None = None
        if source.options.get("database_url") is not None:
            if source.options.get("drop") is not None:
                raise StartupRefused(f"sources.{source.name}.options: returns come from a drop or from database_url, not both")
            self._database = ReturnsDatabase(self._format, source, tools)
            return
        quiet = str(source.options.get("quiet_s", QUIET_S))
        if not quiet.replace(".", "", 1).isdigit():
            raise StartupRefused(f"sources.{source.name}.options.quiet_s must be a number of seconds")
        self._quiet = timedelta(seconds=float(quiet))
        suffixes = frozenset((".xml",)) if self._format.dated else frozenset((".zip", ".xlsx"))
        self._folder = folder_of(source.options.get("drop"), tools.var)
        self._drop = opened_drop(
            source,
            tools,
            suffixes=suffixes,
            cap_bytes=CAP_BYTES,
            snapshot=True,
            leaves=frozenset() if self._format.dated else _LOOSE,
        )

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The shelf's records of every local id the crosswalk holds, then how fresh they are and which locks they assert.

        Raises `SourceContractBroken` for a record whose birth date cannot be read or is two, and for one whose own NHS
        number is neither the person's nor one it superseded: then crosswalk and source disagree about who this is.
        """
        numbers = {patient.number.value, *(number.value for number in patient.superseded)}
        async for item in from_shelf(self._manifest, self._source, self._tools, patient, want, max_age_h=MAX_AGE_H):
            if isinstance(item, SourceRecord) and IDENTITY not in item.data:
                raise SourceContractBroken(WHOSE)
            if isinstance(item, SourceRecord) and not _numbers(self._formats, item) <= numbers:
                raise SourceContractBroken(OTHER_NUMBER)
            yield item

    async def arrivals(self) -> AsyncIterator[tuple[Delivery, Sequence[Arrival]]]:
        """Each waiting return with everyone in it; one that is not usable comes with nobody and ends in refused/."""
        if self._database is not None:
            async for read_now in self._database.arrivals():
                yield read_now
            return
        if not self._format.dated:
            await asyncio.to_thread(gather, self._folder, self._format, self._tools.now, self._quiet)
        async for delivered in self._drop.arrivals(self._read):
            yield delivered

    def _read(self, body: bytes) -> Opened:
        reading = read(self._formats, body, whole=True)
        if reading.format is not self._format:
            raise SourceContractBroken(OTHER_FORMAT)
        expected = self._source.options.get("sender")
        if expected is not None and self._format.sender and reading.sender != str(expected):
            raise SourceContractBroken(WRONG_SENDER)
        return Opened(reading.as_of, everyone(reading, self._source.custodian))


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> ReturnsDrop:
    """A manifest and a source -> its adapter, which is its intake too. Raises `StartupRefused`."""
    return ReturnsDrop(manifest, source, tools)


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """A file of any of the formats -> its records. Raises `SourceContractBroken` when it is not usable as a whole.

    Kinder than a delivery, for nothing hangs on who is absent: one table of a set will do, a file without a date is of now,
    and a record without its identity, or with a birth date in doubt, is read: its map refuses it by its place.
    """
    reading = read(read_formats(manifest), body, whole=False)
    as_of = reading.as_of or datetime.now(UTC)
    return [record for person in reading.people if (record := arrival_of(reading.format, person, as_of, "").record) is not None]


def gather(folder: Path, form: Format, now: Clock, quiet: timedelta) -> Path | None:
    """Loose files of a set that has come to rest -> one ZIP of them in the same folder; None while there is none.

    The ZIP is whole on the disk, under its own name, before any file goes: a crash brings the set once more, not half of it.
    """
    found = []
    for path in folder.iterdir():
        if path.suffix.lower() in _LOOSE and not path.name.startswith(".") and path.is_file() and not path.is_symlink():
            with suppress(FileNotFoundError):
                found.append((path, datetime.fromtimestamp(path.stat().st_mtime, UTC)))
    if not found or max(written for _, written in found) > now() - quiet or not _claimed(folder / _CLAIM, now()):
        return None
    try:
        return _zipped(folder, form, sorted(found))
    finally:
        (folder / _CLAIM).unlink(missing_ok=True)


def _claimed(claim: Path, now: datetime) -> bool:
    """Whether this worker alone gathers: half a set that another is gathering would be a set that lacks people."""
    with suppress(FileNotFoundError):
        if datetime.fromtimestamp(claim.stat().st_mtime, UTC) < now - _GATHERING:  # whoever held it has died
            claim.unlink()
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    os.utime(claim, (now.timestamp(), now.timestamp()))
    return True


def _zipped(folder: Path, form: Format, found: Sequence[tuple[Path, datetime]]) -> Path | None:
    if not all(path.exists() for path, _ in found):  # gathered by another worker just before
        return None
    for left in folder.glob(".set-*.part"):  # of a worker that died
        left.unlink()
    made = folder / f"set-{uuid.uuid4().hex}.zip"
    part = made.with_name(f".{made.name}.part")
    with part.open("xb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for number, (path, written) in enumerate(found, start=1):
                info = zipfile.ZipInfo(f"{number}{path.suffix.lower()}", written.astimezone(ZoneInfo(form.zone)).timetuple()[:6])
                info.compress_type = zipfile.ZIP_DEFLATED
                with path.open("rb") as loose, archive.open(info, "w", force_zip64=True) as packed:
                    shutil.copyfileobj(loose, packed)
        file.flush()
        os.fsync(file.fileno())
    newest = max(written for _, written in found).timestamp()
    os.utime(part, (newest, newest))
    os.rename(part, made)
    for path, _ in found:
        path.unlink(missing_ok=True)
    return made


def _numbers(formats: Any, record: SourceRecord) -> set[str]:
    """The NHS numbers a record gives itself: written with blanks, or as a number that lost its leading zeros."""
    form = next((one for one in formats.values() if one.schema == record.schema), None)
    if form is None or not form.number:
        return set()
    plain = (str(text).replace(" ", "").replace("-", "") for text in elements_of(record.data, form.number.split("/")))
    return {text.rjust(10, "0") for text in plain}
