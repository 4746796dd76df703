"""`gateway crosswalk`: local ids and the verified NHS numbers they belong to."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from gateway import matching
from gateway.cli import crosswalk_rows, stored
from gateway.cli.crosswalk_rows import Line
from gateway.cli.custodian import custodian_of
from gateway.cli.local_counts import closed, of_locks, opened
from gateway.cli.staff import staff
from gateway.flows.identify import HELD_TWICE, Custodian
from gateway.flows.linking import OTHER_DATE, OTHER_NUMBER, Linking, Sifted, left_alone, link, sift
from gateway.ports import NewWork
from gateway.settings import Settings
from gateway.store import Store

URGENT, SOON = timedelta(days=1), timedelta(days=5)

app = typer.Typer(help="Local ids and the verified NHS numbers they belong to.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep the group a group."""


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: local_id,nhs_number and optionally birth_date,verified_on,verified_by")],
    source: Annotated[str, typer.Option(help="the settings name of the source whose ids these are")],
    moved_by: Annotated[
        str | None,
        typer.Option(
            "--moved-by",
            callback=staff,
            help="SYSTEM|ID: who decided that ids verified for another number or with another birth date have this file's",
        ),
    ] = None,
) -> None:
    """Read a CSV of verified matches into the crosswalk. Good rows go in; each refused row is told and is somebody's task.

    What --moved-by decides is settled on the work list too, but for what somebody else has taken.
    Exit 0 when every row is in, 1 when some are refused (the others are in) or the file cannot be read, 2 for settings that
    cannot be used.
    """

    decided_by = moved_by or ""

    async def work(store: Store, held: Settings) -> bool:
        custodian, now = custodian_of(held, source), datetime.now(UTC)
        lines = crosswalk_rows.read(file, source, today=now.date(), allow_test=held.mode == "sandbox")
        linking = Linking(store.crosswalk, store.protections, store.shelf, lambda: datetime.now(UTC))
        rows = list({line.local_id: line.link for line in lines if line.link is not None}.values())
        sifted = await sift(linking, store.persons, rows, moves=bool(decided_by))
        reasons = {line.number: why for line in lines if (why := line.reason or sifted.refused.get(line.local_id, ""))}
        tasks = _tasks(custodian, lines, reasons, sifted.twice, now)
        done = await _apart(store, source, sifted.moved, by=decided_by)
        kinds = {task.kind for task in tasks}
        items = Counter({kind: await store.work.open([task for task in tasks if task.kind == kind], now) for kind in kinds})
        made, heard = await link(linking, sifted.wanted, by=decided_by)
        if decided_by:
            done += await _settled(store, linking, source, sifted, by=decided_by)
        for line in lines:
            if line.number in reasons:
                typer.echo(f"{file.name}, line {line.number}: {reasons[line.number]}", err=True)
        same = len(lines) - len(reasons) - made
        typer.echo(f"{len(lines)} rows of {file.name}: {made} linked, {same} unchanged, {len(reasons)} refused. {opened(+items)}")
        if done:
            typer.echo(closed(done))
        for said in of_locks(source, heard):
            typer.echo(said)
        return not reasons

    if not stored.run(work):
        raise typer.Exit(1)


async def _apart(store: Store, source: str, local_ids: Iterable[str], *, by: str) -> Counter[str]:
    """Before ids are moved: whom they were held twice with they are no longer. With whom they are now is asked anew."""
    keys = [key for local_id in local_ids for key in _twice_keys(source, local_id)]
    return Counter(await store.work.settle(keys, by=by, outcome="not-the-same-person", at=datetime.now(UTC)))


async def _settled(store: Store, linking: Linking, source: str, sifted: Sifted, *, by: str) -> Counter[str]:
    """After it: the same command again settles what a killed one left, so it looks at every id that is where the file says."""
    keys = [_key("match", source, row.local_id, why) for row in sifted.wanted for why in (OTHER_NUMBER, OTHER_DATE)]
    linked = await store.work.settle(keys, by=by, outcome="linked", at=datetime.now(UTC))
    return Counter(linked) + await _apart(store, source, await left_alone(linking, source, sifted.moved.values()), by=by)


def _tasks(
    custodian: Custodian, lines: Sequence[Line], reasons: Mapping[int, str], twice: frozenset[str], now: datetime
) -> Sequence[NewWork]:
    """What a person has to decide: one task for an id and a reason, however many rows there are."""
    found: dict[str, NewWork] = {}
    for line in lines:
        reason = reasons.get(line.number, HELD_TWICE if line.local_id in twice else "")
        if not reason:
            continue
        kind, owner, due = _whose(custodian, reason)
        where = line.local_id or f"line {line.number}"
        key = _key(kind, custodian.source, where, reason)
        local_ref = line.local_id if reason == HELD_TWICE else f"line {line.number}, {line.local_id}".removesuffix(", ")
        found.setdefault(key, NewWork(kind, reason, custodian.source, owner, now + due, key, local_ref=local_ref))
    return list(found.values())


def _key(kind: str, source: str, where: str, reason: str) -> str:
    return f"{kind}:{source}:{where}:{reason}"


def _twice_keys(source: str, local_id: str) -> Sequence[str]:
    """The items by which an id may be told as held twice: this command's, and that of `gateway identity`."""
    return _key("held-twice", source, local_id, HELD_TWICE), f"held-twice:{source}:{local_id}"


def _whose(custodian: Custodian, reason: str) -> tuple[str, str, timedelta]:
    """(kind, owner, how soon) of a task."""
    if reason == matching.BURIED:
        return "guardian", custodian.guardian, URGENT
    if reason == HELD_TWICE:
        return "held-twice", custodian.owner, URGENT
    if reason in (OTHER_NUMBER, OTHER_DATE):
        return "match", custodian.owner, URGENT
    return "bad-row", custodian.owner, SOON
