"""From an event of the log to the decision behind it: what a receipt names is often the event after."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.model import Because
from gateway.ports import LogQuestion
from gateway.store import Store

FOLLOWS: Final = frozenset({"disclosure", "audit-read", "submission", "parcel-read", "delivery"})
NOTHING_DECIDED: Final = "no rule decided this event: gateway log show EVENT prints what it was"
NO_DECISION: Final = "the log that is set does not hold the decision this event follows from"
_SENDERS_WORD: Final = "No rule was asked: whoever sent something may take it back, and this sender did, as entered in error."
_WITHDRAWN: Final = (
    "A consent was withdrawn, or is over: decided anew, nothing but that consent stood between the recipient and what it has, so "
    "the gateway called it back."
)
_OPERATORS: Final = "No rule was asked: an operator called it back with gateway parcel recall."
_MANDATE: Final = (
    "No rule was asked: a recall names the delivery and nobody, and goes to its recipient under the mandate of that delivery "
    "whatever has become of the person (ADR 0020)."
)
_END: Final = "No rule was asked: this is what became of a recall that was on its way to its recipient."
_BECAUSE: Final[Mapping[str, str]] = {
    Because.ENTERED_IN_ERROR: "Called back because it was entered in error.",
    Because.WRONG_PERSON: "Called back because it is about somebody else than it says.",
    Because.CONSENT_WITHDRAWN: "Called back because the consent that let the recipient have it is gone.",
}
_AT_ONCE: Final = 500
_LONGEST: Final = timedelta(minutes=2)  # from a decision to what follows from it, with every source slow


async def decision_behind(store: Store, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """An event's body -> its decision's: itself, the one it names, or the one of the same request shortly before."""
    detail = body.get("detail", {})
    if body.get("kind") == "decision":
        return body
    if isinstance(detail.get("decision"), str):
        named = await store.log.event(detail["decision"])
        return None if named is None else named.body
    if body.get("kind") == "parcel-read":  # what was decided was the submission
        submitted = await _submission(store, body)
        return None if submitted is None else await decision_behind(store, submitted)
    return await _of_the_same_request(store, body) if body.get("kind") in FOLLOWS else None


def decided_otherwise(body: Mapping[str, Any]) -> list[str]:
    """What decided an event that no rule did, in English: its sender, an operator, a consent that is gone, a mandate."""
    kind, detail = body.get("kind"), body.get("detail")
    if kind == "parcel-taken-back":
        return [_SENDERS_WORD]
    if kind != "recall" or not isinstance(detail, dict):
        return []
    if "left" in detail:
        who = {"gateway": _WITHDRAWN, "operator": _OPERATORS}.get(str(body.get("staff_name")), _SENDERS_WORD)
    else:
        who = _MANDATE if "recipient" in detail else _END
    why = _BECAUSE.get(str(detail.get("because")))
    delivered = detail.get("receipt")
    led = (
        f"What let the delivery out: gateway log why {delivered}" if isinstance(delivered, str) and delivered.isalnum() else None
    )
    return [line for line in (who, why, led) if line is not None]


async def _of_the_same_request(store: Store, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    until = datetime.fromisoformat(body["recorded_at"])
    return await _first(
        store,
        LogQuestion(kind="decision", since=until - _LONGEST, until=until, limit=_AT_ONCE),
        lambda other: other["request_id"] == body["request_id"],
    )


async def _submission(store: Store, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    parcel = body["detail"].get("parcel")
    return await _first(
        store,
        LogQuestion(kind="submission", organisation=body["organisation"], limit=_AT_ONCE),
        lambda other: other["detail"].get("parcel") == parcel,
    )


async def _first(store: Store, question: LogQuestion, is_it: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any] | None:
    """The newest event that a question finds and that is the one; page after page."""
    while True:
        events = await store.log.ask(question)
        for event in events:
            if is_it(event.body):
                return event.body
        if len(events) < _AT_ONCE:
            return None
        question = replace(question, before_index=events[-1].index)
