"""Our own sign-in at the national APIs: a signed assertion -> an access token, kept until shortly before it ends.

Source: NHS England, application-restricted RESTful APIs, signed JWT authentication (RS512, client_credentials, jwt-bearer).
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode
from uuid import uuid4

import msgspec
from joserfc import jws

from gateway import settings
from gateway.adapter import SourceError
from gateway.errors import StartupRefused, TracerDown
from gateway.outside.http import OwnHttp
from gateway.outside.token_client import NoToken, read_key

ALGORITHM: Final = "RS512"  # the only one these APIs take
LIFE_S: Final = 240  # of the assertion; five minutes at most
EARLY_S: Final = 30  # a token is not used in its last seconds
CAP_BYTES: Final = 64_000
_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: int | str  # these APIs give it as text
    token_type: str = "Bearer"  # noqa: S105 - a kind, not a token


_decode = msgspec.json.Decoder(_Answer).decode


class NhsSignIn:
    """The bearer token of this gateway at one national API. One exchange for all who wait for it."""

    def __init__(
        self, settings: settings.SignIn, http: OwnHttp, *, budget_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        """`http` stays its owner's to close. Raises `StartupRefused` for a key file that cannot sign."""
        try:
            self._key = read_key(settings.key)
        except NoToken:
            raise StartupRefused("pds.sign_in.key: a file with the private RSA key as a JWK with its kid is needed") from None
        if self._key.algorithm != ALGORITHM:
            raise StartupRefused("pds.sign_in.key: the JWK must say alg RS512: gateway key new FILE --algorithm RS512")
        self._settings = settings
        self._http = http
        self._budget_s = budget_s
        self._clock = clock
        self._token, self._until = "", 0.0
        self._alone = asyncio.Lock()

    async def bearer(self) -> str:
        """The token. Raises `TracerDown` where none is given: the owner of the connection acts."""
        async with self._alone:
            if self._clock() >= self._until:
                self._token, self._until = await self._exchange()
            return self._token

    def forget(self) -> None:
        """It was refused: the next question signs in anew."""
        self._until = 0.0

    async def _exchange(self) -> tuple[str, float]:
        now = self._clock()
        fields = {
            "grant_type": "client_credentials",
            "client_assertion_type": _BEARER,
            "client_assertion": self._assertion(int(now)),
        }
        try:
            answer = await self._http.request(
                "POST",
                self._settings.token_url,
                headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                body=urlencode(fields).encode(),
                deadline_s=self._budget_s,
                cap_bytes=CAP_BYTES,
            )
            said = _decode(answer.body) if answer.status == 200 else None
            life = 0 if said is None else int(said.expires_in)
        except (SourceError, msgspec.DecodeError, ValueError):
            said, life = None, 0
        if said is None or said.token_type.lower() != "bearer" or not said.access_token.isascii() or life <= 0:
            raise TracerDown(reason="the tracer's sign-in gave no token")
        return said.access_token, now + max(life - EARLY_S, 1)

    def _assertion(self, now: int) -> str:
        client = self._settings.client_id
        claims = {"iss": client, "sub": client, "aud": self._settings.token_url, "jti": str(uuid4()), "exp": now + LIFE_S}
        header = {"alg": ALGORITHM, "kid": self._key.kid, "typ": "JWT"}
        return jws.serialize_compact(header, json.dumps(claims).encode(), self._key.key, algorithms=[ALGORITHM])
