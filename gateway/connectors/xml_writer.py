"""A tree -> XML, as `xml_tree` reads it: names are elements, `@name` attributes, a list repeats its element.

Element names come from the recipient's field dictionary, never from a record; only texts do.
"""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from lxml import etree

from gateway.adapter import SourceContractBroken, Tree
from gateway.connectors.xml_tree import Element

NOT_XML: Final = "a text that XML cannot hold"
NOT_A_NAME: Final = "a field whose name is no element of XML"
NOT_A_TREE: Final = "a record that is no tree of texts"

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}", re.ASCII)


def xml_of(tree: Tree, *, root: str, namespace: str | None = None) -> bytes:
    """A record -> a whole document, UTF-8. Raises `SourceContractBroken` for what XML cannot say."""
    names: dict[str | None, str] = {None: namespace} if namespace else {}
    made = etree.Element(_tag(root, namespace), nsmap=names)  # type: ignore[arg-type]  # None is the default namespace
    _fill(made, tree, namespace)
    return etree.tostring(made, xml_declaration=True, encoding="UTF-8")


def _fill(element: Element, tree: Tree, namespace: str | None) -> None:
    if not isinstance(tree, dict):
        element.text = _text(element, tree)
        return
    for name, value in tree.items():
        if name.startswith("@"):
            _attribute(element, name[1:], value)
        elif name == "_text":
            element.text = _text(element, value)
        else:
            for one in value if isinstance(value, list) else [value]:
                _fill(etree.SubElement(element, _tag(name, namespace)), one, namespace)


def _tag(name: str, namespace: str | None) -> str:
    if not _NAME.fullmatch(name):
        raise SourceContractBroken(NOT_A_NAME)
    return f"{{{namespace}}}{name}" if namespace else name


def _attribute(element: Element, name: str, value: Any) -> None:
    try:
        element.set(_tag(name, None), _word(value))
    except ValueError:
        raise SourceContractBroken(NOT_XML) from None


def _text(element: Element, value: Any) -> str:
    word = _word(value)
    try:
        element.text = word  # lxml refuses what XML has no way to say
    except ValueError:
        raise SourceContractBroken(NOT_XML) from None
    return word


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, str | int | Decimal):
        return str(value)
    raise SourceContractBroken(NOT_A_TREE)
