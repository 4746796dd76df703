"""Messages taken by a worker that is killed again and again: each ends on the shelf once, with its event, and none is lost."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from sandbox.child_publisher import publish, published, vaccinations

MESSAGES = 400
LIVES = 6
ROOT = Path(__file__).parents[2]


def test_no_message_is_lost_however_often_its_worker_is_killed(tmp_path: Path) -> None:
    files = published(vaccinations(MESSAGES), {"duplicate": 0.1, "out-of-order": 0.2, "truncated": 0.02}, seed=7)
    publish(tmp_path / "drop", files)
    past, chance, killed = time.time() - 60, random.Random(7), 0
    for name, _ in files:
        os.utime(tmp_path / "drop" / name, (past, past))
    for life in range(LIVES):
        killed += _one_life(tmp_path, life, chance.uniform(0.05, 0.25))
    assert killed > 1  # or nothing was shown
    held = _last_life(tmp_path)
    good = {name.removeprefix("again-") for name, body in files if body.rstrip().endswith((b"}", b">"))}
    assert held["shelf"] == len(good)
    assert held["log_faults"] == 0
    assert [path.name for path in (tmp_path / "drop").iterdir() if path.is_file()] == []
    assert list((tmp_path / "drop" / "taken").iterdir()) == []


def _command(folder: Path, life: int) -> list[str]:
    # What an earlier life held has been held too long by then: each lives five minutes later than the one before.
    return [sys.executable, "-m", "tests.perf.intake_bench", "--worker", str(folder), str(5 * life)]


def _one_life(folder: Path, life: int, life_s: float) -> int:
    victim = subprocess.Popen(_command(folder, life), stdout=subprocess.PIPE, cwd=ROOT)
    assert victim.stdout is not None
    victim.stdout.readline()  # it is ready, and begins
    time.sleep(life_s)
    victim.send_signal(signal.SIGKILL)
    code = victim.wait(60)
    victim.stdout.close()
    assert code in (0, -signal.SIGKILL)
    return int(code != 0)


def _last_life(folder: Path) -> dict[str, int]:
    done = subprocess.run(_command(folder, LIVES), capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    held: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return held
