"""A consent_policy folder -> `Policy`, or every fault in it at once."""

import hashlib
from collections.abc import Callable, Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from gateway.policy.agreements import Agreement, LawRow, read_agreement, read_law, read_organisations, read_roles
from gateway.policy.cases import Case, case_files, read_case
from gateway.policy.engine import Policy
from gateway.policy.faults import Broken, Fault, PolicyFaults
from gateway.policy.rules import Rules, parse

SCHEMA = "schema.cedarschema"

_READ = (".cedar", ".cedarschema", ".yaml", ".json")
T = TypeVar("T")


def load(folder: Traversable | Path) -> Policy:
    """A folder -> its `Policy`. Raises `PolicyFaults` that list each file and what to do; the operator acts."""
    faults: list[Fault] = []
    if not folder.is_dir():
        raise PolicyFaults([Fault(folder.name, "is not a folder")])
    law = _law(folder, faults)
    rules = _rules(folder, law, faults)
    parties = _read("organisations.yaml", folder, read_organisations, faults) or []
    codes = frozenset(party.organisation.code for party in parties)
    groups = rules.enums["Role"] if rules else frozenset()
    roles = _read("roles.yaml", folder, lambda file: read_roles(file, groups), faults) if rules else None
    agreements = _agreements(folder, law, codes, faults)
    cases = _cases(folder, rules, faults)
    if faults or rules is None or roles is None:
        raise PolicyFaults(faults)
    return Policy(
        hash=fingerprint(folder),
        rules=rules,
        law=law,
        agreements=agreements,
        parties={name: party for party in parties for name in party.organisation.all_codes},
        roles=roles,
        cases=cases,
        _flows=_index(agreements),
    )


def fingerprint(folder: Traversable | Path) -> str:
    """SHA-256 over the path and bytes of every file that is read, as hex."""
    digest = hashlib.sha256()
    for path, file in sorted(_files(folder, ""), key=lambda item: item[0]):
        body = file.read_bytes()
        digest.update(f"{len(path.encode())}:{path}{len(body)}:".encode())
        digest.update(body)
    return digest.hexdigest()


def _files(folder: Traversable | Path, prefix: str) -> Iterator[tuple[str, Traversable | Path]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _files(item, f"{prefix}{item.name}/")
        elif item.name.endswith(_READ):
            yield prefix + item.name, item


def _named(folder: Traversable | Path, place: str, ending: str) -> list[Traversable | Path]:
    inside = folder.joinpath(place) if place else folder
    if not inside.is_dir():
        return []
    return sorted((item for item in inside.iterdir() if item.name.endswith(ending)), key=lambda item: item.name)


def _read(name: str, folder: Traversable | Path, reader: Callable[[Traversable], T], faults: list[Fault]) -> T | None:
    file = folder.joinpath(name)
    if not file.is_file():
        faults.append(Fault(name, "add this file"))
        return None
    return _one(name, file, reader, faults)


def _one(name: str, file: Traversable, reader: Callable[[Traversable], T], faults: list[Fault]) -> T | None:
    try:
        return reader(file)
    except Broken as broken:
        faults.append(Fault(name, str(broken)))
        return None


def _law(folder: Traversable | Path, faults: list[Fault]) -> dict[str, LawRow]:
    found: dict[str, LawRow] = {}
    for file in _named(folder, "law", ".yaml"):
        for row in _one(f"law/{file.name}", file, read_law, faults) or []:
            if row.id in found:
                faults.append(Fault(f"law/{file.name}", f"{row.id} is there twice: each row has its own id"))
            found[row.id] = row
    if not found:
        faults.append(Fault("law/", "add at least one file with rows of law"))
    return found


def _rules(folder: Traversable | Path, law: dict[str, LawRow], faults: list[Fault]) -> Rules | None:
    schema = folder.joinpath(SCHEMA)
    if not schema.is_file():
        faults.append(Fault(SCHEMA, "add this file"))
        return None
    try:
        texts = {file.name: file.read_text("utf-8") for file in _named(folder, "", ".cedar")}
        return parse(texts, schema.read_text("utf-8"), law)
    except UnicodeDecodeError:
        faults.append(Fault("*.cedar", "write rules and schema as UTF-8 text"))
    except PolicyFaults as broken:
        faults.extend(broken.faults)
    return None


def _agreements(
    folder: Traversable | Path, law: dict[str, LawRow], codes: frozenset[str], faults: list[Fault]
) -> dict[str, Agreement]:
    found: dict[str, Agreement] = {}
    for file in _named(folder, "agreements", ".yaml"):
        agreement = _one(f"agreements/{file.name}", file, lambda item: read_agreement(item, law, codes), faults)
        if agreement:
            found[agreement.id] = agreement
    return found


def _cases(folder: Traversable | Path, rules: Rules | None, faults: list[Fault]) -> tuple[Case, ...]:
    found: list[Case] = []
    for name, file, permit in case_files(folder):
        case = _one(name, file, lambda item, permit=permit: read_case(item, permit), faults)  # type: ignore[misc]
        if case is None:
            continue
        if rules and case.shows not in rules.by_id:
            faults.append(Fault(name, "shows names a rule that does not exist"))
        found.append(case)
    return tuple(found)


def _index(agreements: dict[str, Agreement]) -> dict[tuple[str, str, str], tuple[tuple[str, str], ...]]:
    found: dict[tuple[str, str, str], tuple[tuple[str, str], ...]] = {}
    for name, agreement in sorted(agreements.items()):
        for flow in agreement.flows:
            for key in ((to, purpose, category) for to in flow.to for purpose in flow.purposes for category in flow.categories):
                found[key] = (*found.get(key, ()), (name, f"{name}#{flow.id}"))
    return found
