"""The cases beside the maps: what goes in, what must come out, what must be refused. Form: docs/mapping-language.md."""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.adapter import Claim, SourceRecord
from gateway.mapping.accounting import Accounting
from gateway.mapping.context import Context
from gateway.mapping.rewrite import encode, parse
from gateway.mapping.run import Maps, map_record
from gateway.model import MappedResource
from gateway.nhs_number import NhsNumber

PERSON: Final = "casecasecasecasecasecaseca"  # stands where a person's id would
NUMBER: Final = NhsNumber("9990000107")  # synthetic
CUSTODIAN: Final = "ods:A99901"
KEY: Final = b"cases and files only: a running gateway has its own key"


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a case's records."""

    resources: tuple[MappedResource, ...]
    refusals: tuple[str, ...]
    accounting: tuple[Accounting, ...]

    def out(self) -> bytes:
        """The resources as a golden file has them."""
        return msgspec.json.format(encode([resource.body for resource in self.resources]), indent=2) + b"\n"

    def sent(self) -> list[dict[str, Any]]:
        """What was sent of what is given in another unit, as a golden file has it."""
        return [
            {
                "resource": one.body["id"],
                "element": f"{one.body['resourceType']}.{original.element}",
                "sent": [{name: value} for name, value in original.sent],
            }
            for one in self.resources
            for original in one.originals
        ]

    def refused(self) -> bytes:
        """The refusals as a golden file has them."""
        return "".join(f"{line}\n" for line in self.refusals).encode()


@dataclass(frozen=True, slots=True)
class Case:
    """One case: `folder/name.in.json` and what lies beside it."""

    adapter: str
    name: str
    folder: Path

    def records(self) -> list[SourceRecord]:
        """The records that go in."""
        read = parse((self.folder / f"{self.name}.in.json").read_bytes())
        return [_record(one, number) for number, one in enumerate(read if isinstance(read, list) else [read], start=1)]

    def run(self, maps: Maps) -> Came:
        """Map every record, with the fixed context of cases."""
        results = [map_record(maps, self.adapter, record, context(self.adapter), account=True) for record in self.records()]
        return Came(
            tuple(resource for result in results for resource in result.resources),
            tuple(f"{refusal.where}: {refusal.reason}" for result in results for refusal in result.refused),
            tuple(result.accounting for result in results if result.accounting is not None),
        )

    def differences(self, came: Came) -> list[str]:
        """What differs from the goldens: element paths, never values; of a case without one, how it gets it."""
        if self.is_new(came):
            return [no_golden(self.adapter)]
        found: list[str] = []
        out, refused = self.folder / f"{self.name}.out.json", self.folder / f"{self.name}.refused.txt"
        want = parse(out.read_bytes()) if out.is_file() else []
        found += differ(want, parse(came.out()), "resources")
        sent = self.folder / f"{self.name}.sent.json"
        found += differ(parse(sent.read_bytes()) if sent.is_file() else [], parse(encode(came.sent())), "sent")
        lines = tuple(refused.read_text("utf-8").splitlines()) if refused.is_file() else ()
        if lines != came.refusals:
            found.append("refusals: not those of the golden")
        return found

    def is_new(self, came: Came) -> bool:
        """Whether something comes out and nothing says yet what must."""
        wanted = (self.folder / f"{self.name}.{ending}" for ending in ("out.json", "refused.txt"))
        return bool(came.resources or came.refusals) and not any(file.is_file() for file in wanted)

    def accept(self, came: Came) -> None:
        """Write what came out as the golden; a golden of nothing is removed."""
        for name, body, empty in (
            (f"{self.name}.out.json", came.out(), not came.resources),
            (f"{self.name}.sent.json", msgspec.json.format(encode(came.sent()), indent=2) + b"\n", not came.sent()),
            (f"{self.name}.refused.txt", came.refused(), not came.refusals),
        ):
            if empty:
                (self.folder / name).unlink(missing_ok=True)
            else:
                (self.folder / name).write_bytes(body)


def no_golden(adapter: str) -> str:
    """What is said of a case whose golden nobody has made yet."""
    return f"no golden yet: gateway map cases {adapter} --accept writes what comes out, for you to read in the diff"


def context(adapter: str, *, number: NhsNumber | None = NUMBER, as_of: datetime | None = None, person: str = PERSON) -> Context:
    """The context of cases and of files: ids from a fixed key, a person that stands for whoever it is."""
    source = adapter.replace("_", "-")[:14]

    def mint(type_: str, key: str) -> str:
        return f"{person}.{source}.{local_part(KEY, type_, key)}"

    return Context(source, mint, person, number, as_of or datetime(2026, 1, 5, 9, 0, tzinfo=UTC), CUSTODIAN)


def placeholder(place: int) -> str:
    """The first, second, third person of a file -> what stands for their id; made of nothing that is theirs."""
    digest = hmac.new(KEY, f"person {place}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().lower()[:26]


def local_part(secret: bytes, type_: str, key: str) -> str:
    """Type and key -> the last 20 characters of a resource id."""
    digest = hmac.new(secret, f"{type_}\0{key}".encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().lower()[:20]


def cases(folder: Path, adapter: str | None = None) -> Iterator[Case]:
    """Every case under a mappings folder, or of one adapter."""
    for place in sorted(folder.iterdir()):
        if (place / "cases").is_dir() and adapter in (None, place.name):
            for file in sorted((place / "cases").glob("*.in.json")):
                yield Case(place.name, file.name.removesuffix(".in.json"), place / "cases")


def _record(read: Any, number: int) -> SourceRecord:
    as_of = datetime.fromisoformat(read.get("as_of", "2026-01-05T09:00:00Z"))
    return SourceRecord(
        read["schema"],
        read["data"],
        read.get("where", f"record {number}"),
        as_of,
        Claim(nhs_number=NUMBER.value),
        bool(read.get("locked")),
        bool(read.get("not_early_years")),
    )


def differ(want: Any, came: Any, path: str) -> Iterator[str]:
    """Where two trees differ: paths, never values."""
    if isinstance(want, dict) and isinstance(came, dict):
        for name in sorted(want.keys() | came.keys()):
            if name not in came:
                yield f"{path}.{name}: missing"
            elif name not in want:
                yield f"{path}.{name}: not in the golden"
            else:
                yield from differ(want[name], came[name], f"{path}.{name}")
    elif isinstance(want, list) and isinstance(came, list):
        if len(want) != len(came):
            yield f"{path}: {len(came)} where the golden has {len(want)}"
        for number, (one, other) in enumerate(zip(want, came, strict=False)):
            yield from differ(one, other, f"{path}[{number}]")
    elif want != came or isinstance(want, bool) != isinstance(came, bool) or str(want) != str(came):
        yield f"{path}: differs"
