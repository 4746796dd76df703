"""Mutual TLS over real sockets: both HTTP clients, a server that wants a certificate, and what each refuses."""

import http.server
import ipaddress
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.adapter import HttpAnswer, SourceRefused, SourceUnavailable
from gateway.connectors.http import PooledHttp
from gateway.errors import StartupRefused
from gateway.outside.http import HttpxHttp
from gateway.settings import Tls

pytestmark = pytest.mark.anyio
CLIENTS = (PooledHttp, HttpxHttp)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


# In TLS 1.3 a server turns a client away after the handshake: its alert and its reset race, so either may be what we see.
TURNED_AWAY = (SourceRefused, SourceUnavailable)


@dataclass(frozen=True)
class Authority:
    """Signs certificates for one folder."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def issue(self, name: str, host: str = "") -> tuple[Path, Path]:
        """A certificate for a client, or for a server at this address."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _draft(name, self.certificate.subject, key)
        if host:
            made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        certificate, private = self.folder / f"{self.name}-{name}.pem", self.folder / f"{self.name}-{name}.key"
        certificate.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        private.write_bytes(_pem(key))
        return certificate, private


def _draft(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
    )


def _pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    sealed = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)


def authority(folder: Path, name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = _draft(name, subject, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = Authority(folder, name, key, made.sign(key, hashes.SHA256()))
    signed.pem.write_bytes(signed.certificate.public_bytes(serialization.Encoding.PEM))
    return signed


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.connection.getpeercert()["subject"][0][0][1].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


class Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that is turned away is what these tests are about."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, Authority, str, str]]:
    """An authority, another that nobody trusts, and two servers that want a certificate; the second is named wrongly."""
    folder = tmp_path_factory.mktemp("tls")
    ours, others = authority(folder, "ours"), authority(folder, "others")
    servers = []
    for host in ("127.0.0.1", "127.0.0.9"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, ours.issue(f"server-{host}", host)))
        context.load_verify_locations(str(ours.pem))
        context.verify_mode = ssl.CERT_REQUIRED
        server = Quiet(("127.0.0.1", 0), Hello)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    good, misnamed = (f"https://127.0.0.1:{server.server_port}/" for server in servers)
    yield ours, others, good, misnamed
    for server in servers:
        server.shutdown()
        server.server_close()


async def ask(client: type, tls: Tls | None, url: str) -> HttpAnswer:
    http_client = client(tls=tls.context("pds.tls") if tls else None)
    try:
        return await http_client.request("GET", url, headers={}, deadline_s=5, cap_bytes=1000)
    finally:
        await http_client.close()


def ours_with(authority: Authority, name: str = "the-gateway") -> Tls:
    certificate, key = authority.issue(name)
    return Tls(ca=authority.pem, certificate=certificate, key=key)


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_server_that_wants_a_certificate_is_shown_ours(client: type, network: tuple) -> None:
    ours, _, url, _ = network
    assert (await ask(client, ours_with(ours), url)).body == b"the-gateway"


@pytest.mark.parametrize("client", CLIENTS)
async def test_without_a_certificate_of_ours_there_is_no_answer(client: type, network: tuple) -> None:
    ours, _, url, _ = network
    with pytest.raises(TURNED_AWAY):
        await ask(client, Tls(ca=ours.pem), url)


@pytest.mark.parametrize("client", CLIENTS)
async def test_with_a_certificate_that_the_server_does_not_trust_there_is_no_answer(client: type, network: tuple) -> None:
    ours, others, url, _ = network
    certificate, key = others.issue("somebody")
    with pytest.raises(TURNED_AWAY):
        await ask(client, Tls(ca=ours.pem, certificate=certificate, key=key), url)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("trusted", ["others", "the system"])
async def test_a_server_whose_authority_we_do_not_trust_is_told_nothing(client: type, trusted: str, network: tuple) -> None:
    ours, others, url, _ = network
    certificate, key = ours.issue("the-gateway")
    with pytest.raises(SourceRefused):
        await ask(client, Tls(ca=others.pem if trusted == "others" else None, certificate=certificate, key=key), url)


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_server_that_answers_at_another_name_than_its_own_is_told_nothing(client: type, network: tuple) -> None:
    ours, _, _, misnamed = network
    with pytest.raises(SourceRefused):
        await ask(client, ours_with(ours), misnamed)


def test_nothing_older_than_tls_1_2_is_spoken(network: tuple) -> None:
    assert ours_with(network[0]).context("pds.tls").minimum_version is ssl.TLSVersion.TLSv1_2


def test_what_cannot_be_used_is_refused_at_start(network: tuple, tmp_path: Path) -> None:
    ours, others, _, _ = network
    certificate, key = ours.issue("a")
    _, other_key = others.issue("b")
    sealed, nonsense = tmp_path / "sealed.key", tmp_path / "nonsense.pem"
    sealed.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    nonsense.write_text("nothing")
    absent = tmp_path / "absent.pem"
    for wrong, named in (
        (Tls(certificate=certificate), "sds.tls.key is missing"),
        (Tls(key=key), "sds.tls.certificate is missing"),
        (Tls(ca=absent), "sds.tls.ca names a file that is not there"),
        (Tls(ca=nonsense), "sds.tls.ca cannot be read as PEM"),
        (Tls(certificate=absent, key=key), "sds.tls.certificate names a file that is not there"),
        (Tls(certificate=nonsense, key=key), "sds.tls.certificate cannot be read as PEM"),
        (Tls(certificate=certificate, key=other_key), "sds.tls.key cannot be read"),
        (Tls(certificate=certificate, key=nonsense), "sds.tls.key cannot be read"),
        (Tls(certificate=certificate, key=sealed), "sds.tls.key cannot be read"),
        (Tls(certificate=certificate, key=absent), "sds.tls.key names a file that is not there"),
    ):
        with pytest.raises(StartupRefused, match=re.escape(named)) as refused:
            wrong.context("sds.tls")
        assert str(tmp_path) not in str(refused.value)
