"""What `http-json` and `graphql` share: who is asked and how an answer's status is sorted, and how records are found in it.

records = "data.items"      where the records are: a list, one object, or nothing; "$" is the whole answer
identity = "child.nhsNo"    whose record it is, in the source's own words; "$.child.nhsNo" where the answer says it once
birth_date = "child.born"
as_of = "updated"           ISO 8601 with its offset; where it is absent the record is of now
locked = "restricted"       the source's own lock on the record: anything but false and "N", and where it is absent too
locks = "flags.locks"       a word or a list of words: locks on the person; `true` is one of no known kind; absent: none
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from time import monotonic
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from gateway.adapter import (
    Claim,
    HttpAnswer,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceRecord,
    SourceRefused,
    SourceSettings,
    SourceTimedOut,
    SourceUnavailable,
    Tools,
    Tree,
)
from gateway.connectors.credential import credential_of
from gateway.connectors.drop import utc
from gateway.connectors.from_shelf import OTHER_LOCK, lock_of
from gateway.connectors.json_tree import JsonPath, at, parse, read_path
from gateway.errors import StartupRefused

CAP_BYTES: Final = 8_000_000  # of all pages of one question
PAGES: Final = 50
RECORDS: Final = 10_000
NO_RECORDS_THERE: Final = "records are not where the manifest says"
UNKEYED: Final = "a record does not say whose it is"
BAD_BIRTH_DATE: Final = "a birth date that cannot be read"
MORE_PAGES: Final = "more pages than one person's record can fill"
BAD_LINK: Final = "a link that is not followed"

_LATER = frozenset((408, 425, 429, 500, 502, 503, 504))
_OPEN = (False, "N", "n", "false")
_NO_LOCK = (None, "", *_OPEN)


@dataclass(frozen=True, slots=True)
class Found:
    """Where a record and its facts are in an answer."""

    schema: str
    records: JsonPath
    identity: JsonPath
    birth_date: JsonPath | None = None
    as_of: JsonPath | None = None
    locked: JsonPath | None = None
    locks: JsonPath | None = None


PATHS: Final = frozenset(item.name for item in fields(Found)) - {"schema"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question's budget."""

    ends: float
    headers: Mapping[str, str]
    nothing: frozenset[int] = frozenset()  # statuses by which this source says that it holds nothing


class Service:
    """One JSON service: where it is, what it is shown as a credential, and how its answers are sorted."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        where = f"sources.{source.name}.options"
        base_url = source.options.get("base_url")
        if not isinstance(base_url, str) or urlsplit(base_url).scheme not in ("http", "https"):
            raise StartupRefused(f"{where}: add base_url, beginning with https://")
        self.base_url = base_url.rstrip("/") + "/"
        self.budget_s = source.budget_s
        self._tools = tools
        self._credential = credential_of(manifest, source, tools)

    async def keys(self, manifest: Manifest, patient: PatientIdentity) -> Sequence[str]:
        """What this person is asked for by: every number, or every local id the crosswalk verified."""
        if manifest.identity == "nhs_number":
            return [patient.number.value, *(number.value for number in patient.superseded)]
        return [claim.local_id for claim in await self._tools.local_ids.of(patient) if claim.local_id is not None]

    async def ask(self, method: str, url: str, asked: Asked, body: bytes | None, left: int) -> tuple[Tree, int]:
        """One request -> (its answer, its size in bytes); (None, 0) for a status that means nothing is held.

        Raises the four `SourceError`s. No text of ours holds the address or anything of the answer.
        """
        credential = await self._credential.headers(asked.ends)
        answer = await self._request(method, url, asked, credential, body, left)
        if answer.status == 401 and self._credential.refused(credential):  # a token that ended before its time: once more
            credential = await self._credential.headers(asked.ends)
            answer = await self._request(method, url, asked, credential, body, left)
        if answer.status == 200:
            return parse(answer.body), len(answer.body)
        if answer.status in asked.nothing:
            return None, 0
        if answer.status in (401, 403):
            raise SourceRefused("the service does not accept us")
        if answer.status in _LATER:
            raise SourceUnavailable("the service is not able to answer now")
        raise SourceContractBroken("a status that this question does not have")

    async def _request(
        self, method: str, url: str, asked: Asked, credential: Mapping[str, str], body: bytes | None, left: int
    ) -> HttpAnswer:
        remaining = asked.ends - monotonic()
        if remaining <= 0:
            raise SourceTimedOut("no whole answer within the budget")
        headers = {"Accept": "application/json", **asked.headers, **credential}
        return await self._tools.http.request(
            method, url, headers=headers, body=body, deadline_s=remaining, cap_bytes=max(left, 0)
        )

    def followed(self, link: Tree, key: str | None) -> str:
        """A paging link -> its address. Raises `SourceContractBroken` for another server, or one that holds the person's key."""
        if not isinstance(link, str):
            raise SourceContractBroken(BAD_LINK)
        try:
            url = urljoin(self.base_url, link)
            here, there = urlsplit(self.base_url), urlsplit(url)
        except ValueError:
            raise SourceContractBroken(BAD_LINK) from None
        if (here.scheme, here.netloc) != (there.scheme, there.netloc) or (key is not None and key in url):
            raise SourceContractBroken(BAD_LINK)
        return url


def read_found(where: str, table: Mapping[str, Any], manifest: Manifest) -> Found:
    """A manifest's table -> `Found`. Raises `StartupRefused` naming what is missing or is no path."""
    missing = sorted({"schema", "records", "identity"} - set(table))
    if missing:
        raise StartupRefused(f"{where} needs {', '.join(missing)}")
    if table["schema"] not in manifest.reads:
        raise StartupRefused(f"{where} gives a schema that `reads` does not list")
    paths = {}
    for name in PATHS & set(table):
        try:
            paths[name] = read_path(table[name])
        except (ValueError, AttributeError):
            raise StartupRefused(f"{where} {name} is not a path such as a.b or $.a.b") from None
    return Found(schema=table["schema"], **paths)


def records_of(
    found: Found, answer: Tree, key: str, now: datetime, *, start: int = 1, among: list[dict[str, Any]] | None = None
) -> list[SourceRecord]:
    """An answer -> its records, each with whose it says it is. Raises `SourceContractBroken`; `key` names the kind of claim.

    `among`: those of its records that are read, where not all are.
    """
    made = []
    for number, one in enumerate(items(found, answer) if among is None else among, start=start):
        about = claim(found, one, answer, key)
        as_of = at(found.as_of, one, answer) if found.as_of is not None else None
        made.append(
            SourceRecord(
                found.schema,
                one,
                f"item {number}",
                now if as_of is None else _moment(as_of),
                about,
                found.locked is not None and at(found.locked, one, answer) not in _OPEN,
            )
        )
    return made


def items(found: Found, answer: Tree) -> list[dict[str, Any]]:
    """The records' own trees. Raises `SourceContractBroken` when what is there is no record."""
    there = at(found.records, answer, answer)
    listed = there if isinstance(there, list) else [] if there is None else [there]
    if len(listed) > RECORDS or any(not isinstance(one, dict) for one in listed):
        raise SourceContractBroken(NO_RECORDS_THERE)
    return listed


def claim(found: Found, one: Tree, answer: Tree, key: str) -> Claim:
    """Whose record this is, in the source's words. Raises `SourceContractBroken` when it does not say so."""
    said = at(found.identity, one, answer)
    if isinstance(said, int) and not isinstance(said, bool):
        said = str(said)
    if not isinstance(said, str) or not said.strip():
        raise SourceContractBroken(UNKEYED)
    born = _day(at(found.birth_date, one, answer) if found.birth_date is not None else None)
    if key == "nhs_number":
        return Claim(nhs_number=said.replace(" ", "").replace("-", ""), birth_date=born)
    return Claim(local_id=said.strip(), birth_date=born)


def locks_of(found: Found, answer: Tree) -> frozenset[str]:
    """Every lock on the person that the answer or one of its records asserts."""
    if found.locks is None:
        return frozenset()
    said: list[Any] = []
    for one in [{}] if found.locks.whole else items(found, answer):
        there = at(found.locks, one, answer)
        said += there if isinstance(there, list) else [there]
    return frozenset(lock_of(word.lower()) if isinstance(word, str) else OTHER_LOCK for word in said if word not in _NO_LOCK)


def _day(said: Tree) -> date | None:
    if said is None or said == "":
        return None
    try:
        return date.fromisoformat(said[:10])
    except (TypeError, ValueError):
        raise SourceContractBroken(BAD_BIRTH_DATE) from None


def _moment(said: Tree) -> datetime:
    if not isinstance(said, str):
        raise SourceContractBroken("a time that is not ISO 8601")
    return utc(said)


def filled(template: Tree, binds: Mapping[str, Tree]) -> Tree:
    """A template with `:name` put in: a text that is one bind becomes its value; binds inside a text become text."""
    if isinstance(template, Mapping):
        return {name: filled(value, binds) for name, value in template.items()}
    if isinstance(template, list):
        return [filled(value, binds) for value in template]
    if not isinstance(template, str):
        return template
    if template.startswith(":") and template[1:] in binds:
        return binds[template[1:]]
    for name, value in binds.items():
        template = template.replace(f":{name}", str(value))
    return template


def names_key(template: Tree, key: str) -> bool:
    """Does a template put the person's key anywhere?"""
    if isinstance(template, Mapping):
        return any(names_key(value, key) for value in template.values())
    if isinstance(template, list):
        return any(names_key(value, key) for value in template)
    return isinstance(template, str) and f":{key}" in template


def number_of(said: Tree) -> int | None:
    """A whole number as JSON says it; None for anything else."""
    if isinstance(said, Decimal) and said == said.to_integral_value():
        return int(said)
    return said if isinstance(said, int) and not isinstance(said, bool) else None
