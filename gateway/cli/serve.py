"""`gateway serve`: the service on one port, operations on another, until it is told to stop."""

import socket

import typer

from gateway.cli.say import fail, settings


def command() -> None:
    """Serve FHIR R4, tokens and discovery on GATEWAY_PORT; /health, /ready and /metrics on GATEWAY_OPERATIONS_PORT."""
    from gateway.app.serving import serve
    from gateway.errors import StartupRefused

    held = settings()
    for port, name in ((held.port, "GATEWAY_PORT"), (held.operations_port, "GATEWAY_OPERATIONS_PORT")):
        if not _free(held.host, port):
            fail(f"port {port} is busy: stop what listens there or set {name} to a free one")
    try:
        serve(held)
    except StartupRefused as refused:
        fail(str(refused))
    raise typer.Exit(0)


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
