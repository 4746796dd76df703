"""Rules of the conformance kit that run the adapter: how it ends, what it sends, whose records it brings."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Final

from gateway.adapter import (
    Claim,
    HttpAnswer,
    Purpose,
    SourceContractBroken,
    SourceError,
    SourceRefused,
    SourceTimedOut,
    SourceUnavailable,
    StartupRefused,
)
from gateway.fetch import is_about
from gateway.kit.hostile import FILES, MARK
from gateway.kit.running import (
    BORN,
    BUDGET_S,
    LOCAL,
    NUMBER,
    OTHER,
    Making,
    NoSettings,
    NotChecked,
    Ran,
    World,
    answers,
    identity,
    kept,
)
from gateway.kit.running import making as making_of
from gateway.kit.running import run as run_in

if TYPE_CHECKING:
    from gateway.kit.conformance import Subject

STATUSES: Final = {
    401: SourceRefused,
    403: SourceRefused,
    429: SourceUnavailable,
    500: SourceUnavailable,
    502: SourceUnavailable,
    503: SourceUnavailable,
}
CUT: Final = b'{"resourceType": "Bundle", "entry": [{"resource": {"' + MARK.encode()
DATABASES: Final = {"gone": SourceUnavailable, "broken": SourceContractBroken, "": SourceContractBroken}
OTHER_LOCAL: Final = "LOCAL-9"
VERIFIED: Final = [Claim(local_id=LOCAL, birth_date=BORN)]  # what the crosswalk holds of the person asked about
READS: Final = frozenset({"GET", "POST", "HEAD"})  # a search and an operation post; none of these is a write by itself
CHANGES: Final = ("create", "update", "delete", "$process-message", "mutation")


def settings(one: "Subject") -> Iterator[str]:
    """The README's own settings are ones the gateway accepts, and the adapter is built from them."""
    try:
        with making_of(one.package, one.manifest, one.readme, one.connector, one.folder / "codes") as making:
            making(World())
    except NoSettings as error:
        yield f"README.md: {error}"
    except StartupRefused as error:
        yield f"README.md: its settings do not start the adapter: {error}"


def errors(one: "Subject") -> Iterator[str]:
    """401, 403, 429, 5xx, an answer cut short and hostile answers: each sorts to the right error, and none holds a value.

    Of a database: one that is not there, one that is none, one without the tables. What reads deliveries alone asks nobody.
    """
    if _has_database(one):
        for database, wanted in DATABASES.items():
            ran, _ = _ran(one, World(database=database))
            if not isinstance(ran.error, wanted):
                yield f"a database that is {database or 'empty'} must be {wanted.__name__}, came out as {_named(ran)}"
        return
    for status, wanted in STATUSES.items():
        ran, world = _ran(one, World(_answer(status, MARK.encode())))
        _looked(world)
        if world.requests and not isinstance(ran.error, wanted):
            yield f"an answer of {status} must be {wanted.__name__}, came out as {_named(ran)}"
        yield from _silent(f"an answer of {status}", ran)
    ran, world = _ran(one, World(_answer(200, CUT)))
    if world.requests and not isinstance(ran.error, SourceContractBroken):
        yield f"an answer cut short must be SourceContractBroken, came out as {_named(ran)}"
    for name, body in FILES.items():
        ran, world = _ran(one, World(_answer(200, body)))
        if ran.error is not None and not isinstance(ran.error, SourceError):
            yield f"hostile answer {name}: {type(ran.error).__name__} instead of one of the four errors"
        yield from _silent(f"hostile answer {name}", ran)


def slow(one: "Subject") -> Iterator[str]:
    """A source that never answers stops at the budget, and what was asked of it is let go."""
    database = _has_database(one)
    ran, world = _ran(one, World(waits=True, database="busy"), budget_s=BUDGET_S)
    if not database:
        _looked(world)
    if not isinstance(ran.error, TimeoutError | SourceTimedOut):
        yield f"a source that never answers came out as {_named(ran)}"
    if ran.took_s > 5 * BUDGET_S:
        yield "a source that never answers is not stopped at its budget"
    if world.open:
        yield "a request that was cancelled stays open"


def empty(one: "Subject") -> Iterator[str]:
    """A source that holds nothing of the person gives nothing, and no error."""
    nobody = answers(one.package).get("nobody")
    if _has_database(one):
        ran, world = _ran(one, World(database=_script(nobody, "nobody.sql")))
    else:
        ran, world = _ran(one, World(_answer(200, nobody if nobody is not None else b"")))
        _looked(world)
    if world.requests and nobody is None:
        raise NotChecked("what its source says when it holds nothing is not known: lay it down as answers/nobody.json")
    if ran.error is not None:
        yield f"a source that holds nothing came out as {_named(ran)}"
    if ran.records:
        yield "a source that holds nothing gave a record"


def wrong_person(one: "Subject") -> Iterator[str]:
    """A record about somebody else is told by its own key, so the gateway discards the answer; one about the person is not."""
    body = answers(one.package).get("one-person")
    if _has_database(one):
        yield from _told_apart(one, "answers/one-person", lambda sent: World(database=sent.decode("utf-8")), _sent_by(body))
        return
    _, world = _ran(one, World(_answer(404, b"")))
    _looked(world)
    if world.shelf_asked:
        yield from _shelf_told_apart(one)
    if world.requests and body is None:
        raise NotChecked("what its source says of a person is not known: lay an invented answer down as answers/one-person.json")
    if body is not None:
        yield from _told_apart(one, "answers/one-person", lambda sent: World(_answer(200, sent)), body)


def _told_apart(one: "Subject", what: str, holds: Callable[[bytes], World], body: bytes) -> Iterator[str]:
    """What a source says of the person passes as theirs; the same with another's key does not."""
    ran, _ = _ran(one, holds(body))
    if not ran.records or not all(is_about(item.about, identity(), VERIFIED) for item in ran.records):
        yield f"{what}: its records do not pass as those of the person asked about (9990000107, born 2024-03-14)"
    others = body.replace(NUMBER.encode(), OTHER.encode()).replace(LOCAL.encode(), OTHER_LOCAL.encode())
    ran, _ = _ran(one, holds(others))
    if ran.error is None and any(is_about(item.about, identity(), VERIFIED) for item in ran.records):
        yield f"{what}: of another number, its records pass as the person's all the same"


def _shelf_told_apart(one: "Subject") -> Iterator[str]:
    theirs = [Claim(nhs_number=OTHER, birth_date=BORN), Claim(local_id=OTHER_LOCAL, birth_date=BORN)]
    ours = Claim(nhs_number=NUMBER, birth_date=BORN) if one.manifest.identity == "nhs_number" else Claim(local_id=LOCAL)
    record = next((record for case in one.cases for record in case.records()), None)
    if record is None:
        raise NotChecked("there is no case whose record could lie on its shelf: write one")
    for claim in (*theirs, replace(ours, birth_date=date(2001, 1, 1))):
        ran, _ = _ran(one, World(_answer(404, b""), shelf=kept(record, claim, one.manifest)))
        if any(is_about(item.about, identity(), VERIFIED) for item in ran.records):
            yield "a record of its shelf about somebody else passes as the person's"
    every = [held for case in one.cases for record in case.records() for held in kept(record, ours, one.manifest)]
    ran, _ = _ran(one, World(_answer(404, b""), shelf=every))
    if not any(is_about(item.about, identity(), VERIFIED) for item in ran.records):
        yield "no record of its shelf about the person passes as theirs"


def read_only(one: "Subject") -> Iterator[str]:
    """Fetching never sends a verb or an operation that writes. (Statements that are no SELECT stop the connector `sql`.)"""
    for method, url, _, body in _sent(one):
        if method not in READS:
            yield f"fetching sends {method}"
        if any(url.rsplit("/", 1)[-1].lower().startswith(word) for word in CHANGES) or body.lstrip().startswith(b"mutation"):
            yield "fetching asks for an operation that writes"


def number_in_url(one: "Subject") -> Iterator[str]:
    """The key of a person is in no URL, but of a route that the manifest marks (`key_in_path`)."""
    marked = any(isinstance(table, dict) and table.get("key_in_path") for table in one.manifest.options.get("route", {}).values())
    for _, url, _, _ in _sent(one):
        if (NUMBER in url or LOCAL in url) and not marked:
            yield "a URL holds the person's key"


def no_network(one: "Subject") -> Iterator[str]:
    """Everything goes through what the gateway lends: a check reaches no network, starts no process."""
    for world in (World(_answer(200, b"")), World(_answer(503, b"")), World(waits=True)):
        _ran(one, world, budget_s=BUDGET_S)
        if world.network:
            yield f"goes past the tools it is lent: {', '.join(sorted(set(world.network)))}"
            return


def _sent(one: "Subject") -> list[tuple[str, str, object, bytes]]:
    sent: list[tuple[str, str, object, bytes]] = []
    for body in (b"", *answers(one.package).values()):
        _, world = _ran(one, World(_answer(200, body)))
        sent += world.requests
    return sent


def _ran(one: "Subject", world: World, *, budget_s: float = 2.0) -> tuple[Ran, World]:
    """Asked once, in its own README's settings. Raises `NotChecked` where they cannot be used: the rule `settings` says why."""
    purpose = min(one.manifest.purposes - one.manifest.never_for, default="TREAT")
    try:
        with making_of(one.package, one.manifest, one.readme, one.connector, one.folder / "codes") as making:
            return _asked(making, world, purpose, one, budget_s), world
    except (NoSettings, StartupRefused):
        raise NotChecked("the adapter does not start with its README's settings") from None


def _has_database(one: "Subject") -> bool:
    """Whether its README's settings name a database. Raises `NotChecked` where they cannot be used."""
    try:
        with making_of(one.package, one.manifest, one.readme, one.connector, one.folder / "codes") as making:
            return making.has_database
    except NoSettings:
        raise NotChecked("the adapter does not start with its README's settings") from None


def _looked(world: World) -> None:
    """Raises `NotChecked` where the adapter asked neither a service nor its shelf: then nothing was seen of it."""
    if not (world.requests or world.shelf_asked):
        raise NotChecked("it asked neither a service nor its shelf, so there was nothing to see")


def _sent_by(body: bytes | None) -> bytes:
    if body is None:
        raise NotChecked("its tables are not known: lay down answers/one-person.sql, which makes them and one invented person")
    return body


def _script(body: bytes | None, name: str) -> str:
    if body is None:
        raise NotChecked(f"its tables are not known: lay down answers/{name}, which makes them and holds nobody")
    return body.decode("utf-8")


def _asked(making: Making, world: World, purpose: str, one: "Subject", budget_s: float) -> Ran:
    types = frozenset(one.manifest.gives) or frozenset({"Encounter"})
    return run_in(making, world, purpose=Purpose(purpose), types=types, budget_s=budget_s)


def _answer(status: int, body: bytes) -> HttpAnswer:
    kind = "application/fhir+json" if body[:1] in (b"{", b"[", b"") else "text/plain"
    return HttpAnswer(status, {"content-type": kind}, body)


def _named(ran: Ran) -> str:
    return type(ran.error).__name__ if ran.error is not None else "no error"


def _silent(what: str, ran: Ran) -> Iterator[str]:
    if isinstance(ran.error, SourceError) and MARK in f"{ran.error} {ran.error.reason}":
        yield f"{what}: its error holds a value"
