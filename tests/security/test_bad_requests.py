"""Bad input: a clear 4xx OperationOutcome, an audit event, nothing echoed, nothing lost, never a 500."""

import json
import re
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sandbox.demo import GP
from sandbox.families import BY_KEY
from tests.e2e.whole_place import World, resources

CASES = json.loads((Path(__file__).parent / "corpus" / "requests.json").read_text("utf-8"))["cases"]
OURS = {"identifier", "$everything", "AuditEvent", "fhir.nhs.uk", "nhs-number", "_revinclude"}  # said whatever was sent
FRAMING = {
    "no request at all": b"\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "length and chunks": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "a signed length": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nabcde",
    "a negative length": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "an unknown transfer coding": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
    "a space before the colon": b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n",
    "a bad chunk": b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "a method that is none": b"G\x00T /fhir/metadata HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.fixture(scope="module")
def person(world: World) -> str:
    return str(resources(world.find(GP, BY_KEY["amara"].nhs_number), "Patient")[0]["id"])


def events(world: World) -> int:
    done = world.command("log", "count")
    return int(done.stdout)


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_a_bad_request_is_refused_as_written_and_nothing_of_it_is_echoed(world: World, person: str, case: list) -> None:
    name, method, path, body, headers, status, code = case
    long, many = "a" * 3000, "&".join(f"p{n}={n}" for n in range(60))
    values = {"{person}": person, "{number}": BY_KEY["amara"].nhs_number, "{long}": long, "{many}": many}
    for hole, value in values.items():
        path, body = path.replace(hole, value), body.replace(hole, value)
    sent = world.headers(GP, **({"content-type": "application/x-www-form-urlencoded"} if body else {}))
    sent.update(headers)
    started = time.monotonic()
    answer = raw(world, method, path, sent, body.encode())
    assert (answer.status, answer.code) == (status, code), answer.text
    assert time.monotonic() - started < 2
    for value in re.split(r"[=&?/|]", path + "&" + body):
        assert len(value) < 10 or value in OURS or value not in answer.text, f"{name}: the answer quotes what was sent"


class Answer:
    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text
        body = json.loads(text) if text.startswith("{") else {}
        assert not body or body["resourceType"] == "OperationOutcome"
        self.code = body["issue"][0]["code"] if body else None


def raw(world: World, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    """One request whose path and method no client library tidies up."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {urlsplit(world.place.base).netloc}",
        "Connection: close",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    received = exchange(world, ("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    head, _, content = received.partition(b"\r\n\r\n")
    return Answer(int(head.split(b" ")[1]), content.decode())


def exchange(world: World, sent: bytes, *, seconds: float = 5) -> bytes:
    with socket.create_connection(("127.0.0.1", world.place.port), timeout=seconds) as connection:
        connection.sendall(sent)
        received = b""
        try:
            while chunk := connection.recv(65_536):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
    return received


@pytest.mark.parametrize("name", FRAMING)
def test_broken_framing_is_refused_and_the_next_caller_is_served(world: World, name: str) -> None:
    received = exchange(world, FRAMING[name], seconds=1.5)
    assert not received or received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 4"))
    assert received.count(b"HTTP/1.1 ") <= 1  # nothing smuggled behind it was answered
    assert world.http.get("/fhir/metadata").status_code == 200


def test_every_bad_request_of_a_known_caller_leaves_an_event(world: World, person: str) -> None:
    before = events(world)
    for path in ("/fhir/Flag", "/fhir/Banana?patient=x", "/fhir/Flag?patient=%zz", "/nowhere", "/fhir/Claim?patient=x"):
        world.get(GP, path)
    assert events(world) - before >= 5


def test_a_body_beyond_the_cap_is_refused_without_being_read_to_its_end(world: World) -> None:
    headers = world.headers(GP, **{"content-type": "application/x-www-form-urlencoded"})
    answer = raw(world, "POST", "/fhir/Flag/_search", headers, b"patient=" + b"a" * 1_500_000)
    assert (answer.status, answer.code) == (413, "too-long")


def test_a_thousand_headers_or_a_huge_one_do_no_harm(world: World) -> None:
    many = "".join(f"X-{n}: {n}\r\n" for n in range(1000))
    for block in (many, "X-Big: " + "a" * 100_000 + "\r\n"):
        exchange(world, f"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{block}\r\n".encode())
    assert world.http.get("/fhir/metadata").status_code == 200


def test_no_nhs_number_is_in_the_log_after_all_of_this(world: World) -> None:
    assert not re.search(r"(?<![0-9])999[0-9]{7}(?![0-9])", world.log_text())


def test_a_header_of_ours_that_comes_twice_is_refused_and_recorded(world: World, person: str) -> None:
    headers = [*world.headers(GP).items(), ("Gateway-Permission-To-View", "given"), ("Gateway-Permission-To-View", "not given")]
    answer = world.http.get(f"/fhir/Patient/{person}", headers=headers)
    issue = answer.json()["issue"][0]
    assert (answer.status_code, issue["expression"]) == (400, ["Gateway-Permission-To-View"])
    (event,) = world.of_request(answer)
    assert (event["kind"], event["detail"]["reason"], event["staff_name"]) == ("failure", "header-repeated", GP.name)


def test_what_was_not_used_of_a_search_is_said_by_number_and_never_by_name(world: World, person: str) -> None:
    answer = world.get(GP, f"/fhir/Flag?patient={person}&favourite-colour=vermilion&_count=9")
    (outcome,) = [entry["resource"] for entry in answer.json()["entry"] if entry["search"]["mode"] == "outcome"]
    assert "1 parameter of this request was not used, and the answer is not narrowed by it." in json.dumps(outcome)
    assert answer.json()["link"][0]["url"].endswith(f"/fhir/Flag?patient={person}&_count=9")
    assert "vermilion" not in answer.text
    assert "favourite" not in answer.text


def test_a_search_parameter_of_r4_that_was_not_used_is_named_without_its_value(world: World, person: str) -> None:
    form = {"patient": person, "code": "27113001"}
    answer = world.http.post("/fhir/Observation/_search", data=form, headers=world.headers(GP))
    assert "1 parameter of this request was not used, and the answer is not narrowed by it: code. " in answer.text
    assert answer.json()["link"][0]["url"].endswith(f"/fhir/Observation?patient={person}")


def test_a_misspelt_operation_is_refused_alike_for_a_person_and_for_nobody(world: World, person: str) -> None:
    answers = [world.get(GP, f"/fhir/Patient/{who}/$healthy-child-program") for who in (person, "a" * 26)]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].content == answers[1].content
    assert "No operation of this name is offered here" in answers[0].text
