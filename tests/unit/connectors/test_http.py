"""The connectors' HTTP: what it refuses, what it sorts, what it never says. A server of bytes on the loopback."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.adapter import SourceContractBroken, SourceRefused, SourceTimedOut, SourceUnavailable
from gateway.connectors.http import PooledHttp

pytestmark = pytest.mark.anyio
NUMBER = "9990000107"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(respond: Serve) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await respond(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


def saying(*pieces: bytes, pause_s: float = 0.0) -> Serve:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return respond


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def ask(url: str, *, cap: int = 1000, deadline_s: float = 2.0, path: str = "/", http: PooledHttp | None = None):
    async with http or PooledHttp() as client:
        return await client.request("GET", url + path, headers={}, deadline_s=deadline_s, cap_bytes=cap)


async def test_an_answer_comes_whole_with_its_status_and_small_header_names():
    async with serving(saying(answer(b"hello", "X-Thing: a", status="404 Not Found"))) as url:
        got = await ask(url)
    assert (got.status, got.body, got.headers["x-thing"]) == (404, b"hello", "a")


async def test_a_body_is_sent_as_given():
    seen: list[bytes] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readexactly(9))
        writer.write(answer(b"ok"))

    async with serving(respond) as url, PooledHttp() as http:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        await http.request("POST", url + "/x", headers=headers, body=b"a=1&b=2&c", deadline_s=2, cap_bytes=10)
    assert seen[0].startswith(b"POST /x HTTP/1.1")
    assert seen[1] == b"a=1&b=2&c"


async def test_a_redirect_is_an_answer_and_is_not_followed():
    async with serving(saying(answer(b"", "Location: http://127.0.0.1:1/elsewhere", status="302 Found"))) as url:
        assert (await ask(url)).status == 302


async def test_a_cookie_is_not_kept():
    seen: list[bytes] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer(b"", "Set-Cookie: a=b; Path=/"))

    async with serving(respond) as url, PooledHttp() as http:
        for _ in range(2):
            await http.request("GET", url, headers={}, deadline_s=2, cap_bytes=10)
    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()


async def test_gzip_is_read():
    async with serving(saying(answer(gzip.compress(b"plain" * 10), "Content-Encoding: gzip"))) as url:
        assert (await ask(url)).body == b"plain" * 10


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"x" * 1001),
        answer(gzip.compress(b"x" * 1_000_000), "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 5000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx",
    ],
    ids=["declared", "a gzip bomb", "chunked", "until the end", "declared and never sent"],
)
async def test_an_answer_past_its_cap_breaks_the_contract(reply: bytes):
    async with serving(saying(reply)) as url:
        with pytest.raises(SourceContractBroken, match="larger"):
            await ask(url)


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        answer(b"not gzip", "Content-Encoding: gzip"),
        answer(gzip.compress(b"x" * 500)[:-9], "Content-Encoding: gzip"),
        answer(b"???", "Content-Encoding: br"),
    ],
    ids=["not http", "not gzip", "gzip cut short", "an encoding not asked for"],
)
async def test_an_answer_that_is_not_what_it_claims_breaks_the_contract(reply: bytes):
    async with serving(saying(reply)) as url:
        with pytest.raises(SourceContractBroken):
            await ask(url)


async def test_a_body_cut_short_is_unavailable():
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")) as url:
        with pytest.raises(SourceUnavailable):
            await ask(url)


async def test_a_server_that_hangs_up_is_unavailable():
    async with serving(saying(b"")) as url:
        with pytest.raises(SourceUnavailable):
            await ask(url)


async def test_nobody_listening_is_unavailable():
    async with serving(saying(b"")) as url:
        gone = url
    with pytest.raises(SourceUnavailable):
        await ask(gone)


async def test_a_slow_first_byte_times_out():
    async with serving(saying(b"", pause_s=5)) as url:
        with pytest.raises(SourceTimedOut):
            await ask(url, deadline_s=0.1)


async def test_a_body_that_drips_times_out_as_a_whole():
    drops = [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", *[b"x"] * 40]
    async with serving(saying(*drops, pause_s=0.05)) as url:
        with pytest.raises(SourceTimedOut):
            await ask(url, deadline_s=0.2)


async def test_a_slow_source_takes_no_connection_of_another():
    async with serving(saying(b"", pause_s=5)) as slow, serving(saying(answer(b"quick"))) as quick, PooledHttp() as http:

        async def wait() -> None:
            with pytest.raises(SourceTimedOut):
                await http.request("GET", slow, headers={}, deadline_s=1.0, cap_bytes=10)

        waiting = [asyncio.create_task(wait()) for _ in range(120)]
        await asyncio.sleep(0.2)
        got = await http.request("GET", quick, headers={}, deadline_s=0.5, cap_bytes=10)
        assert got.body == b"quick"
        await asyncio.gather(*waiting)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://", "http://[::1", "http://host:port/"])
async def test_an_address_that_cannot_be_asked_is_for_the_operator(url: str):
    with pytest.raises(SourceRefused):
        await ask(url, path="")


@pytest.mark.parametrize("reply", [b"", b"SSH\r\n\r\n", answer(b"x" * 2000)])
async def test_no_error_text_or_log_holds_any_part_of_the_address(reply: bytes, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    async with serving(saying(reply)) as url:
        with pytest.raises((SourceUnavailable, SourceContractBroken)) as raised:
            await ask(url, path=f"/Patient/{NUMBER}")
    assert NUMBER not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__
    assert NUMBER not in caplog.text


async def test_the_environment_names_no_proxy_for_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with serving(saying(answer(b"direct"))) as url:
        assert (await ask(url)).body == b"direct"
