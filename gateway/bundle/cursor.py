"""A link to the next page: sealed, short-lived, and of use to one caller for one question."""

import json
from datetime import datetime, timedelta

from gateway.bundle.parts import encode
from gateway.errors import CursorRefused
from gateway.model import Caller, PersonId, Query

CURSOR_LIVES_S = 300


def pack_cursor(query: Query, person: PersonId, caller: Caller, last_key: str, now: datetime) -> bytes:
    """What a next link seals: who may use it, for whose record, for which question, after which key, until when."""
    question = [query.interaction, sorted(query.types), query.count, query.strict]
    until = int((now + timedelta(seconds=CURSOR_LIVES_S)).timestamp())
    return encode({"p": person, "c": _who(caller), "q": question, "k": last_key, "x": until})


def unpack_cursor(opened: bytes, caller: Caller, now: datetime) -> Query:
    """An opened cursor -> the question it continues. Raises `CursorRefused` for another caller, or late."""
    held = json.loads(opened)
    if held["c"] != _who(caller) or now.timestamp() > held["x"]:
        raise CursorRefused(reason="cursor-not-yours-or-late")
    interaction, types, count, strict = held["q"]
    return Query(interaction, PersonId(held["p"]), frozenset(types), count=count, strict=strict, cursor=held["k"])


def _who(caller: Caller) -> list[str]:
    return [caller.system, caller.organisation.code, f"{caller.staff.system}|{caller.staff.id}", caller.purpose.value]
