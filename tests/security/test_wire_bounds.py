"""The bounds of a connection: what never ends is ended, whoever sends it and before anybody has said who they are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from gateway.api import wire

pytestmark = pytest.mark.anyio

BODY_BYTES = 100_000
Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message.get("more_body", False)
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def dial(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Dial]:
    monkeypatch.setattr(wire, "ARRIVES_S", 0.4)
    config = uvicorn.Config(
        echo, host="127.0.0.1", port=0, http=wire.bounded(BODY_BYTES), lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag and no event
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield lambda: asyncio.open_connection("127.0.0.1", port)
    server.should_exit = True
    await serving


async def said(reader: asyncio.StreamReader) -> bytes:
    """All the server says until it closes."""
    try:
        return await asyncio.wait_for(reader.read(), 3)
    except ConnectionError:
        return b""


async def pour(writer: asyncio.StreamWriter, piece: bytes, times: int) -> int:
    """How many pieces were taken before the connection was closed."""
    for sent in range(times):
        if writer.is_closing():
            return sent
        writer.write(piece)
        try:
            await writer.drain()
        except ConnectionError:
            return sent
        await asyncio.sleep(0)
    return times


@pytest.mark.parametrize(
    "begins",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"GET /?",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Trailer: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
    ],
    ids=["a header", "a path", "a trailer", "a body"],
)
async def test_what_never_ends_is_cut_off_long_before_it_fills_memory(dial: Dial, begins: bytes):
    _, writer = await dial()
    writer.write(begins)
    assert await pour(writer, b"a" * 10_000, 1_000) < 1_000
    writer.close()


@pytest.mark.parametrize(
    "begins",
    [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\na"],
    ids=["nothing", "a request line", "a header", "a body"],
)
async def test_a_request_that_drips_is_not_waited_for(dial: Dial, begins: bytes):
    reader, writer = await dial()
    writer.write(begins)
    started = asyncio.get_running_loop().time()
    closed = asyncio.create_task(said(reader))
    while not closed.done() and asyncio.get_running_loop().time() - started < 2:
        writer.write(b"a" if begins else b"")
        await asyncio.sleep(0.1)
    assert await closed == b""
    assert asyncio.get_running_loop().time() - started < 1.5


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n"], ids=["none", "two"])
async def test_a_request_has_exactly_one_host(dial: Dial, hosts: bytes):
    reader, writer = await dial()
    writer.write(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")
    assert (await said(reader)).startswith(b"HTTP/1.1 400")


async def test_a_head_larger_than_any_we_take_is_refused_in_one_piece_too(dial: Dial):
    reader, writer = await dial()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * wire.HEAD_BYTES + b"\r\n\r\n")
    answer = await said(reader)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


async def test_a_connection_that_keeps_asking_is_served_for_as_long_as_it_likes(dial: Dial):
    reader, writer = await dial()
    for _ in range(8):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"a" * 70_000)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3)
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(5) == b"70000"
        await asyncio.sleep(0.1)
    writer.close()


async def test_requests_sent_in_one_piece_are_all_answered(dial: Dial):
    reader, writer = await dial()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5 + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await said(reader)).count(b"HTTP/1.1 200") == 6
