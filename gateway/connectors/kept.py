"""A file that is kept for a few days: sealed in pieces as it is copied, so that its size costs no memory, and opened again.

A sealed piece names its file, its place and whether it is the last, so pieces that are cut off, swapped or of two files do
not open. The key is the gateway's (use `file-sealing`), lent as `Tools.seal`; a connector can seal and never open.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

SUFFIX: Final = ".sealed"

_PIECE_BYTES = 1 << 20
_MOST_BYTES = _PIECE_BYTES + 1024  # a piece with what sealing adds
_ID_BYTES = 16

Seal = Callable[[bytes], bytes]


class NotKept(Exception):
    """Not a kept file of ours, or one that was cut or altered."""


def keep(seal: Seal, source: Path, target: Path) -> None:
    """The file `source` -> `target`, sealed, whole on the disk before `source` goes. Raises `FileNotFoundError` when it is gone.

    A crash on the way leaves `source`, and at most a temporary file beside the target, which is purged like any other.
    """
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    with source.open("rb") as plain:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as out:
                for piece in _sealed(seal, plain):
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())
        except OSError:
            part.unlink()
            raise
    os.replace(part, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    source.unlink(missing_ok=True)


def opened(unseal: Seal, kept: Path) -> Iterator[bytes]:
    """A kept file -> its content, piece by piece. Raises `NotKept`, or whatever `unseal` raises for a piece that is not ours."""
    with kept.open("rb") as sealed:
        file_id, place, last = None, 0, False
        while head := sealed.read(4):
            size = int.from_bytes(head, "big")
            piece = sealed.read(min(size, _MOST_BYTES))
            if last or len(piece) != size:
                raise NotKept
            plain = unseal(piece)
            label, content = plain[: _ID_BYTES + 9], plain[_ID_BYTES + 9 :]
            file_id = file_id or label[:_ID_BYTES]
            if label[:-1] != file_id + place.to_bytes(8, "big"):
                raise NotKept
            place, last = place + 1, label[-1:] == b"\x01"
            yield content
        if not last:
            raise NotKept


def _sealed(seal: Seal, plain: BinaryIO) -> Iterator[bytes]:
    file_id, place = uuid.uuid4().bytes, 0
    piece = plain.read(_PIECE_BYTES)
    while True:
        following = plain.read(_PIECE_BYTES)
        sealed = seal(file_id + place.to_bytes(8, "big") + (b"\x00" if following else b"\x01") + piece)
        yield len(sealed).to_bytes(4, "big") + sealed
        if not following:
            return
        piece, place = following, place + 1
