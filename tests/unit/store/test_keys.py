"""Secret keys: separate, private, marked, and with room for those they replaced."""

import base64
import hmac
import json
import os
import re
from pathlib import Path

import pytest
from store_world import CHILD, OTHER

from gateway.errors import StartupRefused
from gateway.store import Keys, NotOpened
from gateway.store.keys import USES


def rotate(folder: Path, use: str) -> None:
    path = folder / f"{use}.json"
    file = json.loads(path.read_text())
    other = Keys.create_sandbox(folder.parent / f"other-{use}")
    assert repr(other) == "Keys(**********)"
    new = json.loads((folder.parent / f"other-{use}" / f"{use}.json").read_text())
    file["previous"], file["current"] = [file["current"]], new["current"]
    path.write_text(json.dumps(file))


def test_every_use_has_its_own_key_in_a_file_nobody_else_reads(tmp_path: Path) -> None:
    Keys.create_sandbox(tmp_path / "keys")
    files = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "keys").iterdir()}
    assert set(files) == set(USES)
    assert len({file["current"]["key"] for file in files.values()}) == len(USES)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_making_keys_again_keeps_those_that_are_there(tmp_path: Path) -> None:
    first = Keys.create_sandbox(tmp_path)
    assert Keys.create_sandbox(tmp_path).number_key(CHILD) == first.number_key(CHILD)


def test_live_mode_refuses_sandbox_keys_and_takes_live_ones(tmp_path: Path) -> None:
    Keys.create_sandbox(tmp_path / "sandbox")
    with pytest.raises(StartupRefused, match="sandbox keys"):
        Keys.load(tmp_path / "sandbox", mode="live")
    Keys.create(tmp_path / "live")
    Keys.load(tmp_path / "live", mode="live")


def test_live_keys_do_not_serve_what_was_left_in_sandbox_mode(tmp_path: Path) -> None:
    Keys.create(tmp_path)
    with pytest.raises(StartupRefused, match="Set GATEWAY_MODE=live"):
        Keys.load(tmp_path, mode="sandbox")


def test_one_sandbox_key_among_live_ones_is_refused(tmp_path: Path) -> None:
    Keys.create(tmp_path / "live")
    Keys.create_sandbox(tmp_path / "sandbox")
    os.replace(tmp_path / "sandbox" / "cursor.json", tmp_path / "live" / "cursor.json")
    with pytest.raises(StartupRefused, match="sandbox keys"):
        Keys.load(tmp_path / "live", mode="live")


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Keys.create_sandbox(tmp_path)
    (tmp_path / "cursor.json").chmod(0o640)
    with pytest.raises(StartupRefused, match=re.escape("chmod 600")):
        Keys.load(tmp_path, mode="sandbox")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"use": "cursor", "current": {"id": "00000000", "key": "AAAA"}, "previous": []}']
)
def test_a_broken_or_missing_key_file_is_refused_by_name_and_never_quoted(tmp_path: Path, text: str) -> None:
    Keys.create_sandbox(tmp_path)
    (tmp_path / "cursor.json").write_text(text)
    with pytest.raises(StartupRefused, match=re.escape("cursor.json is not a key file")):
        Keys.load(tmp_path, mode="sandbox")
    (tmp_path / "cursor.json").unlink()
    with pytest.raises(StartupRefused, match=re.escape("cursor.json is missing")):
        Keys.load(tmp_path, mode="sandbox")


def test_a_key_file_of_another_use_is_refused(tmp_path: Path) -> None:
    Keys.create_sandbox(tmp_path)
    (tmp_path / "cursor.json").write_bytes((tmp_path / "shelf-sealing.json").read_bytes())
    with pytest.raises(StartupRefused):
        Keys.load(tmp_path, mode="sandbox")


def test_the_store_and_the_log_know_a_person_by_different_hashes(keys: Keys) -> None:
    assert keys.number_key(CHILD) != keys.audit_person(CHILD)
    assert keys.number_key(CHILD) != keys.number_key(OTHER)
    assert CHILD.value.encode() not in keys.number_key(CHILD)
    assert keys.word_key("a", "b", "c") != keys.word_key("a", "bc")


def test_a_resource_id_ends_in_letters_of_an_hmac(keys: Keys, tmp_path: Path) -> None:
    file = json.loads((tmp_path / "keys" / "resource-id.json").read_bytes())
    mint = keys.resource_ids("a" * 26, "leeds-chis", "child-health")
    for number in range(50):
        text = "\0".join(("a" * 26, "leeds-chis", "Observation", str(number))).encode()
        digest = hmac.digest(base64.b64decode(file["current"]["key"]), text, "sha256")
        letters = "".join("abcdefghijklmnopqrstuvwxyz234567"[byte & 31] for byte in digest[:20])
        assert mint("Observation", str(number)) == f"{'a' * 26}.child-health.{letters}"


def test_a_resource_id_is_stable_fits_fhir_and_tells_nothing_of_another_persons(keys: Keys) -> None:
    person, other = "a" * 26, "b" * 26
    one = keys.resource_ids(person, "leeds-chis", "child-health")("Immunization", "77")
    assert one == keys.resource_ids(person, "leeds-chis", "child-health")("Immunization", "77")
    assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", one)
    assert re.fullmatch(r"a{26}\.child-health\.[a-z2-7]{20}", one)
    ends = {
        keys.resource_ids(who, source, "gp")(kind, key).rsplit(".", 1)[1]
        for kind in ("Immunization", "Observation")
        for key in ("77", "78")
        for who in (person, other)
        for source in ("gp", "child-health")
    }
    assert len(ends) == 16


def test_a_sealed_value_opens_only_beside_its_own_columns(keys: Keys) -> None:
    sealed = keys.seal("shelf-sealing", b"text", b"a", b"bc")
    assert keys.open("shelf-sealing", sealed, b"a", b"bc") == b"text"
    assert b"text" not in sealed
    for wrong in ((b"ab", b"c"), (b"a",), ()):
        with pytest.raises(NotOpened):
            keys.open("shelf-sealing", sealed, *wrong)
    with pytest.raises(NotOpened):
        keys.open("number-sealing", sealed, b"a", b"bc")
    for broken in (b"", sealed[:10], sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(NotOpened):
            keys.open("shelf-sealing", broken, b"a", b"bc")


def test_a_cursor_opens_only_whole_and_for_whom_it_was_made(keys: Keys) -> None:
    text = keys.seal_cursor(b"next", b"caller")
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert keys.open_cursor(text, b"caller") == b"next"
    for wrong, aad in ((text, b"other"), (text[:-2], b"caller"), ("", b"caller"), ("!!", b"caller"), ("\u00e9", b"caller")):
        with pytest.raises(NotOpened):
            keys.open_cursor(wrong, aad)


def test_what_an_older_key_sealed_or_signed_still_opens_and_verifies_after_rotation(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    before = Keys.create_sandbox(folder)
    sealed, cursor = before.seal("number-sealing", b"n", b"row"), before.seal_cursor(b"c", b"")
    signature = before.receipt_signing.private.sign(b"receipt")
    for use in ("number-sealing", "cursor", "receipt-signing"):
        rotate(folder, use)
    after = Keys.load(folder, mode="sandbox")
    assert after.open("number-sealing", sealed, b"row") == b"n"
    assert after.open_cursor(cursor, b"") == b"c"
    assert after.seal("number-sealing", b"n", b"row")[:4] != sealed[:4]
    assert after.receipt_signing.id != before.receipt_signing.id
    after.receipt_signing.public()[before.receipt_signing.id].verify(signature, b"receipt")


def test_keys_and_signing_keys_print_nothing(keys: Keys) -> None:
    assert repr(keys) == "Keys(**********)"
    assert "0x" in repr(keys.token_signing) or "object" in repr(keys.token_signing)
    assert keys.token_signing.id not in repr(keys.token_signing)
