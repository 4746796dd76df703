"""Delivery over HTTP: POST of one document, under a key that makes a second attempt harmless.

    [deliver.NAME]
    connector = "http-json"            # or "fhir-rest": application/fhir+json, and If-None-Exist beside Idempotency-Key
    suffix = "json"                    # or "xml" with a root: forms.py; FHIR is JSON
    path = "referrals"                 # constant: nothing of the person is ever in an address
    reference = "id"                   # where the answer says the recipient's own name of it; FHIR: Location, or the answer's id
    duplicate = [409]                  # statuses that mean: this key came before, and it was taken
    auth = {header = "Authorization", prefix = "Bearer "}

Settings: `[sources.SOURCE.deliver.NAME.options] base_url, credential`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from gateway.adapter import (
    Acknowledgement,
    Deliver,
    DeliverTable,
    HttpAnswer,
    Outgoing,
    SourceContractBroken,
    SourceRefused,
    SourceSettings,
    SourceUnavailable,
    Tools,
    Tree,
)
from gateway.connectors.forms import form_of
from gateway.errors import StartupRefused

KEY_SYSTEM: Final = "urn:shared-care-gateway:delivery"
NOT_TAKEN: Final = "the recipient's service does not take this content"
NOT_ALLOWED: Final = "the recipient's service does not accept us"
NOT_NOW: Final = "the recipient's service is not able to take it now"

CAP_BYTES: Final = 1_000_000
_FORM = frozenset({"suffix", "root"})
_OWN = frozenset({"path", "reference", "duplicate", "auth"}) | _FORM
_MEDIA = {"json": "application/json", "xml": "application/xml"}
_LATER = frozenset((408, 423, 425, 429))
_PATH = re.compile(r"[A-Za-z0-9_$-]+(/[A-Za-z0-9_$-]+)*", re.ASCII)
_REFERENCE = re.compile(r"[A-Za-z0-9._:/-]{1,128}", re.ASCII)


def build_delivery(what: DeliverTable, source: SourceSettings, tools: Tools) -> Deliver:
    """Manifest and settings -> the writing side. Raises `StartupRefused` naming what to mend."""
    where, manifest = f"sources.{source.name}.deliver.{what.name}.options", f"[deliver.{what.name}]"
    options, own = source.deliver[what.name].options, what.options
    base = options.get("base_url")
    if not isinstance(base, str) or urlsplit(base).scheme not in ("http", "https"):
        raise StartupRefused(f"{where}: add base_url, beginning with https://")
    if set(own) - _OWN or not isinstance(own.get("path"), str) or not _PATH.fullmatch(own["path"]):
        raise StartupRefused(
            f"{manifest}: a delivery over HTTP has a constant path, and no options but {', '.join(sorted(_OWN))}"
        )
    if set(own.get("duplicate", ())) - {409, 412}:
        raise StartupRefused(f"{manifest}: duplicate is 409 or 412: no other status may mean that it was taken before")
    form = {"suffix": "json", **{name: own[name] for name in _FORM & set(own)}}
    if form["suffix"] not in _MEDIA or (what.connector == "fhir-rest" and form != {"suffix": "json"}):
        raise StartupRefused(f"{manifest}: a delivery over HTTP is json or xml; FHIR is json")
    return HttpDelivery(
        form=form_of(manifest, form),
        media="application/fhir+json" if what.connector == "fhir-rest" else _MEDIA[form["suffix"]],
        url=base.rstrip("/") + "/" + own["path"],
        fhir=what.connector == "fhir-rest",
        reference=own.get("reference", "id"),
        duplicate=frozenset(own.get("duplicate", ())),
        credential=_credential(where, own.get("auth"), options),
        budget_s=source.budget_s,
        tools=tools,
    )


def _credential(where: str, auth: Any, options: Mapping[str, Any]) -> Mapping[str, str]:
    if auth is None:
        return {}
    credential = options.get("credential")
    if not isinstance(credential, str) or not credential.isascii() or not credential.isprintable() or not credential:
        raise StartupRefused(f"{where}: add credential, which the manifest's auth sends")
    return {auth["header"]: auth.get("prefix", "") + credential}


class HttpDelivery:
    """One service that takes."""

    def __init__(
        self,
        *,
        form: Callable[[Tree], bytes],
        media: str,
        url: str,
        fhir: bool,
        reference: str,
        duplicate: frozenset[int],
        credential: Mapping[str, str],
        budget_s: float,
        tools: Tools,
    ) -> None:
        self._form, self._media = form, media
        self._url, self._fhir, self._reference, self._duplicate = url, fhir, reference, duplicate
        self._credential, self._budget_s, self._tools = credential, budget_s, tools

    async def deliver(self, name: str, outgoing: Outgoing) -> Acknowledgement:
        headers = {
            "Content-Type": self._media,
            "Accept": self._media if self._fhir else "application/json",
            "Idempotency-Key": outgoing.key,
            "X-Correlation-ID": outgoing.correlation_id,
            **({"If-None-Exist": f"identifier={KEY_SYSTEM}|{outgoing.key}"} if self._fhir else {}),
            **self._credential,
        }
        answer = await self._tools.http.request(
            "POST", self._url, headers=headers, body=self._form(outgoing.data), deadline_s=self._budget_s, cap_bytes=CAP_BYTES
        )
        if 200 <= answer.status < 300 or answer.status in self._duplicate:
            return Acknowledgement(_named(answer, self._reference), self._tools.now())
        if answer.status in (401, 403):
            raise SourceRefused(NOT_ALLOWED)
        if answer.status in _LATER or not 400 <= answer.status < 500:
            raise SourceUnavailable(NOT_NOW)
        raise SourceContractBroken(NOT_TAKEN)


def _named(answer: HttpAnswer, path: str) -> str | None:
    """The recipient's own name of what it took. One we cannot use is none: it was taken all the same."""
    location = urlsplit(answer.headers.get("location", "")).path.partition("/_history/")[0]
    said: Any = "/".join(location.rsplit("/", 2)[-2:]) if location else _at(answer.body, path)
    return said if isinstance(said, str) and _REFERENCE.fullmatch(said) else None


def _at(body: bytes, path: str) -> Any:
    try:
        found: Any = msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
