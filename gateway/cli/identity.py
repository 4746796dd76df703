"""`gateway identity`: a custodian's people to NHS numbers, and what people must settle."""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Annotated, TypeVar

import typer

from gateway import nhs_number
from gateway.cli import stored
from gateway.cli.custodian import custodian_of
from gateway.cli.local_counts import A_DELIVERY, Staged, nothing, of_locks, opened, settled, where_it_is
from gateway.cli.local_records import BadRow, Survey, records, survey
from gateway.cli.say import fail
from gateway.cli.staff import staff
from gateway.connectors.http import PooledHttp
from gateway.errors import TracerDown
from gateway.flows.identify import Custodian, Matcher, Progress, identify, in_words, resolve
from gateway.flows.linking import Heard
from gateway.identity import Ages, Identity
from gateway.outside.pds import Pds
from gateway.ports import WORK_KINDS, LocalRecord, NewWork
from gateway.settings import Settings
from gateway.store import Store

CHUNK = 1_000
TOLD_EVERY_S = 2.0
BAD_ROW_DUE = timedelta(days=5)
OUTCOMES = ("linked", "not-the-same-person", "source-corrected", "no-action")
T = TypeVar("T")
Ids = Annotated[str, typer.Option("--ids", help="whose ids these are: person (an authority's) or member (a centre's)")]
Of = Annotated[str, typer.Option("--source", help="the settings name of the source whose people these are")]
By = Annotated[str, typer.Option("--by", callback=staff, help="SYSTEM|ID: who does this")]

app = typer.Typer(help="Local people to NHS numbers, and what people must settle.", no_args_is_help=True)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(help="CSV: local_id,birth_date and any of nhs_number,family,given,gender,postcode,upn,birth_date_status"),
    ],
    source: Of,
    ids: Ids = "person",
    stage_only: Annotated[bool, typer.Option("--stage-only", help="only take the rows in; `match` asks PDS later")] = False,
) -> None:
    """Take in a custodian's people and find each one's NHS number: numbers given are traced, others are searched for.

    Every chunk is durable: stopped at any instant, the same command goes on. A row that cannot be used becomes a work item.
    Exit 0 when every row is taken in and settled or on the work list, 1 when the file cannot be read or PDS is away, 2 for
    settings that cannot be used.
    """
    surveyed = survey(file)

    async def work(store: Store, held: Settings) -> None:
        staged = await _stage(store, held, file, surveyed, source)
        typer.echo(staged.said(file.name, surveyed.rows))
        if not stage_only:
            await _match(store, held, source, ids, staged.opened)
        else:
            typer.echo(opened(staged.opened))

    stored.run(work, long=True)


@app.command()
def match(source: Of, ids: Ids = "person") -> None:
    """Go on with the people of one source who have no outcome yet."""

    async def work(store: Store, held: Settings) -> None:
        await _match(store, held, source, ids, Counter())

    stored.run(work, long=True)


@app.command()
def worklist(
    owner: Annotated[str | None, typer.Option(help="only items of this owner")] = None,
    source: Annotated[str | None, typer.Option(help="only items of this source")] = None,
    kind: Annotated[str | None, typer.Option(help="only items of this kind: " + ", ".join(WORK_KINDS))] = None,
    closed: Annotated[bool, typer.Option("--closed", help="what was settled, the newest first")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="how many at most")] = 200,
) -> None:
    """What people must settle: the most urgent first. Whom an item is about is told to who takes it.

    Where nothing fits, it says how many items there are of others, and whose they are. A kind that is none: exit 2.
    """

    async def work(store: Store, held: Settings) -> list[str]:
        now, there = datetime.now(UTC), await store.work.counted(closed=closed)
        if kind is not None and kind not in {*WORK_KINDS, *(known for _, _, known in there)}:
            fail(f"--kind is one of {', '.join(WORK_KINDS)}", code=2)
        items = await store.work.list(owner=owner, source=source, kind=kind, closed=closed, limit=limit)
        await stored.record(store, "worklist-read", {"found": len(items)})
        lines = []
        for item in items:
            if item.closed_at is not None:
                state = f"closed {item.closed_at:%Y-%m-%d} {item.outcome}"
            else:
                late = "OVERDUE since" if item.due < now else "due"
                state = f"{late} {item.due:%Y-%m-%d}" + (f", taken by {item.taken_by}" if item.taken_by else "")
            lines.append(f"{item.id}  {item.kind}  {item.source}  {item.owner}  {state}  {item.reason}")
        return lines or [nothing(there, owner=owner, source=source, kind=kind, closed=closed)]

    typer.echo("\n".join(stored.run(work)))


@app.command()
def take(item: Annotated[str, typer.Argument(help="an item of the work list")], by: By) -> None:
    """Take an item: from now on only this person may settle it. Prints where its owner finds the record, or the delivery."""

    async def work(store: Store, held: Settings) -> str:
        subject = await store.work.take(item, by=by, at=datetime.now(UTC))
        if subject is None:
            fail("there is no open item of this id, or somebody else has taken it")
        if subject.local_ref.startswith(A_DELIVERY):
            return f"{subject.local_ref}\n{where_it_is(subject.local_ref)}"
        return subject.local_ref or "A person of the register: `gateway log` shows the event that opened it."

    typer.echo(stored.run(work))


@app.command("resolve")
def resolve_(
    item: Annotated[str, typer.Argument(help="an item of the work list")],
    by: By,
    outcome: Annotated[str, typer.Option(help="one of " + ", ".join(OUTCOMES))],
    source: Annotated[str, typer.Option("--source", help="with linked: the source whose record it is")] = "",
    ids: Ids = "person",
) -> None:
    """Settle an item. With `linked` the NHS number is read from standard input, traced, and its birth date compared."""
    if outcome not in OUTCOMES:
        fail(f"outcome is one of {', '.join(OUTCOMES)}")
    text = typer.get_text_stream("stdin").readline().strip() if outcome == "linked" else ""

    async def work(store: Store, held: Settings) -> str | Heard:
        if outcome != "linked":
            done = await store.work.close(item, by=by, outcome=outcome, at=datetime.now(UTC))
            return Heard() if done else "there is no open item of this id, or somebody else has taken it"
        try:
            number = nhs_number.parse(text, allow_test=held.mode == "sandbox")
        except nhs_number.NotAnNhsNumber:
            fail("standard input: not an NHS number")
        return await _with_pds(
            store, held, source, ids, lambda matcher: resolve(matcher, item, by=by, outcome=outcome, number=number)
        )

    became = stored.run(work)
    if isinstance(became, str):
        fail(became)
    typer.echo(f"Settled: {outcome}.")
    for line in of_locks(source, became):
        typer.echo(line)


async def _stage(store: Store, held: Settings, file: Path, surveyed: Survey, source: str) -> Staged:
    """The rows of the file that are not staged yet -> staged, in chunks of which each is durable."""
    custodian = custodian_of(held, source, "person")
    now = datetime.now(UTC)
    cursor = await store.local_records.begin(source, surveyed.digest, now)
    rows = records(file, surveyed, source, after=cursor, allow_test=held.mode == "sandbox")
    staged = Staged(before=cursor)
    while chunk := list(islice(rows, CHUNK)):
        good = [row for row in chunk if isinstance(row, LocalRecord)]
        work = [_bad_row(row, custodian, now) for row in chunk if isinstance(row, BadRow)]
        cursor += len(chunk)
        done = await store.local_records.stage(source, surveyed.digest, good, work, cursor=cursor, at=now)
        staged.add(len(good), len(work), done)
    return staged


def _bad_row(row: BadRow, custodian: Custodian, now: datetime) -> NewWork:
    where = row.local_id or f"line {row.line}"
    return NewWork(
        kind="bad-row",
        reason=row.reason,
        source=custodian.source,
        owner=custodian.owner,
        due=now + BAD_ROW_DUE,
        key=f"bad-row:{custodian.source}:{where}:{row.reason}",
        local_ref=f"line {row.line}" + (f", {row.local_id}" if row.local_id else ""),
    )


async def _match(store: Store, held: Settings, source: str, ids: str, items: Counter[str]) -> None:
    """`items`: kinds of work items that were opened on the way here."""
    began, last = monotonic(), -TOLD_EVERY_S

    def told(progress: Progress) -> None:
        nonlocal last
        if monotonic() - last >= TOLD_EVERY_S or progress.settled == progress.waiting:
            last = monotonic()
            typer.echo(_line(progress, monotonic() - began), err=True)

    progress = await _with_pds(store, held, source, ids, lambda matcher: identify(matcher, told=told))
    counts = await store.local_records.counts(source)
    said = ", ".join(f"{counts[name]} {name}" for name in sorted(counts)) or "nobody"
    typer.echo(f"{settled(progress)} {opened(items + progress.opened)} Of {source} in all: {said}.")
    for line in of_locks(source, Heard(progress.protected, progress.awaiting)):
        typer.echo(line)
    if progress.down:
        fail("PDS does not answer just now. Nothing is lost: run `gateway identity match` later")


def _line(progress: Progress, seconds: float) -> str:
    if progress.settled == progress.waiting:
        return f"{progress.settled} settled, {progress.linked} of them linked, in {seconds:.1f} s."
    end = in_words(progress.ends_in(), datetime.now().astimezone())
    so_far = f"{progress.settled} of {progress.waiting} settled, {progress.linked} linked"
    return f"{so_far}; at {progress.rate:g} questions a second {end}"


async def _with_pds(store: Store, held: Settings, source: str, ids: str, act: Callable[[Matcher], Awaitable[T]]) -> T:
    """The same tracer, rate and rules as a request has."""
    custodian = custodian_of(held, source, ids)
    pds = Pds(held.pds, PooledHttp(tls=None if held.pds.tls is None else held.pds.tls.context("pds.tls")))
    ages = Ages(timedelta(seconds=held.trace_fresh_s), timedelta(seconds=held.trace_stale_s))
    matcher = Matcher(
        custodian=custodian,
        records=store.local_records,
        crosswalk=store.crosswalk,
        work=store.work,
        identity=Identity(store.persons, pds, ages),
        search=pds,
        protections=store.protections,
        shelf=store.shelf,
        per_second=held.pds.per_second,
        now=lambda: datetime.now(UTC),
    )
    try:
        return await act(matcher)
    except TracerDown:
        fail("PDS does not answer just now: try again shortly")
    finally:
        await pds.close()
