"""Delivery into an outbox folder: one file, whole or not at all, named by its key; a second attempt finds it there.

    [deliver.NAME]
    connector = "message-drop"
    suffix = "json"                    # "json", "xml" or "csv": how the recipient's collector knows it; forms.py has the rest

Settings: `[sources.SOURCE.deliver.NAME.options] outbox`, a folder the recipient's collector empties. A collected file is moved to
taken/ there, so that a delivery that comes a second time after its collection is not made twice.
"""

import asyncio
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.adapter import (
    Acknowledgement,
    Clock,
    Deliver,
    DeliverTable,
    Outgoing,
    SourceContractBroken,
    SourceRefused,
    SourceSettings,
    SourceUnavailable,
    Tools,
    Tree,
)
from gateway.connectors.forms import form_of
from gateway.errors import StartupRefused

NOT_ALLOWED: Final = "the outbox cannot be written by this account"
NO_ROOM: Final = "the outbox cannot be written just now"
NOT_A_KEY: Final = "a key that is no name of a file"
TAKEN: Final = "taken"

_KEY = re.compile(r"[a-z0-9-]{8,64}", re.ASCII)


def build_delivery(what: DeliverTable, source: SourceSettings, tools: Tools) -> Deliver:
    """Manifest and settings -> the writing side. Raises `StartupRefused`."""
    outbox = source.deliver[what.name].options.get("outbox")
    form = form_of(f"[deliver.{what.name}]", what.options)
    if not isinstance(outbox, str) or not Path(outbox).is_dir():
        raise StartupRefused(f"sources.{source.name}.deliver.{what.name}.options: add outbox, a folder that is there")
    return MessageOutbox(Path(outbox), what.options["suffix"], form, tools.now)


class MessageOutbox:
    """One folder."""

    def __init__(self, folder: Path, suffix: str, form: Callable[[Tree], bytes], now: Clock) -> None:
        self._folder, self._suffix, self._form, self._now = folder, suffix, form, now

    async def deliver(self, name: str, outgoing: Outgoing) -> Acknowledgement:
        if not _KEY.fullmatch(outgoing.key):
            raise SourceContractBroken(NOT_A_KEY)
        body = self._form(outgoing.data)
        await asyncio.to_thread(self._put, f"{outgoing.key}.{self._suffix}", body)
        return Acknowledgement(None, self._now())

    def _put(self, name: str, body: bytes) -> None:
        if (self._folder / name).exists() or (self._folder / TAKEN / name).exists():
            return
        hidden = self._folder / f".{name}.{secrets.token_hex(4)}.part"
        try:
            with os.fdopen(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(self._folder / name)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except PermissionError:
            raise SourceRefused(NOT_ALLOWED) from None
        except OSError:
            raise SourceUnavailable(NO_ROOM) from None
        finally:
            hidden.unlink(missing_ok=True)
