"""XML as the drops take it: bytes -> elements -> plain trees. A DOCTYPE is refused, depth is capped, namespaces are let go."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from lxml import etree

from gateway.adapter import SourceContractBroken, Tree

Element: TypeAlias = etree._Element

NOT_XML: Final = "not well-formed XML"
DOCTYPE: Final = "an XML document type, which is not taken"
TOO_DEEP: Final = "XML nested deeper than any record is"

_DEPTH = 24


def parse(body: bytes) -> Element:
    """Bytes -> the root element, tags without namespace, no entity resolved, nothing fetched. Raises `SourceContractBroken`."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise SourceContractBroken(NOT_XML) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise SourceContractBroken(DOCTYPE)
    for element in root.iter():
        if isinstance(element.tag, str) and element.tag.startswith("{"):
            element.tag = etree.QName(element).localname
    return root


def below(element: Element, path: Sequence[str]) -> list[Element]:
    """Every element at a path of tags below this one; an empty path is the element itself."""
    found = [element]
    for tag in path:
        found = [child for parent in found for child in parent.iterchildren(tag)]
    return found


def text_at(element: Element, path: str) -> str | None:
    """The trimmed text of the first element at `a/b/c`; None when it is absent or blank."""
    if not path:
        return None
    found = below(element, path.split("/"))
    text = (found[0].text or "").strip() if found else ""
    return text or None


def tree_of(element: Element, depth: int = 0) -> Tree:
    """An element -> a plain tree: text, or a dict of its children by tag (a list where one repeats), `@name` for attributes.

    Blank elements are absent. Text between child elements is kept as `_text`: it means nothing, but it is said.
    """
    if depth > _DEPTH:
        raise SourceContractBroken(TOO_DEEP)
    stray = [(element.text or "").strip()]
    tree: dict[str, Tree] = {"@" + str(name): value for name, value in element.items()}
    for child in element:
        stray.append((child.tail or "").strip())
        value = tree_of(child, depth + 1)
        if value is None:
            continue
        tag = str(child.tag)
        if tag not in tree:
            tree[tag] = value
        elif isinstance(tree[tag], list):
            tree[tag].append(value)
        else:
            tree[tag] = [tree[tag], value]
    text = " ".join(piece for piece in stray if piece)
    if not tree:
        return text or None
    return {**tree, "_text": text} if text else tree
