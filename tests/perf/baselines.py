"""Three services to compare with, each the honest best of its kind. `python -m tests.perf.baselines KIND --port P --sources URL`.

floor   fans out through the gateway's own HTTP client and joins the bodies unread
lean    Starlette, aiohttp, orjson, joserfc: token, identity, consent look-ups, one durable commit; no policy engine, no mapping
naive   FastAPI, pooled httpx, fhir.resources in and out, token, identity and consent by ORM, one commit a request

naive-mapped is the naive service before the four shipped kinds of source, which do not speak R4.
"""

import argparse
import asyncio
import hashlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import uvicorn
from joserfc import jwt
from joserfc.jwk import OKPKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.perf.people import BORN, SOURCES, SYSTEM, numbers

HELD = Path()  # what the naive mapper's sources hold: a file that the benchmark writes

FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/fhir+json"}
KEY = OKPKey.import_key(
    {
        "kty": "OKP",
        "crv": "Ed25519",
        "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }
)
AUDIENCE = "http://127.0.0.1"
MEDIA = "application/fhir+json"


def token(n: int) -> str:
    """One of the tokens the load rotates through."""
    claims = {
        "iss": AUDIENCE,
        "aud": AUDIENCE,
        "sub": "bench",
        "jti": f"t{n}",
        "exp": int(time.time()) + 3600,
        "scope": "system/*.rs",
    }
    return jwt.encode({"alg": "Ed25519", "typ": "at+jwt"}, claims, KEY, algorithms=["Ed25519"])


def form(number: str) -> bytes:
    return f"patient.identifier={SYSTEM}%7C{number}".encode()


def database(path: Path, people: int) -> sqlite3.Connection:
    """Identity and consent tables, and an audit table; WAL and FULL like the gateway's."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE person (id TEXT PRIMARY KEY, number TEXT, birth_date TEXT) WITHOUT ROWID")
    connection.execute("CREATE TABLE consent (id INTEGER PRIMARY KEY, person TEXT, scope TEXT, decision TEXT)")
    connection.execute("CREATE INDEX consent_of ON consent (person)")
    connection.execute("CREATE TABLE audit (id INTEGER PRIMARY KEY, at REAL, person TEXT, caller TEXT, detail TEXT)")
    for number in numbers(people):
        connection.execute("INSERT INTO person VALUES (?, ?, ?)", (f"p{number}", number, BORN))
        connection.execute("INSERT INTO consent (person, scope, decision) VALUES (?, 'direct-care', 'permit')", (f"p{number}",))
    return connection


def floor(sources: str, path: Path, people: int) -> Any:
    from gateway.connectors.http import PooledHttp

    http = PooledHttp()

    async def read(request: Request) -> Response:
        asked = form(request.path_params["person"].removeprefix("p"))
        answers = await asyncio.gather(
            *(
                http.request("POST", f"{sources}/{name}/all/_search", headers=FORM, body=asked, deadline_s=5, cap_bytes=8_000_000)
                for name in SOURCES
            )
        )
        return Response(b'{"entry":[' + b",".join(answer.body for answer in answers) + b"]}", media_type=MEDIA)

    return Starlette(routes=[Route("/read/{person}", read)])


class Commits:
    """One commit a request, by a writer thread that takes whatever waits (the lean service's own group commit)."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._waiting, self._wake = connection, [], threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    async def write(self, row: tuple[Any, ...]) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._waiting.append((row, loop, done))
        self._wake.set()
        await done

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            group, self._waiting = self._waiting, []
            if not group:
                continue
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT INTO audit (at, person, caller, detail) VALUES (?, ?, ?, ?)", [row for row, _, _ in group]
            )
            self._connection.execute("COMMIT")
            group[0][1].call_soon_threadsafe(lambda group=group: [done.set_result(None) for _, _, done in group])


def lean(sources: str, path: Path, people: int) -> Any:
    import aiohttp
    import orjson

    connection = database(path, people)
    reader = sqlite3.connect(path, check_same_thread=False)
    commits = Commits(connection)
    known: dict[bytes, dict[str, Any]] = {}
    held: list[aiohttp.ClientSession] = []

    def caller(request: Request) -> dict[str, Any]:
        text = request.headers["authorization"][7:]
        digest = hashlib.sha256(text.encode()).digest()
        claims = known.get(digest)
        if claims is None:
            claims = jwt.decode(text, KEY, algorithms=["Ed25519"]).claims
            if claims["aud"] != AUDIENCE or claims["exp"] < time.time():
                raise PermissionError
            known[digest] = claims
        return claims

    async def ask(name: str, body: bytes) -> bytes:
        if not held:
            held.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        async with held[0].post(f"{sources}/{name}/all/_search", data=body, headers=FORM) as answer:
            return await answer.read()

    async def read(request: Request) -> Response:
        claims, person = caller(request), request.path_params["person"]
        number, _born = reader.execute("SELECT number, birth_date FROM person WHERE id = ?", (person,)).fetchone()
        consents = reader.execute("SELECT scope, decision FROM consent WHERE person = ?", (person,)).fetchall()
        if ("direct-care", "deny") in consents:
            return Response(b"{}", 403)
        bodies = await asyncio.gather(*(ask(name, form(number)) for name in SOURCES))
        entries = []
        for name, body in zip(SOURCES, bodies, strict=True):
            for entry in orjson.loads(body)["entry"]:
                resource = entry["resource"]
                subject = resource.get("subject") or resource["patient"]
                if subject["identifier"]["value"] != number:
                    raise LookupError
                resource["id"] = f"{name}-{resource['id']}"
                subject["reference"] = f"Patient/{person}"
                entries.append({"resource": resource})
        out = orjson.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries})
        await commits.write((time.time(), person, claims["sub"], f"{len(entries)} resources"))
        return Response(out, media_type=MEDIA)

    return Starlette(routes=[Route("/read/{person}", read)])


def naive(sources: str, path: Path, people: int) -> Any:
    import httpx
    from fastapi import Depends, FastAPI, Header, HTTPException
    from fhir.resources.R4B.bundle import Bundle, BundleEntry
    from sqlmodel import Field, Session, SQLModel, create_engine, select

    database(path, people).close()

    class Person(SQLModel, table=True):
        __tablename__ = "person"
        id: str = Field(primary_key=True)
        number: str
        birth_date: str

    class Consent(SQLModel, table=True):
        __tablename__ = "consent"
        id: int | None = Field(default=None, primary_key=True)
        person: str
        scope: str
        decision: str

    class Audit(SQLModel, table=True):
        __tablename__ = "audit"
        id: int | None = Field(default=None, primary_key=True)
        at: float
        person: str
        caller: str
        detail: str

    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=200, max_keepalive_connections=200))
    app = FastAPI()

    def caller(authorization: str = Header()) -> str:
        claims = jwt.decode(authorization[7:], KEY, algorithms=["Ed25519"]).claims
        if claims["aud"] != AUDIENCE or claims["exp"] < time.time():
            raise HTTPException(401)
        return str(claims["sub"])

    async def ask(name: str, body: bytes) -> Any:
        answer = await client.post(f"{sources}/{name}/all/_search", content=body, headers=FORM)
        return Bundle.model_validate_json(answer.content)

    @app.get("/read/{person}")
    async def read(person: str, who: str = Depends(caller)) -> Response:
        with Session(engine) as session:
            found = session.get(Person, person)
            consents = session.exec(select(Consent).where(Consent.person == person)).all()
        if found is None or any(row.scope == "direct-care" and row.decision == "deny" for row in consents):
            raise HTTPException(403)
        bundles = await asyncio.gather(*(ask(name, form(found.number)) for name in SOURCES))
        entries = []
        for name, bundle in zip(SOURCES, bundles, strict=True):
            for entry in bundle.entry:
                resource = entry.resource
                subject = getattr(resource, "subject", None) or resource.patient
                if subject.identifier.value != found.number:
                    raise HTTPException(502)
                resource.id = f"{name}-{resource.id}"
                subject.reference = f"Patient/{person}"
                entries.append(BundleEntry(resource=resource))
        with Session(engine) as session:
            session.add(Audit(at=time.time(), person=person, caller=who, detail=f"{len(entries)} resources"))
            session.commit()
        return Response(Bundle(type="searchset", entry=entries).model_dump_json(), media_type=MEDIA)

    return app


def naive_mapped(sources: str, path: Path, people: int) -> Any:
    """The naive service for sources that are not R4: STU3 over HTTP, messages and rows by ORM, XML; models in and out.

    It makes the resources that the gateway made of the same sources, and is told their content: no look-up of codes, no
    token of a national service, no shelf that has to be opened. What it leaves out only makes it cheaper.
    """
    import httpx
    from fastapi import Depends, FastAPI, Header, HTTPException
    from fhir.resources.R4B import get_fhir_model_class
    from fhir.resources.R4B.bundle import Bundle, BundleEntry
    from fhir.resources.STU3.bundle import Bundle as Stu3Bundle
    from sqlmodel import Field, Session, SQLModel, create_engine, select

    database(path, people).close()
    held: dict[str, list[dict[str, Any]]] = json.loads(HELD.read_text())

    class Person(SQLModel, table=True):
        __tablename__ = "person"
        id: str = Field(primary_key=True)
        number: str
        birth_date: str

    class Consent(SQLModel, table=True):
        __tablename__ = "consent"
        id: int | None = Field(default=None, primary_key=True)
        person: str
        scope: str
        decision: str

    class Audit(SQLModel, table=True):
        __tablename__ = "audit"
        id: int | None = Field(default=None, primary_key=True)
        at: float
        person: str
        caller: str
        detail: str

    class Record(SQLModel, table=True):
        __tablename__ = "record"
        id: int | None = Field(default=None, primary_key=True)
        source: str
        content: str

    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        for source, resources in held.items():
            for resource in resources:
                text = xml_of(resource) if source == "local-authority" else json.dumps(resource)
                session.add(Record(source=source, content=text))
        session.commit()
    client = httpx.AsyncClient(limits=httpx.Limits(max_connections=200, max_keepalive_connections=200))
    app = FastAPI()

    def caller(authorization: str = Header()) -> str:
        claims = jwt.decode(authorization[7:], KEY, algorithms=["Ed25519"]).claims
        if claims["aud"] != AUDIENCE or claims["exp"] < time.time():
            raise HTTPException(401)
        return str(claims["sub"])

    @app.get("/read/{person}")
    async def read(person: str, who: str = Depends(caller)) -> Response:
        with Session(engine) as session:
            found = session.get(Person, person)
            consents = session.exec(select(Consent).where(Consent.person == person)).all()
            records = session.exec(select(Record)).all()
        if found is None or any(row.scope == "direct-care" and row.decision == "deny" for row in consents):
            raise HTTPException(403)
        answer = await client.post(f"{sources}/stu3/all", content=form(found.number), headers=FORM)
        if not Stu3Bundle.model_validate_json(answer.content).entry:
            raise HTTPException(502)
        entries = []
        for record in records:
            content = of_xml(record.content) if record.source == "local-authority" else json.loads(record.content)
            model = get_fhir_model_class(content["resourceType"])
            entries.append(BundleEntry(resource=model.model_validate(content)))
        with Session(engine) as session:
            session.add(Audit(at=time.time(), person=person, caller=who, detail=f"{len(entries)} resources"))
            session.commit()
        return Response(Bundle(type="searchset", entry=entries).model_dump_json(), media_type=MEDIA)

    return app


def xml_of(value: Any, name: str = "record") -> str:
    """JSON values as elements that say what they are."""
    if isinstance(value, dict):
        return f'<{name} is="object">' + "".join(xml_of(part, key) for key, part in value.items()) + f"</{name}>"
    if isinstance(value, list):
        return f'<{name} is="list">' + "".join(xml_of(part, "item") for part in value) + f"</{name}>"
    return f"<{name}>{escape(json.dumps(value))}</{name}>"


def of_xml(text: str) -> Any:
    """The reverse."""

    def read(element: Any) -> Any:
        kind = element.get("is")
        if kind == "object":
            return {part.tag: read(part) for part in element}
        return [read(part) for part in element] if kind == "list" else json.loads(element.text)

    return read(ElementTree.fromstring(text))


KINDS: dict[str, Callable[[str, Path, int], Any]] = {
    "floor": floor,
    "lean": lean,
    "naive": naive,
    "naive-mapped": naive_mapped,
}


def main() -> None:
    reader = argparse.ArgumentParser()
    reader.add_argument("kind", choices=sorted(KINDS))
    reader.add_argument("--port", type=int, required=True)
    reader.add_argument("--sources", required=True)
    reader.add_argument("--people", type=int, default=50)
    reader.add_argument("--var", type=Path, required=True)
    reader.add_argument("--held", type=Path, default=HELD)
    asked = reader.parse_args()
    globals()["HELD"] = asked.held
    path = asked.var / f"{asked.kind}-{secrets.token_hex(4)}.db"
    app = KINDS[asked.kind](asked.sources, path, asked.people)
    uvicorn.run(app, host="127.0.0.1", port=asked.port, http="httptools", loop="uvloop", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
