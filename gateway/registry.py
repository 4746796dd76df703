"""Which adapters are installed, and which sources are active: entry points and settings -> `Registry`.

Installed is not active: an adapter does nothing until the settings point a source at it.
"""

import importlib
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from gateway.adapter import (
    Adapter,
    Build,
    BuildDelivery,
    Deliver,
    DeliverSettings,
    DeliverTable,
    Intake,
    Manifest,
    SourceRecord,
    SourceSettings,
    Tools,
)
from gateway.errors import StartupRefused
from gateway.model import CareClass, Category, Organisation, OrganisationKind, Purpose

GROUP = "gateway.adapters"
TIERS = ("sandbox", "pilot", "live", "exemplary")
REGISTERED_PRACTICE = "registered-practice"  # custodian of a source that asks whichever practice the trace names

_KIND = re.compile(r"[a-z][a-z-]{0,15}", re.ASCII)
_ROUTE = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)
_DELIVER = frozenset(
    (
        *("connector", "schema", "types", "category", "class", "purposes", "role"),
        *("acknowledge_within_h", "keep_days", "invites_contact"),
    )
)
_REQUIRED = ("name", "title", "owner", "identity", "kind", "reads", "gives", "purposes", "budget_s")


@dataclass(frozen=True, slots=True)
class ActiveSource:
    """One source: what it is, how it is set, and the adapter that speaks to it."""

    manifest: Manifest
    settings: SourceSettings
    adapter: Adapter

    @property
    def lists_all(self) -> bool:
        """Each delivery is the whole list, taken row by row: what cannot be read of the newest may be of anybody."""
        return self.manifest.options.get("lists_all") is True

    @property
    def intake(self) -> Intake | None:
        """The adapter's intake when it is fed by deliveries."""
        adapter: object = self.adapter
        return adapter if isinstance(adapter, Intake) else None


@dataclass(frozen=True, slots=True)
class Route:
    """One way to deliver to one custodian's system: what it takes, under which agreements, and the writing side that does it."""

    name: str  # "<source>/<name of the [deliver.NAME]>"
    manifest: Manifest
    source: SourceSettings
    table: DeliverTable
    settings: DeliverSettings
    deliverer: Deliver
    recall: Deliver | None = None  # the writing side of recalls

    def serves(self, recipient: Organisation) -> bool:
        """Whether this organisation's system is at the end of it."""
        if self.source.custodian == REGISTERED_PRACTICE:
            return recipient.kind is OrganisationKind.GP_PRACTICE
        return recipient.code == self.source.custodian


@dataclass(frozen=True, slots=True)
class Registry:
    """All active sources by their settings name, and the ways to deliver by theirs."""

    sources: Mapping[str, ActiveSource]
    routes: Mapping[str, Route] = field(default_factory=dict)

    def route_to(self, recipient: Organisation, resource_type: str) -> Route | None:
        """The one way to give this organisation a resource of this type."""
        found = (route for route in self.routes.values() if route.serves(recipient) and resource_type in route.table.types)
        return next(found, None)

    def feeds(self) -> Mapping[str, float]:
        """Sources whose locks feed the protected index -> hours after which their silence means protected."""
        return {
            name: source.settings.max_age_h or 48.0 for name, source in self.sources.items() if source.manifest.feeds_protection
        }


def installed(folder: Path | None = None) -> Mapping[str, ModuleType]:
    """Adapter name -> its package: every entry point, and every package of a folder under development."""
    found = {point.name: point.load() for point in entry_points(group=GROUP)}
    if folder is not None:
        sys.path.insert(0, str(folder))
        names = sorted(path.parent.name for path in folder.glob("*/manifest.toml"))
        found.update({name: importlib.import_module(name) for name in names if name not in found})
    return found


def names() -> Sequence[str]:
    """The name of every installed adapter; none of them is loaded."""
    return sorted(point.name for point in entry_points(group=GROUP))


def load_manifest(package: ModuleType) -> Manifest:
    """adapters/<name>/manifest.toml -> `Manifest`. Raises `StartupRefused` naming the file and what to mend."""
    folder = package.__name__.rsplit(".", 1)[-1]
    where = f"adapters/{folder}/manifest.toml"
    try:
        table = tomllib.loads(files(package).joinpath("manifest.toml").read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise StartupRefused(f"{where}: cannot be read as TOML: write one as docs/writing-an-adapter.md shows") from error
    missing = [name for name in _REQUIRED if name not in table]
    if missing:
        raise StartupRefused(f"{where}: add {', '.join(missing)}")
    if table["name"] != folder:
        raise StartupRefused(f"{where}: name must be the folder's name")
    if table["identity"] not in ("nhs_number", "local_id"):
        raise StartupRefused(f"{where}: identity must be nhs_number or local_id: a source that gives no key cannot be enabled")
    if not _KIND.fullmatch(table["kind"]):
        raise StartupRefused(f"{where}: kind is at most 16 small letters and hyphens: it is part of resource ids")
    unknown = sorted(set(table["gives"].values()) - {category.value for category in Category})
    if unknown:
        raise StartupRefused(f"{where}: gives names categories that do not exist: {', '.join(unknown)}")
    return _manifest(table)


def claimed_tier(package: ModuleType) -> str:
    """The tier that an adapter's quality.yaml claims; "" where it claims none that there is. `gateway check` proves it."""
    try:
        read = yaml.safe_load(files(package).joinpath("quality.yaml").read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    claimed = read.get("tier") if isinstance(read, dict) else None
    return claimed if claimed in TIERS else ""


def build(
    wanted: Sequence[SourceSettings],
    packages: Mapping[str, ModuleType],
    *,
    connector: Callable[[str], Build],
    tools: Callable[[SourceSettings], Tools],
    delivery: Callable[[str], BuildDelivery] | None = None,
) -> Registry:
    """Settings -> every active source, built once. Raises `StartupRefused` for an adapter that is not installed."""
    sources: dict[str, ActiveSource] = {}
    routes: dict[str, Route] = {}
    for settings in wanted:
        package = packages.get(settings.adapter)
        if package is None:
            known = ", ".join(sorted(packages)) or "none"
            raise StartupRefused(f"sources.{settings.name}.adapter is not installed: installed are {known}")
        manifest = load_manifest(package)
        maker: Build | None = getattr(package, "build", None)
        if maker is None:
            if manifest.connector is None:
                raise StartupRefused(f"adapters/{manifest.name}: give the manifest a connector or the package a build function")
            maker = connector(manifest.connector)
        lent = tools(settings)
        sources[settings.name] = ActiveSource(manifest, settings, maker(manifest, settings, lent))
        for name, held in settings.deliver.items():
            if delivery is None:
                raise StartupRefused(f"sources.{settings.name}.deliver.{name}: nothing is delivered from here")
            routes |= _route(name, held, manifest, settings, lent, delivery, routes.values())
    return Registry(sources, routes)


def read_file(
    package: ModuleType, manifest: Manifest, name: str, body: bytes, *, connector: Callable[[str], Any]
) -> Iterable[SourceRecord]:
    """A file in the source's own format -> its records, by the adapter's reader or its connector's.

    Raises `SourceContractBroken` when the file as a whole is unusable.
    """
    reader = getattr(package, "read_file", None)
    if reader is None and manifest.connector is not None:
        reader = getattr(connector(manifest.connector), "read_file", None)
    if reader is None:
        raise StartupRefused(f"adapters/{manifest.name} reads no files: give the package a read_file function")
    records: Iterable[SourceRecord] = reader(manifest, name, body)
    return records


def _route(
    name: str,
    held: DeliverSettings,
    manifest: Manifest,
    settings: SourceSettings,
    tools: Tools,
    delivery: Callable[[str], BuildDelivery],
    others: Iterable[Route],
) -> Mapping[str, Route]:
    where = f"sources.{settings.name}.deliver.{name}"
    table = manifest.deliver.get(name)
    if table is None:
        raise StartupRefused(f"{where}: adapters/{manifest.name}/manifest.toml has no [deliver.{name}]")
    if not held.agreements:
        raise StartupRefused(f"{where}.agreements: name the agreements under which something may be delivered here")
    if any(other.source.custodian == settings.custodian and other.table.types & table.types for other in others):
        raise StartupRefused(f"{where}: another way delivers the same resource type to this custodian: one only")
    maker = delivery(table.connector)
    recall = None if table.recall is None else maker(table.recall, settings, tools)
    made = Route(f"{settings.name}/{name}", manifest, settings, table, held, maker(table, settings, tools), recall)
    return {made.name: made}


def _deliver(where: str, name: str, table: Any) -> DeliverTable:
    """One `[deliver.NAME]` -> `DeliverTable`. Raises `StartupRefused` naming what to mend."""
    where = f"{where}: [deliver.{name}]"
    if not _ROUTE.fullmatch(name) or not isinstance(table, Mapping):
        raise StartupRefused(f"{where}: a name of small letters, digits and hyphens, and a table")
    missing = sorted(_DELIVER - set(table))
    if missing:
        raise StartupRefused(f"{where}: add {', '.join(missing)}")
    for key, known in (("category", set(Category)), ("class", set(CareClass))):
        if table[key] not in known:
            raise StartupRefused(f"{where}: {key} must be one of {', '.join(sorted(known))}")
    if not table["types"] or set(table["purposes"]) - set(Purpose) or not table["purposes"]:
        raise StartupRefused(f"{where}: name at least one of types, and purposes that exist")
    if not 0 < float(table["acknowledge_within_h"]) <= 24 * int(table["keep_days"]):
        raise StartupRefused(f"{where}: acknowledge_within_h is more than 0 and not longer than keep_days")
    made = DeliverTable(
        name=name,
        connector=table["connector"],
        schema=table["schema"],
        types=frozenset(table["types"]),
        category=table["category"],
        care_class=table["class"],
        purposes=frozenset(table["purposes"]),
        role=table["role"],
        acknowledge_within_h=float(table["acknowledge_within_h"]),
        keep_days=int(table["keep_days"]),
        invites_contact=table["invites_contact"] is not False,
        options={key: value for key, value in table.items() if key not in _DELIVER and key != "recall"},
    )
    return made if "recall" not in table else replace(made, recall=_recall(f"{where[:-1]}.recall]", made, table["recall"]))


def _recall(where: str, made: DeliverTable, table: Any) -> DeliverTable:
    """`[deliver.NAME.recall]`: a schema of its own and the same connector's options. Raises `StartupRefused`."""
    if not isinstance(table, Mapping) or not isinstance(table.get("schema"), str) or _DELIVER & set(table) != {"schema"}:
        raise StartupRefused(f"{where}: a schema of its own and the connector's options, nothing else")
    return replace(made, schema=table["schema"], options={key: value for key, value in table.items() if key != "schema"})


def _manifest(table: Mapping[str, Any]) -> Manifest:
    own = {item.name for item in fields(Manifest)} - {"options"}
    where = f"adapters/{table['name']}/manifest.toml"
    return Manifest(
        name=table["name"],
        title=table["title"],
        connector=table.get("connector"),
        owner=table["owner"],
        identity=table["identity"],
        kind=table["kind"],
        reads=tuple(table["reads"]),
        gives=dict(table["gives"]),
        purposes=frozenset(table["purposes"]),
        never_for=frozenset(table.get("never_for", ())),
        feeds_protection=bool(table.get("feeds_protection", False)),
        budget_s=float(table["budget_s"]),
        options={name: value for name, value in table.items() if name not in own},
        deliver={name: _deliver(where, name, part) for name, part in table.get("deliver", {}).items()},
        needs_directory=table.get("needs_directory", False) is not False,
    )
