"""What no screen shows, or shows in another order than it is stored, by its category in Unicode.

Controls, format characters (the marks of TR 9, zero width, tags), half of a pair, the separators of lines and of paragraphs;
and what is no character at all. Two format characters stay: without the joiner and the non-joiner names in Persian, Urdu,
Sinhala and others are not written right. Source: FHIR R4 string, no code point below U+0020 but tab and line ends.
"""

import unicodedata
from typing import Final

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_ALLOWED: Final = frozenset("\t\n\r\u200c\u200d")


def has_unseen(text: str) -> bool:
    """Whether a text holds what nobody sees.

    >>> has_unseen("AB12\\u202e3"), has_unseen("two\\nlines")
    (True, False)
    """
    return not text.isprintable() and any(map(_is_unseen, text))


def _is_unseen(one: str) -> bool:
    if one in _ALLOWED:
        return False
    point = ord(one)
    return unicodedata.category(one) in _UNSEEN or point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF
