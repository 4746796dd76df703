"""What a delivered record looks like as a file: JSON, XML, CSV, or a child health message in either form.

suffix = "json"                    # the record as it is
suffix = "xml", root = "Referral"  # names are elements; order is that of the field dictionary
suffix = "csv", columns = [...]    # one row under its header
suffix = "xml", message = true     # an STU3 message Bundle; "json" too
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.adapter import SourceContractBroken, Tree
from gateway.connectors.csv_writer import csv_of
from gateway.connectors.message_writer import message_of, message_xml
from gateway.connectors.xml_writer import xml_of
from gateway.errors import StartupRefused

SUFFIXES: Final = ("json", "xml", "csv")
NOT_A_ROW: Final = "not one row of plain values"

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def form_of(where: str, options: Mapping[str, Any]) -> Callable[[Tree], bytes]:
    """A delivery's options -> what writes its records. Raises `StartupRefused` naming what to mend."""
    suffix, own = options.get("suffix"), set(options) - {"suffix"}
    if suffix not in SUFFIXES:
        raise StartupRefused(f"{where}: a delivery as a file has a suffix: {', '.join(SUFFIXES)}")
    if own == {"message"} and options["message"] is True and suffix != "csv":
        return message_xml if suffix == "xml" else lambda record: _encode(message_of(record))
    if suffix == "json" and not own:
        return _encode
    if suffix == "xml" and own == {"root"} and isinstance(options["root"], str):
        root = options["root"]
        return lambda record: xml_of(record, root=root)
    if suffix == "csv" and own == {"columns"} and isinstance(options["columns"], list):
        columns = [str(name) for name in options["columns"]]
        return lambda record: csv_of([_row(record)], columns=columns)
    raise StartupRefused(f"{where}: with suffix {suffix} goes message = true (not csv), root (xml) or columns (csv)")


def _row(record: Tree) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise SourceContractBroken(NOT_A_ROW)
    return record
