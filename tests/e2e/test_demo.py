"""`make demo ONCE=1`: the journey as it is printed, compared with demo.golden.txt; and one clear line for a busy port."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole_place import Journey, begin_journey, eventually, free_ports, holds_a_number

GOLDEN = Path(__file__).resolve().parent / "demo.golden.txt"


@pytest.fixture
def journey(tmp_path: Path) -> Iterator[Journey]:
    """What `make demo ONCE=1` runs."""
    begun = begin_journey(tmp_path / "demo", free_ports())
    yield begun
    begun.process.kill()
    begun.process.communicate()


def without_what_is_new(text: str, port: int) -> str:
    """Receipts, instants and ports are new in every run; the centre's days are counted from today."""
    text = re.sub(r"\b[0-9a-f]{32}\b", "RECEIPT", text)
    text = re.sub(r"\bparcel-[a-z2-7]{26}\b", "PARCEL", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", "INSTANT", text)
    text = re.sub(r"\d{4}-\d\d-\d\d, centre", "DAY, centre", text)
    return text.replace(str(port), "PORT")


def test_the_journey_is_printed_as_the_golden_transcript_has_it(journey: Journey) -> None:
    printed, complaints = journey.process.communicate(timeout=300)
    assert (journey.process.returncode, complaints) == (0, "")
    assert without_what_is_new(printed, journey.port) == GOLDEN.read_text("utf-8")
    assert holds_a_number(printed) is None
    for log in journey.folder.glob("*.log"):
        assert holds_a_number(log.read_text("utf-8")) is None


def test_a_second_demonstration_says_that_it_wipes_the_first(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    begun = begin_journey(tmp_path / "demo", free_ports())
    assert begun.process.stdout is not None
    line = begun.process.stdout.readline()
    begun.process.send_signal(signal.SIGTERM)
    begun.process.communicate(timeout=30)
    assert "is wiped, its audit log with it" in line


def test_a_busy_port_gives_one_clear_line(tmp_path: Path) -> None:
    port = free_ports()
    for busy in (port, port + 1, port + 100):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", busy))
            taken.listen()
            begun = begin_journey(tmp_path / "demo", port)
            printed, line = begun.process.communicate(timeout=30)
        assert (begun.process.returncode, printed) == (1, "")
        assert len(line.splitlines()) == 1
        assert f"Port {busy} is busy" in line
        assert "GATEWAY_PORT=" in line
        assert not begun.folder.exists()


def test_a_demonstration_that_is_told_twice_to_stop_leaves_nothing_running(tmp_path: Path) -> None:
    begun = begin_journey(tmp_path / "demo", free_ports())
    eventually(lambda: listens(begun.port + 100), seconds=30)  # its sandbox
    begun.process.send_signal(signal.SIGTERM)
    time.sleep(0.05)  # it is stopping now
    begun.process.send_signal(signal.SIGTERM)
    begun.process.communicate(timeout=30)
    assert not listens(begun.port + 100)


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
