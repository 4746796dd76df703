"""What of a connection is used again and what is not, who waits for one, and what a server may not make us read."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from test_http import serving

from gateway.adapter import SourceContractBroken, SourceRefused, SourceTimedOut, SourceUnavailable
from gateway.connectors.http import PooledHttp
from gateway.connectors.room import LARGE_BYTES, Room

pytestmark = pytest.mark.anyio
KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class Served:
    """A server that says for each request of each connection what the test wants; and how many connections there were."""

    def __init__(self, *replies: bytes) -> None:
        self.replies = list(replies)
        self.connections = 0
        self.asked: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            reply = self.replies.pop(0) if self.replies else KEPT
            if not reply:
                return
            writer.write(reply)


async def get(http: PooledHttp, url: str, *, method: str = "GET", cap: int = 1000, deadline_s: float = 2.0, **headers: str):
    return await http.request(method, url, headers=headers, deadline_s=deadline_s, cap_bytes=cap)


async def test_a_connection_is_used_again():
    served = Served()
    async with serving(served) as url, PooledHttp() as http:
        for _ in range(3):
            assert (await get(http, url)).body == b"ok"
    assert served.connections == 1


@pytest.mark.parametrize("reply", [KEPT.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), KEPT.replace(b"1.1", b"1.0")])
async def test_a_connection_is_not_used_again_after_an_answer_that_says_so(reply: bytes):
    served = Served(reply)
    async with serving(served) as url, PooledHttp() as http:
        assert [(await get(http, url)).body for _ in range(2)] == [b"ok", b"ok"]
    assert served.connections == 2


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nothers", b"HTTP", b"\0"])
async def test_what_follows_an_answer_is_nobodys_answer(more: bytes):
    async with serving(Served(KEPT + more)) as url, PooledHttp() as http:
        for _ in range(3):
            try:
                assert (await get(http, url)).body == b"ok"
            except SourceContractBroken:
                continue


async def test_what_comes_when_nobody_asked_is_nobodys_answer():
    late = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nothers"

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(KEPT)
        await asyncio.sleep(0.02)
        writer.write(late)
        await reader.read()

    async with serving(respond) as url, PooledHttp() as http:
        for _ in range(2):
            assert (await get(http, url)).body == b"ok"
            await asyncio.sleep(0.05)


async def test_of_a_connection_that_went_away_unused_a_question_is_asked_again_and_what_changes_things_is_not():
    async with serving(asking := Served(KEPT, b"")) as url, PooledHttp() as http:
        assert [(await get(http, url)).body for _ in range(2)] == [b"ok", b"ok"]
    assert asking.connections == 2
    async with serving(posting := Served(KEPT, b"")) as url, PooledHttp() as http:
        await get(http, url)
        with pytest.raises(SourceUnavailable):
            await get(http, url, method="POST")
    assert posting.connections == 1


async def test_early_hints_are_not_the_answer():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with serving(Served(hints + KEPT)) as url, PooledHttp() as http:
        got = await get(http, url)
    assert (got.status, got.body, got.headers) == (200, b"ok", {"content-length": "2"})


async def test_a_chunked_answer_is_joined_and_its_trailers_are_not_headers():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nContent-Encoding: br\r\n\r\n"
    async with serving(Served(chunked)) as url, PooledHttp() as http:
        got = await get(http, url)
    assert (got.body, got.headers) == (b"abcde", {"transfer-encoding": "chunked"})


async def test_an_answer_without_a_length_ends_with_its_connection():
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall ")
        await asyncio.sleep(0.02)
        writer.write(b"of it")

    async with serving(respond) as url, PooledHttp() as http:
        assert (await get(http, url)).body == b"all of it"


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"a" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a" * 1000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"X-More: " + b"a" * 1000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 1000),
    ],
    ids=["headers", "one header", "trailers", "a chunk's extension"],
)
async def test_what_never_ends_and_is_no_body_is_not_held(begun: bytes, more: bytes):
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begun)
        while True:
            writer.write(more)
            await writer.drain()

    async with serving(respond) as url, PooledHttp() as http:
        with pytest.raises((SourceContractBroken, SourceTimedOut, SourceUnavailable)):
            await get(http, url, deadline_s=0.5)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        b"Content-Length: 2\r\nContent-Length: 3",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999999",
    ],
    ids=["a length and chunks", "two lengths", "less than nothing", "more than there is"],
)
async def test_an_answer_of_two_lengths_is_not_read(head: bytes):
    async with serving(Served(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n2\r\nok\r\n0\r\n\r\n")) as url, PooledHttp() as http:
        with pytest.raises(SourceContractBroken):
            await get(http, url)


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\rb", "a\0b"])
async def test_a_header_that_would_be_read_as_two_is_not_sent(value: str):
    async with serving(served := Served()) as url, PooledHttp() as http:
        with pytest.raises(SourceContractBroken):
            await get(http, url, thing=value)
    assert served.asked == []


@pytest.mark.parametrize("rest", ["/a b", "/a\r\nX: y", "/\x7f", "/é", "\\a"])
async def test_an_address_that_would_be_read_as_two_lines_is_not_asked(rest: str):
    async with serving(served := Served()) as url, PooledHttp() as http:
        with pytest.raises(SourceRefused):
            await get(http, url + rest)
        with pytest.raises(SourceRefused):
            await get(http, url.replace("//", "//user:secret@"))
    assert served.connections == 0


async def test_the_request_line_and_host_are_of_the_address_without_its_fragment():
    async with serving(served := Served()) as url, PooledHttp() as http:
        await get(http, url + "?a=1#part", accept="text/plain")
    lines = served.asked[0].decode().split("\r\n")
    assert lines[0] == "GET /?a=1 HTTP/1.1"
    assert f"Host: {url.removeprefix('http://')}" in lines
    assert [line for line in lines if line.lower().startswith("accept:")] == ["accept: text/plain"]


async def _hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"quick" in asked:
            writer.write(KEPT)


async def test_who_is_cancelled_gives_the_place_to_whoever_waits_for_it():
    async with serving(_hanging) as url, PooledHttp() as http:
        held = [asyncio.create_task(get(http, url)) for _ in range(64)]
        await asyncio.sleep(0.1)
        gone, waits = (asyncio.create_task(get(http, url + "/quick")) for _ in range(2))
        await asyncio.sleep(0.05)
        gone.cancel()
        held[0].cancel()
        assert (await waits).body == b"ok"
        for task in held:
            task.cancel()
        ended = await asyncio.gather(gone, *held, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended)
        assert (await get(http, url + "/quick")).body == b"ok"


async def test_who_gets_no_place_in_time_times_out():
    async with serving(_hanging) as url, PooledHttp() as http:
        held = [asyncio.create_task(get(http, url)) for _ in range(64)]
        await asyncio.sleep(0.1)
        with pytest.raises(SourceTimedOut):
            await get(http, url, deadline_s=0.1)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)


def _declared(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _until_the_end(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body


@pytest.mark.parametrize("framed", [_declared, _until_the_end], ids=["declared", "until the end"])
async def test_a_large_answer_is_read_on_when_there_is_room_and_not_before(framed: Callable[[bytes], bytes]):
    body, room = b"x" * (LARGE_BYTES * 8), Room(1)  # with room for one at a time, whatever its size

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(framed(body))
        await writer.drain()

    async def ask(url: str, http: PooledHttp) -> bytes:
        async with room.holding():
            return (await get(http, url, cap=len(body) * 2)).body

    async with serving(respond) as url, PooledHttp(room=room) as http:
        async with room.holding():
            await room.take(LARGE_BYTES)
            waits = asyncio.create_task(ask(url, http))
            await asyncio.sleep(0.1)
            assert not waits.done()
        assert await waits == body
        assert room.free == 1


async def test_who_waits_for_room_times_out_and_gives_the_connection_up():
    room = Room(1)
    async with serving(served := Served(_declared(b"x" * LARGE_BYTES * 4))) as url, PooledHttp(room=room) as http:
        async with room.holding():
            await room.take(LARGE_BYTES)
            waits = asyncio.create_task(_in_a_request(room, get(http, url, cap=LARGE_BYTES * 8, deadline_s=0.2)))
            with pytest.raises(SourceTimedOut):
                await waits
        assert (await get(http, url)).body == b"ok"
    assert served.connections == 2


async def _in_a_request(room: Room, asking: Awaitable[object]) -> object:
    async with room.holding():
        return await asking
