"""What every test shares: asyncio for async tests, and no network beyond this machine."""

import socket
from pathlib import Path

import pytest

_REAL_CONNECT = socket.socket.connect
SAMPLES = Path(__file__).resolve().parent.parent.parent / "shared" / "samples"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def samples() -> Path:
    """The folder of published samples, where it is there."""
    if not SAMPLES.is_dir():
        pytest.skip("the folder of published samples (../shared/samples) is not here: nothing to read")
    return SAMPLES


@pytest.fixture(autouse=True, scope="session")
def _only_loopback():
    """Sockets beyond loopback are refused, so no test can lean on the network."""

    def connect(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError("tests may only connect to this machine")
        _REAL_CONNECT(self, address)

    socket.socket.connect = connect
    yield
    socket.socket.connect = _REAL_CONNECT
