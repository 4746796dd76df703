"""A client's registered JWKS URL -> its keys, kept no longer than its cache-control allows.

The URL is an operator's, never an assertion's; still what it leads to is somebody else's. In live mode: https only, every
address the name has must be public, and the connection goes to an address that was looked at, so a name that changes its
mind between look-up and connection leads nowhere. No redirects, no proxies of the environment, 64 KB, three seconds.
Source: SMART App Launch 2.2.0, client-confidential-asymmetric; RFC 9111 section 5.2.
"""

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from gateway.caller.jose import Broken, strict_json

LARGEST_BYTES = 65_536
BUDGET_S = 3.0
LONGEST_S = 3_600  # however long cache-control allows
UNSAID_S = 60  # where it says nothing
AGAIN_S = 10  # at the earliest, for a key id we do not hold or after a failure
MOST_URLS = 1_000

_NAT64 = IPv6Network("64:ff9b::/96")
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,9})", re.ASCII)
Resolve = Callable[[str, int], Awaitable[list[str]]]


class NotAJwksUrl(ValueError):
    """The URL may not be fetched. The message says why and holds no part of it."""


@dataclass(frozen=True, slots=True)
class _Kept:
    keys: Mapping[str, Any] | None
    fetched: float
    until: float


def check_url(url: str, *, live: bool) -> None:
    """JWKS URL as somebody wants to register it -> nothing. Raises `NotAJwksUrl`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise NotAJwksUrl("it is not a URL") from None
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise NotAJwksUrl("it holds characters that URLs do not have")
    if parts.scheme != "https" and (live or parts.scheme != "http"):
        raise NotAJwksUrl("it must start with https://")
    if not parts.hostname or "@" in parts.netloc or parts.fragment or port == 0:
        raise NotAJwksUrl("it must name a host, and no user, password or fragment")
    if live and _is_numeric(parts.hostname):
        raise NotAJwksUrl("it must name a host, not a number")


class Jwks:
    """Holds the key sets fetched, for all clients of this process."""

    def __init__(
        self,
        *,
        live: bool,
        transport: httpx.AsyncBaseTransport | None = None,
        resolve: Resolve | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._resolve = resolve or _resolve
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._running: dict[str, asyncio.Task[_Kept]] = {}
        self._http = httpx.AsyncClient(timeout=BUDGET_S, follow_redirects=False, trust_env=False, transport=transport)

    async def fetch(self, url: str, kid: str) -> Mapping[str, Any] | None:
        """Registered URL and the key id looked for -> the key set, or None when it cannot be had just now.

        A key id that is not in the set we hold fetches it again, at most every ten seconds, so a client can rotate.
        """
        kept = self._kept.get(url)
        if kept is None or not self._good(kept, kid):
            kept = await self._fetched(url)
        return kept.keys

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _good(self, kept: _Kept, kid: str) -> bool:
        now = self._clock()
        if kept.keys is None:
            return now < kept.fetched + AGAIN_S
        return now < kept.until and (_holds(kept.keys, kid) or now < kept.fetched + AGAIN_S)

    async def _fetched(self, url: str) -> _Kept:
        """One fetch at a time a URL, however many ask. It runs to its end even if the one who asked went away."""
        task = self._running.get(url)
        if task is None:
            task = self._running[url] = asyncio.create_task(self._fetch(url))
            task.add_done_callback(lambda _: self._running.pop(url, None))
        return await asyncio.shield(task)

    async def _fetch(self, url: str) -> _Kept:
        now = self._clock()
        try:
            async with asyncio.timeout(BUDGET_S):
                keys, fresh_s = await self._get(url)
            kept = _Kept(keys, now, now + fresh_s)
        except (httpx.HTTPError, httpx.InvalidURL, NotAJwksUrl, Broken, TimeoutError, OSError, ValueError):
            kept = _Kept(None, now, now)
        if len(self._kept) >= MOST_URLS:
            del self._kept[next(iter(self._kept))]
        self._kept[url] = kept
        return kept

    async def _get(self, url: str) -> tuple[Mapping[str, Any], float]:
        request = await self._request(url)
        answer = await self._http.send(request, stream=True)
        try:
            if answer.status_code != 200 or "content-encoding" in answer.headers:
                raise NotAJwksUrl("it did not answer with a key set")
            body = b""
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > LARGEST_BYTES:
                    raise NotAJwksUrl("it answered with too much")
        finally:
            await answer.aclose()
        keys = strict_json(body)
        if not isinstance(keys, dict) or not isinstance(keys.get("keys"), list):
            raise NotAJwksUrl("it did not answer with a key set")
        return keys, _fresh_s(answer.headers.get_list("cache-control"), answer.headers.get("age", "0"))

    async def _request(self, url: str) -> httpx.Request:
        check_url(url, live=self._live)
        headers = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}
        if not self._live:
            return self._http.build_request("GET", url, headers=headers)
        target = httpx.URL(url)
        addresses = await self._resolve(target.host, target.port or 443)
        if not addresses or not all(_is_public(address) for address in addresses):
            raise NotAJwksUrl("it leads to an address that is not public")
        headers["host"] = target.netloc.decode()
        extensions = {"sni_hostname": target.host}  # the certificate is checked against the name, not the address
        return self._http.build_request("GET", target.copy_with(host=addresses[0]), headers=headers, extensions=extensions)


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


def _is_public(text: str) -> bool:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            return False  # leads to an IPv4 address of the network's own choosing
        address = inner or address
    return address.is_global and not address.is_multicast


def _is_numeric(host: str) -> bool:
    # 2130706433, 0x7f000001, 127.1 and [::1] are all addresses to a resolver; a registered client has a name.
    last = host.rstrip(".").rpartition(".")[2]
    return ":" in host or last.isdigit() or last.lower().startswith("0x")


def _holds(keys: Mapping[str, Any], kid: str) -> bool:
    return any(isinstance(key, dict) and key.get("kid") == kid for key in keys["keys"])


def _fresh_s(cache_control: list[str], age: str) -> float:
    said = ",".join(cache_control).lower()
    if not said:
        return UNSAID_S
    found = _MAX_AGE.search(said)
    if found is None or "no-store" in said or "no-cache" in said or not (age.isascii() and age.isdigit()):
        return 0
    return max(0, min(int(found[1]), LONGEST_S) - int(age[:9]))
