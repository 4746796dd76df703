"""The tracer: PDS FHIR R4, GET /Patient/{NHS number} and the search that finds one. Source: NHS England PDS FHIR API,
application-restricted.

The path holds the NHS number, and the search a name, because the API requires it: nothing here logs, and no exception
carries the address.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode
from uuid import UUID, uuid4

from gateway import settings
from gateway.adapter import HttpAnswer, SourceContractBroken, SourceRefused, SourceTimedOut, SourceUnavailable
from gateway.errors import TracerDown
from gateway.nhs_number import NhsNumber
from gateway.outside.pds_patient import decoded, each, spine_code, traced
from gateway.ports import Candidate, Search, Traced, TraceFailure, Wanted

if TYPE_CHECKING:
    from gateway.outside.http import OwnHttp

CAP_BYTES: Final = 1_000_000
MOST_FOUND: Final = 50  # _max-results, of a user's search; an application's finds one person or says that there are more
_AGAIN: Final = frozenset({408, 500, 502, 503, 504})  # once more with the same X-Request-ID, which PDS de-duplicates by
_WHOLE: Final = 2  # letters a wildcard may follow


class Pds:
    """`ports.Demographics` and `ports.DemographicsSearch` over the national service."""

    def __init__(self, settings: settings.Pds, http: "OwnHttp") -> None:
        """`http` becomes ours to close. Raises `StartupRefused` for a sign-in that cannot be."""
        self._base = settings.base_url.rstrip("/")
        self._budget_s = settings.budget_s
        self._http = http
        self._headers = {"Accept": "application/fhir+json", "NHSD-End-User-Organisation-ODS": settings.ods}
        if settings.api_key is not None:
            self._headers["Authorization"] = "Bearer " + settings.api_key.get_secret_value()
        self._sign_in = None
        if settings.sign_in is not None:
            from gateway.outside.nhs_sign_in import NhsSignIn  # signs with a library that no other way in needs

            self._sign_in = NhsSignIn(settings.sign_in, http, budget_s=settings.budget_s)

    async def trace(self, number: NhsNumber, correlation_id: str) -> Traced | TraceFailure:
        """One PDS read, at most one retry inside the same budget. Raises `TracerDown` when there is no answer to trust."""
        return _read(await self._answer(f"/Patient/{number.value}", correlation_id))

    async def search(self, wanted: Wanted, correlation_id: str, *, exact: bool) -> Sequence[Candidate] | Search:
        """One PDS search, never fuzzy; asked like a read. Raises `TracerDown` when there is no answer to trust."""
        query = _query(wanted, exact=exact)
        return _found(await self._answer("/Patient?" + urlencode(query), correlation_id))

    async def close(self) -> None:
        """Let go of every connection."""
        await self._http.close()

    async def _answer(self, path: str, correlation_id: str) -> HttpAnswer:
        headers = {**self._headers, "X-Request-ID": str(uuid4())}
        if self._sign_in is not None:
            headers["Authorization"] = "Bearer " + await self._sign_in.bearer()
        if _is_uuid(correlation_id):  # anything else is a caller's own text, which may hold anything
            headers["X-Correlation-ID"] = correlation_id
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._budget_s
        answer = await self._ask(path, headers, self._budget_s)
        if answer is None or answer.status in _AGAIN:
            answer = await self._ask(path, headers, max(ends - loop.time(), 0.0))
        if answer is None:
            raise TracerDown(reason="tracer not reached")
        if answer.status == 401 and self._sign_in is not None:
            self._sign_in.forget()
        if answer.status == 429:
            raise TracerDown(
                reason="tracer says too many requests", retry_after_s=_seconds(answer.headers.get("retry-after", ""))
            )
        return answer

    async def _ask(self, path: str, headers: Mapping[str, str], deadline_s: float) -> HttpAnswer | None:
        """None: no connection, or it broke."""
        try:
            return await self._http.request("GET", self._base + path, headers=headers, deadline_s=deadline_s, cap_bytes=CAP_BYTES)
        except SourceUnavailable:
            return None
        except SourceRefused:
            fault = TracerDown(reason="the tracer's address or certificate is not to be used")
        except SourceTimedOut:
            fault = TracerDown(reason="tracer timed out")
        except SourceContractBroken:
            fault = TracerDown(reason="tracer answered nonsense")
        raise fault


def _read(answer: HttpAnswer) -> Traced | TraceFailure:
    if answer.status not in (200, 400, 404):
        raise TracerDown(reason="tracer does not answer")
    body = decoded(answer.body)
    if answer.status == 200:
        return traced(body)
    match (answer.status, spine_code(body)):
        case (404, "INVALIDATED_RESOURCE"):
            return "invalidated"
        case (404, "RESOURCE_NOT_FOUND"):
            return "unknown"
        case (400, "INVALID_RESOURCE_ID"):
            return "bad-number"
    raise TracerDown(reason="tracer answered nonsense")


def _query(wanted: Wanted, *, exact: bool) -> list[tuple[str, str]]:
    """What is asked. Never `_fuzzy-match`: it returns people who only sound alike.

    Exact first: whole names as they are now. Then by beginnings (three letters, two of a postcode) with names of before:
    what that finds is a task for somebody, unless it agrees in full. Source: PDS FHIR API, search; reference of the matcher.
    """
    query = [("family", wanted.family if exact else _beginning(wanted.family, 3))]
    query.append(("given", wanted.given if exact else _beginning(wanted.given, 3)))
    query.append(("birthdate", "eq" + wanted.birth_date.isoformat()))
    if exact and wanted.gender in ("male", "female"):
        query.append(("gender", wanted.gender))
    if wanted.postcode:
        query.append(("address-postalcode", wanted.postcode if exact else _beginning(wanted.postcode, 2)))
    query.append(("_exact-match", "true") if exact else ("_history", "true"))
    return [*query, ("_max-results", str(MOST_FOUND))]


def _beginning(text: str, letters: int) -> str:
    """The first letters and a wildcard; a text too short for one stays whole, and an asterisk of its own is none."""
    plain = text.replace("*", "")
    return plain[:letters] + "*" if len(plain) > letters >= _WHOLE else plain


def _found(answer: HttpAnswer) -> Sequence[Candidate] | Search:
    if answer.status not in (200, 400):
        raise TracerDown(reason="tracer does not answer")
    body = decoded(answer.body)
    if answer.status == 400:
        return "refused"
    if spine_code(body) == "TOO_MANY_MATCHES":  # with status 200
        return "many"
    if body.get("resourceType") != "Bundle" or body.get("type") != "searchset":
        raise TracerDown(reason="tracer answered nonsense")
    entries = each(body.get("entry"))
    if body.get("total") != len(entries):  # a cut list could make one of many look like the only one
        raise TracerDown(reason="tracer answered nonsense")
    return [Candidate(_score(entry.get("search")), traced(_resource(entry))) for entry in entries]


def _resource(entry: Mapping[str, object]) -> Mapping[str, object]:
    resource = entry.get("resource")
    if not isinstance(resource, dict):
        raise TracerDown(reason="tracer answered nonsense")
    return resource


def _score(said: object) -> float:
    score = said.get("score") if isinstance(said, dict) else None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise TracerDown(reason="tracer answered nonsense")
    return float(score)


def _seconds(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,4}", text) else None


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
