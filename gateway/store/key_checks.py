"""Whether these are the keys this database was written with: a value made with each key is kept beside the rows.

With another set of keys nothing would fail at once: nobody would be found, protected people among them, and what was
written meanwhile would be lost to the right keys. A check value is an HMAC of a constant and tells nothing of its key.
"""

from sqlalchemy import LargeBinary, String, Table, bindparam, delete, select
from sqlmodel import Field

from gateway.errors import StartupRefused
from gateway.store.database import Call, Database, Statement, Work, insert
from gateway.store.keys import Keys
from gateway.store.tables import METADATA, Base, _key


class KeyCheckTable(Base, table=True):
    """Every key that rows were hashed or sealed under, by its id; never the key."""

    __tablename__ = "key_check"
    use: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    value: bytes = _key()


KEY_CHECK: Table = METADATA.tables["key_check"]
_USE = bindparam("key_use", type_=String)
_ID = bindparam("id_of_key", type_=String)
_HELD = Statement(select(KEY_CHECK.c.use, KEY_CHECK.c.key_id, KEY_CHECK.c.value))
_ADD = Statement(
    insert(KEY_CHECK)
    .values(use=_USE, key_id=_ID, value=bindparam("check_value", type_=LargeBinary))
    .on_conflict_do_nothing(index_elements=[KEY_CHECK.c.use, KEY_CHECK.c.key_id])
)
_FORGET = Statement(delete(KEY_CHECK).where(KEY_CHECK.c.use == _USE, KEY_CHECK.c.key_id == _ID))


async def check_keys(database: Database, keys: Keys) -> None:
    """The keys are those the rows were written with; a database that knows none takes these for its own.

    Raises `StartupRefused`: a key is another, or one that rows are still sealed under is missing. Nothing was written.
    Raises `StoreDown`.
    """
    held = [(use, key_id, bytes(value)) for use, key_id, value in await database.read(_HELD, {})]
    for use, key_id, value in held:
        if keys.checks[use].get(key_id) != value:
            raise StartupRefused(
                f"The key file {use}.json is not the one this database was written with: set GATEWAY_KEYS to the folder of this "
                "database's own keys, or restore that file from its backup."
            )
    known = {(use, key_id) for use, key_id, _ in held}
    current = [(use, next(iter(of_use.items()))) for use, of_use in keys.checks.items()]
    new: list[dict[str, object]] = [
        {"key_use": use, "id_of_key": key_id, "check_value": value}
        for use, (key_id, value) in current
        if (use, key_id) not in known
    ]
    if new:
        await database.write(_add(new))


def forget_check(use: str, key_id: str) -> Work[None]:
    """Nothing in the database is sealed under this key any more."""
    yield Call(_FORGET, {"key_use": use, "id_of_key": key_id})


def _add(rows: list[dict[str, object]]) -> Work[None]:
    yield Call(_ADD, {}, rows)
