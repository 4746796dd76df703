"""Outgoing HTTP of the connectors, by aiohttp: the fan-out of every read goes through one session of this.

Source: docs/adr/0003; aiohttp was measured 10 to 40 times cheaper than httpx for this fan-out.
"""

import asyncio
import logging
import re
import ssl
import zlib
from collections.abc import Mapping
from types import TracebackType

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from gateway.adapter import HttpAnswer, SourceContractBroken, SourceRefused, SourceTimedOut, SourceUnavailable
from gateway.connectors.room import LARGE_BYTES, Room

_GZIP = 16 + zlib.MAX_WBITS
_ADDRESS = re.compile(
    r"https?://[^\0- /?#@\\\x7f]+([/?][!-\"$-~]*)?(#[!-~]*)?", re.IGNORECASE
)  # no password, nothing that ends a line
_AT_ONE_HOST = 64  # its bulkhead: a slow source takes no other's connections
_IDLE_S = 4.0  # shorter than servers keep theirs (uvicorn: 5): nothing is sent down a connection about to close

for _name in ("aiohttp.client", "aiohttp.internal"):
    # they write addresses and foreign texts, and either may hold an NHS number
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class PooledHttp:
    """`gateway.adapter.Http` over one pooled session: no redirects, no cookies, no proxy of the environment, no log."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, room: Room | None = None) -> None:
        """`tls` None: the system's trust store. `room`: where large answers wait to be let in; None: nobody waits."""
        self._room = room or Room()
        self._tls: ssl.SSLContext | bool = True if tls is None else tls
        self._session: aiohttp.ClientSession | None = None

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
        """One request -> its whole answer, whatever the status.

        Raises: `SourceTimedOut` past `deadline_s`; `SourceContractBroken` past `cap_bytes`, or for an answer that is not
        HTTP or not the encoding it claims; `SourceRefused` for an address or certificate that is not to be used (the
        operator acts); else `SourceUnavailable`.
        """
        session = self._session or self._open()
        try:
            async with (
                asyncio.timeout(deadline_s),  # over all of it, also the wait for room
                session.request(method, _address(url), headers=headers, data=body, allow_redirects=False) as response,
            ):
                content = await _read(response, cap_bytes, self._room)
                return HttpAnswer(response.status, {name.lower(): value for name, value in response.headers.items()}, content)
        except TimeoutError:
            raise SourceTimedOut("no whole answer within the deadline") from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise SourceRefused("the address of the source is not one that can be asked") from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError):
            raise SourceRefused("the source's certificate is not trusted") from None
        except aiohttp.ClientResponseError:
            raise SourceContractBroken("the answer is not HTTP") from None
        except ValueError:  # aiohttp sends no line break, nor what is no text, in a header
            raise SourceContractBroken("a header that cannot be sent") from None
        except (aiohttp.ClientError, OSError) as broken:
            if _is_about_certificates(broken):
                raise SourceRefused("the source does not trust our certificate") from None
            raise SourceUnavailable("no connection, or it broke") from None

    async def close(self) -> None:
        """Let go of every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> "PooledHttp":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _open(self) -> aiohttp.ClientSession:
        # made on the first request: a session belongs to the loop it is made on
        self._session = aiohttp.ClientSession(
            connector=_Connector(ssl=self._tls, limit=0, limit_per_host=_AT_ONE_HOST, keepalive_timeout=_IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # each request has its deadline
            auto_decompress=False,  # ours stops at the cap
            headers={"Accept-Encoding": "gzip", "User-Agent": "shared-care-gateway"},
            trust_env=False,
        )
        return self._session


class _Connector(aiohttp.TCPConnector):
    """aiohttp's, but a kept connection on which something came while nobody asked is not used again.

    aiohttp gives what came as the answer to the next request, which may be about somebody else. `_get` is not public:
    tests/unit/connectors/test_http_kept.py fails if a release of aiohttp no longer goes through it.
    """

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (kept := await super()._get(key, traces)) is not None:
            if kept.protocol is not None and not kept.protocol.should_close:
                return kept
            kept.close()
        return None


def _is_about_certificates(error: BaseException) -> bool:
    """Whether TLS itself was refused: in TLS 1.3 a server says so only after the handshake, when we read."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and not isinstance(seen, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _address(url: str) -> URL:
    try:
        address = URL(url, encoded=True)
        usable = (
            _ADDRESS.fullmatch(url) is not None and bool(address.host) and address.port is not None
        )  # read here: yarl refuses a bad port only when asked for it
    except ValueError:
        usable = False
    if not usable:
        raise SourceRefused("the address of the source is not one that can be asked")
    return address


async def _read(response: aiohttp.ClientResponse, cap_bytes: int, room: Room) -> bytes:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        raise SourceContractBroken("an encoding that was not asked for")
    declared = response.content_length
    if declared is not None and declared > cap_bytes:
        raise SourceContractBroken("the answer is larger than its cap")
    if declared is not None:
        await room.take(declared)
        content = await response.read()  # the parser reads no more than was declared
    else:
        content = await _read_on(response, cap_bytes, room)
    if not encoding.endswith("gzip"):
        return content
    said = min(int.from_bytes(content[-4:], "little"), cap_bytes)  # RFC 1952 2.3.1: ISIZE; the cap holds whatever it says
    if max(said, len(content)) < LARGE_BYTES:
        return _unzip(content, cap_bytes)
    await room.take(said)
    return await asyncio.to_thread(_unzip, content, cap_bytes)  # zlib lets everybody else go on meanwhile


async def _read_on(response: aiohttp.ClientResponse, cap_bytes: int, room: Room) -> bytes:
    content, let_in = bytearray(), False
    async for piece in response.content.iter_any():
        if not let_in and len(content) + len(piece) > LARGE_BYTES:
            let_in = True
            await room.take(cap_bytes)  # nobody said how much there is
        content += piece
        if len(content) > cap_bytes:
            raise SourceContractBroken("the answer is larger than its cap")
    return bytes(content)


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
