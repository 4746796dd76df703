"""Rows -> CSV, as `csv_rows` reads it: a header, one row each, every cell quoted; a cell that is a formula is refused."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from gateway.adapter import SourceContractBroken
from gateway.connectors.csv_rows import fault_of

NOT_DECLARED: Final = "a column that the manifest does not list"
NOT_PLAIN: Final = "a cell that is no single value"
NOT_ENCODED: Final = "a cell that this encoding cannot hold"


def csv_of(
    rows: Iterable[Mapping[str, Any]],
    *,
    columns: Sequence[str],
    encoding: str = "utf-8",
    delimiter: str = ",",
    end: str = "\r\n",
) -> bytes:
    """Rows -> a whole file with its header; absent is blank. Raises `SourceContractBroken`, with no value in it."""
    file = io.StringIO(newline="")
    lines = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    lines.writerow(columns)
    for row in rows:
        if not set(row) <= set(columns):
            raise SourceContractBroken(NOT_DECLARED)
        lines.writerow([_cell(row.get(name)) for name in columns])
    try:
        return file.getvalue().encode(encoding)
    except UnicodeEncodeError:
        raise SourceContractBroken(NOT_ENCODED) from None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | datetime):
        return value.isoformat()
    if not isinstance(value, str | int | Decimal):
        raise SourceContractBroken(NOT_PLAIN)
    word = str(value)
    fault = fault_of(word)
    if fault is not None:
        raise SourceContractBroken(fault)
    return word
