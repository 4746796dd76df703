"""Mandates: in whose name something leaves."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String, bindparam, select, update

from gateway.model import Mandate, Purpose
from gateway.store.database import Call, Database, Row, Statement, Work, insert, micros, moment
from gateway.store.parcel_tables import MANDATE

_AT = bindparam("at", type_=BigInteger)
PUT_MANDATE = Statement(insert(MANDATE).values({column.name: bindparam(column.name, type_=column.type) for column in MANDATE.c}))
_MANDATE = Statement(select(*MANDATE.c).where(MANDATE.c.id == bindparam("mandate", type_=String)))
_REVOKE = Statement(
    update(MANDATE)
    .where(MANDATE.c.id == bindparam("mandate", type_=String), MANDATE.c.revoked_at.is_(None))
    .values(revoked_at=_AT)
    .returning(MANDATE.c.id)
)


class StoredMandates:
    """`ports.Mandates`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, mandate: str) -> Mandate | None:
        """A mandate by its id, in force or not."""
        rows = await self._database.read(_MANDATE, {"mandate": mandate})
        return _mandate(rows[0]) if rows else None

    async def revoke(self, mandate: str, at: datetime) -> bool:
        """Over from now on. False: there is none, or it was revoked before."""
        return bool(await self._database.write(_one(Call(_REVOKE, {"mandate": mandate, "at": micros(at)}))))


def mandate_row(mandate: Mandate) -> Mapping[str, Any]:
    """A mandate -> its columns."""
    return {
        "id": mandate.id,
        "organisation": mandate.organisation,
        "role": mandate.role,
        "purpose": mandate.purpose.value,
        "agreement": mandate.agreement,
        "route": mandate.route,
        "scopes": " ".join(sorted(mandate.scopes)),
        "starts": micros(mandate.starts),
        "expires": micros(mandate.expires),
        "revoked_at": None if mandate.revoked_at is None else micros(mandate.revoked_at),
    }


def _mandate(row: Row) -> Mandate:
    made = Mandate(
        id=row[0],
        organisation=row[1],
        role=row[2],
        purpose=Purpose(row[3]),
        agreement=row[4],
        route=row[5],
        scopes=frozenset(row[6].split(" ")),
        starts=moment(row[7]),
        expires=moment(row[8]),
    )
    return made if row[9] is None else replace(made, revoked_at=moment(row[9]))


def _one(call: Call) -> Work[Any]:
    return (yield call)
