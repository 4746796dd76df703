import csv
import hashlib
import os
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from decimal import InvalidOperation
from pathlib import Path
from typing import Any

import pytest

from gateway.connectors import drop, kept
from gateway.connectors.drop import Drop, DropFile, Opened, decoded, text_of, utc
from gateway.connectors.tripped import UNFORESEEN
from gateway.errors import SourceContractBroken

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def seal(plain: bytes) -> bytes:
    return bytes(255 - byte for byte in plain)  # not a cipher: nothing of the plain bytes is left to find


def open_drop(folder: Path, clock: Clock, cap_bytes: int = 1000, **more: Any) -> Drop:
    return Drop(
        folder, suffixes=frozenset((".xml",)), cap_bytes=cap_bytes, keep_days=7, snapshot=False, now=clock, seal=seal, **more
    )


def leave(folder: Path, name: str, body: bytes = b"<a/>", age_s: float = 60) -> Path:
    path = folder / name
    path.write_bytes(body)
    os.utime(path, times=(NOW.timestamp() - age_s,) * 2)
    return path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_a_whole_file_is_taken_once_and_ends_in_done(tmp_path: Path, clock: Clock) -> None:
    open_drop_ = open_drop(tmp_path, clock)
    leave(tmp_path, "message.xml", b"<whole/>")
    taken = open_drop_.take()
    assert taken is not None
    assert (taken.body, taken.fault) == (b"<whole/>", None)
    assert open_drop_.take() is None
    taken.done()
    assert files(tmp_path / "done") == [taken.name + ".sealed"]
    assert files(tmp_path / "taken") == []


def test_a_file_still_being_written_waits(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "young.xml", age_s=0.2)
    assert waiting.take() is None
    clock.now += timedelta(seconds=5)
    assert waiting.take() is not None


@pytest.mark.parametrize("name", [".hidden.xml", "a.xml.part", "a.tmp", "a.xml~", "A.XML.FILEPART"])
def test_a_temporary_name_is_left_alone(tmp_path: Path, clock: Clock, name: str) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, name)
    assert waiting.take() is None
    assert (tmp_path / name).exists()


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "drop"
    waiting = open_drop(folder, clock)
    secret = leave(tmp_path, "elsewhere.xml")
    (folder / "link.xml").symlink_to(secret)
    assert waiting.take() is None


def test_the_oldest_file_comes_first(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "a.xml", b"<later/>", age_s=10)
    leave(tmp_path, "b.xml", b"<sooner/>", age_s=20)
    bodies = [taken.body for taken in (waiting.take(), waiting.take()) if taken]
    assert bodies == [b"<sooner/>", b"<later/>"]


def test_a_file_over_the_cap_is_not_read_and_is_refused(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock, cap_bytes=10)
    leave(tmp_path, "big.xml", b"x" * 11)
    taken = waiting.take()
    assert taken is not None
    assert (taken.fault, taken.body) == (drop.TOO_LARGE, b"")
    taken.done()
    assert files(tmp_path / "done") == []
    assert files(tmp_path / "refused") == [taken.name + ".reason", taken.name + ".sealed"]


def test_a_kind_of_file_nobody_agreed_is_refused_not_ignored(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "letter.docx")
    taken = waiting.take()
    assert taken is not None
    assert taken.fault == drop.UNKNOWN_KIND


def test_a_name_with_an_identifier_goes_no_further(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "9990001111-smith.xml")
    taken = waiting.take()
    assert taken is not None
    taken.refuse("an event that is known but not mapped yet")
    names = [path.name for path in tmp_path.rglob("*")]
    assert not any("9990001111" in name or "smith" in name for name in names)
    note = (tmp_path / "refused" / (taken.name + ".reason")).read_text("utf-8")
    assert note.startswith("an event that is known but not mapped yet\n")


def test_a_delivery_marked_done_with_a_fault_is_refused_for_that_fault(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "a.xml")
    taken = waiting.take()
    assert taken is not None
    taken.fault = "not sound XML"
    taken.done()
    assert (tmp_path / "refused" / (taken.name + ".reason")).read_text("utf-8").startswith("not sound XML")


def test_what_a_dead_reader_held_is_delivered_again(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "a.xml", b"<again/>")
    assert waiting.take() is not None  # and then the reader dies
    clock.now += timedelta(seconds=100)
    assert waiting.take() is None
    clock.now += timedelta(seconds=40)
    assert waiting.take() is not None


@pytest.mark.parametrize("end", ["done", "refuse"])
def test_a_reader_that_was_too_slow_does_no_harm(tmp_path: Path, clock: Clock, end: str) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "a.xml")
    slow = waiting.take()
    clock.now += timedelta(seconds=140)
    again = waiting.take()
    assert slow is not None
    assert again is not None
    slow.done() if end == "done" else slow.refuse("no")
    again.done()
    assert files(tmp_path / "done") == [again.name + ".sealed"]
    assert files(tmp_path / "refused") == []


@pytest.mark.parametrize("folder", ["done", "refused"])
@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_kept_file_is_sealed_and_opens_to_what_it_was(tmp_path: Path, clock: Clock, folder: str, size: int) -> None:
    waiting = open_drop(tmp_path, clock, cap_bytes=1 << 20)
    body = (b"<secret/>" * (size // 9 + 1))[:size]
    leave(tmp_path, "a.xml", body)
    taken = waiting.take()
    assert taken is not None
    taken.done() if folder == "done" and taken.fault is None else taken.refuse("no")
    [path] = [path for name in ("done", "refused") for path in (tmp_path / name).glob("*.sealed")]
    assert b"<secret/>" not in path.read_bytes()
    assert b"".join(kept.opened(seal, path)) == body
    assert list((tmp_path / "taken").iterdir()) == []


def test_a_kept_file_that_was_cut_or_joined_with_another_does_not_open(tmp_path: Path) -> None:
    pieces = []
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * (2 << 20))
        kept.keep(seal, tmp_path / name, tmp_path / (name + ".sealed"))
        sealed = (tmp_path / (name + ".sealed")).read_bytes()
        size = 4 + int.from_bytes(sealed[:4], "big")
        pieces.append((sealed[:size], sealed[size:]))
    (first, second), (_, stranger) = pieces
    for broken in (b"", first, second, first + stranger, first + second + second, first + first + second, (first + second)[:-1]):
        (tmp_path / "broken").write_bytes(broken)
        with pytest.raises(kept.NotKept):
            b"".join(kept.opened(seal, tmp_path / "broken"))


def test_a_crash_while_a_file_is_kept_leaves_the_file_and_it_comes_again(tmp_path: Path, clock: Clock) -> None:
    def crash(plain: bytes) -> bytes:
        raise SystemExit

    dying = Drop(tmp_path, suffixes=frozenset((".xml",)), cap_bytes=99, keep_days=7, snapshot=False, now=clock, seal=crash)
    leave(tmp_path, "a.xml", b"<again/>")
    taken = dying.take()
    assert taken is not None
    with pytest.raises(SystemExit):
        taken.done()
    clock.now += timedelta(seconds=130)
    again = open_drop(tmp_path, clock).take()
    assert again is not None
    assert again.body == b"<again/>"
    again.done()
    assert (tmp_path / "done" / (again.name + ".sealed")).exists()


def test_a_checksum_beside_a_file_must_be_its_digest(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    digest = hashlib.sha256(b"<a/>").hexdigest()
    leave(tmp_path, "a.xml", age_s=30)
    leave(tmp_path, "a.xml.sha256", f"{digest.upper()}  a.xml\n".encode())
    leave(tmp_path, "b.xml", b"<cut", age_s=20)
    leave(tmp_path, "b.xml.sha256", digest.encode())
    leave(tmp_path, "c.xml", age_s=10)
    leave(tmp_path, "c.xml.sha256", b"\xff" * 70)
    assert [taken.fault for _ in range(3) if (taken := waiting.take())] == [None, drop.OTHER_DIGEST, drop.OTHER_DIGEST]
    assert waiting.take() is None
    assert files(tmp_path) == []


def test_a_checksum_is_remembered_when_a_reader_dies(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock, checksums=True)
    leave(tmp_path, "b.xml", b"<cut")
    leave(tmp_path, "b.xml.sha256", hashlib.sha256(b"<a/>").hexdigest().encode())
    assert waiting.take() is not None  # and then the reader dies
    clock.now += timedelta(seconds=130)
    again = waiting.take()
    assert again is not None
    assert again.fault == drop.OTHER_DIGEST


def test_where_checksums_are_agreed_a_file_waits_for_its_own_and_not_for_ever(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock, checksums=True)
    leave(tmp_path, "a.xml")
    leave(tmp_path, "b.xml")
    assert waiting.take() is None
    leave(tmp_path, "a.xml.sha256", hashlib.sha256(b"<a/>").hexdigest().encode())
    taken = waiting.take()
    assert taken is not None
    assert taken.fault is None
    taken.done()
    assert waiting.take() is None
    clock.now += timedelta(hours=1)
    late = waiting.take()
    assert late is not None
    assert late.fault == drop.NO_CHECKSUM


def test_a_checksum_of_nothing_goes_with_the_days(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "gone.xml.sha256", b"0" * 64)
    assert waiting.purge() == 0
    clock.now += timedelta(days=8)
    assert waiting.purge() == 1


NOBODY: Any = object()


@pytest.mark.parametrize(
    ("opened", "fault"),
    [
        (Opened(None, [NOBODY]), drop.NO_DATE),
        (Opened(NOW, []), drop.NO_RECORDS),
        (Opened(None, []), drop.NO_DATE),
        (Opened(NOW + timedelta(minutes=6), [NOBODY]), drop.FROM_THE_FUTURE),
        (Opened(NOW, [NOBODY], [("row 3", "a bad row")]), "a bad row"),
        (Opened(NOW, [NOBODY]), None),
    ],
)
@pytest.mark.anyio
async def test_a_snapshot_that_would_empty_a_shelf_is_unusable_whatever_its_reader_says(
    tmp_path: Path, clock: Clock, opened: Opened, fault: str | None
) -> None:
    waiting = Drop(tmp_path, suffixes=frozenset((".xml",)), cap_bytes=99, keep_days=7, snapshot=True, now=clock, seal=seal)
    leave(tmp_path, "a.xml")
    [(delivery, arrivals)] = [each async for each in waiting.arrivals(lambda body: opened)]
    assert (delivery.fault, list(arrivals)) == (fault, [] if fault else [NOBODY])
    assert fault or delivery.as_of == NOW


@pytest.mark.anyio
async def test_rows_that_were_refused_are_named_beside_the_kept_file(tmp_path: Path, clock: Clock) -> None:
    rows = [(f"row {n}", "a bad row") for n in range(2, 1203)]
    leave(tmp_path, "a.xml")
    [(delivery, _)] = [each async for each in open_drop(tmp_path, clock).arrivals(lambda body: Opened(None, [NOBODY], rows))]
    assert delivery.doubts == {"a bad row": 1201}
    delivery.done()
    [note] = (tmp_path / "done").glob("*.rows")
    lines = note.read_text("utf-8").splitlines()
    assert (lines[0], len(lines), lines[-1]) == ("row 2: a bad row", 1001, "and 201 more")
    assert note.stat().st_mode & 0o777 == 0o600


@pytest.mark.anyio
async def test_of_a_file_set_aside_as_a_whole_every_row_is_named_too(tmp_path: Path, clock: Clock) -> None:
    leave(tmp_path, "a.xml")
    opened = Opened(None, [NOBODY], [("row 2", "a bad row")])
    [(delivery, _)] = [each async for each in open_drop(tmp_path, clock).arrivals(lambda body: opened)]
    delivery.rows = [*delivery.rows, ("row 3", "not-traced")]
    delivery.refuse("a bad row")
    [note] = (tmp_path / "refused").glob("*.rows")
    assert note.read_text("utf-8") == "row 2: a bad row\nrow 3: not-traced\n"


def test_a_file_that_may_not_be_read_is_refused_and_lies_as_it_came(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "taken.xml"
    path.write_bytes(b"<a/>")

    def forbidden(plain: bytes) -> bytes:
        raise PermissionError

    (tmp_path / "taken").mkdir()
    (tmp_path / "refused").mkdir()
    held = tmp_path / "taken" / "1-x-unsaid.xml"
    path.rename(held)
    DropFile("delivery-x.xml", b"", False, NOW, drop.UNREADABLE, held, clock, forbidden).done()
    assert files(tmp_path / "refused") == ["delivery-x.xml", "delivery-x.xml.reason"]
    assert files(tmp_path / "taken") == []


@pytest.mark.parametrize(("body", "encoding"), [("é".encode("cp1252"), "cp1252"), ("é".encode("utf-8-sig"), "cp1252")])
def test_text_is_read_in_the_encoding_agreed_unless_a_mark_says_another(body: bytes, encoding: str) -> None:
    assert decoded(body, encoding) == "é"
    with pytest.raises(SourceContractBroken):
        decoded(b"\x81", "cp1252")


def test_kept_files_go_when_their_days_are_over(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "a.xml")
    taken = waiting.take()
    assert taken is not None
    taken.done()
    clock.now += timedelta(days=6)
    assert waiting.purge() == 0
    clock.now += timedelta(days=2)
    assert waiting.purge() == 1
    assert files(tmp_path / "done") == []


def test_kept_files_are_for_the_owner_alone(tmp_path: Path, clock: Clock) -> None:
    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "a.xml").chmod(0o644)
    taken = waiting.take()
    assert taken is not None
    taken.refuse("no")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "refused").iterdir()} == {0o600}
    assert (tmp_path / "refused").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("body", ["é".encode(), "é".encode("utf-8-sig"), "é".encode("utf-16")])
def test_text_is_read_with_or_without_a_byte_order_mark(body: bytes) -> None:
    assert text_of(body) == "é"


@pytest.mark.parametrize("body", ["é".encode("cp1252"), b"a\x00b"])
def test_any_other_encoding_is_refused(body: bytes) -> None:
    with pytest.raises(SourceContractBroken):
        text_of(body)


def test_a_time_is_read_as_utc() -> None:
    assert utc("2026-05-04T10:00:00+01:00") == NOW


@pytest.mark.parametrize("text", ["", "yesterday", "2026-05-04T10:00:00", "2026-05-04", "0001-01-01T00:00:00+14:00"])
def test_a_time_without_its_offset_or_out_of_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(SourceContractBroken):
        utc(text)


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [TypeError, InvalidOperation, zlib.error, zipfile.BadZipFile, csv.Error, AssertionError])
async def test_what_nobody_foresaw_refuses_its_file_by_the_kind_of_error_alone_and_the_next_is_taken(
    tmp_path: Path, clock: Clock, fault: type[Exception]
) -> None:
    def read(body: bytes) -> Opened:
        if body == b"<odd/>":
            raise fault("9990001111")
        return Opened(None, ())

    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "odd.xml", b"<odd/>", age_s=20)
    leave(tmp_path, "sound.xml", b"<sound/>", age_s=10)
    found = [delivery async for delivery, _ in waiting.arrivals(read)]
    assert [delivery.fault for delivery in found] == [f"{UNFORESEEN}: {fault.__name__}", None]
    for delivery in found:
        delivery.done()
    assert files(tmp_path / "taken") == []
    assert files(tmp_path / "done") == [found[1].name + ".sealed"]
    assert files(tmp_path / "refused") == [found[0].name + ".reason", found[0].name + ".sealed"]
    assert "9990001111" not in (tmp_path / "refused" / (found[0].name + ".reason")).read_text()


@pytest.mark.anyio
async def test_a_full_disk_is_no_fault_of_the_file_which_comes_again(tmp_path: Path, clock: Clock) -> None:
    def read(body: bytes) -> Opened:
        raise OSError("no space")

    waiting = open_drop(tmp_path, clock)
    leave(tmp_path, "sound.xml")
    with pytest.raises(OSError, match="no space"):
        _ = [delivery async for delivery, _ in waiting.arrivals(read)]
    assert len(files(tmp_path / "taken")) == 1
