"""`gateway token`: the real exchange against a running server, as any client does it. The server has no other mint."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.say import fail

READS = "system/*.rs"


def command(
    key: Annotated[Path, typer.Option(help="the client's private key, as `gateway key new` writes it")],
    client: Annotated[str, typer.Option(help="client id, as registered")],
    purpose: Annotated[str, typer.Option(help="why: TREAT, ETREAT, S17, S47, HCOMPL ...")],
    organisation: Annotated[str, typer.Option(help="canonical code: ods:A99901, gss:E08999901, dfe-urn:199901")],
    role: Annotated[str, typer.Option(help="SDS job role (R0260), a role of this project, or system|code")],
    subject: Annotated[str, typer.Option(help="staff id: an SDS user id, system|id, or the organisation's own")],
    subject_name: Annotated[str, typer.Option(help="name of the person at the keyboard")] = "Synthetic User",
    case_reference: Annotated[str | None, typer.Option(help="the case of the purpose; for BTG the reason, in words")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="SMART scope, or several with spaces (repeat); default system/*.rs")
    ] = None,
    server: Annotated[str, typer.Option(help="base of the gateway", envvar="GATEWAY_BASE_URL")] = "http://127.0.0.1:8000",
    as_json: Annotated[bool, typer.Option("--json", help="print the whole token response")] = False,
) -> None:
    """Exchange a client assertion for an access token and print it, for `curl -H "Authorization: Bearer ..."`."""
    from gateway.outside.token_client import Asked, NoToken, exchange, read_key

    asked = Asked(client, organisation, role, purpose, subject, subject_name, case_reference, " ".join(scope or [READS]))
    try:
        said = exchange(server, asked, read_key(key))
    except NoToken as why:
        fail(f"no token: {why}")
    typer.echo(json.dumps(said) if as_json else str(said.get("access_token", "")))
