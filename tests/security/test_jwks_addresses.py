"""Key sets of clients: where we may fetch from, how long we keep them, and what we refuse to read."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from gateway.outside.jwks import LARGEST_BYTES, Jwks, NotAJwksUrl, check_url

pytestmark = pytest.mark.anyio

URL = "https://client.example/jwks.json"
KEYS = b'{"keys":[{"kid":"one"}]}'
PUBLIC = "8.8.8.8"


def said(content: bytes = KEYS, headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer still to be read, as it comes from a socket."""
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(content))


class Elsewhere:
    """The client's server, the resolver and the time, in one."""

    def __init__(self, *, live: bool = True) -> None:
        self.asked: list[httpx.Request] = []
        self.answer: Callable[[], httpx.Response] = said
        self.addresses = [PUBLIC]
        self.now = 0.0
        self.jwks = Jwks(live=live, transport=httpx.MockTransport(self._asked), resolve=self._resolve, clock=lambda: self.now)

    async def _asked(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self.answer()

    async def _resolve(self, host: str, port: int) -> list[str]:
        return self.addresses


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    there = Elsewhere()
    yield there
    await there.jwks.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://client.example/jwks",
        "https://169.254.169.254/latest",
        "https://127.0.0.1/jwks",
        "https://2130706433/jwks",
        "https://0x7f000001/jwks",
        "https://127.1/jwks",
        "https://[::1]/jwks",
        "https://[::ffff:127.0.0.1]/jwks",
        "https://client.example@127.0.0.1/jwks",
        "https://user:word@client.example/jwks",
        "file:///etc/passwd",
        "gopher://client.example/",
        "https:///jwks",
        "https://client.example:99999/",
        "https://client.example/#x",
        "https://client.example\\@evil/",
        "https://client.example/ x",
        "https://client.ex\u0430mple/",
        "",
    ],
)
async def test_an_address_that_is_not_a_public_https_name_is_never_asked(url: str, elsewhere: Elsewhere) -> None:
    with pytest.raises(NotAJwksUrl) as refused:
        check_url(url, live=True)
    assert not url or url not in str(refused.value)
    assert await elsewhere.jwks.fetch(url, "one") is None
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::a00:1",
        "not an address",
    ],
)
async def test_a_name_that_leads_to_an_inner_address_is_not_followed(address: str, elsewhere: Elsewhere) -> None:
    for addresses in ([address], [PUBLIC, address]):
        elsewhere.addresses = addresses
        elsewhere.now += 100
        assert await elsewhere.jwks.fetch(URL, "one") is None
    assert elsewhere.asked == []


async def test_the_connection_goes_to_the_address_that_was_looked_at(elsewhere: Elsewhere) -> None:
    assert await elsewhere.jwks.fetch(URL, "one") == {"keys": [{"kid": "one"}]}
    (request,) = elsewhere.asked
    assert (request.url.host, request.headers["host"]) == (PUBLIC, "client.example")
    assert request.extensions["sni_hostname"] == "client.example"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(302, headers={"location": "http://127.0.0.1/"}),
        lambda: httpx.Response(500),
        lambda: said(b'{"keys":[]' + b" " * LARGEST_BYTES + b"}"),
        lambda: said(b"<html>"),
        lambda: said(b"[]"),
        lambda: said(b'{"keys":1}'),
        lambda: said(b'{"keys":[],"keys":[]}'),
        lambda: said(b"[" * 50_000),
        lambda: said(headers={"content-encoding": "gzip"}),
    ],
)
async def test_an_answer_that_is_no_small_key_set_is_no_key_set(
    answer: Callable[[], httpx.Response], elsewhere: Elsewhere
) -> None:
    elsewhere.answer = answer
    assert await elsewhere.jwks.fetch(URL, "one") is None
    assert len(elsewhere.asked) == 1


async def test_a_server_that_cannot_be_reached_is_not_asked_again_at_once(elsewhere: Elsewhere) -> None:
    def down() -> httpx.Response:
        raise httpx.ConnectError("refused")

    elsewhere.answer = down
    assert await elsewhere.jwks.fetch(URL, "one") is None
    assert await elsewhere.jwks.fetch(URL, "one") is None
    assert len(elsewhere.asked) == 1
    elsewhere.answer = said
    elsewhere.now = 11
    assert await elsewhere.jwks.fetch(URL, "one") is not None


@pytest.mark.parametrize(
    ("headers", "kept_s"),
    [
        ({"cache-control": "max-age=30"}, 30),
        ({"cache-control": "public, max-age=30", "age": "20"}, 10),
        ({"cache-control": "max-age=86400"}, 3_600),
        ({"cache-control": "no-store"}, 0),
        ({"cache-control": "max-age=30, no-cache"}, 0),
        ({"cache-control": "private"}, 0),
        ({}, 60),
    ],
)
async def test_a_key_set_is_kept_no_longer_than_it_may_be(headers: dict[str, str], kept_s: int, elsewhere: Elsewhere) -> None:
    elsewhere.answer = lambda: said(headers=headers)
    await elsewhere.jwks.fetch(URL, "one")
    if kept_s:
        elsewhere.now = kept_s - 0.5
        await elsewhere.jwks.fetch(URL, "one")
        assert len(elsewhere.asked) == 1
    elsewhere.now = kept_s + 0.5
    await elsewhere.jwks.fetch(URL, "one")
    assert len(elsewhere.asked) == 2


async def test_a_key_id_we_do_not_hold_fetches_again_but_not_more_than_every_ten_seconds(elsewhere: Elsewhere) -> None:
    await elsewhere.jwks.fetch(URL, "one")
    for _ in range(5):
        await elsewhere.jwks.fetch(URL, "two")
    assert len(elsewhere.asked) == 1
    elsewhere.now = 10.5
    await elsewhere.jwks.fetch(URL, "two")
    assert len(elsewhere.asked) == 2


async def test_in_the_sandbox_plain_http_on_this_machine_is_allowed() -> None:
    there = Elsewhere(live=False)
    assert await there.jwks.fetch("http://127.0.0.1:9000/jwks", "one") is not None
    assert await there.jwks.fetch("file:///etc/passwd", "one") is None
    await there.jwks.close()
