"""The gateway's secret keys: a folder of one small file per use -> `Keys`. Never in the database.

Each file holds the current key, its id, and keys it replaced. What is sealed or signed names its key id, so an older
key still opens and verifies after rotation (key_rotation.py). The hashing keys (number-hash, audit-index, resource-id)
cannot be replaced: every row would have to be hashed again, and every id we gave out would change.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import StartupRefused
from gateway.nhs_number import NhsNumber
from gateway.resource import keyed, own_ids, own_ids_apart

USES = (
    "number-hash",
    "number-sealing",
    "audit-index",
    "shelf-sealing",
    "file-sealing",
    "resource-id",
    "cursor",
    "receipt-signing",
    "token-signing",
)
HASHING = ("number-hash", "audit-index", "resource-id")
_SEALING = ("number-sealing", "shelf-sealing", "file-sealing", "cursor")
_SEALING_ROWS = ("number-sealing", "shelf-sealing")
_NONCE_BYTES = 12
SealingUse = Literal["number-sealing", "shelf-sealing", "file-sealing"]
_KEY_ID_BYTES = 4


class NotOpened(Exception):
    """A sealed value that is altered, somebody else's, or sealed under a key we do not hold."""


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """An Ed25519 key with its id, and the public keys it replaced, by id."""

    id: str
    private: Ed25519PrivateKey
    previous: Mapping[str, Ed25519PublicKey]

    def public(self) -> Mapping[str, Ed25519PublicKey]:
        """Every key a signature of ours may verify under, by id."""
        return {self.id: self.private.public_key(), **self.previous}


class Keys:
    """Every secret key, ready for use. Prints nothing of itself."""

    def __init__(self, files: Mapping[str, Mapping[str, object]]) -> None:
        raw = {use: _raw(files[use]) for use in USES}
        self._hash = {use: next(iter(raw[use].values())) for use in HASHING}
        self._keyed = {use: keyed(key) for use, key in self._hash.items()}
        self._seal_id = {use: bytes.fromhex(next(iter(raw[use]))) for use in _SEALING}
        self._aes = {use: {bytes.fromhex(key_id): AESGCM(key) for key_id, key in raw[use].items()} for use in _SEALING}
        self.checks = _checks(raw)
        self.receipt_signing = _signing(raw["receipt-signing"])
        self.token_signing = _signing(raw["token-signing"])

    @classmethod
    def create_sandbox(cls, folder: Path) -> "Keys":
        """Make a set marked as sandbox keys, which live mode refuses; files that exist are kept."""
        _create(folder, made_for="sandbox")
        return cls.load(folder, mode="sandbox")

    @classmethod
    def create(cls, folder: Path) -> "Keys":
        """Make a set for live use; files that exist are kept."""
        _create(folder, made_for="live")
        return cls.load(folder, mode="live")

    @classmethod
    def load(cls, folder: Path, *, mode: Literal["sandbox", "live"]) -> "Keys":
        """A folder of key files -> `Keys`. Raises `StartupRefused`: missing, readable by others, or made for another mode."""
        files = {use: read_key_file(folder, use) for use in USES}
        if mode == "live" and any(file.get("made_for") != "live" for file in files.values()):
            raise StartupRefused("These are sandbox keys, and GATEWAY_MODE is live. Name a folder of live keys in GATEWAY_KEYS.")
        if mode == "sandbox" and any(file.get("made_for") == "live" for file in files.values()):
            # Whoever forgets the mode beside real people's keys would have what only a sandbox may: test numbers, plain HTTP.
            raise StartupRefused("These are live keys, and GATEWAY_MODE is sandbox. Set GATEWAY_MODE=live.")
        return cls(files)

    def __repr__(self) -> str:
        return "Keys(**********)"

    # ------------------------------------------------------------------------------------------------- hashing

    def number_key(self, number: NhsNumber) -> bytes:
        """The column by which a number is found."""
        return self._hmac("number-hash", b"nhs-number\0" + number.value.encode())

    def word_key(self, what: str, *words: str) -> bytes:
        """The column by which a local id, staff id, case reference or business id is found."""
        return self._hmac("number-hash", _bytes("\0".join((what, *words))))

    def audit_person(self, number: NhsNumber) -> bytes:
        """The log's own index of a person: another key, so that the log and the store do not join without both."""
        return self._hmac("audit-index", b"person\0" + number.value.encode())

    def audit_agent(self, staff: str) -> bytes:
        """The log's index of a member of staff, given as "<system>|<id>"."""
        return self._hmac("audit-index", b"agent\0" + _bytes(staff))

    def resource_ids(self, person: str, source: str, kind: str) -> Callable[[str, str], str]:
        """(type, a source's own key) -> the id we give out: `<person>.<kind of source>.<20 letters of base32>`.

        An HMAC-SHA-256 of person, source, type and key, 5 bits of each of its first 20 bytes: another person, another hash.
        The source's own name is hashed in and never shown: of a protected person it could tell the place.
        """
        return own_ids(self._keyed["resource-id"], person, source, kind)

    def resource_ids_apart(self, person: str, source: str, kind: str) -> Callable[[], Callable[[str, str], str]]:
        """What makes the same in another process of ours: it can be pickled, and carries the key."""
        return partial(own_ids_apart, self._hash["resource-id"], person, source, kind)

    def _hmac(self, use: str, message: bytes) -> bytes:
        """With the key taken in already: a look-up of the algorithm for each message costs more than the hash."""
        inner, outer = self._keyed[use]
        begun, whole = inner.copy(), outer.copy()
        begun.update(message)
        whole.update(begun.digest())
        return whole.digest()

    # ------------------------------------------------------------------------------------------------- sealing

    def seal(self, use: SealingUse, plain: bytes, *bound_to: bytes) -> bytes:
        """AES-256-GCM: key id, nonce, ciphertext; opens only beside the columns it is bound to."""
        return self._seal(use, plain, _joined(bound_to))

    def open(self, use: SealingUse, sealed: bytes, *bound_to: bytes) -> bytes:
        """The reverse. Raises `NotOpened`."""
        return self._open(use, sealed, _joined(bound_to))

    def seal_cursor(self, plain: bytes, aad: bytes) -> str:
        """A paging cursor -> base64url text that says nothing."""
        return base64.urlsafe_b64encode(self._seal("cursor", plain, aad)).rstrip(b"=").decode()

    def open_cursor(self, text: str, aad: bytes) -> bytes:
        """The reverse. Raises `NotOpened` for anything that is not ours, altered or bound to something else."""
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise NotOpened from None
        return self._open("cursor", sealed, aad)

    def _seal(self, use: str, plain: bytes, aad: bytes) -> bytes:
        key_id, nonce = self._seal_id[use], os.urandom(_NONCE_BYTES)
        return key_id + nonce + self._aes[use][key_id].encrypt(nonce, plain, aad)

    def _open(self, use: str, sealed: bytes, aad: bytes) -> bytes:
        key = self._aes[use].get(sealed[:_KEY_ID_BYTES])
        start = _KEY_ID_BYTES + _NONCE_BYTES
        if key is None or len(sealed) < start:
            raise NotOpened
        try:
            return key.decrypt(sealed[_KEY_ID_BYTES:start], sealed[start:], aad)
        except InvalidTag:
            raise NotOpened from None


def new_key() -> dict[str, str]:
    """A key of 256 random bits with an id of its own, as a key file holds it."""
    return {"id": secrets.token_hex(_KEY_ID_BYTES), "key": base64.b64encode(os.urandom(32)).decode()}


def _create(folder: Path, *, made_for: str) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for use in USES:
        file = {
            "use": use,
            "made_for": made_for,
            "current": new_key(),
            "previous": [],
        }
        try:
            handle = os.open(folder / f"{use}.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(handle, "w") as out:
            json.dump(file, out, indent=2)


def read_key_file(folder: Path, use: str) -> dict[str, object]:
    """One file of the folder, as it is. Raises `StartupRefused`: missing, readable by others, or not for that use."""
    path = folder / f"{use}.json"
    try:
        if path.stat().st_mode & 0o077:
            raise StartupRefused(f"The key file {use}.json can be read by others: chmod 600 every file in the key folder.")
        file = json.loads(path.read_bytes())
    except OSError:
        raise StartupRefused(
            f"The key file {use}.json is missing or cannot be read: check GATEWAY_KEYS, or run gateway keys create."
        ) from None
    except ValueError:
        file = None
    if not isinstance(file, dict) or file.get("use") != use or not _raw_or_nothing(file):
        raise StartupRefused(f"The key file {use}.json is not a key file for that use: restore it from its backup.")
    return file


def _raw(file: Mapping[str, object]) -> dict[str, bytes]:
    """Key id -> key, the current one first."""
    entries = [file["current"], *file["previous"]]  # type: ignore[misc]
    keys = {str(entry["id"]): base64.b64decode(entry["key"], validate=True) for entry in entries}
    if any(len(key) != hashlib.sha256().digest_size or len(key_id) != 2 * _KEY_ID_BYTES for key_id, key in keys.items()):
        raise ValueError
    return keys


def _raw_or_nothing(file: Mapping[str, object]) -> dict[str, bytes] | None:
    try:
        return _raw(file)
    except (KeyError, TypeError, ValueError):
        return None


def _checks(raw: Mapping[str, Mapping[str, bytes]]) -> Mapping[str, Mapping[str, bytes]]:
    """Of the keys without which rows are lost: use -> key id, the current one first -> what tells it from any other key."""
    ours = {use: dict(list(raw[use].items())[:1]) for use in HASHING} | {use: raw[use] for use in _SEALING_ROWS}
    return {
        use: {key_id: hmac.digest(key, b"key-check\0" + use.encode(), "sha256") for key_id, key in keys.items()}
        for use, keys in ours.items()
    }


def _signing(raw: Mapping[str, bytes]) -> SigningKey:
    (key_id, current), *older = raw.items()
    previous = {old_id: Ed25519PrivateKey.from_private_bytes(old).public_key() for old_id, old in older}
    return SigningKey(key_id, Ed25519PrivateKey.from_private_bytes(current), previous)


def _bytes(text: str) -> bytes:
    # Broken Unicode from outside is hashed like any other text: it finds nothing, and breaks nothing.
    return text.encode("utf-8", "surrogatepass")


def _joined(parts: tuple[bytes, ...]) -> bytes:
    # Lengths first, so that no two lists of columns read alike.
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
