"""ZIP archives as the drops take them: bytes -> members, each within its cap, or the whole refused."""

import io
import lzma
import zipfile
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gateway.adapter import SourceContractBroken

MAGIC: Final = b"PK\x03\x04"
CAP_BYTES: Final = 200_000_000  # of all members together, unpacked
MEMBERS: Final = 2_000

NOT_ZIP: Final = "not a sound ZIP archive"
TOO_MUCH: Final = "an archive that unpacks to more than this source takes"
LOCKED: Final = "an archive under a password"

_ENCRYPTED = 0x1
# Each was raised by a damaged archive; zipfile names none of them
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, LookupError, MemoryError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive. Its name comes from outside: it is matched, never shown."""

    name: str
    written: datetime | None  # as the archive says it: no zone
    body: bytes


def unpacked(body: bytes, *, cap_bytes: int = CAP_BYTES) -> list[Member]:
    """A whole archive -> its files, folders left out. Raises `SourceContractBroken`; sizes are counted, never believed."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            listed = [info for info in archive.infolist() if not info.is_dir()]
            if len(listed) > MEMBERS:
                raise SourceContractBroken(TOO_MUCH)
            members, left = [], cap_bytes
            for info in listed:
                if info.flag_bits & _ENCRYPTED:
                    raise SourceContractBroken(LOCKED)
                with archive.open(info) as opened:
                    content = opened.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise SourceContractBroken(TOO_MUCH)
                members.append(Member(info.filename, _written(info), content))
            return members
    except _DAMAGED:
        raise SourceContractBroken(NOT_ZIP) from None


def _written(info: zipfile.ZipInfo) -> datetime | None:
    try:
        return datetime(*info.date_time)  # noqa: DTZ001 - the format has no zone; the reader knows the sender's
    except ValueError:
        return None
