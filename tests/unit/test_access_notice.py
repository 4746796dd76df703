"""What a look at CP-IS owes: queued with the look, told to the authority and to nobody else, and never lost without a word."""

import importlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.adapter import DeliverSettings, SourceSettings
from gateway.flows.access_history import MOST, access_history
from gateway.flows.access_notice import DUE, NO_WAY, NOTICE, access_notices
from gateway.flows.deliver import deliver, due
from gateway.model import Access, CareClass, Category, Coding, Disclosed, Disclosure, ParcelState, Purpose
from gateway.ports import Entry, NewWork, OwedParcel
from gateway.registry import Registry, Route, load_manifest
from gateway.systems import LOCAL_ROLE
from tests import delivery_world as place
from tests import fakes
from tests.delivery_world import BORN, CHILD, NOW, World

pytestmark = pytest.mark.anyio

NORTHSHIRE = "gss:E08999901"
ROLE = Coding(LOCAL_ROLE, "unscheduled-care", "Clinician in unscheduled care")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await place.opened(tmp_path)
    manifest = load_manifest(importlib.import_module("adapters.local_authority_cpis"))
    held = DeliverSettings(("cp-is-access",))
    source = SourceSettings("cp-is", manifest.name, NORTHSHIRE, "cp-is", "CP-IS", 1.0, 48, 7, {}, deliver={"access": held})
    route = Route("cp-is/access", manifest, source, manifest.deliver["access"], held, made.taker)
    active: Any = SimpleNamespace(manifest=manifest, settings=source)
    made.parts.registry = Registry({"cp-is": active}, {route.name: route})
    yield made
    await made.store.close()


def shown(
    access: Access = Access.UNSCHEDULED, token: str = "token-1", obligations: tuple[str, ...] = (NOTICE,), **given: Any
) -> Disclosure:
    """A plan about to be shown to a clinician of a hospital."""
    asked = fakes.request(organisation=place.rules().organisation("ods:RXX98"), role=ROLE, purpose=Purpose.ETREAT, token_id=token)
    facts = fakes.facts(replace(asked, access=access), fakes.identity(number=CHILD, birth_date=BORN), access=access)
    permit = fakes.permit(facts, sources=["cp-is"], categories=[Category.CP_IS])
    permit = replace(permit, value=replace(permit.value, obligations=obligations))
    flag = {"resourceType": "Flag", "id": "a.cp-is.b"}
    item = Disclosed(flag, "cp-is", given.pop("category", Category.CP_IS), CareClass.SAFEGUARDING, ("cp-is-unscheduled",), ())
    identity = fakes.identity(number=CHILD, **{"birth_date": BORN, **given})
    return Disclosure(permit, identity, (item,), (), {}, frozenset(), ())


async def looked(world: World, disclosure: Disclosure) -> None:
    """The look and what it owes, recorded together."""
    await world.store.log.append([Entry("disclosure", NOW, "success", CHILD)], access_notices(world.parts, disclosure))


async def test_an_unscheduled_look_is_told_to_the_authority_that_answers_for_the_plan(world: World) -> None:
    await looked(world, shown())
    (leased,) = await due(world.parts)  # at once: the next tick of a worker is within a second
    assert await deliver(world.parts, leased) is ParcelState.ACKNOWLEDGED
    assert world.taker.taken == {
        leased.parcel.id: {
            "Reference": leased.parcel.id,
            "SentAt": NOW.isoformat(),
            "NHSNumber": CHILD.value,
            "AccessedAt": NOW.isoformat(),
            "Organisation": "Northgate General Hospital",
            "OrganisationCode": "RXX98",
            "OrganisationKind": "hospital",
            "Role": "Clinician in unscheduled care",
        }
    }


async def test_of_a_protected_person_the_authority_is_told_what_kind_of_organisation_looked_and_not_which(world: World) -> None:
    await world.store.protections.add_locks("cp-is", {CHILD: frozenset({"refuge"})}, NOW)
    await looked(world, shown())
    (leased,) = await due(world.parts)
    assert await deliver(world.parts, leased) is ParcelState.ACKNOWLEDGED
    (told,) = world.taker.taken.values()
    assert told["OrganisationKind"] == "hospital"
    assert not {"Organisation", "OrganisationCode"} & set(told)
    assert "RXX98" not in json.dumps(told)


async def test_an_objection_and_a_loss_in_the_family_hold_no_notice_back(world: World) -> None:
    await place.consents(world, "direct-care", decision="deny")
    await looked(world, shown())
    (leased,) = await due(world.parts)
    assert await deliver(world.parts, leased) is ParcelState.ACKNOWLEDGED


async def test_one_sitting_is_one_notice_and_another_is_another(world: World) -> None:
    for token in ("token-1", "token-1", "token-2"):
        await looked(world, shown(token=token))
    assert len(await world.store.parcels.list()) == 2


@pytest.mark.parametrize("given", [{"access": Access.SCHEDULED, "obligations": ()}, {"category": Category.CHILD_PROTECTION}])
async def test_a_scheduled_look_and_one_that_showed_nothing_of_CP_IS_owe_nothing(world: World, given: dict[str, Any]) -> None:  # noqa: N802
    assert list(access_notices(world.parts, shown(**given))) == []


async def test_an_unscheduled_look_owes_a_notice_whatever_the_rule_that_let_it_in_says(world: World) -> None:
    (owed,) = access_notices(world.parts, shown(obligations=()))
    assert isinstance(owed, OwedParcel)


async def test_where_no_way_leads_to_the_authority_telling_it_is_somebodys_task_within_ten_seconds(world: World) -> None:
    (undated,) = access_notices(world.parts, shown(birth_date=None))
    world.parts.registry = Registry(world.parts.registry.sources, {})
    (lost,) = access_notices(world.parts, shown())
    for owed in (undated, lost):
        assert isinstance(owed, NewWork)
        assert (owed.reason, owed.owner, owed.person) == (NO_WAY, "Integration team", CHILD)
        assert owed.due - NOW == DUE <= timedelta(seconds=10)


async def test_a_notice_waits_for_an_agreement_and_somebody_hears_of_it(world: World) -> None:
    route = world.parts.registry.routes["cp-is/access"]
    unsigned = replace(route, settings=DeliverSettings(("referral-health-authority",)))
    world.parts.registry = Registry(world.parts.registry.sources, {route.name: unsigned})
    await looked(world, shown())
    (leased,) = await due(world.parts)
    assert await deliver(world.parts, leased) is ParcelState.HELD
    assert [item.kind for item in await world.store.work.list()] == ["parcel-held"]


# ------------------------------------------------------------------------------------------------------------ who looked


def entry(number: int, *, access: str = "unscheduled", category: str = "cp-is", token: str = "") -> Entry:
    detail = {
        "organisation_name": f"Hospital {number}",
        "role_name": "Clinician",
        "token": token or f"token-{number}",
        "access": access,
        "items": [{"type": "Flag", "category": category, "each": []}],
    }
    return Entry(
        "disclosure",
        NOW,
        "success",
        CHILD,
        organisation="ods:RXX98",
        role="urn:role|unscheduled-care",
        staff="s|1",
        detail=detail,
    )


async def history(world: World, monkeypatch: pytest.MonkeyPatch, disclosure: Disclosure) -> list[dict[str, Any]]:
    """The flow with a disclosure as the line before it would have made it."""

    async def released(*_: object) -> Any:
        return SimpleNamespace(value=disclosure, receipt=fakes.RECEIPT)

    monkeypatch.setattr("gateway.flows.access_history.released", released)
    request = disclosure.permit.value.facts.request
    asked = replace(request, query=replace(request.query, view="cp-is-access-history"))
    answer = await access_history(world.parts, asked)
    return [one["resource"] for one in json.loads(answer.body)["entry"] if one["search"]["mode"] == "match"]


async def test_the_last_25_unscheduled_looks_are_told_newest_first_and_nothing_else_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        await world.store.log.append([entry(number)])
    await world.store.log.append(
        [entry(40, access="scheduled"), entry(41, category="child-protection"), entry(42, token="token-29")]
    )
    found = await history(world, monkeypatch, shown())
    assert len(found) == MOST == 25
    assert [one["agent"][0]["who"]["display"] for one in found[:3]] == ["Hospital 42", "Hospital 28", "Hospital 27"]
    assert {name for one in found for name in one} == {"resourceType", "type", "recorded", "outcome", "agent", "source"}
    assert {name for one in found for name in one["agent"][0]} == {"type", "role", "requestor", "who"}


async def test_of_a_protected_person_no_organisation_is_named_in_the_history(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.store.log.append([entry(1)])
    disclosure = shown()
    facts = replace(disclosure.permit.value.facts, protected=True)
    hidden = replace(disclosure, permit=replace(disclosure.permit, value=replace(disclosure.permit.value, facts=facts)))
    (one,) = await history(world, monkeypatch, hidden)
    assert one["agent"][0]["type"] == {"text": "hospital"}
    assert "Hospital 1" not in json.dumps(one)
    assert "RXX98" not in json.dumps(one)


async def test_who_is_shown_no_plan_is_shown_nobody_who_looked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.store.log.append([entry(1)])
    assert await history(world, monkeypatch, shown(category=Category.CHILD_PROTECTION)) == []
