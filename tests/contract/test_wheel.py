"""The built wheel holds all that runs: code, manifests, mappings, policy, migrations."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gateway.registry import installed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = built.glob("*.whl")
    folder = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(unpacked: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


def test_gateway_check_passes_from_the_wheel_in_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    where = run(
        unpacked, tmp_path, "-c", "import gateway, adapters, mappings, consent_policy; print(gateway.__file__, adapters.__file__)"
    )
    assert where.stdout.count(str(unpacked)) == 2, "the wheel was not what ran"
    done = run(unpacked, tmp_path, "-c", "from gateway.cli import main; main(['check'])")
    assert done.returncode == 0, done.stderr
    assert "maps load without a fault" in done.stdout
    assert f"{len(installed())} manifests are whole" in done.stdout


def test_nothing_but_the_product_is_in_the_wheel(unpacked: Path) -> None:
    folders = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert folders == {"gateway", "adapters", "mappings", "consent_policy", "sandbox"}
