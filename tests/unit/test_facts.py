from dataclasses import replace
from datetime import date, timedelta

import pytest
from policy_world import NOW, NUMBER, ROLES, identity, person_facts, policy, request

from gateway.errors import NotAuthenticated, PolicyNotActive, StoreDown
from gateway.facts import age_band, facts_as_plain, gather
from gateway.model import ConsentFact, NotUsable, Purpose
from gateway.policy import Circumstances, from_plain, of

pytestmark = pytest.mark.anyio


class Store:
    """A store that answers with the rows given, and remembers the question."""

    def __init__(self, rows=None):
        self.rows = rows
        self.asked = None

    async def read(self, number, **question):
        if self.rows is None:
            raise StoreDown(reason="down")
        self.asked = (number, question)
        return self.rows


async def gathered(who=None, rows=None, asked=None, feeds=None):
    return await gather(
        who or identity(), asked or request(), store=Store(rows or person_facts()), policy=policy(), feeds=feeds or {}, now=NOW
    )


async def test_the_store_is_asked_once_for_this_caller_and_this_person():
    store = Store(person_facts())
    await gather(identity(), request("social-worker", Purpose.S47, case="C1"), store=store, policy=policy(), feeds={}, now=NOW)
    assert store.asked == (
        NUMBER,
        {"organisation": "gss:E08999901", "staff": "urn:staff|s1", "case_reference": "C1", "client": "a-system", "at": NOW},
    )


async def test_the_registered_practice_comes_from_the_trace():
    made = await gathered()
    assert made.relationships == {"registered-practice"}
    assert (made.role_group, made.organisation, made.age_band) == ("gp", "ods:A99901", "1-4")
    assert made.version == 7


async def test_a_stored_practice_does_not_outweigh_the_trace():
    rows = person_facts(relationships=frozenset({"registered-practice", "caseload"}))
    assert (await gathered(identity(practice="ods:A99902"), rows)).relationships == {"caseload"}


async def test_a_stored_practice_stands_where_pds_withholds_it():
    rows = person_facts(relationships=frozenset({"registered-practice"}))
    assert (await gathered(identity(practice=None, restricted=True), rows)).relationships == {"registered-practice"}


@pytest.mark.parametrize("deceased", [True, False])
async def test_whether_the_person_died_comes_from_the_trace(deceased):
    assert (await gathered(identity(deceased=deceased))).deceased is deceased


async def test_only_a_mandate_makes_somebody_the_addressee():
    stored = person_facts(relationships=frozenset({"addressed", "caseload"}))
    assert (await gathered(identity(practice=None), stored)).relationships == {"caseload"}
    asked = request()
    asked = replace(asked, caller=replace(asked.caller, mandate="mandate-1"))
    assert (await gathered(identity(practice=None), asked=asked)).relationships == {"addressed"}


async def test_nobody_has_no_relationship_age_or_death():
    rows = person_facts(relationships=frozenset({"caseload"}))
    made = await gathered(NotUsable("unknown", NUMBER), rows)
    assert (made.usable, made.relationships, made.age_band, made.deceased) == (False, frozenset(), "unknown", False)


async def test_a_store_that_is_down_gives_no_facts():
    with pytest.raises(StoreDown):
        await gather(identity(), request(), store=Store(), policy=policy(), feeds={}, now=NOW)


@pytest.mark.parametrize("active", [None, "another"])
async def test_a_policy_activated_a_moment_ago_counts_on_this_request_for_everybody_alike(active):
    for who in (identity(), NotUsable("unknown", NUMBER)):
        with pytest.raises(PolicyNotActive):
            await gathered(who, rows=person_facts(policy=active))


@pytest.mark.parametrize("version", [None, 2, 4])
async def test_a_client_revoked_or_changed_since_its_token_must_authenticate_again(version):
    with pytest.raises(NotAuthenticated):
        await gathered(rows=person_facts(client_version=version))


async def test_an_objection_counts_from_either_place():
    refused = frozenset({ConsentFact("direct-care", "deny")})
    assert (await gathered(rows=person_facts(objection=True))).objection
    assert (await gathered(rows=person_facts(consents=refused))).objection
    assert not (await gathered()).objection


@pytest.mark.parametrize(
    ("who", "rows", "because"),
    [
        (identity(), person_facts(feeds={"authority": NOW - timedelta(hours=1)}), set()),
        (identity(restricted=True), person_facts(feeds={"authority": NOW}), {"pds-restricted"}),
        (identity(), person_facts(feeds={"authority": NOW}, locks=frozenset({"refuge"})), {"lock:refuge"}),
        (identity(), person_facts(feeds={}), {"feed-unknown:authority"}),
        (identity(), person_facts(feeds={"authority": NOW + timedelta(minutes=5)}), set()),
        (identity(), person_facts(feeds={"authority": NOW + timedelta(minutes=5, seconds=1)}), {"feed-unknown:authority"}),
        (identity(), person_facts(feeds={"authority": NOW - timedelta(hours=48, seconds=1)}), {"feed-stale:authority"}),
        (NotUsable("unknown", NUMBER), person_facts(feeds={}), {"feed-unknown:authority"}),
    ],
)
async def test_unknown_or_stale_is_protected(who, rows, because):
    made = await gathered(who, rows, feeds={"authority": 48.0})
    assert made.protected_because == because
    assert made.protected is bool(because)


async def test_a_feed_exactly_as_old_as_allowed_is_not_stale():
    made = await gathered(rows=person_facts(feeds={"authority": NOW - timedelta(hours=48)}), feeds={"authority": 48.0})
    assert made.protected is False


async def test_a_role_nobody_listed_is_unknown():
    assert (await gathered(asked=request("nobody"))).role_group == "unknown"
    assert ROLES["nobody"].code in (await gathered(asked=request("nobody"))).role


async def test_what_the_audit_stores_names_nobody_and_reads_back_as_the_same_circumstances():
    made = await gathered(
        rows=person_facts(consents=frozenset({ConsentFact("share-health", "permit")})), feeds={"authority": 48.0}
    )
    plain = facts_as_plain(made)
    assert NUMBER.value not in repr(plain)
    assert from_plain({name: plain[name] for name in Circumstances._fields}) == of(made)
    assert plain["protected_because"] == ["feed-unknown:authority"]


@pytest.mark.parametrize(
    ("born", "band"),
    [
        (None, "unknown"),
        (date(2026, 11, 22), "unknown"),
        (date(2026, 11, 21), "under-1"),
        (date(2025, 11, 22), "under-1"),
        (date(2025, 11, 21), "1-4"),
        (date(2021, 11, 22), "1-4"),
        (date(2021, 11, 21), "5-12"),
        (date(2013, 11, 22), "5-12"),
        (date(2013, 11, 21), "13-15"),
        (date(2010, 11, 22), "13-15"),
        (date(2010, 11, 21), "16-17"),
        (date(2008, 11, 22), "16-17"),
        (date(2008, 11, 21), "adult"),
    ],
)
def test_an_age_band_changes_on_the_birthday(born, band):
    assert age_band(born, date(2026, 11, 21)) == band
