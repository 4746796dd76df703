"""Can a source be reached with these settings? Asked without a person: nobody's record is fetched."""

import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final
from urllib.parse import urlsplit

from gateway import registry
from gateway.connectors import CONNECTORS
from gateway.connectors.drop import folder_of
from gateway.errors import StartupRefused
from gateway.policy import Policy
from gateway.settings import Source

PORTS: Final = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433, "oracle": 1521}
REACHED: Final = ("base_url", "token_url", "ssp", "database_url", "drop")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `said` names no address and no secret."""

    what: str
    fine: bool
    said: str


def examine(
    source: Source, packages: Mapping[str, ModuleType], policy: Policy, var: Path, *, has_directory: bool
) -> Iterator[Finding]:
    """One source's settings -> what stands in its way, step by step. `var`: the source's own folder, as the server has it.

    `has_directory`: whether the settings have `[sds]`.
    """
    package = packages.get(source.adapter)
    if package is None:
        yield Finding("adapter", False, f"not installed: there are {', '.join(sorted(packages))}")
        return
    try:
        manifest = registry.load_manifest(package)
    except StartupRefused as refused:
        yield Finding("manifest", False, str(refused))
        return
    yield Finding("manifest", True, f"{manifest.title}, owned by {manifest.owner}")
    if manifest.connector is not None:
        known = manifest.connector in CONNECTORS
        yield Finding("connector", known, manifest.connector if known else f"does not exist: there are {', '.join(CONNECTORS)}")
    if manifest.needs_directory:
        yield _told("directory", has_directory, "[sds] is set", "it looks practices up in SDS: give [sds] with base_url")
    agreement = policy.agreement(source.agreement)
    if agreement is None:
        yield Finding("agreement", False, "none of this name under consent_policy/agreements")
    elif agreement.gives != source.custodian:
        yield Finding("agreement", False, "another custodian gives it")
    else:
        yield Finding("agreement", True, agreement.id)
    tier = registry.claimed_tier(package)
    fit = tier in registry.TIERS[registry.TIERS.index("live") :]
    yield Finding("tier", bool(tier), f"{tier or 'none that there is'}{'' if fit else ': live mode will refuse it'}")
    reached = [name for name in REACHED if source.options.get(name)]
    if not reached and (manifest.connector or "").endswith("-drop"):
        reached.append("drop")
    for name in reached:
        yield _reached(name, source.options.get(name), source.budget_s or manifest.budget_s, var)
    if not reached:
        yield Finding("reach", True, "the settings name no address: the adapter finds it when it is asked")


def _reached(name: str, option: object, budget_s: float, var: Path) -> Finding:
    if name == "drop":
        return _folder(folder_of(option, var))
    address = str(option)
    parts = urlsplit(address)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        file = Path(address.partition("///")[2])
        return _told(name, os.access(file, os.R_OK), "the file can be read", "the file is not there, or may not be read")
    try:
        port = parts.port or PORTS.get(scheme, 0)
    except ValueError:
        port = 0
    if not parts.hostname or not port:
        return Finding(name, False, "is no address with a host")
    return _opened(name, parts.hostname, port, budget_s, secure=scheme == "https")


def _opened(name: str, host: str, port: int, budget_s: float, *, secure: bool) -> Finding:
    try:
        with socket.create_connection((host, port), timeout=budget_s) as plain:
            if secure:
                with ssl.create_default_context().wrap_socket(plain, server_hostname=host):
                    return Finding(name, True, "answers, with a certificate that holds")
            return Finding(name, True, "answers")
    except TimeoutError:
        return Finding(name, False, "does not answer within the source's budget")
    except ssl.SSLError:
        return Finding(name, False, "answers, with a certificate that does not hold")
    except OSError:
        return Finding(name, False, "does not answer: wrong address, closed port, or a network between")


def _folder(folder: Path) -> Finding:
    may = folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    return _told("drop", may, "the folder can be read and written", "the folder is not there, or may not be written")


def _told(name: str, fine: bool, good: str, bad: str) -> Finding:
    return Finding(name, fine, good if fine else bad)
