"""Extensions of a map's target against their published StructureDefinitions: address, place, value or parts, what is needed."""

from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from gateway.mapping.plan import Node
from gateway.mapping.r4 import OFFICIAL, Element, Index, Value, places, suggestion
from gateway.mapping.tree import Bad, Part

EXTENSION: Final = Element("extension", 0, -1, "Extension")
CODED: Final = frozenset({"code", "Coding", "CodeableConcept"})
NEARLY: Final = 0.96  # an address this like a published one is a slip, not somebody else's


def extension_at(index: Index, type_: str, node: Node, part: Part) -> Element:
    """An extension of a node (of a resource of `type_`) -> its element. Raises `Bad` where it cannot stand."""
    assert part.url is not None
    parent = index.extension(node.url) if node.type == "Extension" and node.url is not None else None
    if parent is not None:
        if part.url not in parent.parts:
            raise Bad(part.pos, f"this extension has no part '{part.url}'{suggestion(part.url, parent.parts)}")
        if parent.parts[part.url].once and part.place is not None:
            raise Bad(part.pos, "this part stands once in its extension: leave out the [ ]")
        return EXTENSION
    if node.type == "Extension":
        return EXTENSION  # of an extension that is somebody's own
    if ":" not in part.url:
        raise Bad(part.pos, "an extension's URL is a whole one, https://...; only a part of an extension has a bare name")
    known = index.extension(part.url)
    if known is None:
        urls = index.extension_urls()
        if part.url.startswith(OFFICIAL):
            raise Bad(part.pos, f"no such extension is published there{suggestion(part.url, urls)}")
        near = get_close_matches(part.url, urls, n=1, cutoff=NEARLY)
        if near:
            raise Bad(part.pos, f"no such extension is published (did you mean '{near[0]}'?)")
        return EXTENSION
    if known.contexts and not known.contexts & places(index, type_, node.path):
        raise Bad(part.pos, f"this extension stands on {' or '.join(sorted(known.contexts))}, not here")
    return EXTENSION


def value_at(index: Index, node: Node, found: Element, part: Part) -> Element:
    """A value element of an extension -> that element with the codes it may have. Raises `Bad` for one it cannot have."""
    if found.choice != "value[x]":
        raise Bad(part.pos, "an extension has a value or parts: say valueString, valueBoolean ... or extension('part')")
    known = _value(index, node)
    if known is None:
        return found
    if not known.types:
        extension = index.extension(node.url or "")
        said = " or ".join(f"extension('{name}')" for name in extension.parts) if extension is not None else "extension('...')"
        raise Bad(part.pos, f"this extension has no value of its own: say {said}")
    if found.type not in known.types:
        raise Bad(part.pos, f"this extension's value is {' or '.join(sorted(known.types))}, not {found.type}")
    return replace(found, codes=known.codes, loose=known.loose) if found.type in CODED else found


def extension_faults(index: Index, node: Node) -> Iterator[str]:
    """An extension with all its lines -> what no record could make right."""
    values = [child.name for child in node.children.values() if child.url is None]
    parts = {child.url for child in node.children.values() if child.url is not None}
    if (values and parts) or len(values) > 1:
        yield "an extension has one value, or parts: keep one of these lines"
    known = index.extension(node.url or "") if node.inside is None else None
    for name, part in known.parts.items() if known is not None else ():
        if part.needed and name not in parts:
            yield f"this extension needs its part '{name}' and no line sets it: add extension('{name}')"


def _value(index: Index, node: Node) -> Value | None:
    """What the value of the extension at a node may be; None where nobody published it."""
    assert node.url is not None
    if node.inside is None:
        whole = index.extension(node.url)
        return whole.value if whole is not None else None
    parent = index.extension(node.inside)
    return parent.parts.get(node.url) if parent is not None else None
