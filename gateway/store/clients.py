"""Registered systems. The version is the store's own: raised by every change, read with the facts on every request."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
from sqlalchemy import Boolean, String, bindparam, literal_column, select, update

from gateway.ports import Client
from gateway.store.database import Call, Database, Row, Statement, Work, insert, is_storable
from gateway.store.tables import CLIENT

_ID = bindparam("id", type_=String)
_GET = Statement(select(CLIENT.c.version, CLIENT.c.revoked, CLIENT.c.body).where(CLIENT.c.id == _ID))
_ALL = Statement(select(CLIENT.c.version, CLIENT.c.revoked, CLIENT.c.body).order_by(CLIENT.c.id))
_INSERT = insert(CLIENT).values(
    id=_ID, version=literal_column("1"), revoked=bindparam("revoked", type_=Boolean), body=bindparam("body", type_=String)
)
_PUT = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=[CLIENT.c.id],
        set_={
            "version": CLIENT.c.version + literal_column("1"),
            "revoked": _INSERT.excluded.revoked,
            "body": _INSERT.excluded.body,
        },
    )
)
_REVOKE = Statement(
    update(CLIENT)
    .where(CLIENT.c.id == _ID, CLIENT.c.revoked.is_(literal_column("false")))
    .values(revoked=literal_column("true"), version=CLIENT.c.version + literal_column("1"))
    .returning(CLIENT.c.id)
)
_decode = msgspec.json.Decoder(Client).decode
_encode = msgspec.json.Encoder(order="sorted").encode


class StoredClients:
    """`ports.Clients`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, client: str) -> Client | None:
        """One, revoked or not."""
        if not is_storable(client):
            return None
        rows = await self._database.read(_GET, {"id": client})
        return _client(rows[0]) if rows else None

    async def all(self) -> Sequence[Client]:
        """Every registered system by id."""
        return [_client(row) for row in await self._database.read(_ALL, {})]

    async def put(self, client: Client) -> None:
        """Insert, or replace under a higher version."""
        params = {"id": client.id, "revoked": client.revoked, "body": _encode(client).decode()}
        await self._database.write(_run(_PUT, params))

    async def revoke(self, client: str) -> bool:
        """False: unknown, or revoked already."""
        return await self._database.write(_run(_REVOKE, {"id": client}))


def _client(row: Row) -> Client:
    version, revoked, body = row
    return replace(_decode(body), version=version, revoked=bool(revoked))


def _run(statement: Statement, params: dict[str, object]) -> Work[bool]:
    return bool((yield Call(statement, params)))
