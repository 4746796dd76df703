"""What every test shares: asyncio for async tests, no network beyond this machine, and which tests stay together."""

import socket
from pathlib import Path
from typing import Any

import pytest

_REAL_CONNECT = socket.socket.connect
HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent.parent / "shared" / "samples"
LONGEST_FIRST = ("e2e", "security", "contract", "unit")
APART = {  # of e2e and security: files that ask neither of the two whole places, or bring one of their own
    *(f"e2e/test_{name}.py" for name in ("adoption", "demo", "eclipse", "identity_worklist", "live_mode", "local_authority")),
    *(f"e2e/test_{name}.py" for name in ("pds_client", "postgres", "replay_on_postgres", "token_exchange")),
    *(f"security/test_{name}kill_minus_nine.py" for name in ("", "deliver_", "drop_", "messages_")),
    *(f"security/test_{name}.py" for name in ("floors", "jwks_addresses", "mutual_tls", "replay", "unforeseen_faults")),
    "security/test_wire_bounds.py",
}


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


def together(nodeid: str) -> str:
    """A test -> what it may not be parted from when several processes share the suite: its file, or all that ask one place."""
    file = nodeid.partition("::")[0].removeprefix("tests/")
    folder = file.partition("/")[0]
    return folder if folder in ("e2e", "security") and file not in APART else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Who runs what when several processes share the suite (`-n 2`): whole groups, in the order of collection."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)

    config.option.loadscopereorder = False
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups that take long begin first, so that the processes end together.

    Among tests of one place, what ends somebody for good comes late, with all that others told of them; what is said of the
    whole run comes last, in the process that ran it.
    """
    astray = {item.nodeid.partition("::")[0] for item in items if "world" in item.fixturenames and _is_apart(item)}
    if astray:
        raise pytest.UsageError(f"these ask the place they share with others, and are parted from them: {sorted(astray)}")
    items.sort(key=lambda item: _turn(item.nodeid, item.name))


def _is_apart(item: pytest.Item) -> bool:
    return together(item.nodeid) not in ("e2e", "security") and not hasattr(item.module, "world")


def _turn(nodeid: str, name: str) -> tuple[int, bool, bool, bool]:
    group = together(nodeid)
    folder = group.partition("/")[0]
    shared = group == folder
    return (
        LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST),
        not shared,
        shared and "over_the_whole_run" in name,
        shared and "is_sealed" in name,
    )
