"""Structured GP records of any size: one synthetic record told again and again under other ids. Nobody's record."""

import json
import re

from sandbox import gp_record

AREAS = frozenset(
    (
        *("includeAllergies", "includeMedication", "includeProblems", "includeImmunisations", "includeConsultations"),
        *("includeUncategorisedData", "includeInvestigations", "includeReferrals", "includeDiaryEntries"),
    )
)
_FRAME = frozenset({"Patient", "Organization", "Practitioner", "PractitionerRole"})
_OUR_ID = re.compile(r'("(?:id|reference|value)":"(?:[A-Za-z]+/)?#?[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{27})"')


def structured(key: str, size_bytes: int) -> bytes:
    """A record of at least this size: people and places once, all else as often as it takes."""
    body = gp_record.encoded(key, AREAS, (), resolved=True, not_given=True, issues=True, twice=False)
    bundle = json.loads(body)
    frame = [entry for entry in bundle["entry"] if entry["resource"]["resourceType"] in _FRAME or "id" not in entry["resource"]]
    kept = {f"{entry['resource']['resourceType']}/{entry['resource'].get('id')}" for entry in frame}
    once = json.dumps([entry for entry in bundle["entry"] if entry not in frame], separators=(",", ":"))[1:-1]
    pieces, size = [once], len(once)
    while size < size_bytes:
        suffix = f"-{len(pieces)}"
        again = _OUR_ID.sub(lambda found, suffix=suffix: _renamed(found[1], suffix, kept), once)
        pieces.append(again)
        size += len(again)
    shell = json.dumps({**bundle, "entry": frame}, separators=(",", ":"))
    return (shell[:-2] + "," + ",".join(pieces) + "]}").encode()


def _renamed(start: str, suffix: str, kept: set[str]) -> str:
    stays = start.rpartition('"')[2] in kept
    return start + ('"' if stays else suffix + '"')
