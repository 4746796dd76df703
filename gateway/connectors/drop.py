"""A drop folder: whole files -> deliveries, each taken once, then kept in done/ or refused/ until its days are over.

Senders write under a temporary name (a leading dot, or .part, .tmp, .filepart) and rename. A file that was written to less
than `settle_s` ago waits for the next look. Names given by senders may hold identifiers, so a delivery is called by the
digest of its content, here and in the folders, and the sender's own name goes no further.

    drop/            what senders leave
    drop/taken/      being read; goes back by itself when a reader died or could not record it
    drop/done/       taken
    drop/refused/    not usable; NAME.reason says why and its owner acts
"""

import hashlib
import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.adapter import Clock, SourceContractBroken

TOO_LARGE = "larger than this source takes"
UNKNOWN_KIND = "not a kind of file this source takes"
CHANGED = "changed while it was read"

_TEMPORARY = (".part", ".tmp", ".filepart", ".crdownload", ".swp", "~")
_TAKEN_AGAIN_S = 120.0  # a reader that holds a file longer than this has died, or could not record it: it comes again
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


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

    def done(self) -> None:
        """Moves it to done/, or to refused/ when its reader found a fault."""
        if self.fault is not None:
            self.refuse(self.fault)
            return
        self._move("done")

    def refuse(self, reason: str) -> None:
        """Moves it to refused/ and writes the reason beside it. `reason` is a constant, never a value of the file."""
        target = self._move("refused")
        if not target.exists():
            return
        note = target.with_name(target.name + ".reason")
        note.write_text(f"{reason}\nrefused at {self._now().isoformat()}\n", encoding="utf-8")
        note.chmod(0o600)
        _stamp(note, self._now())

    def _move(self, folder: str) -> Path:
        target = self._path.parent.parent / folder / self.name
        try:
            os.replace(self._path, target)
        except FileNotFoundError:  # held too long: it went back and another reader has it, to the same end
            return target
        _stamp(target, self._now())
        self._path = target
        return target


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
        settle_s: float = 1.0,
    ) -> None:
        self._folder = folder
        self._suffixes = suffixes
        self._cap_bytes = cap_bytes
        self._keep = timedelta(days=keep_days)
        self._snapshot = snapshot
        self._now = now
        self._settle_s = settle_s
        for name in ("taken", "done", "refused"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def take(self) -> DropFile | None:
        """The next whole file, or None when nothing waits. Oldest first; two readers never get the same one."""
        self._give_back()
        for path in self._waiting():
            claimed = self._claim(path)
            if claimed is not None:
                return self._read(claimed)
        return None

    def purge(self) -> int:
        """Deletes what done/ and refused/ have kept for `keep_days` -> how many files went."""
        oldest = (self._now() - self._keep).timestamp()
        gone = 0
        for folder in ("done", "refused"):
            for path in (self._folder / folder).iterdir():
                if path.lstat().st_mtime < oldest:
                    path.unlink(missing_ok=True)
                    gone += 1
        return gone

    def _waiting(self) -> list[Path]:
        now, found = self._now().timestamp(), []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if _is_temporary(entry.name) or not entry.is_file(follow_symlinks=False):
                    continue
                written = entry.stat(follow_symlinks=False).st_mtime
                if abs(now - written) >= self._settle_s:
                    found.append((written, entry.name))
        return [self._folder / name for _, name in sorted(found)]

    def _claim(self, path: Path) -> Path | None:
        suffix = path.suffix.lower() if path.suffix.lower() in self._suffixes else ".other"
        target = self._folder / "taken" / (uuid.uuid4().hex + suffix)
        try:
            os.rename(path, target)
        except FileNotFoundError:  # another reader was first
            return None
        _stamp(target, self._now())
        return target

    def _read(self, path: Path) -> DropFile:
        fault, body = None, b""
        if path.suffix not in self._suffixes:
            fault = UNKNOWN_KIND
        elif path.stat().st_size > self._cap_bytes:
            fault = TOO_LARGE
        else:
            body = path.read_bytes()
            fault = CHANGED if path.stat().st_size != len(body) else None
        stem = hashlib.sha256(body).hexdigest()[:16] if body else path.stem[:16]
        name = f"delivery-{stem}{path.suffix}"
        return DropFile(name, body, self._snapshot, self._now(), fault, path, self._now)

    def _give_back(self) -> None:
        oldest = self._now().timestamp() - _TAKEN_AGAIN_S
        for path in (self._folder / "taken").iterdir():
            if path.lstat().st_mtime < oldest:
                os.replace(path, self._folder / path.name)


def text_of(body: bytes) -> str:
    """Bytes -> text: UTF-8, or UTF-16 with a byte order mark. Raises `SourceContractBroken` for any other encoding."""
    encoding = next((name for mark, name in _BOMS if body.startswith(mark)), "utf-8")
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        raise SourceContractBroken("not UTF-8 text") from None
    if "\x00" in text:
        raise SourceContractBroken("not text: it holds NUL")
    return text


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


def _is_temporary(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(_TEMPORARY)


def _stamp(path: Path, now: datetime) -> None:
    os.utime(path, times=(now.timestamp(), now.timestamp()))
    path.chmod(0o600)
