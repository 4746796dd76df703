"""A link to the next page: sealed, short-lived, and of use to one caller for one question."""

import json
from datetime import datetime, timedelta

from gateway.bundle.parts import encode
from gateway.errors import CursorRefused
from gateway.model import Caller, PersonId, Query
from gateway.nhs_number import NhsNumber

CURSOR_LIVES_S = 300


def pack_cursor(query: Query, person: PersonId, caller: Caller, last_key: str, now: datetime) -> bytes:
    """What a next link seals: who may use it, for whose record, for which question, after which key, until when."""
    return encode({"p": person, **_sealed(query, caller, last_key, now)})


def pack_audit_cursor(query: Query, caller: Caller, last_index: int, now: datetime) -> bytes:
    """The same of a question of the log: its criteria, and the event after which it goes on.

    It may ask about a number of which no person row exists. Sealed, the number is in the link as the criteria are: for us alone.
    """
    person = query.person
    named = {"n": person.value} if isinstance(person, NhsNumber) else {"p": person}
    return encode({**named, "a": dict(query.audit), **_sealed(query, caller, str(last_index), now)})


def unpack_cursor(opened: bytes, caller: Caller, now: datetime) -> Query:
    """An opened cursor -> the question it continues. Raises `CursorRefused` for another caller, or late."""
    held = json.loads(opened)
    if held["c"] != _who(caller) or now.timestamp() > held["x"]:
        raise CursorRefused(reason="cursor-not-yours-or-late")
    interaction, types, count, strict = held["q"]
    named = held.get("p")
    person = NhsNumber(held["n"]) if "n" in held else None if named is None else PersonId(named)
    return Query(
        interaction, person, frozenset(types), count=count, strict=strict, cursor=held["k"], audit=dict(held.get("a", {}))
    )


def _sealed(query: Query, caller: Caller, last_key: str, now: datetime) -> dict[str, object]:
    question = [query.interaction, sorted(query.types), query.count, query.strict]
    until = int((now + timedelta(seconds=CURSOR_LIVES_S)).timestamp())
    return {"c": _who(caller), "q": question, "k": last_key, "x": until}


def _who(caller: Caller) -> list[str]:
    return [caller.system, caller.organisation.code, f"{caller.staff.system}|{caller.staff.id}", caller.purpose.value]
