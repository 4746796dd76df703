"""What a bundle's list or archive may hold and still only be refused, or waited for."""

import io
import zipfile
from pathlib import Path

import pytest

from gateway.adapter import SourceContractBroken
from gateway.connectors import archive, sql_bundle


@pytest.mark.parametrize("name", ["./rooms.csv", "rooms.csv/.", "x" * 300 + ".csv", "../rooms.csv"])
def test_a_list_that_names_no_plain_file_is_waited_for_and_stops_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "rooms.csv").write_text("id\n1\n", "utf-8")
    (tmp_path / "manifest.csv").write_text(f"file,rows,sha256\n{name},1,{'0' * 64}\n", "utf-8")
    assert sql_bundle.gather(tmp_path, "Europe/London") is None


@pytest.mark.parametrize("kind", [zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("place", [0.3, 0.5, 0.9])
def test_a_damaged_archive_is_refused_whatever_is_damaged(kind: int, place: float) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as made:
        made.writestr("rooms.csv", "id,name\n" + "".join(f"{number},room\n" for number in range(2000)))
    body = bytearray(packed.getvalue())
    at = int(len(body) * place)
    body[at : at + 8] = b"\xff" * 8
    with pytest.raises(SourceContractBroken):
        archive.unpacked(bytes(body))
