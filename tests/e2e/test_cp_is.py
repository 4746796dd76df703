"""CP-IS over the whole place: a plan seen at an unscheduled visit, the authority told in seconds, and what is never said."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from whole_place import World, eventually, resources, shape, states

from sandbox import authority_plans
from sandbox.authority_plans import COLUMNS, DUTY, OFFICE, REASON, _row
from sandbox.demo import GP, VISITOR, WORKER, Asker
from sandbox.families import BY_KEY, UNKNOWN
from sandbox.folders import put

UNSCHEDULED, SCHEDULED = {"gateway-access-event": "unscheduled"}, {"gateway-access-event": "scheduled"}
CPP, LAC, UNBORN = "342191000000101", "764841000000100", "818901000000100"
DOCTOR = Asker(
    "northgate-ed",
    "ods:RXX98",
    "Eve Winter",
    "100000000021",
    "urn:shared-care-gateway:CodeSystem:role|unscheduled-care",
    "ETREAT",
)


@pytest.fixture(scope="module")
def clinician(world: World) -> Asker:
    """Of an emergency department that knows none of these people."""
    return world.register(DOCTOR, DOCTOR.client, "system/*.rs")


def plans(world: World, asker: Asker, key: str, said: dict[str, str] = UNSCHEDULED) -> list[dict[str, Any]]:
    """The flags that CP-IS gives of a person."""
    found = resources(world.search(asker, "Flag", BY_KEY[key].nhs_number, **said), "Flag")
    return [one for one in found if one["id"].split(".")[1] == "cp-is"]


def told(world: World, key: str) -> list[dict[str, Any]]:
    """What the authority was told of looks at a person."""
    url = f"http://127.0.0.1:{world.place.sandbox_port}/control/received"
    notices = [json.loads(one["body"]) for one in httpx.get(url, timeout=5).json()["accesses"]]
    return [one for one in notices if one["NHSNumber"] == BY_KEY[key].nhs_number]


@contextmanager
def listed(world: World, key: str, **changed: str) -> Iterator[None]:
    """One more plan on the authority's list while it lasts; it goes as one that was made in error."""
    record = f"CP-E2E-{key}"
    at = datetime.now(UTC) - timedelta(minutes=1)
    deliver(world, at, record, key, **changed)
    try:
        yield
    finally:
        deliver(world, at + timedelta(seconds=30), record, key, DeleteDate=at.date().isoformat())


def deliver(world: World, at: datetime, record: str, key: str, **changed: str) -> None:
    """A list with this one plan, and a wait until it is taken."""
    row = dict(zip(COLUMNS, _row(at, record, "CPP", key, start=20), strict=True)) | changed
    put_list(world, at, [[row[column] for column in COLUMNS]])


def put_list(world: World, at: datetime, rows: Sequence[Sequence[str]]) -> None:
    folder = world.place.folder / "drops" / "cp-is"
    out = io.StringIO(newline="")
    csv.writer(out).writerows([COLUMNS, *rows])
    put(folder / f"more-{at:%H%M%S%f}.csv", out.getvalue().encode("utf-8"))
    waits = (folder, folder / "taken")
    eventually(lambda: not [one for place in waits for one in place.glob("[!.]*.*") if one.is_file()], seconds=20)


def history(world: World, asker: Asker, flag: dict[str, Any], said: dict[str, str] = UNSCHEDULED) -> list[dict[str, Any]]:
    answer = world.get(asker, f"/fhir/{flag['subject']['reference']}/$cp-is-access-history", **said)
    assert answer.status_code == 200
    return resources(answer, "AuditEvent")


def test_a_plan_is_seen_the_authority_is_told_within_ten_seconds_and_the_look_is_listed(world: World, clinician: Asker) -> None:
    answer = world.search(clinician, "Flag", BY_KEY["amara"].nhs_number, **UNSCHEDULED)
    assert states(answer) == {"cp-is": "answered"}
    (flag,) = resources(answer, "Flag")
    assert (flag["status"], flag["code"]["coding"][0]["code"]) == ("active", CPP)
    assert "end" not in flag["period"]
    eventually(lambda: told(world, "amara"), seconds=10)
    notice = told(world, "amara")[0]
    assert {name: notice[name] for name in ("Organisation", "OrganisationCode", "OrganisationKind", "Role")} == {
        "Organisation": "Northgate General Hospital",
        "OrganisationCode": "RXX98",
        "OrganisationKind": "hospital",
        "Role": "unscheduled-care",  # the token gave the code alone
    }
    newest = history(world, clinician, flag)[0]
    assert newest["agent"][0]["who"]["display"] == "Northgate General Hospital"
    assert DOCTOR.name not in json.dumps(newest)  # who, in which role, when: no name, and nothing of why
    decision, disclosure = world.of_request(answer)[:2]
    assert (decision["detail"]["facts"]["access"], disclosure["detail"]["access"]) == ("unscheduled", "unscheduled")


def test_whom_to_ring_comes_with_it_and_neither_category_nor_reason_ever_does(world: World, clinician: Asker) -> None:
    answer = world.search(clinician, "CareTeam", BY_KEY["amara"].nhs_number, **UNSCHEDULED)
    (team,) = resources(answer, "CareTeam")
    assert [(one["use"], one["value"]) for one in team["telecom"]] == [("work", OFFICE), ("mobile", DUTY)]
    for text in (answer.text, json.dumps(plans(world, clinician, "amara")), world.log_text()):
        assert REASON not in text
        assert '"NEG"' not in text


def test_the_kind_of_visit_is_said_or_nothing_is_seen(world: World, clinician: Asker) -> None:
    number = BY_KEY["amara"].nhs_number
    unsaid, nobody = world.search(clinician, "Flag", number), world.search(clinician, "Flag", UNKNOWN[0])
    assert unsaid.status_code == nobody.status_code == 403
    assert unsaid.json() == nobody.json()
    assert "scheduled or unscheduled" in unsaid.text
    assert world.search(clinician, "Flag", number, **SCHEDULED).status_code == 403  # unscheduled care has no other kind
    assert world.search(clinician, "Flag", number, **{"gateway-access-event": "yes"}).status_code == 400


def test_whoever_reads_a_flag_of_cp_is_by_its_id_without_the_word_is_told_so_whoever_it_is_of(world: World) -> None:
    (flag,) = plans(world, GP, "amara", SCHEDULED)
    theirs = f"/fhir/Flag/{flag['id']}"
    assert world.get(GP, theirs, **SCHEDULED).status_code == 200
    unsaid, nobody = world.get(GP, theirs), world.get(GP, f"/fhir/Flag/{'a' * 26}.cp-is.{'a' * 26}")
    assert unsaid.status_code == nobody.status_code == 403
    assert unsaid.json() == nobody.json()
    assert "scheduled or unscheduled" in unsaid.text
    assert world.get(GP, theirs.replace("cp-is", "nothing")).status_code == 404  # an id that names no source of ours


def test_a_scheduled_look_is_silent_and_is_in_our_audit_all_the_same(world: World) -> None:
    before = len(told(world, "noor"))
    (flag,) = plans(world, VISITOR, "noor", SCHEDULED)
    assert flag["code"]["coding"][0]["code"] == LAC
    assert plans(world, VISITOR, "noor", {}) == []  # what is not said is not taken for scheduled either
    assert history(world, VISITOR, flag, SCHEDULED) == []
    assert len(told(world, "noor")) == before
    asked = [event for event in world.events(purpose="TREAT", kind="disclosure") if event["detail"]["access"] == "scheduled"]
    assert asked


def test_an_ended_plan_is_told_of_for_twelve_months_and_a_deleted_one_never(world: World, clinician: Asker) -> None:
    (ended,) = plans(world, clinician, "chloe")
    assert (ended["status"], set(ended["period"])) == ("inactive", {"start", "end"})
    for key in ("grace", "hugo", "jonah"):  # ended long ago; made in error; ended and then found to be made in error
        assert plans(world, clinician, key) == []


def test_a_person_with_nothing_to_show_looks_like_nobody(world: World, clinician: Asker) -> None:
    nothing, nobody = (
        world.search(clinician, "Flag", number, **UNSCHEDULED) for number in (BY_KEY["hugo"].nhs_number, UNKNOWN[0])
    )
    assert shape(nothing) == shape(nobody)
    assert "none shareable by this route" in nothing.text
    assert told(world, "hugo") == []


def test_a_plan_that_nobody_can_read_is_never_none_and_is_somebodys_task(world: World, clinician: Asker) -> None:
    with listed(world, "hugo", RecordType="SEXUAL ABUSE"):
        answer = world.search(clinician, "Flag", BY_KEY["hugo"].nhs_number, **UNSCHEDULED)
        assert (states(answer), resources(answer, "Flag")) == ({"cp-is": "failed"}, [])
        assert "could not be read. What it may hold is missing" in answer.text
        assert "SEXUAL" not in answer.text
        assert "unread-record" in world.command("identity", "worklist").stdout
    assert "SEXUAL" not in world.log_text()


def test_a_row_nobody_can_read_may_be_of_anybody_so_of_nobody_there_is_nothing_to_show(world: World, clinician: Asker) -> None:
    numbers = BY_KEY["hugo"].nhs_number, UNKNOWN[0]

    def state() -> dict[str, str]:
        return states(world.search(clinician, "Flag", numbers[0], **UNSCHEDULED))

    def send(at: datetime, *more: Sequence[str]) -> None:
        put_list(world, at, [*authority_plans.plans(at), *more])

    now = datetime.now(UTC)
    new = list(_row(now, "CP-E2E-new", "CPP", "hugo", start=1))
    new[COLUMNS.index("NHSNumber")] = ""  # a plan of today, of a child whom the row does not name
    send(now, new)
    eventually(lambda: state() == {"cp-is": "failed"}, seconds=10)
    hugo, nobody = (world.search(clinician, "Flag", number, **UNSCHEDULED) for number in numbers)
    assert shape(hugo) == shape(nobody)
    assert "does not mean that there is nothing" in hugo.text
    amara = world.search(clinician, "Flag", BY_KEY["amara"].nhs_number, **UNSCHEDULED)
    assert (states(amara), len(resources(amara, "Flag"))) == ({"cp-is": "answered"}, 1)
    assert "could not be read, and of whom they are nobody can say" in amara.text
    strict = [world.search(clinician, "Flag", number, prefer="handling=strict", **UNSCHEDULED) for number in numbers]
    assert [answer.status_code for answer in strict] == [504, 504]
    assert all(answer.elapsed.total_seconds() > 0.24 for answer in strict)  # the same time bucket, whatever it was
    send(now + timedelta(seconds=1))  # the whole list of another night
    eventually(lambda: state() == {"cp-is": "nothing-to-show"}, seconds=10)

    send(now + timedelta(seconds=2), new)
    eventually(lambda: state() == {"cp-is": "failed"}, seconds=10)
    for line in world.command("identity", "worklist", "--kind", "set-aside", "--source", "cp-is").stdout.splitlines():
        world.command("identity", "resolve", line.split()[0], "--by", "sds|200", "--outcome", "source-corrected")
    eventually(lambda: state() == {"cp-is": "nothing-to-show"}, seconds=10)


def test_a_plan_whose_number_the_authority_corrects_is_the_other_childs_and_is_never_lost(world: World, clinician: Asker) -> None:
    now = datetime.now(UTC)
    with listed(world, "hugo", RecordId="CP-E2E-moved"):
        assert len(plans(world, clinician, "hugo")) == 1
        deliver(world, now, "CP-E2E-moved", "jonah")
        assert (len(plans(world, clinician, "hugo")), len(plans(world, clinician, "jonah"))) == (0, 1)
        deliver(world, now, "CP-E2E-moved", "hugo")  # of the very same instant: whose it is, nobody can say
        for key in ("hugo", "jonah"):
            answer = world.search(clinician, "Flag", BY_KEY[key].nhs_number, **UNSCHEDULED)
            assert (states(answer), resources(answer, "Flag")) == ({"cp-is": "failed"}, [])
        assert "contested" in world.command("identity", "worklist").stdout
        deliver(world, now + timedelta(seconds=1), "CP-E2E-moved", "jonah", DeleteDate=now.date().isoformat())
    for key in ("hugo", "jonah"):
        assert states(world.search(clinician, "Flag", BY_KEY[key].nhs_number, **UNSCHEDULED)) == {"cp-is": "nothing-to-show"}


def test_an_unborn_childs_plan_is_the_mothers_and_of_the_protected_no_place_is_named(world: World, clinician: Asker) -> None:
    (flag,) = plans(world, clinician, "leah")
    assert flag["code"]["coding"][0]["code"] == UNBORN
    assert "author" not in flag
    teams = resources(world.search(clinician, "CareTeam", BY_KEY["leah"].nhs_number, **UNSCHEDULED), "CareTeam")
    assert all(not {"name", "telecom"} & set(team) for team in teams)
    eventually(lambda: told(world, "leah"), seconds=10)
    notice = told(world, "leah")[0]
    assert notice["OrganisationKind"] == "hospital"
    assert not {"Organisation", "OrganisationCode"} & set(notice)
    assert "Northgate" not in json.dumps(history(world, clinician, flag))


def test_an_objection_to_sharing_hides_no_plan(world: World, clinician: Asker) -> None:
    assert len(plans(world, clinician, "isla")) == 1


def test_nobody_submits_a_notice_of_access(world: World, clinician: Asker) -> None:
    posted = world.http.post("/fhir/AuditEvent", json={"resourceType": "AuditEvent"}, headers=world.headers(clinician))
    assert posted.status_code in (404, 405)
    rest = world.http.get("/fhir/metadata").json()["rest"][0]["resource"]
    event = next(one for one in rest if one["type"] == "AuditEvent")
    assert "create" not in {one["code"] for one in event["interaction"]}


def test_a_wider_question_says_to_everybody_alike_that_cp_is_was_left_out_and_the_history_is_refused(world: World) -> None:
    numbers = (BY_KEY["amara"].nhs_number, BY_KEY["isla"].nhs_number, UNKNOWN[0])
    amara, stranger, nobody = (world.search(GP, "Flag", number) for number in numbers)
    assert all("CP-IS was not asked" in answer.text for answer in (amara, stranger, nobody))
    assert shape(stranger) == shape(nobody)
    assert "CP-IS was not asked" not in world.search(GP, "Flag", BY_KEY["amara"].nhs_number, **SCHEDULED).text
    assert "CP-IS was not asked" not in world.search(GP, "Immunization", BY_KEY["amara"].nhs_number).text
    assert "CP-IS was not asked" not in world.search(WORKER, "Flag", BY_KEY["amara"].nhs_number).text  # whose role never sees it
    person = resources(world.find(GP, BY_KEY["amara"].nhs_number), "Patient")[0]["id"]
    answers = [world.get(GP, f"/fhir/Patient/{one}/$cp-is-access-history") for one in (person, "a" * 26)]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].json() == answers[1].json()
    assert "scheduled or unscheduled" in answers[0].text
