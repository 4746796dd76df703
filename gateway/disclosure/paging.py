"""All that may leave, cut to one page, in an order that stays."""

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

from gateway.model import Disclosed

ENTRY_BYTES = 160  # what a Bundle entry adds to its resource: fullUrl and search
AT_A_TIME = 128  # resources decided or made before somebody may look at the clock: well under a millisecond


@dataclass(frozen=True, slots=True)
class Page:
    """How much one answer holds, and after which key it goes on (the `next_key` of the page before)."""

    count: int
    max_bytes: int
    after_key: str | None = None


def page_of(
    patient: Disclosed | None, keys: Iterable[str], leaving: Callable[[str], Disclosed], page: Page
) -> Generator[None, None, tuple[tuple[Disclosed, ...], str | None]]:
    """All that may leave -> one page of it in a fixed order, the Patient first, and the key to go on after.

    `leaving`: one of them as it will leave, made when its turn comes: what is on another page is not made for this one.
    Pauses wherever somebody else may have a turn.
    """
    after = page.after_key or ""
    ordered = sorted(keys)
    if after and not after.startswith("Patient/"):
        ordered = ordered[bisect_right(ordered, after) :]
    chosen: list[Disclosed] = []
    size = 0
    if patient is not None and not after:
        chosen.append(patient)
        size = len(patient.encoded) + ENTRY_BYTES
    count, most = page.count, page.max_bytes
    for key in ordered:
        if len(chosen) >= count and chosen:
            return tuple(chosen), _key_of(chosen[-1])
        item = leaving(key)
        size += len(item.encoded) + ENTRY_BYTES
        if size > most and chosen:
            return tuple(chosen), _key_of(chosen[-1])
        chosen.append(item)
        if not len(chosen) % AT_A_TIME:
            yield
    return tuple(chosen), None


def _key_of(item: Disclosed) -> str:
    return f"{item.body['resourceType']}/{item.body['id']}"
