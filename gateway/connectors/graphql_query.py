"""Is a GraphQL document one query and nothing else? Read by its own lexical rules, never by searching for words.

Source: GraphQL specification, October 2021, sections 2.1 and 2.3.
"""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r'(?P<silent>[\s,\ufeff]+|#[^\n\r]*)|(?P<string>"""(?:\\"""|[^"]|"(?!""))*"""|"(?:\\.|[^"\\\n\r])*")'
    r"|(?P<name>[_A-Za-z][_0-9A-Za-z]*)|(?P<sign>\.\.\.|[!$&()\[\]{}:=@|])|(?P<number>-?[0-9][0-9.eE+-]*)",
    re.DOTALL,
)
_OPENS, _CLOSES = frozenset("{(["), frozenset("})]")


def is_one_query(document: str) -> bool:
    """True: exactly one operation, a query, with any fragments beside it."""
    try:
        words = list(_top_level(document))
    except ValueError:
        return False
    operations = [word for word in words if word != "fragment"]
    return operations in (["query"], ["{"])


def _top_level(document: str) -> Iterator[str]:
    """The word each definition begins with; `{` for a query without one. Raises `ValueError` for text that is no document."""
    depth, begun, place = 0, False, 0
    while place < len(document):
        token = _TOKEN.match(document, place)
        if token is None:
            raise ValueError
        place = token.end()
        if token.lastgroup == "silent":
            continue
        text = token.group()
        if not begun:
            if depth or (token.lastgroup != "name" and text != "{"):
                raise ValueError
            begun = True
            yield text
        if text in _OPENS:
            depth += 1
        elif text in _CLOSES:
            depth -= 1
            if depth < 0:
                raise ValueError
            begun = begun and not (depth == 0 and text == "}")
    if depth or begun:
        raise ValueError
