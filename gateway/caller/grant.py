"""The OAuth grammar, by Authlib: which grant, which client authentication, which error. Every check of substance is ours.

Authlib's own assertion check names no algorithms, lets an assertion live for an hour and trusts any `jku`; its grant logs the
token it issues. So each of those methods is overridden here, and what they need (the client, its keys) is fetched before,
because Authlib does not await. Source: RFC 6749 sections 3.2, 4.4 and 5.2; RFC 7521; RFC 7523.
"""

from collections.abc import Callable, Mapping
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.models import ClientMixin
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion

from gateway.caller.assertion import Assertion
from gateway.caller.jose import Peeked
from gateway.errors import OAuthRefused

GRANT = "client_credentials"
METHOD = "private_key_jwt"
# Authlib looks at the scheme of the request's URI. Ours is settled when the gateway starts (GATEWAY_MODE) and no URL of a
# request is ever trusted, so it is given a constant one.
_URI = "https://token.invalid/oauth/token"


def grant(form: Mapping[str, str], read: Peeked | None, hold: Callable[[], Assertion]) -> Assertion:
    """A token request -> the assertion that its client proved itself with.

    `read` is the assertion before any check; `hold` checks it, the client's registration first. Raises `OAuthRefused`.
    """
    server = _Server()
    server.register_client_auth_method(METHOD, _ClientAssertion(read, hold))
    server.register_grant(_Grant)
    held = server.create_token_response(_Request(form))
    assert isinstance(held, Assertion)
    return held


class _Request(OAuth2Request):
    def __init__(self, form: Mapping[str, str]) -> None:
        super().__init__("POST", _URI)
        self.payload = BasicOAuth2Payload(form)

    @property
    def form(self) -> Mapping[str, str]:
        return dict(self.payload.data)


class _Registered(ClientMixin):
    """A client as Authlib wants to see it."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.proved: Assertion | None = None

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == METHOD and endpoint == "token" and self.proved is not None

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == GRANT


class _ClientAssertion(JWTBearerClientAssertion):
    CLIENT_AUTH_METHOD = METHOD

    def __init__(self, read: Peeked | None, hold: Callable[[], Assertion]) -> None:
        super().__init__()
        self._read = read
        self._hold = hold

    def __call__(self, query_client: Callable[[str], _Registered], request: _Request) -> _Registered | None:
        client = super().__call__(query_client, request)
        assert client is None or isinstance(client, _Registered)
        return client

    def extract_assertion(self, assertion: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        if self._read is None:
            raise OAuthRefused("invalid_client", reason="assertion-unreadable")
        return self._read.header, self._read.claims

    def resolve_client_public_key(self, client: _Registered) -> None:
        return None  # `hold` picks the key itself: by kid, kind, use and algorithm

    def process_assertion_claims(self, assertion: str, resolve_key: None) -> None:
        return None  # `authenticate_client` follows at once and checks everything

    def authenticate_client(self, client: _Registered) -> _Registered:
        held = self._hold()
        if held.client.id != client.id:
            raise OAuthRefused("invalid_client", reason="issuer-not-subject")
        client.proved = held
        return client


class _Grant(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = [METHOD]  # noqa: RUF012 - Authlib's own name and shape

    def create_token_response(self) -> tuple[int, Assertion, tuple[()]]:
        client = self.request.client
        assert isinstance(client, _Registered)
        assert client.proved is not None
        return 200, client.proved, ()


class _Server(AuthorizationServer):
    def query_client(self, client_id: str) -> _Registered:
        return _Registered(client_id)  # whether it is registered is the first thing `hold` asks

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        return None

    def handle_response(self, status: int, body: Assertion, headers: object) -> Assertion:
        return body

    def handle_error_response(self, request: _Request, error: OAuth2Error) -> Assertion:
        # Authlib's descriptions quote what was sent; only the error's code goes on.
        raise OAuthRefused(str(error.error), reason="grammar")
