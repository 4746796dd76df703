"""HL7 v2 by its delimiters: bytes -> messages of segments, and paths into them. No library: a message is text cut four times.

Source: HL7 version 2.5.1, chapter 2 (encoding characters 2.5.4, escapes 2.7, MSH 2.15.9).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.adapter import SourceContractBroken
from gateway.connectors.drop import decoded

NOT_HL7: Final = "not HL7 version 2"
BAD_DELIMITERS: Final = "encoding characters that cannot be told apart"
BAD_SEGMENT: Final = "a line that is no segment"
BAD_ESCAPE: Final = "an escape sequence that is not known"
OTHER_CHARACTERS: Final = "a character set that is not agreed"
WRONG_COUNT: Final = "a batch that is not whole"
TOO_MANY: Final = "more messages or segments than a file holds"

MESSAGES: Final = 10_000
SEGMENTS: Final = 5_000

Field: TypeAlias = "Sequence[Sequence[Sequence[str]]]"  # repetitions of components of subcomponents, escapes read

_BATCH = frozenset(("FHS", "BHS", "BTS", "FTS"))
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_PATH = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9][0-9]?)(?:\.([1-9][0-9]?)(?:\.([1-9][0-9]?))?)?")
_CHARACTERS = {"": None, "ASCII": "ascii", "UNICODE UTF-8": "utf-8", "UTF-8": "utf-8", "8859/1": "cp1252"}
_LINES = {".br": "\n", ".sp": "\n", "H": "", "N": ""}  # a line break; highlighting on and off


@dataclass(frozen=True, slots=True)
class Path:
    """`PID-5.1`: segment, field, component, subcomponent; counted from one as HL7 counts."""

    segment: str
    field: int
    component: int = 1
    subcomponent: int = 1


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of a message. Fields are numbered as HL7 numbers them: MSH-1 is the field separator itself."""

    name: str
    fields: Sequence[Field]

    def field(self, number: int) -> Field:
        """Every repetition of a field; nothing when it is absent, blank or the explicit null (`""`)."""
        field = self.fields[number] if number < len(self.fields) else ()
        return () if field == ((('""',),),) else field

    def text(self, path: Path) -> str | None:
        """The first repetition's text at a path of this segment, trimmed; None when it is blank or null."""
        field = self.field(path.field)
        return part(field[0], path) if field else None


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its segments, MSH first."""

    segments: Sequence[Segment]

    def first(self, name: str) -> Segment | None:
        """The first segment of a name."""
        return next((segment for segment in self.segments if segment.name == name), None)

    def text(self, path: Path) -> str | None:
        """The text at a path, in the first segment of its name."""
        segment = self.first(path.segment)
        return segment.text(path) if segment is not None else None


@dataclass(frozen=True, slots=True)
class _Signs:
    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str
    encoding: str  # of bytes that are written as digits


def part(repetition: Sequence[Sequence[str]], path: Path) -> str | None:
    """One repetition of a field -> the text of its component and subcomponent; None when it is blank or null."""
    component = repetition[path.component - 1] if path.component <= len(repetition) else ()
    text = component[path.subcomponent - 1].strip() if path.subcomponent <= len(component) else ""
    return None if text in ("", '""') else text


def read_path(text: str) -> Path:
    """`PID-5`, `PID-5.1` or `PID-5.1.2` -> `Path`. Raises `ValueError`."""
    found = _PATH.fullmatch(text)
    if found is None:
        raise ValueError
    return Path(found[1], *(int(number) for number in found.groups()[1:] if number))


def messages_of(body: bytes, encoding: str) -> Sequence[Message]:
    """A whole file -> its messages, with or without batch headers and MLLP framing. Raises `SourceContractBroken`."""
    text = decoded(body, encoding).replace("\x0b", "").replace("\x1c", "")
    if "\x00" in text:
        raise SourceContractBroken(NOT_HL7)
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    blocks: list[list[str]] = []
    names = [line[:3] for line in lines]
    counts = [_batch_count(line) for line in lines if line[:3] == "BTS"]
    for line in lines:
        if line[:3] == "MSH":
            blocks.append([line])
        elif line[:3] in _BATCH:
            continue
        elif not blocks:
            raise SourceContractBroken(NOT_HL7)
        else:
            blocks[-1].append(line)
    if not blocks:
        raise SourceContractBroken(NOT_HL7)
    if names.count("BHS") != names.count("BTS") or names.count("FHS") != names.count("FTS"):  # cut, or joined
        raise SourceContractBroken(WRONG_COUNT)
    if counts and None not in counts and sum(filter(None, counts)) != len(blocks):
        raise SourceContractBroken(WRONG_COUNT)
    if len(blocks) > MESSAGES or any(len(block) > SEGMENTS for block in blocks):
        raise SourceContractBroken(TOO_MANY)
    return [_message(block, encoding) for block in blocks]


def _batch_count(line: str) -> int | None:
    count = line[4:].partition(line[3:4])[0].strip() if len(line) > 3 else ""
    return int(count) if re.fullmatch("[0-9]{1,6}", count) else None


def _message(lines: Sequence[str], encoding: str) -> Message:
    signs = _signs(lines[0], encoding)
    head = lines[0].split(signs.field)
    stated = head[17].partition(signs.repetition)[0].strip().upper() if len(head) > 17 else ""
    if stated not in _CHARACTERS or _CHARACTERS[stated] not in (None, "ascii", encoding):
        raise SourceContractBroken(OTHER_CHARACTERS)
    return Message([_segment(line, signs) for line in lines])


def _signs(line: str, encoding: str) -> _Signs:
    field, rest = line[3:4], line[4:]
    said = rest.partition(field)[0] if field else ""
    signs = (field, *said[:4])
    if len(said) not in (4, 5) or len(set(signs)) != 5 or any(sign.isalnum() or sign.isspace() for sign in signs):
        raise SourceContractBroken(BAD_DELIMITERS)
    return _Signs(field, said[0], said[1], said[2], said[3], encoding)


def _segment(line: str, signs: _Signs) -> Segment:
    name, *rest = line.split(signs.field)
    if not _SEGMENT.fullmatch(name):
        raise SourceContractBroken(BAD_SEGMENT)
    if name == "MSH":  # MSH-1 and MSH-2 are the delimiters: nothing to cut
        plain: list[Field] = [(((name,),),), (((signs.field,),),), (((rest[0],),),)]
        return Segment(name, [*plain, *(_field(text, signs) for text in rest[1:])])
    return Segment(name, [(((name,),),), *(_field(text, signs) for text in rest)])


def _field(text: str, signs: _Signs) -> Field:
    if not text:
        return ()
    return tuple(
        tuple(
            tuple(_unescaped(piece, signs) for piece in component.split(signs.subcomponent))
            for component in repetition.split(signs.component)
        )
        for repetition in text.split(signs.repetition)
    )


def _unescaped(text: str, signs: _Signs) -> str:
    if signs.escape not in text:
        return text
    pieces = text.split(signs.escape)
    if len(pieces) % 2 == 0:  # an escape that does not end
        raise SourceContractBroken(BAD_ESCAPE)
    plain = {"F": signs.field, "S": signs.component, "R": signs.repetition, "E": signs.escape, "T": signs.subcomponent, **_LINES}
    out = []
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            out.append(piece)
        elif piece in plain:
            out.append(plain[piece])
        elif re.fullmatch("X(?:[0-9A-Fa-f]{2})+", piece):
            out.append(_hexadecimal(piece[1:], signs.encoding))
        else:
            raise SourceContractBroken(BAD_ESCAPE)
    return "".join(out)


def _hexadecimal(digits: str, encoding: str) -> str:
    try:
        text = bytes.fromhex(digits).decode(encoding)
    except UnicodeDecodeError:
        raise SourceContractBroken(BAD_ESCAPE) from None
    if any(ord(character) < 32 and character not in "\t\r\n" for character in text):
        raise SourceContractBroken(BAD_ESCAPE)
    return text
