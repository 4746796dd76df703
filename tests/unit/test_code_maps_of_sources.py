"""A source's own folder of code maps: read at start for that source alone, and refused at start where it cannot be used."""

from pathlib import Path
from typing import Any

import pytest

from gateway import app
from gateway.errors import StartupRefused
from gateway.mapping import MappingFaults
from gateway.settings import Settings

HEADER = "source,source_display,target_system,target,target_display,equivalence,note,approved_by,on"
ROW = "C1,C1 Neglect,urn:x,NEG,Neglect,equivalent,,Data team,2026-11-21"
OWN = f"# title: Letters of one authority\n# licence: its own\n{HEADER}\n{ROW}\n"


def settings(**options: Any) -> Settings:
    source = {"adapter": "local_authority", "custodian": "gss:E08999901", "agreement": "a", "title": "t", "options": options}
    return Settings(
        pds={"base_url": "https://pds.example", "ods": "X99990"}, sources={"lists": source, "other": {**source, "options": {}}}
    )


def test_a_sources_own_code_map_is_for_that_source_alone_and_moves_the_hash_of_the_maps(tmp_path: Path):
    (tmp_path / "ofsted-abuse-category.csv").write_text(OWN, "utf-8")
    plain, own = app._maps(settings()), app._maps(settings(code_maps=str(tmp_path)))
    assert set(own.own_codes) == {"lists"}
    assert set(own.own_codes["lists"]["ofsted-abuse-category"].rows) == {"C1"}
    assert own.codes == plain.codes
    assert own.hash != plain.hash


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path):
    with pytest.raises(StartupRefused) as refused:
        app._maps(settings(code_maps=str(tmp_path / "none")))
    assert "sources.lists.options.code_maps" in str(refused.value)


def test_a_code_map_nobody_approved_stops_the_start(tmp_path: Path):
    (tmp_path / "ofsted-abuse-category.csv").write_text(OWN.replace("Data team,2026-11-21", ","), "utf-8")
    with pytest.raises(MappingFaults):
        app._maps(settings(code_maps=str(tmp_path)))
