"""The facts store: all that is stored about one person and one caller, in one statement."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    LargeBinary,
    String,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from gateway.model import ConsentFact
from gateway.nhs_number import NhsNumber
from gateway.ports import PersonFacts
from gateway.store.database import Database, Statement, micros, moment
from gateway.store.keys import Keys
from gateway.store.subjects import family
from gateway.store.tables import CLIENT, CONSENT, FEED, POLICY_ACTIVATION, PROTECTION, RELATIONSHIP, SUBJECT

OBJECTION_SCOPE = "direct-care"
_NEEDS_STAFF_AND_CASE = "allocated-worker"
_ADOPTION = "adoption"  # the lock of a child with a placement order, placed for adoption or adopted
_NOBODY = bytes(32)  # the key of no number: the same statement, the same cost, no rows
_NO_CASE = bytes(32)
_JOINT = "|"  # between a scope and who gave the consent


def _word(text: str) -> ColumnElement[str]:
    return literal_column(f"'{text}'", String)


def _statement() -> Statement:
    people = family()
    numbers = select(people.c.number_key)
    at = bindparam("at", type_=BigInteger)
    no_word, no_number = cast(null(), Text), cast(null(), BigInteger)
    consent, relationship = CONSENT.c, RELATIONSHIP.c
    staff = bindparam("staff_key", type_=LargeBinary)
    case = bindparam("case_key", type_=LargeBinary)
    version = select(
        _word("version").label("what"),
        no_word.label("a"),
        no_word.label("b"),
        cast(func.coalesce(func.sum(SUBJECT.c.version), literal_column("0")), BigInteger).label("n"),
    ).where(SUBJECT.c.number_key.in_(numbers))
    scope_and_giver = consent.scope + _word(_JOINT) + consent.giver
    consents = select(_word("consent"), scope_and_giver, consent.decision, consent.starts).where(
        consent.number_key.in_(numbers),
        consent.starts <= at,
        or_(consent.ends.is_(None), consent.ends > at),
        or_(consent.withdrawn_at.is_(None), consent.withdrawn_at > at),
    )
    relationships = select(_word("relationship"), relationship.kind, no_word, no_number).where(
        relationship.number_key.in_(numbers),
        relationship.organisation == bindparam("organisation", type_=String),
        relationship.starts <= at,
        or_(relationship.ends.is_(None), relationship.ends > at),
        or_(relationship.staff_key.is_(None), relationship.staff_key == staff),
        or_(relationship.case_key.is_(None), relationship.case_key == case),
        or_(
            relationship.kind != _word(_NEEDS_STAFF_AND_CASE),
            (relationship.staff_key == staff) & (relationship.case_key == case),
        ),
    )
    locks = select(_word("lock"), PROTECTION.c.kind, no_word, PROTECTION.c.since).where(PROTECTION.c.number_key.in_(numbers))
    feeds = select(_word("feed"), FEED.c.source, no_word, FEED.c.delivered_at)
    client = select(_word("client"), no_word, no_word, CLIENT.c.version).where(
        CLIENT.c.id == bindparam("client", type_=String), CLIENT.c.revoked.is_(literal_column("false"))
    )
    serials = select(func.max(POLICY_ACTIVATION.c.serial)).scalar_subquery()
    policy = select(_word("policy"), POLICY_ACTIVATION.c.hash, no_word, no_number).where(POLICY_ACTIVATION.c.serial == serials)
    return Statement(union_all(version, consents, relationships, locks, feeds, client, policy))


_READ = _statement()


class StoredFacts:
    """`ports.FactsStore`."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    async def read(
        self, number: NhsNumber | None, *, organisation: str, staff: str, case_reference: str | None, client: str, at: datetime
    ) -> PersonFacts:
        """One statement, whoever is asked about."""
        keys = self._keys
        rows = await self._database.read(
            _READ,
            {
                "number_key": _NOBODY if number is None else keys.number_key(number),
                "organisation": organisation,
                "staff_key": keys.word_key("staff", staff),
                "case_key": _NO_CASE if case_reference is None else keys.word_key("case", case_reference),
                "client": client,
                "at": micros(at),
            },
        )
        return _facts(rows)


def _facts(rows: Sequence[Sequence[Any]]) -> PersonFacts:
    version, client_version, policy = 0, None, None
    newest: dict[str, tuple[int, str]] = {}  # scope|giver -> (since, decision); "deny" < "permit": the smaller wins a tie
    relationships, feeds = set(), {}
    locks: dict[str, int] = {}  # kind -> since when
    for what, a, b, n in rows:
        if what == "version":
            version = n
        elif what == "consent":
            held = newest.get(a)
            if held is None or n > held[0] or (n == held[0] and b < held[1]):
                newest[a] = (n, b)
        elif what == "relationship":
            relationships.add(a)
        elif what == "lock":
            locks[a] = min(n, locks.get(a, n))
        elif what == "feed":
            feeds[a] = moment(n)
        elif what == "policy":
            policy = a
        else:
            client_version = n
    # Each giver's newest word counts. Where two disagree, the refusal stands until its own giver takes it back.
    # From a placement for adoption on, what was permitted before permits nothing: those who gave it no longer may.
    decided: dict[str, str] = {}
    placed = locks.get(_ADOPTION)
    for scope_and_giver, (since, decision) in newest.items():
        if decision == "permit" and placed is not None and since <= placed:
            continue
        scope = scope_and_giver.partition(_JOINT)[0]
        decided[scope] = min(decided.get(scope, decision), decision)
    return PersonFacts(
        version=version,
        consents=frozenset(ConsentFact(scope, decision) for scope, decision in decided.items()),  # type: ignore[arg-type]
        objection=decided.get(OBJECTION_SCOPE) == "deny",
        relationships=frozenset(relationships),
        locks=frozenset(locks),
        feeds=feeds,
        client_version=client_version,
        policy=policy,
    )
