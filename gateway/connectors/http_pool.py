"""The connections of `PooledHttp` to one server: an exchange at a time on each, kept for the next where HTTP lets them be.

llhttp (httptools) reads the answers. What it leaves to its user is here: how much may come, and what may not be used again.
Source: RFC 9112 (HTTP/1.1) sections 6, 9 and 11; docs/adr/0023.
"""

import asyncio
import ssl
from collections import deque
from typing import Any, Final

import httptools

from gateway.adapter import SourceContractBroken, SourceError, SourceRefused, SourceTimedOut, SourceUnavailable
from gateway.connectors.room import LARGE_BYTES, Room

_AT_ONE_HOST: Final = 64  # its bulkhead: a slow source takes no other's connections
_IDLE_S: Final = 4.0  # shorter than servers keep theirs (uvicorn: 5): nothing is sent down a connection about to close
_HEAD_BYTES: Final = 65_536  # of an answer, or of anything else that is no body
_NOT_HTTP: Final = "the answer is not HTTP"
_LARGER: Final = "the answer is larger than its cap"
_BROKE: Final = "no connection, or it broke"


class Stale(SourceUnavailable):
    """A connection kept from before that ended without a word: nobody knows whether the request was read."""


class Connection(asyncio.Protocol):
    """One connection, and the answer it is reading."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None
        self._turn: asyncio.Future[None] | None = None
        self._asked = False
        self._pieces: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.fault: SourceError | None = None
        self.kept = False  # from an exchange before
        self.closed = False
        self.idle_until = 0.0

    def ask(self, request: bytes, cap_bytes: int, turn: "asyncio.Future[None]") -> None:
        """Send it. `turn` is done when the answer is whole, has failed, or is large and wants leave."""
        self._asked, self._turn, self._cap = True, turn, cap_bytes
        self.headers, self._pieces = {}, []
        self.status = self._size = self._without_body = 0
        self.large = 0  # bytes for which leave is to be asked
        self.whole = self._headed = self._until_end = self._came = self._large_said = False
        self._transport.write(request)

    def go_on(self, turn: "asyncio.Future[None]") -> None:
        """Leave was given."""
        self.large, self._turn = 0, turn
        if self.whole or self.fault is not None:
            turn.set_result(None)
        else:
            self._transport.resume_reading()

    def answer(self) -> bytes:
        """The body, taken out."""
        pieces, self._pieces, self._asked = self._pieces, [], False
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def too_late(self) -> None:
        """The time is over."""
        self.fail(SourceTimedOut("no whole answer within the deadline"))

    def fail(self, fault: SourceError) -> None:
        """The first fault counts. The connection is of no further use."""
        if self.fault is None:
            self.fault = fault
        self.close()
        self._wake()

    def close(self) -> None:
        """At once: what is left to be said does not matter."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _wake(self) -> None:
        turn = self._turn
        if turn is not None and not turn.done():
            turn.set_result(None)

    # --------------------------------------------------------------------------------------------- from the transport

    def connection_made(self, transport: Any) -> None:  # uvloop's is no asyncio.Transport
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._asked or self.whole:  # nobody asked: an answer to come would not be ours
            self.close()
            return
        before, self._came = self._size, True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.whole:
                self.fail(self.fault or SourceContractBroken(_NOT_HTTP))
            self.close()
            return
        if self.fault is not None:
            self.fail(self.fault)
        elif self.large and not self._large_said and not self.whole:
            self._large_said = True
            self._transport.pause_reading()
            self._wake()
        elif self._size == before and not self.whole:
            self._without_body += len(data)  # headers, trailers, the frames of chunks
            if self._without_body > _HEAD_BYTES:
                self.fail(SourceContractBroken(_NOT_HTTP))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._pool.lost(self)
        if not self._asked or self.whole:
            return
        if self._until_end and exc is None:
            self.whole = True
            self._wake()
        elif is_about_certificates(exc):
            self.fail(SourceRefused("the source does not trust our certificate"))
        else:
            self.fail(Stale(_BROKE) if self.kept and not self._came else SourceUnavailable(_BROKE))

    # ------------------------------------------------------------------------------------------------- from the parser

    def on_message_begin(self) -> None:
        if self.whole:  # a second answer to one request: nothing of it is taken
            self.closed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # neither trailers nor what is of a second answer are looked at
            self.headers[name.decode("latin-1").lower()] = value.decode("utf-8", "surrogateescape").strip()

    def on_headers_complete(self) -> None:
        if self.whole:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        self._headed = True
        declared = self.headers.get("content-length")
        if declared is None:
            self._until_end = "chunked" not in self.headers.get("transfer-encoding", "").lower()
        elif int(declared) > self._cap:
            self.fault = SourceContractBroken(_LARGER)
        elif int(declared) >= LARGE_BYTES:
            self.large = int(declared)

    def on_body(self, body: bytes) -> None:
        if self.whole:
            return
        self._size += len(body)
        if self._size > self._cap:
            self.fault = SourceContractBroken(_LARGER)
        elif self.fault is None:
            self._pieces.append(body)
            if not self.large and not self._large_said and self._size > LARGE_BYTES:
                self.large = self._cap  # nobody said how much there is

    def on_message_complete(self) -> None:
        if self.whole:
            return
        if self.status < 200:  # "100 Continue", "103 Early Hints": the answer is still to come
            self.headers = {}
            return
        self.whole = True
        if not self._parser.should_keep_alive():
            self.closed = True
        self._wake()


class Pool:
    """Those to one server: so many at once, and who comes later waits for one of them."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        named = f"[{host}]" if ":" in host else host
        self.named = named if port == (80 if tls is None else 443) else f"{named}:{port}"  # as the header Host has it
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None

    def is_empty(self) -> bool:
        """Nothing is open and nobody is asking."""
        return not self._idle and not self._taken

    async def exchange(
        self, request: bytes, *, cap_bytes: int, ends: float, room: Room, fresh: bool = False
    ) -> tuple[int, dict[str, str], bytes]:
        """A request -> status, headers by small name, body. `fresh`: on a connection that was not used before.

        Raises the errors of `gateway.adapter.Http`, `Stale`, and what making a connection raises; `TimeoutError` past `ends`.
        """
        connection = None if fresh else self._kept()
        if connection is None:
            async with asyncio.timeout_at(ends):
                connection = await self._another(fresh=fresh)
        late = self._loop.call_at(ends, connection.too_late)
        try:
            turn = self._loop.create_future()
            connection.ask(request, cap_bytes, turn)
            await turn
            if connection.large and connection.fault is None:
                async with asyncio.timeout_at(ends):
                    await room.take(connection.large)
                    if not connection.whole:
                        turn = self._loop.create_future()
                        connection.go_on(turn)
                        await turn
            if connection.fault is not None:
                raise connection.fault from None
            return connection.status, connection.headers, connection.answer()
        except BaseException:
            connection.close()
            raise
        finally:
            late.cancel()
            self._give_back(connection)

    def close(self) -> None:
        """Let go of every connection."""
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def lost(self, connection: Connection) -> None:
        """A connection ended."""
        if connection in self._idle:
            self._idle.remove(connection)

    def _kept(self) -> Connection | None:
        """The newest that is idle, where it may still be used and somebody else is not waiting for his turn."""
        now = self._loop.time()
        while self._idle and self._taken < _AT_ONE_HOST:
            connection = self._idle.pop()
            if not connection.closed and now < connection.idle_until:
                connection.kept = True
                self._taken += 1
                self._busy.add(connection)
                return connection
            connection.close()
        return None

    async def _another(self, *, fresh: bool) -> Connection:
        while self._taken >= _AT_ONE_HOST:
            turn = self._loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._next()  # it was our turn, and we are not there to take it
                else:
                    self._waiting.remove(turn)
                raise
        connection = None if fresh else self._kept()
        if connection is not None:
            return connection
        self._taken += 1
        try:
            name = None if self._tls is None else self._host
            _, made = await self._loop.create_connection(
                lambda: Connection(self), self._host, self._port, ssl=self._tls, server_hostname=name
            )
        except BaseException:
            self._free()
            raise
        self._busy.add(made)
        return made

    def _give_back(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if connection.closed:
            connection.close()
        else:
            connection.idle_until = self._loop.time() + _IDLE_S
            self._idle.append(connection)
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(_IDLE_S, self._sweep)
        self._free()

    def _free(self) -> None:
        self._taken -= 1
        self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _sweep(self) -> None:
        """Close what has been idle for so long."""
        self._sweeping, now = None, self._loop.time()
        for connection in [one for one in self._idle if one.idle_until <= now]:
            self._idle.remove(connection)
            connection.close()
        if self._idle:
            self._sweeping = self._loop.call_later(_IDLE_S, self._sweep)


def is_about_certificates(error: BaseException | None) -> bool:
    """Whether TLS itself was refused: in TLS 1.3 a server says so only after the handshake, when we read."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return True
        error = error.__cause__ or error.__context__
    return False
