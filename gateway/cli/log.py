"""`gateway log`: the audit log, asked and verified by its operator. Every question here is itself recorded."""

import json
from typing import Annotated, Any

import typer

from gateway.cli import stored
from gateway.cli.decided import FOLLOWS, NO_DECISION, NOTHING_DECIDED, decided_otherwise, decision_behind
from gateway.cli.say import fail
from gateway.ports import LogQuestion
from gateway.settings import Settings
from gateway.store import Store

NO_EVENT = "no event of this name is in the log: of a receipt, give the part before its first dot"

app = typer.Typer(help="The audit log: why a decision was made, and whether the log holds together.", no_args_is_help=True)


@app.command()
def why(event: Annotated[str, typer.Argument(help="the event named by a receipt (its part before the first dot)")]) -> None:
    """Print the rules that decided an event, in English; or who did, where no rule was asked."""

    async def work(store: Store, _: Settings) -> list[str] | None:
        found = await store.log.event(event)
        await stored.record(store, "log-why", {"event": event if found else "unknown"})
        if found is None:
            return None
        decision = await decision_behind(store, found.body)
        if decision is None and (otherwise := decided_otherwise(found.body)):
            return otherwise
        if decision is None:
            return [NO_DECISION if found.body["kind"] in FOLLOWS else NOTHING_DECIDED]
        return _rules(decision)

    lines = stored.run(work)
    if lines is None:
        fail(NO_EVENT)
    if lines[0] in (NO_DECISION, NOTHING_DECIDED):
        fail(lines[0])
    for line in lines:
        typer.echo(line)


@app.command()
def show(event: Annotated[str, typer.Argument(help="the event named by a receipt (its part before the first dot)")]) -> None:
    """Print one event as JSON, as the log holds it: of a decision, what `gateway policy explain FILE` takes."""

    async def work(store: Store, _: Settings) -> Any:
        found = await store.log.event(event)
        await stored.record(store, "log-show", {"event": event if found else "unknown"})
        return None if found is None else found.body

    body = stored.run(work)
    if body is None:
        fail(NO_EVENT)
    typer.echo(json.dumps(body, indent=2, ensure_ascii=False))


@app.command()
def count() -> None:
    """Print how many events the log holds."""

    async def work(store: Store, _: Settings) -> int:
        newest = await store.log.ask(LogQuestion(limit=1))
        return newest[0].index + 1 if newest else 0

    typer.echo(stored.run(work))


@app.command()
def verify() -> None:
    """Read the whole log and name every fault; exit 1 when there is one."""

    async def work(store: Store, _: Settings) -> list[str]:
        faults = await store.verify()
        await stored.record(store, "log-verify", {"faults": len(faults)})
        return [f"{'' if fault.index is None else f'index {fault.index}: '}{fault.what}" for fault in faults]

    faults = stored.run(work)
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(1)
    typer.echo("The log holds together.")


def _rules(body: Any) -> list[str]:
    detail = body.get("detail", {})
    return list(dict.fromkeys(f"{rule['because']} [{rule['id']}]" for rule in detail.get("rules", [])))
