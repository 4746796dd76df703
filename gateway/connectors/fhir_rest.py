"""Connector `fhir-rest`: a source that speaks FHIR R4 itself, asked by the searches of its manifest.

    [search.NAME]
    type = "Observation"        POST {base_url}/Observation/_search
    types = ["Observation"]     R4 types it may bring: not run for others (default: `type` alone)
    form = { "patient.identifier" = "https://fhir.nhs.uk/Id/nhs-number|:nhs_number", _count = "200" }

The number travels in the form body and never in a URL; a paging link that holds it is not followed but refused. Every
resource must name its patient, by the NHS number itself or by a Patient of the same Bundle that carries it.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from time import monotonic
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urljoin, urlsplit

import msgspec
from msgspec import UNSET

from gateway import mapping
from gateway.adapter import (
    Claim,
    HttpAnswer,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceRefused,
    SourceSettings,
    SourceTimedOut,
    SourceUnavailable,
    Tools,
    Want,
)
from gateway.connectors.fhir_structs import OF_NOBODY, SCHEMA, UNKEYED, of_structs, only, read_structs
from gateway.errors import StartupRefused
from gateway.nhs_number import SYSTEM as NHS_NUMBER
from gateway.resource import Several, Typed, instant

CAP_BYTES: Final = 8_000_000  # of all pages of one search
PAGES: Final = 20
NOT_A_BUNDLE: Final = "not a FHIR Bundle in JSON"

_NUMBER = ":nhs_number"
_NUMBER_ENCODED = quote_plus(_NUMBER).encode()
_HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/fhir+json"}
_LATER = frozenset((408, 425, 429, 500, 502, 503, 504))
_ABOUT = ("subject", "patient", "beneficiary", "for")  # where R4 types name their patient
_AGAIN_AFTER = 63  # answers read piece by piece before one is tried whole again
_NEVER = frozenset(("Patient", "OperationOutcome"))  # evidence, and a warning: no records

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class _Entry(msgspec.Struct):
    resource: msgspec.Raw
    fullUrl: Any = None  # noqa: N815 - FHIR's name


class _Bundle(msgspec.Struct, tag_field="resourceType", tag="Bundle"):
    entry: list[_Entry] = []
    link: Any = None


_decode_envelope = msgspec.json.Decoder(_Bundle).decode


@dataclass(frozen=True, slots=True)
class Search:
    """One `[search.NAME]`."""

    type: str
    types: frozenset[str]
    body: bytes  # form-encoded, with the number's place still in it


class FhirRest:
    """One FHIR server."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._searches = read_searches(manifest)
        self._gives = frozenset(manifest.gives)
        self._reader = mapping.Reader(self._gives - _NEVER)
        self._piece_by_piece = 0  # so many answers more are not tried whole
        self._budget_s = source.budget_s
        self._tools = tools
        base_url = source.options.get("base_url")
        if not isinstance(base_url, str) or urlsplit(base_url).scheme not in ("http", "https"):
            raise StartupRefused(f"sources.{source.name}.options: add base_url, beginning with https://")
        self._base_url = base_url.rstrip("/") + "/"

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's resources, each with whose it says it is. Raises the four `SourceError`s."""
        ends, number, warned = monotonic() + self._budget_s, patient.number.value, False
        headers = {**_HEADERS, "X-Correlation-ID": want.correlation_id}
        for search in self._searches:
            if "*" not in want.types and not search.types & want.types:
                continue
            left = CAP_BYTES
            form = search.body.replace(_NUMBER_ENCODED, number.encode())
            answer = await self._ask("POST", f"{self._base_url}{search.type}/_search", headers, form, ends, left)
            for _ in range(PAGES):
                left -= len(answer.body)
                records, outcome, links = self._read(answer.body)
                warned = warned or outcome
                for record in records:
                    yield record
                following = _next(links)
                if following is None:
                    break
                answer = await self._ask("GET", self._followed(following, number), headers, None, ends, left)
            else:
                raise SourceContractBroken("more pages than one person's record can fill")
        yield SourceFacts(warnings=(("", "source-outcome"),) if warned else ())

    def _read(self, body: bytes) -> tuple[Sequence[SourceRecord], bool, Any]:
        """An answer -> its records, whether it warns, its links. Raises `SourceContractBroken`."""
        whole = None
        if self._piece_by_piece:
            self._piece_by_piece -= 1
        else:
            whole = read_structs(body, self._reader)
            if whole is None:  # a source that sends what is read plain does so in every answer
                self._piece_by_piece = _AGAIN_AFTER
        if whole is not None:
            return of_structs(whole.entry, self._tools.now()), False, whole.link
        bundle = read_bundle(body, self._reader)
        return (*several_of(bundle, self._gives, self._tools.now()), bundle.get("link"))

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, ends: float, left: int
    ) -> HttpAnswer:
        remaining = ends - monotonic()
        if remaining <= 0:
            raise SourceTimedOut("no whole answer within the budget")
        answer = await self._tools.http.request(
            method, url, headers=headers, body=body, deadline_s=remaining, cap_bytes=max(left, 0)
        )
        if answer.status == 200:
            return answer
        if answer.status in (401, 403):
            raise SourceRefused("the server does not accept us")
        if answer.status in _LATER:
            raise SourceUnavailable("the server is not able to answer now")
        raise SourceContractBroken("a status that a search does not have")

    def _followed(self, link: str, number: str) -> str:
        url = urljoin(self._base_url, link)
        here, there = urlsplit(self._base_url), urlsplit(url)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise SourceContractBroken("a paging link to another server")
        if number in url:
            raise SourceContractBroken("a paging link that holds the NHS number")
        return url


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> FhirRest:
    """Manifest and settings -> the source. Raises `StartupRefused`."""
    return FhirRest(manifest, source, tools)


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """A Bundle in JSON -> its records. Raises `SourceContractBroken` when it is not usable as a whole."""
    return records_of(parse(body), frozenset(manifest.gives), datetime.now(UTC))[0]


def read_searches(manifest: Manifest) -> tuple[Search, ...]:
    """`[search.NAME]` of the manifest -> searches. Raises `StartupRefused` for one that is not keyed by the person."""
    where = f"adapters/{manifest.name}/manifest.toml"
    if manifest.identity != "nhs_number":
        raise StartupRefused(f"{where}: the fhir-rest connector is keyed by nhs_number alone")
    searches = []
    for name, table in manifest.options.get("search", {}).items():
        type_, form = table.get("type"), table.get("form")
        if not isinstance(type_, str) or not isinstance(form, dict):
            raise StartupRefused(f"{where}: [search.{name}] needs type and form")
        rows = tuple((key, str(one)) for key, value in form.items() for one in (value if isinstance(value, list) else [value]))
        if not any(_NUMBER in value for _, value in rows):
            raise StartupRefused(f"{where}: [search.{name}] must hold {_NUMBER}, so that it can answer for one person only")
        searches.append(Search(type_, frozenset(table.get("types", [type_])), urlencode(rows).encode()))
    if not searches:
        raise StartupRefused(f"{where}: the fhir-rest connector needs at least one [search.NAME]")
    return tuple(searches)


def parse(body: bytes) -> Mapping[str, Any]:
    """Bytes -> a Bundle, decimals exact. Raises `SourceContractBroken`."""
    try:
        bundle = _decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError):
        raise SourceContractBroken(NOT_A_BUNDLE) from None
    if bundle.__class__ is not dict or bundle.get("resourceType") != "Bundle" or not isinstance(bundle.get("entry", []), list):
        raise SourceContractBroken(NOT_A_BUNDLE)
    found: Mapping[str, Any] = bundle
    return found


def read_bundle(body: bytes, reader: mapping.Reader) -> Mapping[str, Any]:
    """A Bundle with every resource typed that can be. Raises `SourceContractBroken`."""
    try:
        envelope = _decode_envelope(body)
        entries = []
        for entry in envelope.entry:
            resource: Any = reader.read(entry.resource)
            entries.append({"resource": _decode(entry.resource) if resource is None else resource, "fullUrl": entry.fullUrl})
    except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError):
        return parse(body)
    return {"resourceType": "Bundle", "entry": entries, "link": envelope.link}


def records_of(bundle: Mapping[str, Any], gives: frozenset[str], now: datetime) -> tuple[Sequence[SourceRecord], bool]:
    """A Bundle -> its records of the types a manifest gives, and whether the source added an OperationOutcome.

    Raises `SourceContractBroken` for an entry that is no resource, or one that does not say whose it is.
    """
    together, outcome = several_of(bundle, gives, now)
    return [one for record in together for one in each(record)], outcome


def each(record: SourceRecord) -> Iterable[SourceRecord]:
    """A record of several resources -> a record for each."""
    several: Several = record.data
    for number, (resource, updated) in enumerate(zip(several.resources, several.updated, strict=True)):
        yield SourceRecord(SCHEMA, resource, several.where(number), instant(updated, record.as_of), record.about)


def several_of(bundle: Mapping[str, Any], gives: frozenset[str], now: datetime) -> tuple[Sequence[SourceRecord], bool]:
    """The same, with the resources about one person in one record."""
    resources = [_resource(entry) for entry in bundle.get("entry", ())]
    patients = _patients(bundle)
    about: dict[Claim, Several] = {}
    of_nobody = Several([], [], [])
    outcome = False
    said: dict[str, Claim] = {}
    claim: Claim | None = None
    together = of_nobody
    for place, resource in enumerate(resources, start=1):
        type_ = resource.kind if resource.__class__ is Typed else resource["resourceType"]
        if type_ in _NEVER:
            outcome = outcome or type_ == "OperationOutcome"
            continue
        if type_ not in gives:
            continue
        if type_ in OF_NOBODY:
            here = of_nobody
        else:
            whose = _claim(resource, patients, said)
            if whose is not claim:  # nearly always the one before
                claim, together = whose, about.setdefault(whose, Several([], [], []))
            here = together
        here.resources.append(resource)
        here.places.append(place)
        here.updated.append(_updated(resource))
    records = [SourceRecord(SCHEMA, several, "entries", now, one) for one, several in about.items()]
    if of_nobody.resources:
        records.append(SourceRecord(SCHEMA, of_nobody, "entries", now, only({*patients.values(), *about})))
    return records, outcome


def _resource(entry: Any) -> Mapping[str, Any]:
    resource = entry.get("resource") if entry.__class__ is dict else None
    if resource.__class__ is Typed:
        typed: Typed = resource
        return typed
    if resource.__class__ is not dict or resource.get("resourceType").__class__ is not str:
        raise SourceContractBroken("an entry without a resource")
    found: dict[str, Any] = resource
    return found


def _patients(bundle: Mapping[str, Any]) -> dict[str, Claim]:
    """Every Patient of the Bundle that carries an NHS number: what it may be referred to by -> its claim."""
    claims: dict[str, Claim] = {}
    for entry in bundle.get("entry", ()):
        resource = entry["resource"]
        if resource.__class__ is Typed or resource["resourceType"] != "Patient":  # a reader of Patients is never made
            continue
        number = _number_in(resource.get("identifier"))
        if number is None:
            continue
        claim = Claim(nhs_number=number.replace(" ", ""), birth_date=_day(resource.get("birthDate")))
        claims[f"Patient/{resource.get('id')}"] = claim
        if entry.get("fullUrl").__class__ is str:
            claims[entry["fullUrl"]] = claim
    return claims


def _claim(resource: Mapping[str, Any], patients: Mapping[str, Claim], said: dict[str, Claim]) -> Claim:
    """Whose a resource says it is. `said`: the claims by number alone of this Bundle, made once each."""
    if resource.__class__ is Typed:
        stated, reference = mapping.person_of(resource)
    else:
        stated, reference = _plain_person(resource)
    known: Claim | None = None
    if patients and reference.__class__ is str:
        known = patients.get(reference) or patients.get("/".join(reference.partition("/_history/")[0].split("/")[-2:]))
    if known is None:
        if stated is None:
            raise SourceContractBroken(UNKEYED)
        claim = said.get(stated)
        if claim is None:
            claim = said[stated] = Claim(nhs_number=stated.replace(" ", ""))
        return claim
    if stated is not None and stated.replace(" ", "") != known.nhs_number:
        raise SourceContractBroken("a resource names two patients")
    return known


def _plain_person(resource: Mapping[str, Any]) -> tuple[str | None, Any]:
    """The NHS number and the reference by which a resource names its patient."""
    for name in _ABOUT:
        about = resource.get(name)
        if about.__class__ is dict:
            return _number_in(about.get("identifier")), about.get("reference")
    raise SourceContractBroken(UNKEYED)


def _number_in(identifiers: Any) -> str | None:
    for identifier in identifiers if identifiers.__class__ is list else (identifiers,):
        if identifier.__class__ is dict and identifier.get("system") == NHS_NUMBER and identifier.get("value").__class__ is str:
            number: str = identifier["value"]
            return number
    return None


def _day(text: Any) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        raise SourceContractBroken("a birth date that cannot be read") from None


def _updated(resource: Mapping[str, Any]) -> str | None:
    """`meta.lastUpdated`, where it is a text."""
    if resource.__class__ is Typed:
        meta: Any = resource.form.meta
        text = UNSET if meta is UNSET else meta.lastUpdated
    else:
        meta = resource.get("meta")
        text = meta.get("lastUpdated") if meta.__class__ is dict else None
    return text if text.__class__ is str else None


def _next(links: Any) -> str | None:
    for link in links if links.__class__ is list else ():
        if link.__class__ is dict and link.get("relation") == "next" and link.get("url").__class__ is str:
            url: str = link["url"]
            return url
    return None
