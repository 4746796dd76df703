"""A drop folder: whole files -> deliveries, each taken once, then kept in done/ or refused/, sealed, until its days are over.

Senders write under a temporary name (a leading dot, or .part, .tmp, .filepart) and rename. A file that was written to less
than `settle_s` ago waits for the next look. NAME.sha256 beside a file must be its digest; where the source's option
`checksums` is true, a file without one waits for it. Names given by senders may hold identifiers, so a delivery is called by
the digest of its content, here and in the folders, and the sender's own name goes no further.

    drop/            what senders leave
    drop/taken/      being read; goes back by itself when a reader died or could not record it
    drop/done/       taken; NAME.rows names the rows of it that were refused or set aside, by their place
    drop/refused/    not usable; NAME.reason says why and its owner acts

NAME is the delivery's, such as delivery-0123456789abcdef.json; `gateway drop find FILE` says it of a file as it was sent.

What a delivery holds is recorded before it is moved, so a crash between the two brings it once more, and the same again
changes nothing on a shelf: of one key the newest wins, and an equal one is not newer.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.adapter import Arrival, Clock, Delivery, SourceContractBroken, SourceRecord, SourceSettings, Tools
from gateway.connectors import kept
from gateway.connectors.tripped import TRIPPED_OVER, UNFORESEEN
from gateway.errors import StartupRefused

TOO_LARGE: Final = "larger than this source takes"
UNKNOWN_KIND: Final = "not a kind of file this source takes"
CHANGED: Final = "changed while it was read"
UNREADABLE: Final = "a file the gateway may not read"
OTHER_DIGEST: Final = "not the content its checksum is of"
NO_CHECKSUM: Final = "no checksum came with it"
NO_DATE: Final = "no readable date of the extract"
NO_RECORDS: Final = "an extract that lists nobody"
FROM_THE_FUTURE: Final = "dated in the future"

REASON: Final = ".reason"
ROWS: Final = ".rows"

_TEMPORARY = (".part", ".tmp", ".filepart", ".crdownload", ".swp", "~")
_CHECKSUM = ".sha256"
_CHECKSUM_WITHIN_S = 3600.0  # a file that waits longer for its checksum is refused
_TAKEN_AGAIN_S = 120.0  # a reader that holds a file longer than this has died, or could not record it: it comes again
_CLOCKS_APART = timedelta(minutes=5)
_ROWS_NAMED = 1000
_UNSAID, _WRONG = "unsaid", "0" * 64
_DIGEST = re.compile("[0-9a-f]{64}")
_GIVEN_BACK = re.compile(f"[0-9a-f]{{32}}-([0-9a-f]{{64}}|{_UNSAID})")
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True, slots=True)
class Opened:
    """What one file holds, as its connector read it."""

    as_of: datetime | None  # the file's own date; None: it has none, and is then no snapshot
    arrivals: Sequence[Arrival]
    refused_rows: Sequence[tuple[str, str]] = ()  # (locator, reason), both constants or counted places


class RowsRefused(SourceContractBroken):
    """Rows of a file that cannot be used, all of them, each with its place and reason; the reason is the first one's.

    `records` are those of its other rows, which a delivery of the same file would shelve; None where it would be refused whole.
    """

    def __init__(self, rows: Sequence[tuple[str, str]], records: Sequence[SourceRecord] | None) -> None:
        super().__init__(": ".join(rows[0]))
        self.rows, self.records = rows, records


@dataclass(slots=True)
class DropFile:
    """One taken file: `gateway.adapter.Delivery`. A reader that cannot use it sets `fault`; it then ends in refused/."""

    name: str
    body: bytes
    snapshot: bool
    as_of: datetime
    fault: str | None
    _path: Path
    _now: Clock
    _seal: kept.Seal
    doubts: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[tuple[str, str]] = ()

    def done(self) -> None:
        """Keeps it in done/, or in refused/ when its reader found a fault."""
        if self.fault is not None:
            self.refuse(self.fault)
            return
        self._name_rows("done")
        self._keep("done")

    def refuse(self, reason: str) -> None:
        """Keeps it in refused/ with the reason beside it. `reason` is a constant, never a value of the file."""
        if self._path.exists():
            self._note("refused", REASON, f"{reason}\nrefused at {self._now().isoformat()}\n")
            self._name_rows("refused")
        self._keep("refused")

    def _keep(self, folder: str) -> None:
        target = self._folder(folder) / (self.name + kept.SUFFIX)
        try:
            kept.keep(self._seal, self._path, target)
        except FileNotFoundError:  # held too long: it went back and another reader has it, to the same end
            return
        except PermissionError:  # not ours to read, so not ours to seal: it lies as it came
            os.replace(self._path, target.with_suffix(""))
            return
        _stamp(target, self._now())

    def _name_rows(self, folder: str) -> None:
        if not self.rows:
            return
        named = "".join(f"{where}: {reason}\n" for where, reason in self.rows[:_ROWS_NAMED])
        left = len(self.rows) - _ROWS_NAMED
        self._note(folder, ROWS, named + (f"and {left} more\n" if left > 0 else ""))

    def _note(self, folder: str, suffix: str, text: str) -> None:
        note = self._folder(folder) / (self.name + suffix)
        note.write_text(text, encoding="utf-8")
        note.chmod(0o600)
        _stamp(note, self._now())

    def _folder(self, name: str) -> Path:
        return self._path.parent.parent / name


class Drop:
    """One drop folder of one source."""

    def __init__(
        self,
        folder: Path,
        *,
        suffixes: frozenset[str],
        cap_bytes: int,
        keep_days: int,
        snapshot: bool,
        now: Clock,
        seal: kept.Seal,
        settle_s: float = 1.0,
        checksums: bool = False,
        leaves: frozenset[str] = frozenset(),
    ) -> None:
        """`leaves`: suffixes of files that are not for this drop to take, since its connector gathers them first."""
        self._folder = folder
        self._suffixes = suffixes
        self._cap_bytes = cap_bytes
        self._keep = timedelta(days=keep_days)
        self._snapshot = snapshot
        self._now = now
        self._seal = seal
        self._settle_s = settle_s
        self._checksums = checksums
        self._leaves = leaves
        self._listed: list[Path] = []  # of the last look, oldest first, still to be taken
        for name in ("taken", "done", "refused"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    async def arrivals(self, read: Callable[[bytes], Opened]) -> AsyncIterator[tuple[Delivery, Sequence[Arrival]]]:
        """Each waiting file with what it holds; one that is not usable comes with nobody and ends in refused/.

        `read` raises `SourceContractBroken` for a file that is unusable as a whole. A snapshot without its own date, or
        without anybody in it, is unusable whatever `read` says: it would empty a shelf.
        """
        await asyncio.to_thread(self.purge)
        while (delivery := await asyncio.to_thread(self.take)) is not None:
            yield delivery, await asyncio.to_thread(self._open, delivery, read)

    def take(self) -> DropFile | None:
        """The next whole file, or None when nothing waits. Oldest first; two readers never get the same one.

        What a look at the folder found is worked off before the next look, or a full folder would cost its square.
        """
        if not self._listed:
            self._give_back()
            self._listed = self._waiting()[::-1]
        while self._listed:
            claimed = self._claim(self._listed.pop())
            if claimed is not None:
                return self._read(claimed)
        return None

    def purge(self) -> int:
        """Deletes what done/ and refused/ have kept for `keep_days`, and checksums of nothing -> how many files went."""
        oldest = (self._now() - self._keep).timestamp()
        lone = [path for path in self._folder.iterdir() if path.suffix == _CHECKSUM and not path.with_suffix("").exists()]
        gone = 0
        for path in [*lone, *(self._folder / "done").iterdir(), *(self._folder / "refused").iterdir()]:
            with contextlib.suppress(FileNotFoundError):  # another worker's purge was first
                if path.lstat().st_mtime < oldest:
                    path.unlink()
                    gone += 1
        return gone

    def _open(self, delivery: DropFile, read: Callable[[bytes], Opened]) -> Sequence[Arrival]:
        if delivery.fault is not None:
            return ()
        try:
            opened = read(delivery.body)
            delivery.fault = self._doubt(opened)
        except SourceContractBroken as broken:
            delivery.fault = broken.reason
        except TRIPPED_OVER as fault:  # or it came again for ever, and nobody was told; its text may be the file's
            delivery.fault = f"{UNFORESEEN}: {type(fault).__name__}"
        finally:
            delivery.body = b""  # deliveries may wait for each other
        if delivery.fault is not None:
            return ()
        delivery.as_of = opened.as_of or delivery.as_of
        delivery.rows = opened.refused_rows
        delivery.doubts = {reason: _count(opened, reason) for reason in sorted({reason for _, reason in opened.refused_rows})}
        return opened.arrivals

    def _doubt(self, opened: Opened) -> str | None:
        if opened.as_of is not None and opened.as_of > self._now() + _CLOCKS_APART:
            return FROM_THE_FUTURE
        if not self._snapshot:
            return None
        if opened.refused_rows:  # who is in that row would be gone, for a fault of form
            return opened.refused_rows[0][1]
        if opened.as_of is None:
            return NO_DATE
        return None if opened.arrivals else NO_RECORDS

    def _waiting(self) -> list[Path]:
        now, found = self._now().timestamp(), []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if _is_temporary(entry.name) or entry.name.lower().endswith(_CHECKSUM):
                    continue
                if Path(entry.name).suffix.lower() in self._leaves:
                    continue
                with contextlib.suppress(FileNotFoundError):  # another worker was first
                    if not entry.is_file(follow_symlinks=False):
                        continue
                    written = entry.stat(follow_symlinks=False).st_mtime
                    if abs(now - written) >= self._settle_s and not self._waits_for_checksum(entry.name, now - written):
                        found.append((written, entry.name))
        return [self._folder / name for _, name in sorted(found)]

    def _waits_for_checksum(self, name: str, age_s: float) -> bool:
        if not self._checksums or age_s >= _CHECKSUM_WITHIN_S:
            return False
        return not (self._folder / (name + _CHECKSUM)).is_file() and not _GIVEN_BACK.fullmatch(Path(name).stem)

    def _claim(self, path: Path) -> Path | None:
        suffix = path.suffix.lower() if path.suffix.lower() in self._suffixes else ".other"
        beside = path.with_name(path.name + _CHECKSUM)
        # One rename says when it was taken and what it should be; the times of another user's file are not ours to set.
        target = self._folder / "taken" / f"{self._now().timestamp():.0f}-{uuid.uuid4().hex}-{_said(path, beside)}{suffix}"
        try:
            os.rename(path, target)
        except FileNotFoundError:  # another reader was first
            return None
        beside.unlink(missing_ok=True)
        return target

    def _read(self, path: Path) -> DropFile:
        fault, body = None, b""
        try:
            if path.suffix not in self._suffixes:
                fault = UNKNOWN_KIND
            elif path.stat().st_size > self._cap_bytes:
                fault = TOO_LARGE
            else:
                with path.open("rb") as file:
                    body = file.read(self._cap_bytes)
                fault = CHANGED if path.stat().st_size != len(body) else self._other_digest(body, path)
        except PermissionError:
            fault = UNREADABLE
        name = called(hashlib.sha256(body).hexdigest() if body else path.stem.split("-")[1]) + path.suffix
        return DropFile(name, body, self._snapshot, self._now(), fault, path, self._now, self._seal)

    def _other_digest(self, body: bytes, path: Path) -> str | None:
        said = path.stem.split("-")[2]
        if said == _UNSAID:
            return NO_CHECKSUM if self._checksums else None
        return None if said == hashlib.sha256(body).hexdigest() else OTHER_DIGEST

    def _give_back(self) -> None:
        oldest = self._now().timestamp() - _TAKEN_AGAIN_S
        for path in (self._folder / "taken").iterdir():
            taken_at, _, name = path.name.partition("-")
            if taken_at.isdigit() and int(taken_at) < oldest:
                with contextlib.suppress(FileNotFoundError):  # its reader was not dead, only slow
                    os.replace(path, self._folder / name)


def called(digest: str) -> str:
    """The SHA-256 of a file's content, in hexadecimal -> what its delivery is called, without the kind of file."""
    return f"delivery-{digest[:16]}"


def records_of(opened: Opened, *, snapshot: bool = False) -> list[SourceRecord]:
    """What a file holds -> its records. Raises `RowsRefused` where rows of it cannot be used, which refuses a snapshot whole."""
    records = [arrival.record for arrival in opened.arrivals if arrival.record is not None]
    if opened.refused_rows:
        raise RowsRefused(opened.refused_rows, None if snapshot else records)
    return records


def opened_drop(
    source: SourceSettings,
    tools: Tools,
    *,
    suffixes: frozenset[str],
    cap_bytes: int,
    snapshot: bool,
    leaves: frozenset[str] = frozenset(),
) -> Drop:
    """The drop folder of a source, by its settings. Raises `StartupRefused` for an option that cannot be used."""
    cap, checksums = source.options.get("cap_bytes", cap_bytes), source.options.get("checksums", False)
    if not str(cap).isdigit() or int(cap) == 0:
        raise StartupRefused(f"sources.{source.name}.options.cap_bytes must be a number of bytes")
    if str(checksums).lower() not in ("true", "false"):
        raise StartupRefused(f"sources.{source.name}.options.checksums must be true or false")
    return Drop(
        folder_of(source.options.get("drop"), tools.var),
        suffixes=suffixes,
        cap_bytes=int(cap),
        keep_days=source.keep_days,
        snapshot=snapshot,
        now=tools.now,
        seal=tools.seal,
        checksums=str(checksums).lower() == "true",
        leaves=leaves,
    )


def text_of(body: bytes) -> str:
    """Bytes -> text: UTF-8, or UTF-16 with a byte order mark. Raises `SourceContractBroken` for any other encoding."""
    text = decoded(body, "utf-8")
    if "\x00" in text:
        raise SourceContractBroken("not text: it holds NUL")
    return text


def decoded(body: bytes, encoding: str) -> str:
    """Bytes -> text in the encoding agreed, or the one its byte order mark says. Raises `SourceContractBroken`."""
    said = next((name for mark, name in _BOMS if body.startswith(mark)), encoding)
    try:
        return body.decode(said)
    except UnicodeDecodeError:
        raise SourceContractBroken("not UTF-8 text" if said.startswith("utf") else "not text in the encoding agreed") from None


def folder_of(option: object, var: Path) -> Path:
    """The `drop` option of a source -> its folder; a relative one lies under `var`."""
    return var / option if isinstance(option, str) and option else var / "drop"


def utc(text: str) -> datetime:
    """ISO 8601 text with its offset -> aware UTC. Raises `SourceContractBroken` for anything else, a missing offset too."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SourceContractBroken("a time that is not ISO 8601") from None
    if moment.tzinfo is None:
        raise SourceContractBroken("a time without its offset from UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # an offset that leads out of the calendar
        raise SourceContractBroken("a time that is not ISO 8601") from None


def _count(opened: Opened, reason: str) -> int:
    return sum(1 for _, one in opened.refused_rows if one == reason)


def _said(path: Path, beside: Path) -> str:
    """The digest that came with a file, or came with it before it went back once; `_UNSAID` when none did."""
    given_back = _GIVEN_BACK.fullmatch(path.stem)
    if given_back:
        return given_back[1]
    if beside.is_symlink() or not beside.is_file():
        return _UNSAID
    with beside.open("rb") as file:
        said = file.read(64).decode("ascii", "replace").lower()  # hex alone, or the line that sha256sum writes
    return said if _DIGEST.fullmatch(said) else _WRONG


def _is_temporary(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(_TEMPORARY)


def _stamp(path: Path, now: datetime) -> None:
    os.utime(path, times=(now.timestamp(), now.timestamp()))
    path.chmod(0o600)
