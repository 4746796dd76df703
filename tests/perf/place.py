"""A gateway set up for the benchmark: four R4 sources, a health visitor's caseload, tokens of the real exchange."""

import csv
import os
import secrets
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.perf.people import SOURCES, SYSTEM

GATEWAY = str(Path(sys.executable).parent / "gateway")
HERE = Path(__file__).parent
ORGANISATION, ROLE, STAFF = "ods:RXX99", "R0690", "100000000002"


@dataclass
class Place:
    folder: Path
    port: int
    sources: str
    database_url: str = ""
    dead: str = ""  # address of a source that accepts and never answers
    public: str = ""  # address that tokens and links name, where it is another worker's
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "GATEWAY_CONFIG": str(self.folder / "gateway.toml"),
            "GATEWAY_VAR": str(self.folder),
            "GATEWAY_KEYS": str(self.folder / "keys"),
            "GATEWAY_PORT": str(self.port),
            "GATEWAY_OPERATIONS_PORT": str(self.port + 1),
            "GATEWAY_ADAPTERS": str(HERE / "adapters"),
            "GATEWAY_TOKEN_PER_MINUTE": "1000000",
            "GATEWAY_CLIENT_PER_MINUTE": "10000000",
            "GATEWAY_ADDRESS_PER_MINUTE": "10000000",
            "GATEWAY_BASE_URL": self.public or self.base,
            **({"GATEWAY_DATABASE_URL": self.database_url} if self.database_url else {}),
        }

    def command(self, *arguments: str) -> str:
        done = subprocess.run([GATEWAY, *arguments], env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"gateway {' '.join(arguments[:2])}: {done.stderr}")
        return done.stdout

    def set_up(self, people: list[str]) -> None:
        """Keys, policy, one client and a caseload of all the people."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sources = "".join(
            f'\n[sources.{name}]\nadapter = "bench_{name}"\ncustodian = "ods:RXX99"\nagreement = "child-health-record"\n'
            f'title = "Source {name}"\n[sources.{name}.options]\nbase_url = "{self.sources}/{name}"\n'
            for name in SOURCES
        )
        if self.dead:
            sources += (
                f'\n[sources.dead]\nadapter = "bench_dead"\ncustodian = "ods:RXX99"\nagreement = "child-health-record"\n'
                f'title = "Source that never answers"\n[sources.dead.options]\nbase_url = "{self.dead}"\n'
            )
        pds = f'[pds]\nbase_url = "{self.sources}/pds/personal-demographics/FHIR/R4"\nods = "X99990"\nper_second = 100000\n'
        (self.folder / "gateway.toml").write_text(pds + sources)
        self.command("keys", "create", "--sandbox")
        self.command("policy", "activate")
        self.key = RSAKey.generate_key(2048, {"kid": "bench", "alg": "RS384", "use": "sig"})
        (self.folder / "jwks.json").write_text('{"keys":[' + __import__("json").dumps(self.key.as_dict(private=False)) + "]}")
        self.command(
            *("client", "add", "bench", "--name", "bench", "--jwks", str(self.folder / "jwks.json")),
            *("--organisation", ORGANISATION, "--role", ROLE, "--purpose", "TREAT", "--scope", "system/*.rs"),
        )
        with (self.folder / "relationships.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["kind", "nhs_number", "organisation", "staff", "case_reference", "starts", "ends"])
            writer.writerows([["caseload", number, ORGANISATION, "", "", "2026-01-01", ""] for number in people])
        self.command("relationship", "import", str(self.folder / "relationships.csv"))

    def populate(self, others: int) -> None:
        """So many people more, known and cared for by others: rows of the form real ones have, written straight to the file."""
        (path,) = self.folder.glob("*.db")
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-1000000")
        rows = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {others})"
        now = int(time.time() * 1e6)
        # keys in rising order, so that ten million take minutes to write; to the reads it is the same index
        key = "CAST(printf('%016d', i * 1000003) || hex(randomblob(8)) AS BLOB)"
        connection.execute(
            "INSERT INTO person (id, number_key, number_sealed, status, expired, created_at, trace_sealed, traced_at) "
            f"{rows} SELECT printf('%026d', i), {key}, randomblob(48), 'live', 0, {now}, randomblob(900), {now} FROM n"
        )
        connection.execute(
            "INSERT INTO relationship (id, kind, number_key, organisation, starts, recorded_at) "
            f"SELECT 'x' || id, 'caseload', number_key, '{ORGANISATION}', 0, {now} FROM person WHERE id LIKE '00%'"
        )
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def serve(self, pin: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        with (self.folder / "gateway.log").open("ab") as log:
            process = subprocess.Popen([*pin, GATEWAY, "serve"], env=self.environment, stdout=log, stderr=log)
        self.processes.append(process)
        wait(f"http://127.0.0.1:{self.port + 1}/ready", process, self.folder / "gateway.log")
        return process

    def tokens(self, count: int) -> list[str]:
        """Access tokens by the real exchange."""
        with httpx.Client(base_url=self.base) as http:
            return [self._token(http) for _ in range(count)]

    def _token(self, http: httpx.Client) -> str:
        now = int(time.time())
        b2b = {
            "version": "1",
            "organization_id": ORGANISATION,
            "organization_name": "Meadowvale Community Health",
            "subject_id": STAFF,
            "subject_name": "Hazel Visitor",
            "subject_role": ROLE,
            "purpose_of_use": ["TREAT"],
        }
        claims = {
            "iss": "bench",
            "sub": "bench",
            "aud": f"{self.base}/oauth/token",
            "exp": now + 240,
            "iat": now,
            "jti": secrets.token_urlsafe(16),
            "extensions": {"hl7-b2b": b2b},
        }
        assertion = jwt.encode({"alg": "RS384", "kid": "bench", "typ": "JWT"}, claims, self.key, algorithms=["RS384"])
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
            "scope": "system/*.rs",
        }
        answer = http.post("/oauth/token", data=form)
        if answer.status_code != 200:
            raise SystemExit(f"token: {answer.status_code} {answer.text}")
        return str(answer.json()["access_token"])

    def persons(self, people: list[str], token: str) -> list[str]:
        """Our ids of the people, by a first search for each (which also traces them)."""
        found = []
        with httpx.Client(base_url=self.base, headers={"authorization": f"Bearer {token}"}, timeout=20) as http:
            for number in people:
                answer = http.post("/fhir/Patient/_search", data={"identifier": f"{SYSTEM}|{number}"})
                entries = [e["resource"] for e in answer.json().get("entry", []) if e["resource"]["resourceType"] == "Patient"]
                if not entries:
                    raise SystemExit(f"no Patient: {answer.status_code} {answer.text[:600]}")
                found.append(entries[0]["id"])
        return found

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)


def wait(url: str, process: "subprocess.Popen[bytes]", log: Path, seconds: float = 60) -> None:
    """Until the address answers 200."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(url, timeout=1).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"did not start: {log.read_text()[-2000:]}")
