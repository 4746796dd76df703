"""What a service is shown as a credential: a constant, or an access token got with a client's own secret and kept until it ends.

    [sources.NAME.options]
    credential = "..."              sent as the manifest's [auth] says; or, instead of it:
    token_url = "https://..."       the custodian's token endpoint: the same header then holds the token it gives
    client_id = "..."
    client_secret = "..."
    scope = "..."                   where the endpoint asks for one

Source: RFC 6749 sections 2.3.1 (the client by HTTP Basic), 4.4 (client credentials), 5.1 and 5.2; RFC 6750 section 3.1 (401).
No token, secret or word of the endpoint is in any text of ours.
"""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address
from time import monotonic
from typing import Any, Final, Protocol, TypeGuard
from urllib.parse import quote_plus, urlencode, urlsplit

from gateway.adapter import (
    Manifest,
    SourceContractBroken,
    SourceRefused,
    SourceSettings,
    SourceTimedOut,
    SourceUnavailable,
    Tools,
)
from gateway.connectors.json_tree import parse
from gateway.errors import StartupRefused

NOT_ACCEPTED: Final = "the token endpoint does not accept us"
NOT_ABLE: Final = "the token endpoint is not able to answer now"
NO_TOKEN: Final = "the token endpoint gave no token that can be used"  # noqa: S105 - a reason
NO_ENDPOINT: Final = (
    "begins with https:// and names a host, and no user, password or fragment; http:// is for a simulator on this machine"
)
CAP_BYTES: Final = 64_000
UNSAID_S: Final = 60.0  # of an endpoint that does not say how long its token holds
EARLY_S: Final = 30.0  # a token is not used in its last moments: clocks differ, and requests take time

_LATER = frozenset((408, 425, 429, 500, 502, 503, 504))
_LONGEST = 16_384


class Credential(Protocol):
    """What goes into the headers of every question."""

    async def headers(self, ends: float) -> Mapping[str, str]:
        """`ends`: when the question's budget does, by the monotonic clock. Raises the four `SourceError`s."""
        ...

    def refused(self, headers: Mapping[str, str]) -> bool:
        """The service said 401 to these. True: others can be got, so it may be asked once more."""
        ...


class Constant:
    """The same every time, or nothing at all."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    async def headers(self, ends: float) -> Mapping[str, str]:
        return self._headers

    def refused(self, headers: Mapping[str, str]) -> bool:
        return False


class AccessToken:
    """A token of the custodian's own endpoint, one for all questions at once, until shortly before it ends."""

    def __init__(self, tools: Tools, header: str, prefix: str, options: Mapping[str, Any]) -> None:
        self._tools, self._header, self._prefix = tools, header, prefix
        self._url = str(options["token_url"])
        client = f"{quote_plus(options['client_id'])}:{quote_plus(options['client_secret'])}"
        self._basic = "Basic " + b64encode(client.encode()).decode()
        form = {"grant_type": "client_credentials", **({"scope": options["scope"]} if options.get("scope") else {})}
        self._body = urlencode(form).encode()
        self._token = ""
        self._until: datetime | None = None
        self._getting = asyncio.Lock()

    async def headers(self, ends: float) -> Mapping[str, str]:
        if not self._holds():
            try:
                async with asyncio.timeout(max(ends - monotonic(), 0)), self._getting:
                    if not self._holds():  # another question may have got it meanwhile
                        await self._get(ends)
            except TimeoutError:
                raise SourceTimedOut("no access token within the budget") from None
        return {self._header: self._prefix + self._token}

    def refused(self, headers: Mapping[str, str]) -> bool:
        if headers.get(self._header) == self._prefix + self._token:  # not one that was got since
            self._until = None
        return True

    def _holds(self) -> bool:
        return self._until is not None and self._tools.now() < self._until

    async def _get(self, ends: float) -> None:
        headers = {
            "Accept": "application/json",
            "Authorization": self._basic,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        asked_at, left = self._tools.now(), max(ends - monotonic(), 0)
        answer = await self._tools.http.request(
            "POST", self._url, headers=headers, body=self._body, deadline_s=left, cap_bytes=CAP_BYTES
        )
        if answer.status in (400, 401, 403):
            raise SourceRefused(NOT_ACCEPTED)
        if answer.status in _LATER:
            raise SourceUnavailable(NOT_ABLE)
        if answer.status != 200:
            raise SourceContractBroken(NO_TOKEN)
        self._token, holds_s = _read(answer.body)
        self._until = asked_at + timedelta(seconds=max(holds_s - EARLY_S, holds_s / 2))


def credential_of(manifest: Manifest, source: SourceSettings, tools: Tools) -> Credential:
    """The manifest's `[auth]` and the source's options -> what is shown. Raises `StartupRefused` naming what to add."""
    auth, options, where = manifest.options.get("auth"), source.options, f"sources.{source.name}.options"
    if auth is None:
        return Constant({})
    if not isinstance(auth, Mapping) or not isinstance(auth.get("header"), str):
        raise StartupRefused(f"adapters/{manifest.name}/manifest.toml: [auth] needs header")
    header, prefix = str(auth["header"]), str(auth.get("prefix", ""))
    if options.get("token_url") is None:
        if not _is_sendable(options.get("credential")):
            raise StartupRefused(f"{where}: add credential, which the manifest's [auth] sends, or token_url with its client")
        return Constant({header: prefix + str(options["credential"])})
    if options.get("credential") is not None:
        raise StartupRefused(f"{where}: give credential or token_url, not both")
    if not _is_endpoint(options["token_url"]):
        raise StartupRefused(f"{where}: token_url {NO_ENDPOINT}")
    for name in ("client_id", "client_secret"):
        if not isinstance(options.get(name), str) or not options[name]:
            raise StartupRefused(f"{where}: add {name}, by which token_url knows us")
    return AccessToken(tools, header, prefix, options)


def _read(body: bytes) -> tuple[str, float]:
    """The endpoint's answer -> (token, seconds it holds). Raises `SourceContractBroken`."""
    answer = parse(body)
    if not isinstance(answer, dict):
        raise SourceContractBroken(NO_TOKEN)
    token, kind, holds_s = answer.get("access_token"), answer.get("token_type"), answer.get("expires_in", UNSAID_S)
    try:
        seconds = float(holds_s)
    except (TypeError, ValueError, OverflowError):
        raise SourceContractBroken(NO_TOKEN) from None
    fit = isinstance(kind, str) and kind.lower() == "bearer" and 0 < seconds < 10**9
    if fit and _is_sendable(token) and len(token) <= _LONGEST:
        return token, seconds
    raise SourceContractBroken(NO_TOKEN)


def _is_endpoint(url: object) -> bool:
    """Where a client's secret may be sent. http is left to a simulator on this machine, and live mode refuses that too."""
    if not _is_sendable(url) or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        fit = parts.port != 0 and "@" not in parts.netloc and not parts.fragment
    except ValueError:
        return False
    return fit and bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)))


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _is_sendable(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and text.isascii() and text.isprintable() and bool(text)
