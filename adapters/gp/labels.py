"""What a security label of a structured record covers.

A label of the Bundle is a label of everything in it, one of a List, or of what contains others, of everything that it holds, and
one of a copy of every other copy. NOPAT (not for the patient, the family or a carer to see) is known and travels; every other
label locks, so one in words only does, and one in a shape that FHIR does not have.

Source: GP Connect Access Record Structured 1.6.2, "NOPAT".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.gp.entries import Entry
from adapters.gp.kinds import SCHEMAS
from adapters.gp.links import Json, dicts, reference_of, text_of
from adapters.gp.lists import is_placeholder

_ACT_CODE = frozenset({"http://hl7.org/fhir/v3/ActCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode"})
_NOT_FOR_FAMILY: Final = {"system": "http://hl7.org/fhir/v3/ActCode", "code": "NOPAT"}
_NOBODY_KNOWS: Final[Json] = {}  # a label that is none of FHIR's shapes, or has no code: it locks
_NONE: Final[list[Json]] = []


@dataclass(frozen=True, slots=True)
class Covered:
    """The places of what a label covers, its own or one over it; `all_*`: everything."""

    locked: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    all_locked: bool = False
    all_hidden: bool = False

    def locks(self, entry: Entry) -> bool:
        """Whether the provider keeps this back: a label that we do not know, of its own or over it."""
        return self.all_locked or entry.where in self.locked

    def shown(self, entry: Entry) -> Json:
        """The resource with the label over it as its own; the same one where there is none, or it has its own."""
        resource = entry.resource
        if not (self.all_hidden or entry.where in self.hidden) or any(_is_nopat(label) for label in labels_of(resource)):
            return resource
        meta = resource.get("meta")
        meta = meta if isinstance(meta, dict) else {}
        return {**resource, "meta": {**meta, "security": [*dicts(meta, "security"), _NOT_FOR_FAMILY]}}


def covered(bundle: Mapping[str, Any], clinical: list[Entry]) -> Covered:
    """A Bundle, and what stands in it with its keys -> what their labels cover, Lists of Lists included."""
    over = labels_of(bundle)
    labelled = [(entry, labels) for entry in clinical if (labels := labels_of(entry.resource))]
    if not over and not labelled:
        return Covered()
    locking = [entry for entry, labels in labelled if not all(map(_is_nopat, labels))]
    hiding = [entry for entry, labels in labelled if any(map(_is_nopat, labels))]
    found = _Found(bundle, clinical, [entry for entry, _ in labelled])
    locked, all_locked = found.reached_from(locking)
    hidden, all_hidden = found.reached_from(hiding)
    return Covered(
        locked,
        hidden,
        all_locked or not all(map(_is_nopat, over)),
        all_hidden or any(map(_is_nopat, over)),
    )


def labels_of(resource: Mapping[str, Any]) -> list[Json]:
    """The security labels of a resource itself: of its meta, and of a document's own element. What cannot be read is one."""
    meta = resource.get("meta")
    in_meta = meta is not None and (meta.__class__ is not dict or "security" in meta or "_security" in meta)
    if not in_meta and "securityLabel" not in resource and "_securityLabel" not in resource:
        return _NONE  # nearly every one there is
    found = _in_meta(meta)
    for label in _listed(resource.get("securityLabel")):
        codings = _listed(label.get("coding")) if label.__class__ is dict else ()
        found += [_coding(coding) for coding in codings] or [_NOBODY_KNOWS]  # one in words only
    return [*found, _NOBODY_KNOWS] if "_securityLabel" in resource else found


def _in_meta(meta: Any) -> list[Json]:
    if meta is None or meta.__class__ is not dict:
        return [] if meta is None else [_NOBODY_KNOWS]
    found = [_coding(label) for label in _listed(meta.get("security"))]
    return [*found, _NOBODY_KNOWS] if "_security" in meta else found


def _listed(value: Any) -> list[Any]:
    """What repeats, as FHIR says it; anything else is one label that nobody knows."""
    return value if value.__class__ is list else [] if value is None else [_NOBODY_KNOWS]


def _coding(value: Any) -> Json:
    return value if value.__class__ is dict else _NOBODY_KNOWS


class _Found:
    """Where the label of each resource goes on to: its copies, what it contains, and what a List refers to in any of its ways."""

    def __init__(self, bundle: Mapping[str, Any], clinical: list[Entry], labelled: list[Entry]) -> None:
        self._by_key: dict[str, list[Entry]] = {}
        self._held: dict[str, list[Entry]] = {}
        kinds = None  # a label goes beyond its own kind only by a List or by what contains others
        if not any(entry.kind == "List" or "contained" in entry.resource for entry in labelled):
            kinds = {entry.kind for entry in labelled}
        for entry in clinical:
            if kinds is None or entry.kind in kinds:
                for key in _keys(entry):
                    self._by_key.setdefault(key, []).append(entry)
                if entry.holder is not None:
                    self._held.setdefault(entry.holder.where, []).append(entry)
        if kinds is None:
            self._add_addresses(bundle, clinical)

    def reached_from(self, labelled: list[Entry]) -> tuple[frozenset[str], bool]:
        """The places of what a label covers, and whether it covers all: a List leads to something nobody can find."""
        places: set[str] = set()
        gone: set[str] = set()  # keys that were followed: each once, however many share it
        waiting = list(labelled)
        while waiting:
            entry = waiting.pop()
            if entry.where in places:
                continue
            places.add(entry.where)
            ways = [*_keys(entry)]
            if entry.kind == "List":
                for keys in _kept(entry):
                    known = [key for key in keys if key in self._by_key]
                    if not known:
                        return frozenset(), True
                    ways += known
            for key in ways:
                if key not in gone:
                    gone.add(key)
                    waiting += self._by_key.get(key, ())
            waiting += self._held.get(entry.where, ())
        return frozenset(places), False

    def _add_addresses(self, bundle: Mapping[str, Any], clinical: list[Entry]) -> None:
        by_resource = {id(entry.resource): entry for entry in clinical}
        for item in dicts(bundle, "entry"):
            entry = by_resource.get(id(item.get("resource")))
            url = text_of(item.get("fullUrl")).strip()
            if url and entry is not None:
                for key in {url, _tail(url)}:
                    self._by_key.setdefault(key, []).append(entry)


def _keys(entry: Entry) -> Iterator[str]:
    """What copies of a resource share, one of them at least: its id, its key, an identifier that outlives the answer."""
    yield entry.name
    if entry.target:
        yield entry.target
    if entry.holder is not None and entry.local:
        yield f"{entry.kind}/{entry.local}"  # some refer to what is contained as if it stood by itself
    for name in ("identifier", "masterIdentifier"):
        said = entry.resource.get(name)
        for identifier in said if said.__class__ is list else (said,):
            if key := _identified(identifier):
                yield f"{entry.kind}|{key}"


def _identified(identifier: Any) -> str:
    if identifier.__class__ is not dict:
        return ""
    value = text_of(identifier.get("value")).strip()
    return f"{text_of(identifier.get('system')).strip().lower()}|{value}" if value else ""


def _kept(listed: Entry) -> Iterator[list[str]]:
    """For each entry of a List, the keys under which that may be found: none where nobody can tell what it is."""
    told = listed.resource.get("entry")
    for entry in told if told.__class__ is list else () if told is None else (told,):
        item = entry.get("item") if entry.__class__ is dict else None
        if item.__class__ is not dict:
            yield []
            continue
        said = reference_of(item).strip()
        keys = [said, _tail(said)] if said else []
        if said.startswith("#"):  # means something in there only
            keys = [f"{(listed.holder or listed).name}{said}"]
        if key := _identified(item.get("identifier")):
            keys += [f"{kind}|{key}" for kind in SCHEMAS]
        if keys or not is_placeholder(item):
            yield keys


def _tail(said: str) -> str:
    """An address, of a version or not -> `Type/id`."""
    return "/".join(said.partition("/_history")[0].rstrip("/").split("/")[-2:])


def _is_nopat(label: Json) -> bool:
    return text_of(label.get("system")).strip() in _ACT_CODE and text_of(label.get("code")).strip() == "NOPAT"
