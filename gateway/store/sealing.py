"""Opening what the store sealed: a value that does not open is a store that cannot be read, never a crash."""

from typing import Literal

from gateway.errors import StoreDown
from gateway.nhs_number import NhsNumber
from gateway.store.keys import Keys, NotOpened


def opened(keys: Keys, use: Literal["number-sealing", "shelf-sealing"], sealed: bytes, *bound_to: bytes) -> bytes:
    """A sealed column -> its bytes. Raises `StoreDown`: altered, moved to another row, or its key is gone. Restore the key."""
    try:
        return keys.open(use, sealed, *bound_to)
    except NotOpened:
        raise StoreDown(reason="a stored value cannot be opened with these keys") from None


def seal_number(keys: Keys, person: str, number: NhsNumber) -> bytes:
    """A number for one person row: it opens nowhere else."""
    return keys.seal("number-sealing", number.value.encode(), b"number", person.encode())


def open_number(keys: Keys, person: str, sealed: bytes) -> NhsNumber:
    """The reverse."""
    return NhsNumber(opened(keys, "number-sealing", sealed, b"number", person.encode()).decode())
