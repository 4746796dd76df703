"""All that may leave, cut to one page, in an order that stays."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Disclosed

ENTRY_BYTES = 160  # what a Bundle entry adds to its resource: fullUrl and search


@dataclass(frozen=True, slots=True)
class Page:
    """How much one answer holds, and after which key it goes on (the `next_key` of the page before)."""

    count: int
    max_bytes: int
    after_key: str | None = None


def page_of(patient: Disclosed | None, released: Mapping[str, Disclosed], page: Page) -> tuple[tuple[Disclosed, ...], str | None]:
    """All that may leave -> one page of it in a fixed order, the Patient first, and the key to go on after."""
    first = f"Patient/{patient.body['id']}" if patient else ""
    after = page.after_key or ""
    keys = sorted(released)
    if after and not after.startswith("Patient/"):
        keys = keys[bisect_right(keys, after) :]
    if patient is not None and not after:
        keys.insert(0, first)
    chosen: list[Disclosed] = []
    size = 0
    if len(keys) <= page.count:  # nearly always all of it
        whole = [patient if patient is not None and key == first else released[key] for key in keys]
        if sum([len(item.encoded) for item in whole]) + ENTRY_BYTES * len(whole) <= page.max_bytes:
            return tuple(whole), None
    for key in keys:
        item = patient if patient is not None and key == first else released[key]
        size += len(item.encoded) + ENTRY_BYTES
        if chosen and (len(chosen) >= page.count or size > page.max_bytes):
            last = chosen[-1].body
            return tuple(chosen), f"{last['resourceType']}/{last['id']}"
        chosen.append(item)
    return tuple(chosen), None
