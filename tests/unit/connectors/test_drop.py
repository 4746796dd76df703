import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.connectors import drop
from gateway.connectors.drop import Drop, text_of, utc
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


def open_drop(folder: Path, clock: Clock, cap_bytes: int = 1000) -> Drop:
    return Drop(folder, suffixes=frozenset((".xml",)), cap_bytes=cap_bytes, keep_days=7, snapshot=False, now=clock)


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
    assert files(tmp_path / "done") == [taken.name]
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
    assert files(tmp_path / "refused") == [taken.name, taken.name + ".reason"]


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
    assert files(tmp_path / "done") == [again.name]
    assert files(tmp_path / "refused") == []


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
