"""A small synthetic clinic whose maps the tests of the language break on purpose."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.adapter import Claim, SourceRecord
from gateway.mapping import Context, Fault, MappingFaults, MapResult, Maps, load, map_record
from gateway.nhs_number import NhsNumber

MAPS = Path(__file__).parent / "maps"
WHEN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

Edit = tuple[str, str, str]  # file below the folder, old text, new text
Record = Callable[..., SourceRecord]


@pytest.fixture(scope="session")
def clinic() -> Maps:
    return load(MAPS)


@pytest.fixture
def faults(tmp_path: Path) -> Callable[..., list[Fault]]:
    """The faults that loading gives after these edits; fails when an edit changes nothing."""

    def load_edited(*edits: Edit) -> list[Fault]:
        with pytest.raises(MappingFaults) as caught:
            edited(tmp_path, *edits)
        return list(caught.value.faults)

    return load_edited


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Maps]:
    """The maps after these edits."""
    return lambda *edits: edited(tmp_path, *edits)


def edited(folder: Path, *edits: Edit) -> Maps:
    copy = folder / "maps"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(MAPS, copy)
    for name, old, new in edits:
        file = copy / name
        text = file.read_text("utf-8") if file.exists() else ""
        assert old in text
        file.write_text(text.replace(old, new, 1) if old else text + new, "utf-8")
    return load(copy)


@pytest.fixture
def context() -> Context:
    return Context(
        "clinic",
        lambda kind, key: f"p.clinic.{kind}-{key.replace('|', '-')}",
        "p" * 26,
        NhsNumber("9990000107"),
        WHEN,
        "ods:A99901",
    )


@pytest.fixture
def record() -> Record:
    def make(schema: str = "clinic-child-1", /, **data: Any) -> SourceRecord:
        return SourceRecord(schema, data, "row 1", WHEN, Claim(local_id="c1"))

    return make


@pytest.fixture
def mapped(clinic: Maps, context: Context, record: Record) -> Callable[..., MapResult]:
    """A record of the clinic, mapped and accounted for."""
    return lambda **data: map_record(clinic, "clinic", record(child_id="c1", **data), context, account=True)


@pytest.fixture
def finding() -> dict[str, Any]:
    return {"id": "f1", "allergy": "NUT", "state": "open", "kind": "allergy", "seen_on": "2024-03-14"}
