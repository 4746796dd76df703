"""Workbooks and archives: read as text, and refused whole when anything about them is not what a list is."""

import io
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

import openpyxl
import pytest

from gateway.adapter import SourceContractBroken
from gateway.connectors import archive, workbook

SAVED = datetime(2026, 11, 21, 2, tzinfo=UTC)


def book(*rows: list[object], sheets: int = 1) -> bytes:
    made = openpyxl.Workbook()
    for number in range(sheets):
        sheet = made.active if number == 0 else made.create_sheet()
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def changed(body: bytes, change: Callable[[str, bytes], bytes | None], *more: tuple[str, bytes]) -> bytes:
    """A workbook with its parts changed, dropped or more of them."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            part = change(info.filename, old.read(info))
            if part is not None:
                new.writestr(info.filename, part)
        for name, part in more:
            new.writestr(name, part)
    return out.getvalue()


def kept(_: str, part: bytes) -> bytes:
    return part


def read(body: bytes) -> workbook.Workbook:
    return workbook.read(body, archive.unpacked(body))


def reason(body: bytes) -> str:
    with pytest.raises(SourceContractBroken) as refused:
        read(body)
    return refused.value.reason


def test_cells_are_text_as_csv_would_write_them():
    row = ["  a ", 3, 2.0, 2.5, True, date(2026, 3, 6), datetime(2026, 3, 6), datetime(2026, 3, 6, 9, 30), time(9, 30), None, ""]
    (sheet,) = read(book(["x"], [*row, timedelta(hours=1)], [None])).sheets
    assert sheet.rows[0] == (1, ["x"])
    number, cells = sheet.rows[1]
    assert number == 2
    assert list(cells)[:11] == [
        "a",
        "3",
        "2",
        "2.5",
        "true",
        "2026-03-06",
        "2026-03-06",
        "2026-03-06T09:30:00",
        "09:30:00",
        None,
        None,
    ]
    assert len(sheet.rows) == 2


def test_a_workbook_says_when_it_was_saved():
    body = changed(
        book(["x"]),
        lambda name, part: re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>2026-11-21T02:00:00Z", part),
    )
    assert read(body).saved == SAVED


def test_a_formula_is_never_computed():
    (sheet,) = read(book(["x"], ["=1+1"])).sheets
    assert [cells for _, cells in sheet.rows] == [["x"]]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("xl/vbaProject.bin", b"macro"),
        ("xl/embeddings/oleObject1.bin", b"object"),
        ("xl/activeX/run.exe", b"MZ"),
    ],
)
def test_a_workbook_with_anything_that_runs_is_refused(name: str, part: bytes):
    assert reason(changed(book(["x"]), kept, (name, part))) == workbook.MACROS


def test_a_workbook_that_leads_to_other_files_is_refused():
    assert reason(changed(book(["x"]), kept, ("xl/externalLinks/externalLink1.xml", b"<x/>"))) == workbook.LINKED


@pytest.mark.parametrize(
    "declared",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd">',
    ],
)
def test_a_workbook_with_a_document_type_or_entities_is_refused(declared: bytes):
    def change(name: str, part: bytes) -> bytes:
        return part.replace(b"<worksheet", declared + b"<worksheet", 1) if "sheet1" in name else part

    assert reason(changed(book(["x"]), change)) == workbook.DOCTYPE


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-7"])
def test_a_part_in_an_encoding_that_would_hide_a_document_type_is_refused(encoding: str):
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x><x/>'
    body = changed(book(["x"]), lambda name, part: text.encode(encoding) if "sheet1" in name else part)
    assert reason(body) in (workbook.OTHER_TEXT, workbook.DOCTYPE)


def test_a_workbook_that_unpacks_to_more_than_is_taken_is_refused_before_it_is_unpacked_whole():
    body = changed(book(["x"]), kept, ("xl/media/big.xml", b"\x20" * 30_000_000))
    assert len(body) < 100_000
    with pytest.raises(SourceContractBroken) as refused:
        archive.unpacked(body, cap_bytes=10_000_000)
    assert refused.value.reason == archive.TOO_MUCH


def test_an_archive_that_lies_about_its_sizes_is_refused():
    body = bytearray(book(["x"]))
    at = body.rfind(b"PK\x01\x02")
    body[at + 24 : at + 28] = (1).to_bytes(4, "little")  # the size the last entry says it has when unpacked
    with pytest.raises(SourceContractBroken):
        archive.unpacked(bytes(body))


def test_an_archive_of_too_many_files_is_refused():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for number in range(archive.MEMBERS + 1):
            made.writestr(str(number), b"")
    with pytest.raises(SourceContractBroken) as refused:
        archive.unpacked(out.getvalue())
    assert refused.value.reason == archive.TOO_MUCH


def test_an_archive_under_a_password_is_refused():
    body = bytearray(archive_of({"a.csv": b"x"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.find(mark) + offset] |= 1
    with pytest.raises(SourceContractBroken) as refused:
        archive.unpacked(bytes(body))
    assert refused.value.reason == archive.LOCKED


def test_a_sheet_whose_rows_or_columns_have_no_end_is_refused():
    def far(name: str, part: bytes) -> bytes:
        if "sheet1" not in name:
            return part
        cell = b'<row r="1048576"><c r="A1048576" t="inlineStr"><is><t>x</t></is></c></row>'
        return part.replace(b"</sheetData>", cell + b"</sheetData>")

    assert reason(changed(book(["x"]), far)) == workbook.TOO_LARGE
    assert reason(book(["x"] * (workbook.COLUMNS + 1))) == workbook.TOO_LARGE
    assert reason(book(["x"], sheets=workbook.SHEETS + 1)) == workbook.TOO_LARGE


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b'<row r="2">', b'<row r="-2">', "sheet 1: a row or cell that does not come after the one before it, after row 1"),
        (b'<row r="2">', b'<row r="0">', "sheet 1: a row or cell that does not come after the one before it, after row 1"),
        (b'<row r="2">', b'<row r="1">', "sheet 1: a row or cell that does not come after the one before it, after row 1"),
        (b'r="B2"', b'r="A2"', "sheet 1: a row or cell that does not come after the one before it, in row 2"),
        (b'r="B2"', b'r="B-2"', "sheet 1: a row or cell that does not come after the one before it, in row 2"),
        (b'r="B2"', b'r="B7"', "sheet 1: a row or cell that does not come after the one before it, in row 2"),
        (
            b"schemas.openxmlformats.org/spreadsheetml/2006",
            b"purl.oclc.org/ooxml/spreadsheetml",
            f"sheet 1: {workbook.OTHER_FORM}",
        ),
    ],
)
def test_a_row_or_cell_that_the_reader_would_pass_over_refuses_the_workbook_and_says_where(old: bytes, new: bytes, told: str):
    body = book(["x", "y"], ["a", "b"], ["c", "d"])
    told_by = changed(body, lambda name, part: part.replace(old, new) if "sheet1" in name else part)
    assert told_by != changed(body, kept)
    assert reason(told_by) == told


def test_rows_and_cells_that_name_no_place_follow_each_other():
    def bare(name: str, part: bytes) -> bytes:
        return re.sub(rb'(<(?:row|c)[^>]*?) r="[^"]*"', rb"\1", part) if "sheet1" in name else part

    (sheet,) = read(changed(book(["x", "y"], ["a", -3]), bare)).sheets
    assert [cells for _, cells in sheet.rows] == [["x", "y"], ["a", "-3"]]


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "[Content_Types].xml"])
def test_a_workbook_with_a_broken_part_is_refused_and_nothing_of_it_is_told(part: str):
    assert (
        reason(changed(book(["x"]), lambda name, body: b"<broken 9990000107" if name == part else body)) == workbook.NOT_WORKBOOK
    )


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml"])
def test_a_workbook_without_a_part_it_needs_is_refused(part: str):
    assert reason(changed(book(["x"]), lambda name, body: None if name == part else body)) == workbook.NOT_WORKBOOK


@pytest.mark.parametrize("cut", [0.2, 0.6, 0.98])
def test_half_an_archive_is_refused(cut: float):
    body = book(["x"])
    with pytest.raises(SourceContractBroken) as refused:
        archive.unpacked(body[: int(len(body) * cut)])
    assert refused.value.reason == archive.NOT_ZIP


def archive_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, body in files.items():
            made.writestr(name, body)
    return out.getvalue()
