"""`gateway policy`: check the rules by their cases, explain a decision in English, make a checked policy the active one."""

import getpass
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway import policy
from gateway.cli import stored
from gateway.cli.decided import FOLLOWS, NO_DECISION, decided_otherwise, decision_behind
from gateway.cli.say import fail
from gateway.settings import Settings
from gateway.store import Store

Folder = Annotated[
    Path | None, typer.Option("--folder", envvar="GATEWAY_POLICY", help="a consent_policy folder; default: the shipped one")
]

app = typer.Typer(help="Who may see what, and why: check, explain, activate.", no_args_is_help=True)


@app.command()
def check(folder: Folder = None) -> None:
    """Load every rule and run every case; exit 1 and name each fault when there is one."""
    loaded = _checked(folder)
    typer.echo(f"{len(loaded.rules.by_id)} rules, {len(loaded.cases)} cases: all decide as written.")
    typer.echo(f"Policy {loaded.hash}")


@app.command()
def explain(
    case: Annotated[
        Path | None, typer.Argument(help="a case file, the name of a case, or an event of the log saved as JSON")
    ] = None,
    event: Annotated[str, typer.Option(help="an event of the log: the one a receipt names, or its decision")] = "",
    every: Annotated[bool, typer.Option("--all", help="name the agreements that do not concern a category too")] = False,
    folder: Folder = None,
) -> None:
    """Print which rules decide a case, or a stored decision, and why."""
    loaded = _loaded(folder)
    if (case is None) == (event == ""):
        fail("name a case, or an event with --event")
    if case is None:
        _explain_stored(loaded, _of_the_log(event), "the log", every=every)
        return
    name = case.name.removesuffix(".json")
    by_name = {known.name: known for known in loaded.cases}
    if case.is_file():
        tree = _json(case)
        if "shows" not in tree:
            _explain_stored(loaded, _followed(tree) if tree.get("kind") in FOLLOWS else tree, case.name, every=every)
            return
        try:
            found = policy.read_case(case, permit=case.parent.name != "deny")
        except policy.Broken as broken:
            fail(f"{case.name}: {broken}")
    elif name in by_name:
        found = by_name[name]
    else:
        fail("no such case: give a file, or the name of a case under cases/")
    typer.echo("\n".join(policy.explain_case(loaded, found, every_agreement=every)))


@app.command()
def activate(folder: Folder = None) -> None:
    """Make the policy that this gateway is set to use the active one for every worker; a broken one never becomes active."""

    async def work(store: Store, held: Settings) -> str:
        loaded = _checked(folder or held.policy)
        now = datetime.now(UTC)
        before = await store.policy_activation.active()
        await stored.record(store, "policy-activate", {"policy": loaded.hash, "before": before or ""})
        await store.policy_activation.activate(loaded.hash, at=now, by=getpass.getuser())
        return loaded.hash

    typer.echo(f"Policy {stored.run(work)} is active: a worker that does not hold it answers 503.")


def _of_the_log(event: str) -> Mapping[str, Any]:
    """An event -> the body of the decision behind it. The question is itself recorded."""

    async def work(store: Store, _: Settings) -> Mapping[str, Any] | None:
        found = await store.log.event(event)
        await stored.record(store, "policy-explain", {"event": event if found else "unknown"})
        return None if found is None else await decision_behind(store, found.body) or found.body

    body = stored.run(work)
    if body is None:
        fail("no event of this name is in the log: of a receipt, give the part before its first dot")
    return body


def _followed(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """An event of the log saved as JSON that came after its decision -> the decision's, out of the log. It is itself recorded."""

    async def work(store: Store, _: Settings) -> Mapping[str, Any] | None:
        found = await store.log.event(str(tree.get("event", "")))  # by its name alone: a file may say anything
        await stored.record(store, "policy-explain", {"event": found.event if found else "unknown"})
        return None if found is None else await decision_behind(store, found.body)

    body = stored.run(work)
    if body is None:
        fail(NO_DECISION)
    return body


def _explain_stored(loaded: policy.Policy, tree: Mapping[str, Any], where: str, *, every: bool) -> None:
    detail = tree.get("detail", tree)
    facts = detail.get("facts") if isinstance(detail, dict) else None
    kind = tree.get("kind")
    if not isinstance(facts, dict) and (otherwise := decided_otherwise(tree)):
        typer.echo("\n".join(otherwise))
        return
    if not isinstance(facts, dict) and kind in FOLLOWS:
        fail(f"{where}: {NO_DECISION}")
    if not isinstance(facts, dict) and isinstance(kind, str):
        fail(f"{where}: no rule decided this event: only a decision and what follows from one can be explained")
    if not isinstance(facts, dict):
        fail(f"{where}: neither a case nor a decision of the log: a decision has its facts under detail")
    try:
        circumstances = policy.from_plain({name: facts[name] for name in policy.Circumstances._fields if name in facts})
    except policy.Broken as broken:
        fail(f"{where}: {broken}")
    rules = [rule for rule in detail.get("rules", ()) if isinstance(rule, dict)]
    if rules:
        typer.echo("The log says it was decided by:")
        for line in dict.fromkeys(f"  {rule.get('id')}: {rule.get('because')}" for rule in rules):
            typer.echo(line)
        typer.echo("")
    made_under = str(detail.get("policy", ""))
    typer.echo("\n".join(policy.explain_decision(loaded, circumstances, made_under, every_agreement=every)))


def _json(file: Path) -> Mapping[str, Any]:
    try:
        tree = json.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        fail(f"{file.name}: cannot be read as JSON in UTF-8")
    if not isinstance(tree, dict):
        fail(f"{file.name}: must hold one JSON object")
    return tree


def _loaded(folder: Path | None) -> policy.Policy:
    place: Traversable = folder or files("consent_policy")
    try:
        return policy.load(place)
    except policy.PolicyFaults as faults:
        for fault in faults.faults:
            typer.echo(str(fault), err=True)
        fail("this policy cannot be used: mend what is listed above")


def _checked(folder: Path | None) -> policy.Policy:
    loaded = _loaded(folder)
    faults = policy.check(loaded)
    for fault in faults:
        typer.echo(str(fault), err=True)
    if faults:
        fail("this policy does not decide its own cases as written: mend what is listed above")
    return loaded
