"""CSV as the drops take it: bytes -> rows by column name. The whole file is refused for its form, one row for its cells."""

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.adapter import SourceContractBroken
from gateway.connectors.drop import decoded

NOT_CSV: Final = "not sound CSV"
NO_HEADER: Final = "no header row"
TWO_ALIKE: Final = "two columns of one name"
COLUMNS_DIFFER: Final = "other columns than the manifest lists"
TOO_MANY_ROWS: Final = "more rows than this source takes"

CELLS_DIFFER: Final = "a row with more or fewer cells than the header"
NUL: Final = "a cell that holds NUL"
FORMULA: Final = "a cell that is a formula"
TOO_LONG: Final = "a cell longer than any is"

ENCODINGS: Final = frozenset(("utf-8", "cp1252"))
ROWS: Final = 1_000_000

_NAMED = 12  # columns
_CELL = 32_767  # what a spreadsheet's cell holds
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\d\s().,/-]*$)")  # but not -3.5, nor +44 20 7946 0000, nor a lone dash


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what its cells say, trimmed, blank ones left out; or why it is refused."""

    where: str  # "row 14": as a spreadsheet counts, the header being row 1
    cells: Mapping[str, str]  # of a row refused for one cell too, so that it is known whose it is
    fault: str | None = None


def rows_of(
    body: bytes, *, columns: Sequence[str], encoding: str, delimiter: str, quote: str, unread: Collection[str] = ()
) -> Iterator[Row]:
    """A whole file -> its rows, blank ones left out. Raises `SourceContractBroken` when its form is not the one agreed.

    Columns may stand in another order than the manifest's; none may be missing, new or there twice. What stands in an
    `unread` one is not looked at: it comes into no record, and so decides about none.
    """
    lines = csv.reader(
        io.StringIO(decoded(body, encoding), newline=""),
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        strict=True,
    )
    header = [name.strip() for name in next(_sound(lines), [])]
    if not any(header):
        raise SourceContractBroken(NO_HEADER)
    if len(set(header)) < len(header):
        raise SourceContractBroken(TWO_ALIKE)
    if set(header) != set(columns):
        raise SourceContractBroken(f"{COLUMNS_DIFFER}: {_differ(header, columns)}")
    for number, cells in enumerate(_sound(lines), start=2):
        if number > ROWS:
            raise SourceContractBroken(TOO_MANY_ROWS)
        if any(cell and not cell.isspace() for cell in cells):
            yield _row(f"row {number}", header, cells, unread)


def _differ(header: Sequence[str], columns: Sequence[str]) -> str:
    """Which columns are missing, by the manifest's own names, and where others stand: a file's own words are not repeated."""
    missing = [name for name in columns if name not in header]
    others = [f"column {place}" for place, name in enumerate(header, start=1) if name not in columns]
    return "; ".join(f"{what}: {_some(names)}" for what, names in (("missing", missing), ("not known", others)) if names)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _sound(lines: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from lines
    except csv.Error:
        raise SourceContractBroken(NOT_CSV) from None


def _row(where: str, header: Sequence[str], cells: Sequence[str], unread: Collection[str]) -> Row:
    if len(cells) != len(header):
        return Row(where, {}, CELLS_DIFFER)
    read = {name: cell for name, cell in zip(header, cells, strict=True) if name not in unread}
    trimmed = {name: cell.strip() for name, cell in read.items()}
    return Row(
        where, {name: cell for name, cell in trimmed.items() if cell}, next(filter(None, map(fault_of, read.values())), None)
    )


def fault_of(cell: str) -> str | None:
    """A cell as it came -> why it is not taken; None: it is."""
    return unstorable(cell) or (FORMULA if _FORMULA.match(cell.lstrip(" ")) else None)


def unstorable(cell: str) -> str | None:
    """A cell, whoever wrote it -> why no store or answer can hold it; None: it can."""
    if "\x00" in cell:
        return NUL
    return TOO_LONG if len(cell) > _CELL else None
