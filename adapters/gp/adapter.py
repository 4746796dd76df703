"""GP Connect Access Record: Structured: ask the registered practice, split its Bundle into records.

One look-up, one request, one retry with fresh token and trace id when the provider fails with 500. Mapping, labels, the
person check and the deadline are the gateway's.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from adapters.gp import answer, request
from adapters.gp.kinds import R4_TYPES, SCHEMAS, UNREADABLE
from adapters.gp.record import Split, alone, cut_out, names_a_patient, pieces, split
from gateway.adapter import (
    Adapter,
    Manifest,
    PatientIdentity,
    Provider,
    SourceFacts,
    SourceRecord,
    SourceRefused,
    SourceSettings,
    SourceTimedOut,
    StartupRefused,
    Tools,
    Want,
)

CAP_BYTES = 20_000_000
LARGE_BYTES = 256 * 1024
ISSUER = "https://shared-care-gateway.invalid"  # names the software; the token is unsigned and proves nothing
OPTIONS = frozenset({"ssp", "consumer_asid", "consumer_asids", "issuer", "code_maps"})  # code_maps: of every source


@dataclass(frozen=True, slots=True)
class _Read:
    """What of an answer is wanted: records of these schemas, and a word about each of these areas."""

    schemas: frozenset[str]
    areas: frozenset[str]


class GpConnect:
    """GP Connect as one configured source."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest = manifest
        self._budget_s = source.budget_s
        self._ssp = str(source.options.get("ssp", ""))
        self._asid = str(source.options.get("consumer_asid", ""))
        self._asids: Mapping[str, str] = source.options.get("consumer_asids", {})
        self._issuer = str(source.options.get("issuer", ISSUER))
        unknown = sorted(source.options.keys() - OPTIONS)
        if unknown:
            raise StartupRefused(
                f"sources.{source.name}.options: {', '.join(unknown)} is not known here: there are {', '.join(sorted(OPTIONS))}"
            )
        if not self._asid or not isinstance(self._asids, Mapping):
            raise StartupRefused(f"sources.{source.name}.options: give consumer_asid (and consumer_asids as a table, if any)")
        self._name = source.name
        self._tools = tools

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's structured record, filtered to what is wanted.

        No record, and the reason for the audit, for a restricted patient, one without a practice, a practice that has not
        activated the service, and a record the practice does not share: GP Connect makes these look alike on purpose.
        """
        if want.purpose not in self._manifest.purposes:
            raise SourceRefused("GP Connect answers for direct care only")
        request.check_requester(want.requester)
        if patient.restricted:
            yield SourceFacts(reason="restricted-not-asked")
            return
        if patient.practice is None or not patient.practice.startswith(request.ODS_PREFIX):
            yield SourceFacts(reason="no-registered-practice")
            return
        body = request.body(patient.number, want.types)
        if body is None:
            yield SourceFacts(reason="no-such-area")
            return
        provider = await self._tools.directory.find(patient.practice.removeprefix(request.ODS_PREFIX), request.INTERACTION)
        if provider is None:
            yield SourceFacts(reason="practice-not-activated")
            return
        asked_for = frozenset(schema for kind, schema in SCHEMAS.items() if R4_TYPES.get(kind, kind) in want.types)
        read = _Read(asked_for | {UNREADABLE}, frozenset(request.areas(want.types)))
        record = await self._ask(provider, want.requester, body, read)
        if record is None:
            yield SourceFacts(reason="record-not-shared")
            return
        yield self._said_of(want, record)
        for item in record.records:
            yield item

    def _said_of(self, want: Want, record: Split) -> SourceFacts:
        """Warnings of what was asked for only: that something else is withheld is not this caller's to know."""
        categories = {category for kind, category in self._manifest.gives.items() if kind in want.types}
        warnings = tuple(warning for warning in record.facts.warnings if warning[0] in categories)
        return SourceFacts(warnings=warnings, as_of=record.facts.as_of, about=record.about)

    async def _ask(self, provider: Provider, requester: Mapping[str, str], body: bytes, read: "_Read") -> Split | None:
        tools, started = self._tools, self._tools.now()
        ods = requester["organisation"].removeprefix(request.ODS_PREFIX)
        consumer = request.Consumer(asid=self._asids.get(ods, self._asid), issuer=self._issuer, device=self._name)
        url = request.url(self._ssp, provider)
        for _ in range(2):
            now = tools.now()
            left_s = self._budget_s - (now - started).total_seconds()
            if left_s <= 0:
                raise SourceTimedOut("no time left for another try")
            came = await tools.http.request(
                "POST",
                url,
                headers=request.headers(consumer, provider, requester, now),
                body=body,
                deadline_s=left_s,
                cap_bytes=CAP_BYTES,
            )
            said = answer.read(came)
            if said == "nothing":
                return None
            if said == "record":
                return await self._split(came.body, read)
        raise answer.still_failing()

    async def _split(self, body: bytes, wanted: "_Read") -> Split:
        """The records that are wanted. A large body is read in another process, so that nobody else waits for it."""
        tools = self._tools
        if tools.apart is None or len(body) < LARGE_BYTES:
            whole = split(answer.bundle(body), as_of=tools.now(), asked=wanted.areas)
            return Split(whole.about, whole.facts, tuple(item for item in whole.records if item.schema in wanted.schemas))
        read = partial(pieces, as_of=tools.now(), schemas=wanted.schemas, asked=wanted.areas)
        about, facts, *records = [item async for item in tools.apart(read, body)]
        return Split(about, facts, tuple(records))


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> Adapter:
    """One configured source -> its adapter."""
    return GpConnect(manifest, source, tools)


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """A structured record saved as JSON, one resource of it by itself, or some without their Patient -> its records.

    Raises `SourceContractBroken` when it is none of them. The service takes none but the first: they do not say whose they are.
    """
    read = answer.saved(body)
    if read["resourceType"] != "Bundle":
        return alone(read)
    return split(read).records if names_a_patient(read) else cut_out(read)
