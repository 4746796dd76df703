"""The children's centre over the whole place: who to ring, the offer, consent as it was given, and what its withdrawal does."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from whole_place import World, resources, shape, states, today

from sandbox.demo import CENTRE, GP, VISITOR, WORKER, Asker
from sandbox.families import BY_KEY

PHONE = "01632 960190"


@pytest.fixture(scope="module")
def assessor(world: World) -> Asker:
    """A social worker with a section 17 assessment of two children, one of whose parents agreed to tell the authority."""
    asker = world.register(
        replace(WORKER, client="northshire-centre-s17", purpose="S17", case="S17-2026-0099"), "northshire-centre-s17"
    )
    for key in ("chloe", "jonah", "mia"):
        staff = f"{WORKER.organisation}|{WORKER.subject}"
        world.relate(
            "allocated-worker", BY_KEY[key].nhs_number, WORKER.organisation, staff=staff, case=asker.case, starts=today()
        )
    return asker


@contextmanager
def at_the_centre(world: World, statement: str, back: str) -> Iterator[None]:
    """Something its staff change in its register, and change back."""
    path = world.place.folder / "sandbox" / "centretrack.db"
    for said in (statement, back):
        with closing(sqlite3.connect(path, timeout=10)) as register:
            assert register.execute(said).rowcount > 0
            register.commit()
        if said is statement:
            yield


def of_the_centre(world: World, asker: Asker, key: str) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for resource in resources(world.everything(asker, key)):
        if ".childrens-centre." in str(resource["id"]) and resource["resourceType"] != "Provenance":
            found.setdefault(str(resource["resourceType"]), []).append(resource)
    return found


def test_a_gp_learns_that_a_centre_works_with_the_family_and_its_number_and_no_content(world: World) -> None:
    for asker in (GP, VISITOR):
        found = of_the_centre(world, asker, "chloe")
        assert set(found) == {"EpisodeOfCare", "CareTeam"}
        (team,) = found["CareTeam"]
        assert team["name"] == "Willow Children's Centre"
        assert team["telecom"] == [{"system": "phone", "value": PHONE, "use": "work"}]


def test_a_protected_child_is_known_to_no_centre_by_name_or_telephone(world: World) -> None:
    for asker in (GP, VISITOR, CENTRE):
        answer = world.everything(asker, "dara")
        assert "centre" not in states(answer)
        assert not [one for one in resources(answer) if one["resourceType"] == "CareTeam"]
        assert not [word for word in ("Willow", PHONE, "199901") if word in answer.text]


def test_the_centre_sees_the_offer_and_each_consent_as_it_was_given(world: World) -> None:
    found = of_the_centre(world, CENTRE, "amara")
    (offer,) = found["Flag"]
    assert offer["code"]["coding"][0]["code"] == "taken-up"  # type: ignore[index]
    assert "ECO" not in str(offer)
    scopes = {consent["category"][1]["coding"][0]["code"] for consent in found["Consent"]}  # type: ignore[index]
    assert scopes == {"store", "share_health", "share_la", "share_centres", "research"}
    helped = of_the_centre(world, CENTRE, "noor")["Consent"][0]
    assert helped["sourceAttachment"] == {"language": "ur", "title": "Signed on paper"}
    assert helped["performer"] == [{"display": "Mother"}]
    assert "With an interpreter" in str(helped["extension"])


@pytest.mark.parametrize("asker", [GP, VISITOR, WORKER], ids=lambda asker: asker.client)
def test_nobody_else_sees_the_consent_form_or_the_offer(world: World, asker: Asker) -> None:
    assert not {"Consent", "Flag"} & of_the_centre(world, asker, "amara").keys()
    assert resources(world.search(asker, "Consent", BY_KEY["amara"].nhs_number), "Consent") == []


def test_withdrawal_at_the_centre_acts_on_the_next_read_and_leaves_no_trace_of_it(world: World) -> None:
    where = f"where subject_member_id = '{BY_KEY['chloe'].centre_id}' and scope = 'share_health'"
    assert of_the_centre(world, GP, "chloe")
    withdrawn, back = (f"update consent set withdrawn_on = {on} {where}" for on in (f"'{today()}'", "null"))
    with at_the_centre(world, withdrawn, back):
        answer = world.everything(GP, "chloe")
        assert states(answer)["centre"] == "nothing-to-show"
        assert of_the_centre(world, GP, "chloe") == {}
        assert "withdraw" not in answer.text.lower()
        assert of_the_centre(world, CENTRE, "chloe")  # its own record, and another scope
    assert of_the_centre(world, GP, "chloe")


def test_taking_back_that_a_record_is_kept_ends_all_sharing(world: World) -> None:
    mine = BY_KEY["grace"].centre_id
    where = f"where subject_member_id = '{mine}' and scope = 'store'"
    with at_the_centre(
        world, f"update consent set withdrawn_on = '{today()}' {where}", f"update consent set withdrawn_on = null {where}"
    ):
        assert of_the_centre(world, GP, "grace") == {}
        assert of_the_centre(world, GP, "hugo")  # the twin's is the twin's


def test_the_two_year_old_offer_reaches_the_authority_by_consent_alone(world: World, assessor: Asker) -> None:
    """Two consents, and each can say no: the one the gateway holds, and the one on the centre's own form."""
    mia = BY_KEY["mia"]
    assert of_the_centre(world, assessor, "mia") == {}
    consents = world.place.folder / "more-consents.csv"
    row = f"{mia.nhs_number},share-authority,permit,parent,{CENTRE.organisation},{today()},,registration form"
    consents.write_text(f"nhs_number,scope,decision,given_by,recorded_by,starts,ends,evidence\n{row}\n", "utf-8")
    assert world.command("consent", "import", str(consents)).returncode == 0
    found = of_the_centre(world, assessor, "mia")
    assert {"EpisodeOfCare", "CareTeam", "Encounter", "Flag"} == found.keys()
    where = f"where subject_member_id = '{mia.centre_id}' and scope = 'share_la'"
    with at_the_centre(world, f"update consent set decision = 'deny' {where}", f"update consent set decision = 'permit' {where}"):
        assert of_the_centre(world, assessor, "mia") == {}
    assert "Flag" not in of_the_centre(world, WORKER, "amara")  # no enquiry opens what consent alone does


def test_a_sensitive_session_never_leaves_for_an_enquiry_either(world: World) -> None:
    for key in ("amara", "kiran"):
        answer = world.everything(WORKER, key)
        assert "E004" not in answer.text
        assert "parenting-course" not in answer.text
        assert "Quiet room" not in answer.text
    path = world.place.folder / "sandbox" / "centretrack.db"
    with closing(sqlite3.connect(path)) as register:
        came = register.execute("select count(*) from attendance where event_id = 'E004' and status = 'attended'").fetchone()
    assert came[0] > 0


def test_a_person_the_centre_refused_to_share_looks_like_one_it_does_not_know(world: World) -> None:
    refused, unknown = (
        world.search(GP, "CareTeam", BY_KEY["jonah"].nhs_number),
        world.search(GP, "CareTeam", BY_KEY["ben"].nhs_number),
    )
    assert shape(refused) == shape(unknown)
