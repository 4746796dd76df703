"""An adapter run without a network: built from its own README's settings, asked of a source that behaves as told.

What the rules of conformance.py see: every request that would have gone out, what came back, how it ended. A database is the
only world that is not faked: a source with a `database_url` gets a SQLite file of its own, empty, gone, broken, held by another,
or made by a script of answers/.
"""

import asyncio
import contextlib
import re
import shutil
import sqlite3
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from pydantic import ValidationError

from gateway.adapter import (
    Adapter,
    Claim,
    Closes,
    HttpAnswer,
    Manifest,
    PatientIdentity,
    Provider,
    Purpose,
    ShelfRecord,
    SourceError,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    StartupRefused,
    Tools,
    Want,
)
from gateway.identity import identity_of
from gateway.model import PersonId
from gateway.nhs_number import NhsNumber
from gateway.ports import Traced
from gateway.settings import Source

NUMBER: Final = "9990000107"  # of the range that is never given to anybody
OTHER: Final = "9990001111"
LOCAL: Final = "LOCAL-0107"
BORN: Final = date(2024, 3, 14)
BUDGET_S: Final = 0.2
NOW: Final = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
TOML: Final = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
REQUESTER: Final = {
    "organisation": "ods:A99901",
    "organisation_name": "Riverside Surgery",
    "organisation_kind": "gp-practice",
    "system": "kit",
    "person_system": "https://fhir.nhs.uk/Id/sds-user-id",
    "person": "100000000001",
    "person_name": "Ada Bright",
    "role_system": "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName",
    "role": "R0260",
    "role_name": "General Medical Practitioner",
}


class NoSettings(Exception):
    """The README's settings cannot be used; the text says why."""


class NotChecked(Exception):
    """A rule that could look at nothing; the text says why. It counts as not met."""


@dataclass(slots=True)
class World:
    """What surrounds the adapter, and what it did to it."""

    answer: HttpAnswer | None = None  # None: nothing ever comes
    shelf: Sequence[ShelfRecord] = ()
    waits: bool = False  # the shelf, too, never answers
    requests: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)
    shelf_asked: int = 0
    database: str = ""  # what a source's database is: "" empty; "gone", "broken", "busy", or a script that makes it
    open: int = 0  # requests begun and not ended
    network: list[str] = field(default_factory=list)  # what went past the fakes

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline_s: float,
        cap_bytes: int,
    ) -> HttpAnswer:
        """`gateway.adapter.Http`."""
        self.requests.append((method, url, headers, body or b""))
        self.open += 1
        try:
            if self.answer is None:
                await asyncio.Event().wait()
            assert self.answer is not None
            return self.answer
        finally:
            self.open -= 1

    async def newest(self, holder: NhsNumber | str) -> Sequence[ShelfRecord]:
        """`gateway.adapter.Shelf`."""
        self.shelf_asked += 1
        if self.waits:
            await asyncio.Event().wait()
        return self.shelf

    async def delivered_at(self) -> datetime | None:
        """`gateway.adapter.Shelf`."""
        return NOW

    async def of(self, patient: PatientIdentity) -> Sequence[Claim]:
        """`gateway.adapter.LocalIds`."""
        return [Claim(local_id=LOCAL, birth_date=BORN)]

    async def find(self, ods: str, interaction: str) -> Provider | None:
        """`gateway.adapter.Directory`."""
        return Provider("200000000002", "https://practice.invalid/structured")


@dataclass(frozen=True, slots=True)
class Ran:
    """How one asking ended."""

    records: tuple[SourceRecord, ...]
    facts: tuple[SourceFacts, ...]
    error: BaseException | None
    took_s: float


def settings_of(name: str, manifest: Manifest, readme: str, folder: Path) -> SourceSettings:
    """The first `[sources.NAME]` of a README -> the source it sets, its drop and database in `folder`. Raises `NoSettings`."""
    block = next((text for text in TOML.findall(readme) if "[sources." in text), None)
    if block is None:
        raise NoSettings("has no toml block with [sources.NAME]")
    try:
        ((source, table),) = tomllib.loads(block)["sources"].items()
        said = Source.model_validate(table)
    except (tomllib.TOMLDecodeError, ValidationError, ValueError, AttributeError, TypeError):
        raise NoSettings("its [sources.NAME] is not one that the gateway's settings accept") from None
    if said.adapter != name:
        raise NoSettings("its [sources.NAME] sets another adapter")
    options = dict(said.options)
    if "database_url" in options:
        options["database_url"] = f"sqlite:///{folder / 'source.db'}"
    if "drop" in options:
        options["drop"] = str(folder / "drop")
    if "code_maps" in options:
        options["code_maps"] = str(folder / "code_maps")
    budget_s = said.budget_s or manifest.budget_s
    return SourceSettings(
        source, name, said.custodian, said.agreement, said.title, budget_s, said.max_age_h, said.keep_days, options
    )


def run(adapter_of: "Making", world: World, *, purpose: Purpose, types: frozenset[str], budget_s: float = 2.0) -> Ran:
    """An adapter and a world -> how asking it once ended, within `budget_s`. Nothing reaches a network meanwhile."""

    async def asked() -> Ran:
        records: list[SourceRecord] = []
        facts: list[SourceFacts] = []
        error: BaseException | None = None
        adapter = adapter_of(world)
        began = time.monotonic()
        try:
            async with asyncio.timeout(budget_s):
                async for item in adapter.fetch(identity(), Want(types, purpose, REQUESTER, "kit")):
                    (records if isinstance(item, SourceRecord) else facts).append(item)  # type: ignore[arg-type]
        except (SourceError, TimeoutError) as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - whatever it is, it is what the rule reports
            error = raised
        took_s = time.monotonic() - began
        if isinstance(adapter, Closes):
            await adapter.close()
        return Ran(tuple(records), tuple(facts), error, took_s)

    with offline(world), adapter_of.database(world):
        return asyncio.run(asked())


class Making:
    """How an adapter is made: by its package, or by its connector."""

    def __init__(self, package: ModuleType, manifest: Manifest, settings: SourceSettings, connector: Any, folder: Path) -> None:
        self._package, self._manifest, self._settings = package, manifest, settings
        self._connector, self._folder = connector, folder
        self.has_database = "database_url" in settings.options

    def __call__(self, world: World) -> Adapter:
        """The adapter in this world. Raises `StartupRefused`."""
        maker = getattr(self._package, "build", None)
        if maker is None:
            if self._manifest.connector is None:
                raise StartupRefused("neither a connector nor a build function")
            maker = self._connector(self._manifest.connector).build
        tools = Tools(world, world, world, world, lambda: NOW, self._folder, lambda plain: plain)
        made: Adapter = maker(self._manifest, self._settings, tools)
        return made

    @contextlib.contextmanager
    def database(self, world: World) -> Iterator[None]:
        """The source's database, as this world has it."""
        if not self.has_database:
            yield
            return
        file = self._folder / "source.db"
        file.unlink(missing_ok=True)
        if world.database == "gone":
            yield
        elif world.database == "broken":
            file.write_bytes(b"not a database, whatever its name says" * 100)
            yield
        else:
            with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as held:
                held.execute("pragma user_version = 1")  # a file with nothing in it is not one yet
                if world.database == "busy":
                    held.execute("begin exclusive")
                elif world.database:
                    held.executescript(world.database)
                yield


@contextlib.contextmanager
def making(package: ModuleType, manifest: Manifest, readme: str, connector: Any, codes: Path | None = None) -> Iterator[Making]:
    """An adapter as its README sets it, in a folder of its own; `codes`: code maps that it may call its own.

    Raises `NoSettings`.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "drop").mkdir()
        (folder / "source.db").touch()
        if codes is not None and codes.is_dir():
            shutil.copytree(codes, folder / "code_maps")
        settings = settings_of(manifest.name, manifest, readme, folder)
        yield Making(package, manifest, settings, connector, folder)


def identity() -> PatientIdentity:
    """The synthetic person everything is asked about."""
    said = {"resourceType": "Patient", "birthDate": BORN.isoformat()}
    traced = Traced(NhsNumber(NUMBER), BORN, deceased=False, restricted=False, practice="ods:A99901", patient=said, version="1")
    return identity_of(traced, PersonId("a" * 26), None, (), NOW, stale=False)


def kept(record: SourceRecord, claim: Claim, manifest: Manifest) -> list[ShelfRecord]:
    """A case's record as a shelf would hold it, of whoever `claim` says, as each kind that the manifest's tables name."""
    data = record.data if isinstance(record.data, dict) else {}
    kinds = {"record", *manifest.options.get("events", {})}
    kinds |= {
        table["kind"] for table in manifest.options.values() if isinstance(table, dict) and isinstance(table.get("kind"), str)
    }
    return [ShelfRecord(kind, "key-1", "ods:X", NOW, data, claim, record.where, record.schema) for kind in sorted(kinds)]


def answers(package: ModuleType) -> Mapping[str, bytes]:
    """answers/ of an adapter: whole answers of its source, invented, each named for what it is: one-person, nobody."""
    folder = files(package).joinpath("answers")
    if not folder.is_dir():
        return {}
    return {file.name.partition(".")[0]: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@contextlib.contextmanager
def offline(world: World) -> Iterator[None]:
    """Whatever tries to reach a network is stopped, and noted by the name of the act."""
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    _watching.append(world)
    try:
        yield
    finally:
        _watching.remove(world)


_hooked: list[bool] = []  # an audit hook cannot be taken out again: it is put in once, and looks here
_watching: list[World] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system"):
        _watching[-1].network.append(event)
        raise ConnectionRefusedError("no network in a check")
