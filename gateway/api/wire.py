"""What uvicorn's HTTP parser does not bound: the bytes of a request, the seconds it may take to arrive, and its one Host.

uvicorn's httptools keeps a header that never ends in memory, and waits for ever for a body that drips. Whoever breaks one
of these bounds is not an HTTP client: 400 or no answer at all, and the connection is closed.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536  # request line and headers: four times the longest form we take
ARRIVES_S = 10.0  # a whole request, from its first byte or from the connection


class _OutOfBounds(Exception):
    """Inside a parser callback: uvicorn answers 400 and closes."""


def bounded(body_bytes: int) -> type[HttpToolsProtocol]:
    """The largest body the API reads -> the protocol class a server is configured with."""

    class Bounded(HttpToolsProtocol):
        """httptools with bounds. Counting costs nothing where a request arrives in one piece."""

        most_bytes = HEAD_BYTES + 2 * body_bytes  # chunked framing counts; past the API's own 413 nobody reads on

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._came = 0
            self._in_head = True
            self._whole = False
            self._late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._late = self.loop.call_later(ARRIVES_S, self._too_late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._in_time()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._came += len(data)
            super().data_received(data)
            if self._whole:
                self._in_time()
                return
            if self._came > (HEAD_BYTES if self._in_head else self.most_bytes):
                self._too_late()
            elif self._late is None:
                self._late = self.loop.call_later(ARRIVES_S, self._too_late)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head, self._whole = True, False

        def on_headers_complete(self) -> None:
            self._in_head = False
            hosts = sum(name == b"host" for name, _ in self.headers)
            if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):  # RFC 9112 section 3.2
                raise _OutOfBounds
            if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
                raise _OutOfBounds
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._whole, self._came = True, 0
            super().on_message_complete()

        def _in_time(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _too_late(self) -> None:
            self._in_time()
            self.transport.close()

    return Bounded
