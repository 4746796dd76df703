"""The R4 resources that an outward map takes, as its source paths walk them: every step checked against the R4 index."""

from collections.abc import Mapping
from typing import Final

from gateway.mapping.r4 import OFFICIAL, Index, Value, places, suggestion
from gateway.mapping.source import Field, Found, Key
from gateway.mapping.tree import Bad, Ext, FirstStep, Path, Step, Taken, Where

OURS: Final = frozenset({"id", "text", "contained", "implicitRules", "language"})  # of a resource: never told to anybody else
TOP: Final = "the R4 resources"


class Resources:
    """By type, as many of each as `takes:` says. Paths begin with the type."""

    name: str = TOP

    def __init__(self, takes: tuple[Taken, ...]) -> None:
        self.takes = {one.type: one for one in takes}
        self.fields: Mapping[Key, Field] = {}
        self._types: dict[Key, str] = {(): "object"}

    def walk(self, base: Key, path: Path, index: Index) -> tuple[Found, list[tuple[Step, bool, Key]]]:
        """A path from a base -> where it leads, and each step with: does it repeat, where does it stand.

        Raises `Bad` with the nearest name.
        """
        key, type_, many = base, self._types[base], False
        steps: list[tuple[Step, bool, Key]] = []
        for step in path.steps:
            repeats = False
            if isinstance(step, FirstStep):
                many = False
            elif isinstance(step, Where):
                many = repeats = True
                for name, _ in step.tests:
                    self._part(key, type_, name, path, index)
            elif isinstance(step, Ext):
                type_ = self._extension(key, type_, step, path, index)
                key = (*key, step.urls)
            else:
                type_, repeats = self._part(key, type_, step.name, path, index)
                key = (*key, step.name)
            self._types[key] = type_
            many = many or repeats
            steps.append((step, repeats, key))
        return Found(type_, many, key), steps

    def _part(self, key: Key, type_: str, name: str, path: Path, index: Index) -> tuple[str, bool]:
        if not key:
            taken = self.takes.get(name)
            if taken is None:
                raise Bad(path.pos, f"this map takes no {name}: paths begin with a type of takes:{suggestion(name, self.takes)}")
            return name, taken.number == "many"
        if not (index.is_type(type_) or index.is_resource(type_)):
            raise Bad(path.pos, f"{_shown(key)} is {type_}: it has no parts")
        if (len(key) == 1 and name in OURS) or name == "id" or (type_ == "Reference" and name == "reference"):
            raise Bad(path.pos, f"{name} is the gateway's own and means nothing to a recipient: say %ctx.key, or | reference")
        if name in ("extension", "modifierExtension"):
            raise Bad(path.pos, "say which: extension('https://...')")
        elements = index.elements(type_)
        found = elements.get(name)
        if found is None:
            forms = [one for one, element in elements.items() if element.choice == f"{name}[x]"]
            near = f" (did you mean '{forms[0]}'?)" if forms else suggestion(name, elements)
            raise Bad(path.pos, f"{type_} has no element '{name}'{near}")
        if type_ == "Extension" and found.choice:
            allowed = _value_types(key, index)
            if allowed is not None and found.type not in allowed:
                raise Bad(path.pos, f"this extension's value is {' or '.join(sorted(allowed)) or 'parts'}, not {found.type}")
        return found.type, found.many

    def _extension(self, key: Key, type_: str, step: Ext, path: Path, index: Index) -> str:
        if not key or not (index.is_type(type_) or index.is_resource(type_)):
            raise Bad(path.pos, "an extension stands on a resource or an element with parts")
        parent = _published(key, index) if type_ == "Extension" else None
        for url in step.urls:
            if parent is not None and url not in parent:
                raise Bad(path.pos, f"this extension has no part '{url}'{suggestion(url, parent)}")
            if parent is None and url.startswith(OFFICIAL) and index.extension(url) is None:
                raise Bad(path.pos, f"no such extension is published there{suggestion(url, index.extension_urls())}")
            known = index.extension(url) if parent is None else None
            if known is not None and known.contexts and not known.contexts & _where(key, index):
                where = " or ".join(sorted(known.contexts))
                raise Bad(path.pos, f"this extension stands on {where}, not here: it is never found")
        return "Extension"


def _published(key: Key, index: Index) -> Mapping[str, Value] | None:
    """The parts of the published extension a key stands in; None when it is not a published one."""
    url = key[-1][0] if isinstance(key[-1], tuple) else ""
    found = index.extension(url)
    return found.parts if found is not None else None


def _where(key: Key, index: Index) -> frozenset[str]:
    """What an extension's context may call the element that a key leads to."""
    type_, *names = (part if isinstance(part, str) else "extension" for part in key)
    return places(index, type_, ".".join(names))


def _value_types(key: Key, index: Index) -> frozenset[str] | None:
    """The types an extension's value may have; None where nothing is published."""
    url = key[-1][0] if isinstance(key[-1], tuple) else ""
    outer = key[-2][0] if len(key) > 1 and isinstance(key[-2], tuple) else None
    parent = index.extension(outer) if outer is not None else None
    known = index.extension(url)
    found = parent.parts.get(url) if parent is not None else known.value if known is not None else None
    return found.types if found is not None else None


def _shown(key: Key) -> str:
    return ".".join(part if isinstance(part, str) else "extension" for part in key)
