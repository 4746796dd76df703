"""Outgoing HTTP by httpx: one client, a deadline for the whole answer, a cap, no redirects, no cookies, no log."""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Protocol

import httpx

from gateway.adapter import Http, HttpAnswer, SourceContractBroken, SourceError, SourceRefused, SourceTimedOut, SourceUnavailable

_LOGGERS = ("httpx", "httpcore", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")


class OwnHttp(Http, Protocol):
    """A client that its holder closes."""

    async def close(self) -> None: ...


class HttpxHttp:
    """`gateway.adapter.Http` over one pooled `httpx.AsyncClient`."""

    def __init__(self, *, connections: int = 32, tls: ssl.SSLContext | None = None) -> None:
        """Made once, in the process that uses it. `tls` None: the system's trust store, no certificate of ours."""
        _hush()
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            verify=True if tls is None else tls,
            timeout=None,  # noqa: S113 - the deadline below covers the whole exchange
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"accept-encoding": "identity", "user-agent": "shared-care-gateway"},
        )
        self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))

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
        """The whole answer. What fails is raised outside the handler: no foreign exception, which holds the URL, hangs on it."""
        fault: SourceError
        try:
            async with asyncio.timeout(deadline_s):
                return await self._exchange(method, url, headers, body, cap_bytes)
        except TimeoutError:
            fault = SourceTimedOut("no whole answer within the deadline")
        except (httpx.TransportError, httpx.StreamError, ssl.SSLError) as broken:  # a refusal after the handshake comes as it is
            fault = SourceUnavailable("no connection, or it broke")
            if _is_about_certificates(broken):
                fault = SourceRefused("a certificate is not trusted, theirs or ours")
        except (httpx.InvalidURL, httpx.DecodingError):
            fault = SourceContractBroken("not an HTTP exchange we can read")
        raise fault

    async def close(self) -> None:
        """Let go of every connection."""
        await self._client.aclose()

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, cap_bytes: int
    ) -> HttpAnswer:
        async with self._client.stream(method, url, headers=dict(headers), content=body) as response:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise SourceContractBroken("an encoding we did not ask for")
            content = bytearray()
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > cap_bytes:
                    raise SourceContractBroken("the answer is larger than its cap")
            return HttpAnswer(
                response.status_code, {name.lower(): value for name, value in response.headers.items()}, bytes(content)
            )


def _is_about_certificates(error: BaseException) -> bool:
    """Whether TLS itself was refused: then somebody has to act, and trying again does not help."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and not isinstance(seen, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _hush() -> None:
    """httpx logs every URL, and PDS wants the NHS number in the path: a filter outranks any level set later."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _nothing not in logger.filters:
            logger.addFilter(_nothing)


def _nothing(_record: logging.LogRecord) -> bool:
    return False
