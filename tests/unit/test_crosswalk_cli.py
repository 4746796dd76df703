"""`gateway crosswalk import`: good rows go in, every other is told by file, line and reason, and is somebody's task."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.adapter import Arrival, Claim, SourceRecord
from gateway.cli import main
from gateway.flows.shelving import shelved
from gateway.matching import NOT_VALID
from gateway.nhs_number import NhsNumber
from gateway.ports import WORK_KINDS, Entry, LogQuestion, ShelfRow
from gateway.store import Keys, Store, open_store

AMARA, BEN = "9990000107", "9990001111"
RITA = ("--moved-by", "sds|200")
ALIKE = "an id in characters that look like others: it may be another id's"
HEADER = "local_id,nhs_number,birth_date,verified_on,verified_by\n"
Import = Callable[..., Result]


@pytest.fixture
def import_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    (tmp_path / "gateway.toml").write_text(
        f"""[pds]
base_url = "http://127.0.0.1:9"
ods = "X99990"
[sources.authority]
adapter = "local_authority"
custodian = "gss:E08999901"
agreement = "northshire"
title = "Council"
steward = "northshire records"
options = {{ drop = "{tmp_path}/drop" }}
""",
        "utf-8",
    )
    for name, value in {"CONFIG": tmp_path / "gateway.toml", "VAR": tmp_path, "KEYS": tmp_path / "keys"}.items():
        monkeypatch.setenv(f"GATEWAY_{name}", str(value))
    monkeypatch.delenv("GATEWAY_DATABASE_URL", raising=False)
    Keys.create_sandbox(tmp_path / "keys")

    def run(*rows: str, name: str = "matches.csv", options: tuple[str, ...] = ()) -> Result:
        file = tmp_path / name
        file.write_text(HEADER + "".join(f"{row}\n" for row in rows), "utf-8")
        done = CliRunner().invoke(main, ["crosswalk", "import", str(file), "--source", "authority", *options])
        assert AMARA not in done.output
        assert BEN not in done.output
        return done

    return run


def held(tmp_path: Path, *local_ids: str) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Local id -> number of those that are linked, and the work list."""

    async def inside() -> tuple[dict[str, str], list[tuple[str, str, str]]]:
        url = f"sqlite:///{tmp_path / 'gateway.db'}"
        store: Store = await open_store(url, Keys.load(tmp_path / "keys", mode="sandbox"), name="test", serve=False)
        try:
            found = {local_id: await store.crosswalk.number_of("authority", local_id) for local_id in local_ids}
            items = sorted((item.kind, item.reason, item.owner) for item in await store.work.list())
            return {local_id: number.value for local_id, number in found.items() if number is not None}, items
        finally:
            await store.close()

    return asyncio.run(inside())


def take(tmp_path: Path, *, by: str) -> str:
    """The one open item, taken -> where its owner finds the record."""

    async def inside() -> str:
        url = f"sqlite:///{tmp_path / 'gateway.db'}"
        store = await open_store(url, Keys.load(tmp_path / "keys", mode="sandbox"), name="test", serve=False)
        try:
            (item,) = await store.work.list()
            subject = await store.work.take(item.id, by=by, at=datetime.now(UTC))
            assert subject is not None
            return subject.local_ref
        finally:
            await store.close()

    return asyncio.run(inside())


def settled(tmp_path: Path) -> list[tuple[str, str, str]]:
    """Kind, outcome and who it was, of each item closed, as the log has it."""

    async def inside() -> list[tuple[str, str, str]]:
        url = f"sqlite:///{tmp_path / 'gateway.db'}"
        store = await open_store(url, Keys.load(tmp_path / "keys", mode="sandbox"), name="test", serve=False)
        try:
            await store.log.sequence()
            bodies = [event.body for event in await store.log.ask(LogQuestion(kind="administration"))]
            done = [(body["detail"], body["staff"]) for body in bodies if body["detail"]["act"] == "work-closed"]
            return [(detail["kind"], detail["outcome"], name) for detail, name in done]
        finally:
            await store.close()

    return asyncio.run(inside())


def test_good_rows_go_in_and_the_same_file_again_changes_nothing(import_: Import, tmp_path: Path) -> None:
    rows = (f"LA-1,{AMARA},2024-03-14,2026-06-01,matching team", f"LA-2,{BEN},,,", f"LA-2,{BEN},,,")
    done = import_(*rows)
    assert (done.exit_code, done.stdout) == (
        0,
        "3 rows of matches.csv: 2 linked, 1 unchanged, 0 refused. Nothing new on the work list.\n",
    )
    again = import_(*rows)
    assert (again.exit_code, again.stdout.split(".csv: ")[1][:34]) == (0, "0 linked, 3 unchanged, 0 refused. ")
    assert held(tmp_path, "LA-1", "LA-2") == ({"LA-1": AMARA, "LA-2": BEN}, [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f",{AMARA},,,", "no local id"),
        ("LA-9,9990000108,,,", NOT_VALID),
        ("LA-9,,,,", "no NHS number"),
        (f"LA-9,{AMARA},14/03/2024,,", "a birth date that is none"),
        (f"LA-9,{AMARA},,1 June,", "a day of verification that is none, or is to come"),
        (f"LA-9,{AMARA},,2999-01-01,", "a day of verification that is none, or is to come"),
        (f"LA\0-9,{AMARA},,,", "a character that is not printed"),
        (f"LA\x1b[2J9,{AMARA},,,", "a character that is not printed"),
        (f"LA\u200b-9,{AMARA},,,", "a character that is not printed"),
        (f'"LA-9\nLA-8",{AMARA},,,', "a character that is not printed"),
        (f"LA-9,{AMARA},,,somebody\x07", "a character that is not printed"),
        (f"LA-9,{AMARA},,,,more", "another number of columns than the header"),
        (f"LA-9,{AMARA}", "another number of columns than the header"),
        (f"{'9' * 300},{AMARA},,,", "another number of columns than the header"),
        (f"\uff2c\uff21-1,{AMARA},,,", ALIKE),  # LA-1 in full-width letters
        (f"LA-\u2460,{AMARA},,,", ALIKE),
        ("LA-9,\uff19990000107,,,", ALIKE),
    ],
)
def test_a_row_that_cannot_be_used_is_told_by_its_line_and_the_others_go_in(
    import_: Import, tmp_path: Path, row: str, reason: str
) -> None:
    done = import_(f"LA-1,{AMARA},,,", row, f"LA-2,{BEN},,,")
    line = 4 if "\n" in row else 3
    assert (done.exit_code, done.stderr) == (1, f"matches.csv, line {line}: {reason}\n")
    assert "3 rows of matches.csv: 2 linked, 0 unchanged, 1 refused. Opened on the work list: 1 bad-row." in done.stdout
    assert held(tmp_path, "LA-1", "LA-2", "LA-9", "LA\0-9") == (
        {"LA-1": AMARA, "LA-2": BEN},
        [("bad-row", reason, "northshire records")],
    )


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (f"LA-1,{BEN},2024-03-14,,", "one local id with two NHS numbers"),
        (f"LA-1,{AMARA},2024-03-15,,", "one local id with two birth dates"),
    ],
)
def test_of_an_id_that_the_file_says_two_things_of_nothing_is_believed(
    import_: Import, tmp_path: Path, second: str, reason: str
) -> None:
    done = import_(f"LA-1,{AMARA},2024-03-14,,", second, f"LA-2,{BEN},,,")
    assert (done.exit_code, done.stderr) == (1, f"matches.csv, line 2: {reason}\nmatches.csv, line 3: {reason}\n")
    assert "1 linked, 0 unchanged, 2 refused. Opened on the work list: 1 bad-row." in done.stdout
    assert held(tmp_path, "LA-1", "LA-2") == ({"LA-2": BEN}, [("bad-row", reason, "northshire records")])


def test_an_id_verified_for_another_number_stays_until_somebody_says_by_name_that_it_moves(
    import_: Import, tmp_path: Path
) -> None:
    import_(f"LA-1,{AMARA},,,")
    done = import_(f"LA-1,{BEN},,,", name="moved.csv")
    assert (done.exit_code, done.stderr) == (1, "moved.csv, line 2: the local id is verified for another NHS number\n")
    assert held(tmp_path, "LA-1") == (
        {"LA-1": AMARA},
        [("match", "the local id is verified for another NHS number", "northshire records")],
    )
    again = import_(f"LA-1,{BEN},,,", name="moved.csv")
    assert "Nothing new on the work list." in again.stdout, "one task for it, however often it comes"
    moved = import_(f"LA-1,{BEN},,,", options=RITA)
    assert (moved.exit_code, moved.stdout.splitlines()[1:]) == (0, ["Settled on the work list: 1 match."])
    assert held(tmp_path, "LA-1") == ({"LA-1": BEN}, []), "the decision settles the task that asked for it"
    assert settled(tmp_path) == [("match", "linked", "sds|200")], "by name, in the log"


def born(tmp_path: Path, number: str) -> list[tuple[str, str]]:
    """Each local id of a person with the birth date that was recorded at matching."""

    async def inside() -> list[tuple[str, str]]:
        url = f"sqlite:///{tmp_path / 'gateway.db'}"
        store = await open_store(url, Keys.load(tmp_path / "keys", mode="sandbox"), name="test", serve=False)
        try:
            return [(local_id, str(day)) for local_id, day in await store.crosswalk.local_ids("authority", NhsNumber(number))]
        finally:
            await store.close()

    return asyncio.run(inside())


def test_a_row_without_a_birth_date_takes_none_away_and_one_with_a_first_gives_it(import_: Import, tmp_path: Path) -> None:
    import_(f"LA-1,{AMARA},2024-03-14,,", f"LA-2,{BEN},,,")
    done = import_(f"LA-1,{AMARA},,,", f"LA-2,{BEN},2024-05-05,,")
    assert (done.exit_code, done.stdout.split(".csv: ")[1][:34]) == (0, "1 linked, 1 unchanged, 0 refused. ")
    assert (born(tmp_path, AMARA), born(tmp_path, BEN)) == ([("LA-1", "2024-03-14")], [("LA-2", "2024-05-05")])


def test_another_birth_date_of_a_verified_link_is_a_contradiction_until_somebody_decides_by_name(
    import_: Import, tmp_path: Path
) -> None:
    import_(f"LA-1,{AMARA},2024-03-14,,")
    done = import_(f"LA-1,{AMARA},2001-01-01,,", f"LA-2,{BEN},,,")
    reason = "the local id is verified with another birth date"
    assert (done.exit_code, done.stderr) == (1, f"matches.csv, line 2: {reason}\n")
    assert "1 linked, 0 unchanged, 1 refused. Opened on the work list: 1 match." in done.stdout
    assert born(tmp_path, AMARA) == [("LA-1", "2024-03-14")]
    assert held(tmp_path)[1] == [("match", reason, "northshire records")]
    decided = import_(f"LA-1,{AMARA},2024-03-15,,", options=RITA)
    assert (decided.exit_code, decided.stdout.splitlines()[1:]) == (0, ["Settled on the work list: 1 match."])
    assert (born(tmp_path, AMARA), held(tmp_path)[1]) == ([("LA-1", "2024-03-15")], [])
    assert settled(tmp_path) == [("match", "linked", "sds|200")]


@pytest.mark.parametrize("nobody", ["", " ", "Rita Records", "sds|\u00a0\t", "sds|2\x1b[2J", "sds|\u200b"])
def test_nobody_decides_nothing(import_: Import, tmp_path: Path, nobody: str) -> None:
    import_(f"LA-1,{AMARA},,,")
    done = import_(f"LA-1,{BEN},,,", options=("--moved-by", nobody))
    assert (done.exit_code, "write SYSTEM|ID" in done.stderr) == (2, True)
    assert held(tmp_path, "LA-1") == ({"LA-1": AMARA}, [])


@pytest.mark.parametrize("command", [["crosswalk", "import"], ["identity", "import"]])
@pytest.mark.parametrize("again", ["nhs_number", " NHS_Number"])
def test_a_header_with_two_columns_of_one_name_is_refused(
    import_: Import, tmp_path: Path, command: list[str], again: str
) -> None:
    import_(f"LA-9,{AMARA},,,")  # the database is made by its first import
    file = tmp_path / "two.csv"
    file.write_text(f"local_id,nhs_number,birth_date,{again}\nLA-1,{AMARA},2024-03-14,{BEN}\n", "utf-8")
    done = CliRunner().invoke(main, [*command, str(file), "--source", "authority"])
    assert (done.exit_code, done.stderr) == (1, "gateway: two.csv: the header has two columns of one name\n")
    assert held(tmp_path, "LA-1") == ({}, [])


def test_a_task_that_somebody_else_has_taken_stays_theirs_and_the_same_move_by_them_settles_it(
    import_: Import, tmp_path: Path
) -> None:
    import_(f"LA-1,{AMARA},,,")
    import_(f"LA-1,{BEN},,,")
    take(tmp_path, by="sds|201")
    assert "Settled" not in import_(f"LA-1,{BEN},,,", options=RITA).stdout
    assert [kind for kind, _, _ in held(tmp_path)[1]] == ["match"]
    again = import_(f"LA-1,{BEN},,,", options=("--moved-by", "sds|201"))
    assert again.stdout.splitlines() == [
        "1 rows of matches.csv: 0 linked, 1 unchanged, 0 refused. Nothing new on the work list.",
        "Settled on the work list: 1 match.",
    ]
    assert settled(tmp_path) == [("match", "linked", "sds|201")]


def test_a_move_onto_somebody_whom_another_id_has_opens_held_twice_also_where_the_id_was_held_twice_before(
    import_: Import, tmp_path: Path
) -> None:
    import_(f"LA-1,{AMARA},,,", f"LA-2,{AMARA},,,", f"LA-9,{BEN},,,")
    assert [kind for kind, _, _ in held(tmp_path)[1]] == ["held-twice"] * 2
    moved = import_(f"LA-1,{BEN},,,", options=RITA)
    assert moved.stdout.splitlines() == [
        "1 rows of matches.csv: 1 linked, 0 unchanged, 0 refused. Opened on the work list: 1 held-twice.",
        "Settled on the work list: 2 held-twice.",  # of each of the two that are two people's now
    ]
    assert [kind for kind, _, _ in held(tmp_path)[1]] == ["held-twice"]
    assert take(tmp_path, by="sds|200") == "LA-1"
    assert settled(tmp_path) == [("held-twice", "not-the-same-person", "sds|200")] * 2


def test_one_person_under_two_ids_is_linked_by_both_and_somebody_is_told(import_: Import, tmp_path: Path) -> None:
    done = import_(f"LA-1,{AMARA},,,", f"LA-2,{AMARA},,,")
    assert done.exit_code == 0
    linked, items = held(tmp_path, "LA-1", "LA-2")
    assert linked == {"LA-1": AMARA, "LA-2": AMARA}
    assert [item[0] for item in items] == ["held-twice"] * 2


def test_a_work_list_on_which_nothing_fits_says_how_many_items_there_are_and_whose_they_are(
    import_: Import,
) -> None:
    def said(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["identity", "worklist", *options])
        return done.exit_code, done.output

    assert said() == (0, "Nothing is on the work list.\n")
    assert said("--owner", "nobody") == (0, "Nothing is on the work list.\n")
    import_(f"LA-1,{AMARA},,,", f"LA-2,{AMARA},,,", f",{AMARA},,,")
    assert said("--owner", "northshire records")[1].count("\n") == 3
    assert said("--owner", "nobody") == (
        0,
        "Nothing open is of this owner; 3 items in all are open. Their owners: northshire records (3).\n",
    )
    assert said("--kind", "drift", "--source", "authority") == (
        0,
        "Nothing open is of this source and this kind; 3 items in all are open. "
        "Their sources: authority (3); kinds: bad-row (1), held-twice (2).\n",
    )
    assert said("--closed") == (0, "Nothing was settled yet.\n")
    code, refused = said("--kind", "no-such-kind")
    assert (code, refused) == (2, f"gateway: --kind is one of {', '.join(WORK_KINDS)}\n")


def deliver(tmp_path: Path, **locks: str) -> None:
    """The authority's delivery of an hour ago: each local id with the lock it came with."""

    async def inside() -> None:
        keys = Keys.load(tmp_path / "keys", mode="sandbox")
        store = await open_store(f"sqlite:///{tmp_path / 'gateway.db'}", keys, name="test", serve=False)
        at = datetime.now(UTC) - timedelta(hours=1)
        rows = []
        for local_id, lock in locks.items():
            about = Claim(local_id=local_id)
            record = SourceRecord("dfe-cin-child", {}, "Child 1", at, about)
            body = shelved(Arrival("cin", local_id, "gss:E08999901", at, about, record, protected=frozenset({lock} - {""})))
            rows.append(ShelfRow("authority", "gss:E08999901", "cin", local_id, local_id, at, body, at + timedelta(days=9)))
        await store.shelf.replace("authority", rows, at, Entry("intake", at, "success", None))
        await store.close()

    asyncio.run(inside())


def locked(tmp_path: Path, *numbers: str) -> list[frozenset[str]]:
    async def inside() -> list[frozenset[str]]:
        keys, at = Keys.load(tmp_path / "keys", mode="sandbox"), datetime.now(UTC)
        store = await open_store(f"sqlite:///{tmp_path / 'gateway.db'}", keys, name="test", serve=False)
        try:
            return [
                (
                    await store.facts.read(NhsNumber(one), organisation="o", staff="s", case_reference=None, client="c", at=at)
                ).locks
                for one in numbers
            ]
        finally:
            await store.close()

    return asyncio.run(inside())


def test_whom_a_delivery_locks_is_protected_from_the_import_on_and_whom_it_does_not_list_is_not_and_the_command_says_so(
    import_: Import, tmp_path: Path
) -> None:
    deliver(tmp_path, **{"LA-1": "refuge", "LA-3": ""})
    done = import_(f"LA-1,{AMARA},,,", f"LA-2,{BEN},,,")
    assert done.stdout.splitlines()[1:] == ["1 of those linked are protected, by a lock that authority has delivered."]
    assert locked(tmp_path, AMARA, BEN) == [{"refuge"}, frozenset()]


def test_a_file_that_is_none_and_a_source_that_is_none_are_one_clear_line(import_: Import, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", "utf-8")
    (tmp_path / "semicolons.csv").write_text(f"local_id;nhs_number\nLA-1;{AMARA}\n", "utf-8")
    (tmp_path / "latin.csv").write_bytes(b"local_id,nhs_number\n\xe9,1\n")
    (tmp_path / "folder.csv").mkdir()
    lacks, separated = "the header lacks local_id, nhs_number", ": its columns are separated by semicolons, and"
    for file, source, said in (
        ("other.csv", "authority", lacks + "\n"),
        ("semicolons.csv", "authority", lacks + separated),
        ("absent.csv", "authority", "absent.csv: there is no such file"),
        ("folder.csv", "authority", "folder.csv: is a folder, not a file"),
        ("latin.csv", "authority", "latin.csv: cannot be read as CSV in UTF-8"),
        ("other.csv", "nobody", "no source of this name is set"),
    ):
        done = CliRunner().invoke(main, ["crosswalk", "import", str(tmp_path / file), "--source", source])
        assert done.exit_code == 1
        assert said in done.stderr
        assert AMARA not in done.output
    for file, said in (
        ("absent.csv", "there is no such file"),
        ("semicolons.csv", f"the header lacks local_id, birth_date{separated}"),
    ):
        done = CliRunner().invoke(main, ["identity", "import", str(tmp_path / file), "--source", "authority"])
        assert (done.exit_code, said in done.stderr) == (1, True)
    for command in ("relationship", "consent"):
        done = CliRunner().invoke(main, [command, "import", str(tmp_path / "absent.csv")])
        assert (done.exit_code, done.stderr) == (1, "gateway: absent.csv: there is no such file\n")


@pytest.mark.parametrize("staff", ["Olive Officer", "sds|", "|1", "sds|1|2"])
def test_a_relationship_of_staff_whom_no_token_can_name_refuses_the_file_and_nothing_of_it_is_in(
    import_: Import, tmp_path: Path, staff: str
) -> None:
    header = "kind,nhs_number,organisation,staff,case_reference,starts,ends"

    def run(*rows: str) -> Result:
        (tmp_path / "who.csv").write_text("\n".join((header, *rows)) + "\n", "utf-8")
        return CliRunner().invoke(main, ["relationship", "import", str(tmp_path / "who.csv")])

    good, bad = (f"allocated-worker,{AMARA},gss:E08999901,{who},CASE-1,2026-01-01," for who in ("sds|1", staff))
    refused = run(good, bad)
    assert (refused.exit_code, refused.stderr.startswith("gateway: who.csv, line 3: staff: write SYSTEM|ID")) == (1, True)
    assert "Olive" not in refused.output
    ending = ["relationship", "end", "allocated-worker", "--organisation", "gss:E08999901"]
    assert CliRunner().invoke(main, ending, input=AMARA).stdout == "0 relationships ended.\n"
    assert run(good).stdout == "1 relationships are recorded.\n"
    assert CliRunner().invoke(main, ending, input=AMARA).stdout == "1 relationships ended.\n"
