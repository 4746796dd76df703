"""Which policy is active, for every worker alike; every activation is kept."""

from datetime import datetime

from sqlalchemy import BigInteger, Integer, String, bindparam, func, literal_column, select

from gateway.store.database import Call, Database, Statement, Work, insert, micros
from gateway.store.tables import POLICY_ACTIVATION

_ACTIVE = Statement(
    select(POLICY_ACTIVATION.c.hash).order_by(POLICY_ACTIVATION.c.serial.desc()).limit(literal_column("1", Integer))
)
_NEXT = select(func.coalesce(func.max(POLICY_ACTIVATION.c.serial), literal_column("0")) + literal_column("1"))
_ACTIVATE = Statement(
    insert(POLICY_ACTIVATION).values(
        serial=_NEXT.scalar_subquery(),
        hash=bindparam("hash", type_=String),
        activated_at=bindparam("at", type_=BigInteger),
        activated_by=bindparam("by", type_=String),
    )
)


class StoredPolicyActivation:
    """`ports.PolicyActivation`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def active(self) -> str | None:
        """The newest activation's hash."""
        rows = await self._database.read(_ACTIVE, {})
        return rows[0][0] if rows else None

    async def activate(self, policy_hash: str, *, at: datetime, by: str) -> None:
        """From now on, for every worker."""
        await self._database.write(_activate({"hash": policy_hash, "at": micros(at), "by": by}))


def _activate(params: dict[str, object]) -> Work[None]:
    yield Call(_ACTIVATE, params)
