import asyncio
import json
import shutil
from dataclasses import replace

import pytest
from policy_world import FOLDER, NOW, facts
from typer.testing import CliRunner

from gateway.cli.decided import NO_DECISION, NOTHING_DECIDED
from gateway.cli.log import app as log
from gateway.cli.policy import app
from gateway.facts import facts_as_plain
from gateway.model import ConsentFact, Purpose
from gateway.policy import load
from gateway.ports import Entry, LogQuestion
from gateway.settings import Settings
from gateway.store import Keys, open_store

GP_ALLERGIES = "a-GP-of-the-registered-practice-sees-allergies"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "consent_policy"
    shutil.copytree(FOLDER, place, ignore=shutil.ignore_patterns("__pycache__"))
    return place


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def explained(case, folder=FOLDER):
    result = run("explain", case, "--folder", folder)
    assert result.exit_code == 0, result.output
    return result.output


def test_check_counts_rules_and_cases_and_prints_the_hash():
    result = run("check")
    assert result.exit_code == 0
    assert "all decide as written" in result.stdout
    assert load(FOLDER).hash in result.stdout


def test_check_names_each_fault_and_exits_1(folder):
    (folder / "roles.yaml").unlink()
    (folder / "organisations.yaml").unlink()
    result = run("check", "--folder", folder)
    assert result.exit_code == 1
    assert "roles.yaml: add this file" in result.output
    assert "organisations.yaml: add this file" in result.output


def test_check_exits_1_when_a_case_is_decided_another_way(folder):
    case = folder / "cases/permit" / f"{GP_ALLERGIES}.json"
    shutil.move(case, folder / "cases/deny" / case.name)
    result = run("check", "--folder", folder)
    assert result.exit_code == 1
    assert "came out the other way: decided by direct-care-gp" in result.output


def test_explain_says_which_rule_permits_and_why():
    text = explained(GP_ALLERGIES)
    assert "Caller: Riverside Surgery, as gp, for TREAT" in text
    assert "May be shared." in text
    assert "direct-care-gp: A GP of the practice where this person is registered" in text
    assert "UK GDPR, Article 9(2)(h)" in text
    assert "gp-record#direct-care" in text


def test_explain_says_what_would_have_let_it_through():
    text = explained("a-centre-sees-nothing-when-consent-was-refused")
    assert "centre-consent-missing-or-refused:" in text
    assert "It would be shared if a consent for share-centres were in force." in text
    assert "the relationship allocated-worker were in force" in explained("a-social-worker-who-is-not-allocated-sees-nothing")
    assert "a case reference were given" in explained("a-section-47-enquiry-without-a-case-reference-opens-nothing")
    assert "the objection were withdrawn" in explained("an-objection-closes-direct-care")


def test_explain_says_when_no_single_change_would_help():
    text = explained("an-item-locked-by-its-source-is-seen-by-nobody")
    assert "locked by its source" in text
    assert "No single change" in text


def test_explain_takes_a_case_that_is_a_file(folder):
    text = explained(folder / "cases/deny/an-address-goes-for-a-protected-person.json", folder)
    assert "what is marked locating" in text
    assert "Person: protected;" in text
    assert "default-deny" in text


def test_explain_takes_a_decision_of_the_log(tmp_path):
    made = facts(
        "social-worker", Purpose.S17, case="C1", consents=frozenset({ConsentFact("share-authority", "deny")}), deceased=True
    )
    detail = {
        "policy": load(FOLDER).hash,
        "facts": facts_as_plain(made),
        "rules": [{"id": "s17-assessment", "because": "as the log says"}],
    }
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"detail": detail}))
    text = explained(file)
    assert "The log says it was decided by:\n  s17-assessment: as the log says" in text
    assert "Caller: Northshire Council, as social-worker, for S17, with a case reference." in text
    assert "has died" in text
    assert "s17-centre-consent-missing-or-refused" in text
    assert "another policy" not in text
    file.write_text(json.dumps({**detail, "policy": "0" * 64, "rules": []}))
    other = explained(file)
    assert "another policy" in other
    assert "The log says" not in other


def test_explain_covers_the_access_log_for_an_auditor_alone(tmp_path):
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"policy": "", "facts": facts_as_plain(facts("auditor", Purpose.HCOMPL))}))
    assert "auditor-reads-access-log" in explained(file)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "must hold one JSON object"),
        ("{}", "neither a case nor a decision of the log"),
        ('{"facts": {"purpose": "TREAT"}}', "facts must name exactly"),
        ('{"shows": "x"}', "the case: add given"),
        ('{"kind": "token", "detail": {}}', "no rule decided this event"),
    ],
)
def test_explain_says_what_is_wrong_with_a_file(tmp_path, body, says):
    file = tmp_path / "odd.json"
    file.write_text(body)
    result = run("explain", file)
    assert result.exit_code == 1
    assert says in result.output


def test_explain_knows_no_such_case():
    result = run("explain", "no-such-case")
    assert result.exit_code == 1
    assert "no such case" in result.output


def test_an_organisation_nobody_knows_is_said_to_be_unknown(tmp_path):
    plain = {**facts_as_plain(facts()), "organisation": "ods:NOBODY", "usable": False, "objection": True}
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"policy": "", "facts": plain}))
    text = explained(file)
    assert "an organisation this policy does not know" in text
    assert "Person: not traced, objects to sharing for direct care;" in text


def test_an_evaluation_error_is_explained_as_a_refusal(tmp_path):
    plain = {**facts_as_plain(facts()), "relationships": ["a-kind-nobody-listed"]}
    file = tmp_path / "event.json"
    file.write_text(json.dumps({"policy": "", "facts": plain}))
    assert "what cannot be evaluated is not shared" in explained(file)


@pytest.fixture
def gateway_settings(tmp_path, monkeypatch):
    """Settings of an empty gateway with an embedded database of its own."""
    keys = tmp_path / "keys"
    Keys.create_sandbox(keys)
    for name, value in {
        "GATEWAY_VAR": tmp_path,
        "GATEWAY_KEYS": keys,
        "GATEWAY_PDS__BASE_URL": "http://127.0.0.1:9",
        "GATEWAY_PDS__ODS": "Z99901",
        "GATEWAY_SOURCES": "{}",
    }.items():
        monkeypatch.setenv(name, str(value))
    return Settings()


def active(settings):
    async def read():
        store = await open_store(settings.database(), Keys.load(settings.keys, mode="sandbox"), name=settings.name, serve=False)
        try:
            return await store.policy_activation.active(), await store.log.ask(LogQuestion(kind="administration"))
        finally:
            await store.close()

    return asyncio.run(read())


def test_activate_makes_the_policy_the_active_one_and_leaves_an_event(gateway_settings):
    assert active(gateway_settings)[0] is None
    result = run("activate")
    assert result.exit_code == 0, result.output
    policy_hash, events = active(gateway_settings)
    assert policy_hash == load(FOLDER).hash
    assert [event.body["detail"]["act"] for event in events] == ["policy-activate"]


def logged(settings, *entries):
    """Events written one after the other into an empty gateway's log; `{n}` in a detail is the name of the n-th."""

    async def write():
        keys = Keys.load(settings.keys, mode="sandbox")
        store, names = await open_store(settings.database(), keys, name=settings.name, serve=False), []
        try:
            for entry in entries:
                detail = {key: value.format(*names) if isinstance(value, str) else value for key, value in entry.detail.items()}
                (receipt,) = await store.log.append([replace(entry, detail=detail)])
                names.append(receipt.event)
            return names
        finally:
            await store.close()

    return asyncio.run(write())


OBJECTION = "objection-to-direct-care-sharing"


def everything_after_a_decision(settings):
    """A decision, and one event of each kind that follows from one: by name, by its request, by the parcel it is about."""
    rule = {"id": OBJECTION, "because": "This person objects."}
    detail = {"policy": load(FOLDER).hash, "facts": facts_as_plain(facts(objection=True)), "rules": [rule]}
    return logged(
        settings,
        Entry(
            "decision", NOW, "deny", None, request_id="other", detail={**detail, "rules": [], "facts": facts_as_plain(facts())}
        ),
        Entry("decision", NOW, "deny", None, request_id="r", detail=detail),
        Entry("disclosure", NOW, "success", None, detail={"decision": "{1}"}),
        Entry("audit-read", NOW, "success", None, request_id="r", detail={}),
        Entry("submission", NOW, "success", None, request_id="r", organisation="ods:A99901", detail={"parcel": "parcel-1"}),
        Entry("parcel-read", NOW, "success", None, request_id="later", organisation="ods:A99901", detail={"parcel": "parcel-1"}),
        Entry("delivery", NOW, "success", None, request_id="r", detail={"parcel": "parcel-1"}),
    )[1:]


def test_explain_follows_an_event_of_the_log_to_its_decision_by_its_name_and_from_a_file(gateway_settings, tmp_path):
    file = tmp_path / "event.json"
    for event in everything_after_a_decision(gateway_settings):
        file.write_text(CliRunner().invoke(log, ["show", event]).output, "utf-8")
        for result in (run("explain", "--event", event), run("explain", file)):
            assert result.exit_code == 0, result.output
            assert OBJECTION in result.output
    assert "no event of this name" in run("explain", "--event", "nope").output
    asked = [event.body["detail"].get("event") for event in active(gateway_settings)[1]]
    assert asked.count("unknown") == 1


def test_why_follows_every_event_to_its_decision_and_never_says_nothing(gateway_settings):
    for event in everything_after_a_decision(gateway_settings):
        done = CliRunner().invoke(log, ["why", event])
        assert (done.exit_code, done.output) == (0, f"This person objects. [{OBJECTION}]\n")
    (token, lost) = logged(
        gateway_settings,
        Entry("token", NOW, "success", None),
        Entry("disclosure", NOW, "success", None, detail={"decision": "gone"}),
    )
    for event, says in ((token, NOTHING_DECIDED), (lost, NO_DECISION)):
        done = CliRunner().invoke(log, ["why", event])
        assert done.exit_code == 1
        assert says in " ".join(done.output.split())


CALLED = {"parcel": "p", "because": "entered-in-error", "left": True, "receipt": "0a1b2c"}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (Entry("recall", NOW, "success", None, detail=CALLED), ("this sender did", "entered in error", "gateway log why 0a1b2c")),
        (Entry("recall", NOW, "success", None, staff_name="operator", detail=CALLED), ("an operator called it back",)),
        (
            Entry("recall", NOW, "success", None, staff_name="gateway", detail={**CALLED, "because": "consent-withdrawn"}),
            ("A consent was withdrawn", "the consent that let the recipient have it is gone"),
        ),
        (
            Entry("recall", NOW, "success", None, detail={"recipient": "ods:A99901", "because": "wrong-person", "receipt": ""}),
            ("under the mandate of that delivery", "somebody else than it says"),
        ),
        (Entry("recall", NOW, "success", None, detail={"state": "acknowledged"}), ("what became of a recall",)),
        (Entry("parcel-taken-back", NOW, "success", None, detail={"parcel": "p"}), ("this sender did",)),
    ],
)
def test_of_a_recall_it_is_said_who_or_what_decided_it_where_no_rule_was_asked(gateway_settings, tmp_path, entry, says):
    (event,) = logged(gateway_settings, entry)
    file = tmp_path / "event.json"
    file.write_text(CliRunner().invoke(log, ["show", event]).output, "utf-8")
    answers = (CliRunner().invoke(log, ["why", event]), run("explain", "--event", event), run("explain", file))
    assert len({answer.output for answer in answers}) == 1
    for answer in answers:
        assert answer.exit_code == 0, answer.output
        assert all(words in answer.output for words in says)


def test_what_follows_from_a_decision_that_this_log_does_not_hold_is_said(gateway_settings, tmp_path):
    file = tmp_path / "event.json"
    file.write_text('{"kind": "disclosure", "event": "elsewhere", "detail": {"decision": "x"}}')
    result = run("explain", file)
    assert result.exit_code == 1
    assert NO_DECISION in " ".join(result.output.split())


def test_explain_wants_a_case_or_an_event():
    assert "name a case, or an event" in run("explain").output
    assert run("explain", "x", "--event", "y").exit_code == 1


def test_a_broken_folder_never_becomes_active(gateway_settings, folder):
    assert run("activate").exit_code == 0
    (folder / "cases/permit" / f"{GP_ALLERGIES}.json").unlink()
    (folder / "roles.yaml").write_text("groups: {}")
    result = run("activate", "--folder", folder)
    assert result.exit_code == 1
    assert "roles.yaml" in result.output
    assert active(gateway_settings)[0] == load(FOLDER).hash
