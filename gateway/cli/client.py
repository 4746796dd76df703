"""`gateway client`: the systems that may ask, what each may claim, and how it proves itself. Every change is recorded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.caller import CLIENT_ALGORITHMS
from gateway.caller.claims import purpose_of, role_coding
from gateway.caller.jose import Broken, public_faults, strict_json, text_of
from gateway.caller.scopes import readable
from gateway.cli import stored
from gateway.cli.say import fail, settings
from gateway.ports import Client
from gateway.settings import Settings
from gateway.store import Store

app = typer.Typer(no_args_is_help=True, help="Systems that may ask.")

Name = Annotated[str, typer.Argument(help="client id: small letters, digits, hyphens and dots")]
KeysFile = Annotated[Path | None, typer.Option("--jwks", help="JWKS file with the client's public keys")]
KeysUrl = Annotated[str | None, typer.Option("--jwks-url", help="https address of the client's JWKS")]


@app.command()
def add(
    client: Name,
    organisation: Annotated[list[str], typer.Option(help="organisation it may speak for (repeat)")],
    role: Annotated[list[str], typer.Option(help="role it may claim: R0260, social-worker, system|code (repeat)")],
    purpose: Annotated[list[str], typer.Option(help="purpose it may claim: TREAT, S47 ... (repeat)")],
    keys: KeysFile = None,
    keys_url: KeysUrl = None,
    name: Annotated[str, typer.Option(help="what people call it")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="SMART scope it may have (repeat); default system/*.rs")] = None,
    algorithm: Annotated[list[str] | None, typer.Option(help="algorithm it may sign with (repeat); default: of its keys")] = None,
    audience: Annotated[list[str] | None, typer.Option(help="`aud` accepted beside the token URL (repeat)")] = None,
    certificate_thumbprint: Annotated[str | None, typer.Option(help="x5t#S256 its tokens are bound to")] = None,
    strict: Annotated[bool, typer.Option(help="partial answers are errors for this client unless it asks otherwise")] = False,
) -> None:
    """Register a system: organisations, roles, purposes and scopes it may claim, and its public keys."""
    jwks, url, algorithms = _proof(keys, keys_url, algorithm)
    new = Client(
        id=_id(client),
        name=text_of(name or client, 140) or fail("--name must be printable text of at most 140 characters"),
        organisations=_organisations(organisation),
        roles=frozenset(_role(text) for text in role),
        purposes=frozenset(_purpose(text) for text in purpose),
        scopes=frozenset(_scope(text) for text in scope or ["system/*.rs"]),
        algorithms=algorithms,
        jwks=jwks,
        jwks_url=url,
        version=1,
        revoked=False,
        certificate_thumbprint=certificate_thumbprint,
        strict=strict,
        audiences=frozenset(audience or ()),
    )

    async def put(store: Store, held: Settings) -> None:
        if await store.clients.get(new.id) is not None:
            fail("this client is registered already: `gateway client rotate` changes its keys")
        await _change(store, new, "client-added")

    stored.run(put)
    typer.echo(f"registered {new.id}")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False) -> None:
    """Print every registered system, revoked ones too."""

    async def read(store: Store, held: Settings) -> Sequence[Client]:
        return await store.clients.all()

    for client in stored.run(read):
        said = _described(client)
        line = f"{said['id']}  version {said['version']}{'  REVOKED' if client.revoked else ''}"
        rest = "".join(f"\n    {key}: {', '.join(said[key])}" for key in ("organisations", "roles", "purposes", "scopes", "keys"))
        typer.echo(json.dumps(said) if as_json else line + rest)


@app.command()
def rotate(
    client: Name,
    keys: KeysFile = None,
    keys_url: KeysUrl = None,
    algorithm: Annotated[list[str] | None, typer.Option(help="algorithm it may sign with (repeat); default: of its keys")] = None,
    keep: Annotated[bool, typer.Option(help="keep the keys it has beside the new ones, until the next rotation")] = False,
) -> None:
    """Give a system new keys. Tokens it holds end with its next request: they carry the old version."""
    jwks, url, algorithms = _proof(keys, keys_url, algorithm)

    async def put(store: Store, held: Settings) -> None:
        known = await store.clients.get(client)
        if known is None or known.revoked:
            fail("no such client is registered and in force")
        kept = list(known.jwks["keys"]) if keep and known.jwks and jwks else []
        both = {"keys": [*kept, *jwks["keys"]]} if jwks else None
        allowed = algorithms | known.algorithms if kept else algorithms
        for fault in public_faults(both, allowed) if both else ():
            fail(f"the keys cannot be used together: {fault}")
        await _change(store, replace(known, jwks=both, jwks_url=url, algorithms=allowed), "client-rotated")

    stored.run(put)
    typer.echo(f"rotated {client}")


@app.command()
def revoke(client: Name) -> None:
    """End a system's access: its next request is refused on every worker, whatever tokens it holds."""

    async def end(store: Store, held: Settings) -> bool:
        # Recorded first: an end that is recorded but fails is seen and repeated; the reverse would leave no trace.
        await stored.record(store, "client-revoked", {"client": _id(client)})
        return await store.clients.revoke(client)

    if not stored.run(end):
        fail("no such client is registered and in force")
    typer.echo(f"revoked {client}")


async def _change(store: Store, client: Client, act: str) -> None:
    await stored.record(store, act, {"client": client.id})
    await store.clients.put(client)


def _id(text: str) -> str:
    if not (0 < len(text) <= 64 and text.isascii() and text == text.lower() and text.replace("-", "").replace(".", "").isalnum()):
        fail("a client id is 1 to 64 small letters, digits, hyphens and dots")
    return text


def _organisations(codes: Sequence[str]) -> frozenset[str]:
    from gateway import policy

    rules = policy.load(settings().policy or files("consent_policy"))
    found = [rules.organisation(code) for code in codes]
    known = frozenset(organisation.code for organisation in found if organisation)
    if None in found:
        fail("an organisation is not in consent_policy/organisations.yaml: add it there first")
    return known


def _role(text: str) -> str:
    coding = role_coding(text)
    if coding is None:
        fail("a role is R and four digits, a code of this project, or system|code of those two systems")
    return f"{coding.system}|{coding.code}"


def _purpose(text: str) -> str:
    return (purpose_of(text) or fail("a purpose is one of the codes of gateway.model.Purpose, such as TREAT or S47")).value


def _scope(text: str) -> str:
    return text if readable(text) else fail("a scope is system/Type.rs or system/*.rs, letters in the order c r u d s")


def _proof(
    file: Path | None, url: str | None, named: Sequence[str] | None
) -> tuple[Mapping[str, Any] | None, str | None, frozenset[str]]:
    """Key file or URL, and algorithms -> what the registration holds; or one clear line."""
    from gateway.outside.jwks import NotAJwksUrl, check_url

    algorithms = frozenset(named or ())
    if not algorithms <= CLIENT_ALGORITHMS:
        fail("an algorithm is one of " + ", ".join(sorted(CLIENT_ALGORITHMS)))
    if (file is None) == (url is None):
        fail("give either --jwks FILE or --jwks-url URL")
    if url is not None:
        try:
            check_url(url, live=settings().mode == "live")
        except NotAJwksUrl as why:
            fail(f"--jwks-url: {why}")
        return None, url, algorithms or frozenset({"ES384", "RS384"})
    assert file is not None
    jwks = _jwks(file)
    if not algorithms:
        said = [key.get("alg") for key in jwks["keys"] if isinstance(key, dict)]
        algorithms = frozenset(alg for alg in said if alg in CLIENT_ALGORITHMS) or frozenset({"ES384", "RS384"})
    for fault in public_faults(jwks, algorithms):
        fail(f"--jwks: {fault}")
    return jwks, None, algorithms


def _jwks(file: Path) -> Mapping[str, Any]:
    try:
        said = strict_json(file.read_bytes())
    except OSError:
        fail("--jwks: the file cannot be read")
    except Broken:
        fail("--jwks: the file is not JSON")
    if not isinstance(said, dict) or not isinstance(said.get("keys", [said]), list):
        fail("--jwks: the file is no JWKS")
    return said if "keys" in said else {"keys": [said]}


def _described(client: Client) -> dict[str, Any]:
    keys = [str(key.get("kid")) for key in client.jwks["keys"]] if client.jwks else [str(client.jwks_url)]
    return {
        "id": client.id,
        "name": client.name,
        "version": client.version,
        "revoked": client.revoked,
        "organisations": sorted(client.organisations),
        "roles": sorted(client.roles),
        "purposes": sorted(client.purposes),
        "scopes": sorted(client.scopes),
        "algorithms": sorted(client.algorithms),
        "keys": keys,
        "strict": client.strict,
    }
