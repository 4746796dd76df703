"""Outgoing HTTP of the connectors: the fan-out of every read goes through one of this.

HTTP/1.1 over pooled connections, a few hundred lines of ours, since the fan-out is a quarter of a read (docs/adr/0023).
"""

import asyncio
import re
import ssl
import zlib
from collections.abc import Mapping
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from gateway.adapter import HttpAnswer, SourceContractBroken, SourceRefused, SourceTimedOut, SourceUnavailable
from gateway.connectors.http_pool import Pool, Stale, is_about_certificates
from gateway.connectors.room import LARGE_BYTES, Room

_GZIP = 16 + zlib.MAX_WBITS
_POOLS: Final = 256  # of that many servers, those that nobody asks just now are forgotten
_AGAIN: Final = frozenset(("GET", "PUT", "DELETE"))  # RFC 9110 section 9.2.2: asked twice is as good as once
_ADDRESS = re.compile(r"(https?://[^\0- /?#@\\\x7f]+)([/?][!-\"$-~]*)?(?:#.*)?", re.IGNORECASE)
_UNUSABLE: Final = "the address of the source is not one that can be asked"
_OURS: Final = (
    ("accept", "Accept: */*\r\n"),
    ("accept-encoding", "Accept-Encoding: gzip\r\n"),
    ("user-agent", "User-Agent: shared-care-gateway\r\n"),
)


class PooledHttp:
    """`gateway.adapter.Http` over pooled connections: no redirects, no cookies, no proxy of the environment, no log."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, room: Room | None = None) -> None:
        """`tls` None: the system's trust store. `room`: where large answers wait to be let in; None: nobody waits."""
        self._room = room or Room()
        self._tls = tls
        self._pools: dict[str, Pool] = {}

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline_s: float,
        cap_bytes: int,
    ) -> HttpAnswer:
        """One request -> its whole answer, whatever the status. Not for HEAD.

        Raises: `SourceTimedOut` past `deadline_s`; `SourceContractBroken` past `cap_bytes`, or for an answer that is not
        HTTP or not the encoding it claims; `SourceRefused` for an address or certificate that is not to be used (the
        operator acts); else `SourceUnavailable`.
        """
        found = _ADDRESS.fullmatch(url)
        if found is None:
            raise SourceRefused(_UNUSABLE)
        origin, target = found.groups(default="/")
        pool = self._pools.get(origin) or self._open(origin)
        request = _message(method, target, pool.named, headers, body)
        ends = asyncio.get_running_loop().time() + deadline_s
        try:
            try:
                came = await pool.exchange(request, cap_bytes=cap_bytes, ends=ends, room=self._room)
            except Stale:
                if method not in _AGAIN:
                    raise
                came = await pool.exchange(request, cap_bytes=cap_bytes, ends=ends, room=self._room, fresh=True)
        except TimeoutError:
            raise SourceTimedOut("no whole answer within the deadline") from None
        except UnicodeError:  # of the host's name, when it is looked up
            raise SourceRefused(_UNUSABLE) from None
        except OSError as broken:
            if is_about_certificates(broken):
                raise SourceRefused("the source's certificate is not trusted") from None
            raise SourceUnavailable("no connection, or it broke") from None
        status, answered, content = came
        encoding = answered.get("content-encoding", "").lower()
        if encoding and encoding != "identity":
            content = await self._unpacked(encoding, content, cap_bytes)
        return HttpAnswer(status, answered, content)

    async def close(self) -> None:
        """Let go of every connection."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    async def __aenter__(self) -> "PooledHttp":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _open(self, origin: str) -> Pool:
        """An address up to its path -> the pool of that server. Raises `SourceRefused`."""
        try:
            parts = urlsplit(origin)
            host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        except ValueError:
            raise SourceRefused(_UNUSABLE) from None
        if not host or port == 0:
            raise SourceRefused(_UNUSABLE)
        if len(self._pools) >= _POOLS:
            self._pools = {name: pool for name, pool in self._pools.items() if not pool.is_empty()}
        if parts.scheme == "https":
            self._tls = self._tls or ssl.create_default_context()
            pool = Pool(host, port or 443, self._tls)
        else:
            pool = Pool(host, port or 80, None)
        self._pools[origin] = pool
        return pool

    async def _unpacked(self, encoding: str, content: bytes, cap_bytes: int) -> bytes:
        if encoding not in ("gzip", "x-gzip"):
            raise SourceContractBroken("an encoding that was not asked for")
        said = min(int.from_bytes(content[-4:], "little"), cap_bytes)  # RFC 1952 2.3.1: ISIZE; the cap holds whatever it says
        if max(said, len(content)) < LARGE_BYTES:
            return _unzip(content, cap_bytes)
        await self._room.take(said)
        return await asyncio.to_thread(_unzip, content, cap_bytes)  # zlib lets everybody else go on meanwhile


def _message(method: str, target: str, host: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """A request as it is sent. Raises `SourceContractBroken` for a header that would be read as two."""
    given = {name.lower() for name in headers}
    lines = [f"{method} {'' if target.startswith('/') else '/'}{target} HTTP/1.1\r\n"]
    if "host" not in given:
        lines.append(f"Host: {host}\r\n")
    lines += [line for name, line in _OURS if name not in given]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if body is not None:
        if "content-type" not in given:
            lines.append("Content-Type: application/octet-stream\r\n")
        lines.append(f"Content-Length: {len(body)}\r\n")
    elif method in ("POST", "PUT", "PATCH"):
        lines.append("Content-Length: 0\r\n")
    lines.append("\r\n")
    head = "".join(lines)
    if head.count("\r") != len(lines) or head.count("\n") != len(lines) or "\0" in head:
        raise SourceContractBroken("a header that cannot be sent")
    return head.encode("utf-8", "surrogateescape") + (body or b"")


def _unzip(content: bytes, cap_bytes: int) -> bytes:
    if not content:
        return content
    unzip = zlib.decompressobj(_GZIP)
    try:
        plain = unzip.decompress(content, cap_bytes + 1)
    except zlib.error:
        raise SourceContractBroken("the answer is not the gzip it claims to be") from None
    if len(plain) > cap_bytes:
        raise SourceContractBroken("the answer is larger than its cap")
    if not unzip.eof:
        raise SourceContractBroken("the answer's gzip ends too early")
    return plain
