"""Sealed values: what must lie in the database but may be read by nobody who has only that; and
signatures, of what others carry for us.

AES-256-GCM. A sealed value is bound to its purpose and its org, so that a row copied to another
column or tenant does not open. `LIMPET_SECRET_KEY` is a list: the first key seals, all open.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from limpet.control.settings import Settings, SettingsError
from limpet.errors import LimpetError

_VERSION = b"\x01"
_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_HEADER_BYTES = len(_VERSION) + _KEY_ID_BYTES + _NONCE_BYTES


class UnsealError(LimpetError):
    """A sealed value does not open: another key made it, or it was changed or moved."""

    code = "unseal_failed"


class Signer:
    """Signs what may be read by anybody and made by nobody else: HMAC-SHA256.

    The first of `keys` signs, what any of them signed counts.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def sign(self, message: str) -> str:
        """The signature of `message`: 43 letters of URL-safe base64."""
        return _mac(self._keys[0], message)

    def signed(self, message: str, signature: str) -> bool:
        """Whether `signature` is one of `message`."""
        given = signature.encode()
        return any(hmac.compare_digest(_mac(key, message).encode(), given) for key in self._keys)


class SecretBox:
    """Seals and opens values. The first of `keys` (32 bytes each) seals, every one opens."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise SettingsError("A secret key must have 32 bytes")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._sealing_id = _key_id(keys[0])
        self._keys = tuple(keys)

    @classmethod
    def open_for(cls, settings: Settings) -> Self:
        """The box of `LIMPET_SECRET_KEY`, or of a key made 0600 in the data folder.

        Raises `SettingsError` when the key is malformed or, with a shared database, missing.
        """
        if settings.secret_key is not None:
            return cls(parse_keys(settings.secret_key.get_secret_value(), "LIMPET_SECRET_KEY"))
        if not settings.uses_sqlite:
            raise SettingsError(
                "LIMPET_SECRET_KEY is required with a shared database",
                hint=f"Set it to a fresh key, for example {_KEY_RECIPE}.",
            )
        return cls(_key_of_data_dir(settings.data_dir / "secret.key"))

    def seal(self, plain: bytes | str, *, purpose: str, org: str) -> bytes:
        """`plain`, sealed; the same input gives another value each time."""
        data = plain.encode() if isinstance(plain, str) else plain
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._ciphers[self._sealing_id]
        return (
            _VERSION
            + self._sealing_id
            + nonce
            + cipher.encrypt(nonce, data, _binding(purpose, org))
        )

    def open(self, sealed: bytes, *, purpose: str, org: str) -> bytes:
        """What was sealed for this purpose and org; `UnsealError` for anything else."""
        key_id = sealed[len(_VERSION) : len(_VERSION) + _KEY_ID_BYTES]
        cipher = self._ciphers.get(key_id)
        if sealed[:1] != _VERSION or cipher is None:
            raise UnsealError(
                f"The sealed {purpose} was made with a key that is not configured",
                hint="Add the key that was used before to the end of LIMPET_SECRET_KEY.",
            )
        nonce = sealed[_HEADER_BYTES - _NONCE_BYTES : _HEADER_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[_HEADER_BYTES:], _binding(purpose, org))
        except InvalidTag:
            raise UnsealError(
                f"The sealed {purpose} was changed, or sealed for something else"
            ) from None

    def signer(self, purpose: str) -> Signer:
        """Signs for `purpose`, with keys that are derived from these for nothing else."""
        return Signer([_derived(key, purpose) for key in self._keys])


_KEY_RECIPE = "`openssl rand -base64 32`"


def parse_keys(text: str, source: str) -> list[bytes]:
    """The keys in `text`: base64 (either alphabet) of 32 bytes each, separated by commas."""
    keys = []
    for number, part in enumerate((p.strip() for p in text.split(",")), start=1):
        try:
            padded = part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4)
            key = base64.b64decode(padded.translate(str.maketrans("-_", "+/")), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY_BYTES:
            raise SettingsError(
                f"Key {number} in {source} is not base64 of 32 bytes",
                hint=f"Make one with {_KEY_RECIPE}.",
            )
        keys.append(key)
    return keys


def _key_of_data_dir(path: Path) -> list[bytes]:
    """The key in `path`, made there when there is none yet."""
    with contextlib.suppress(FileNotFoundError):
        return _read_key(path)
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(scratch)  # another start may be first: then its key is the key
    finally:
        scratch.unlink(missing_ok=True)
    return _read_key(path)


def _read_key(path: Path) -> list[bytes]:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SettingsError(
            f"{path} can be read by other users", hint=f"Run `chmod 600 {path}`, then start again."
        )
    try:
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError:
        text = ""
    return parse_keys(text, str(path))


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"limpet key id\0" + key).digest()[:_KEY_ID_BYTES]


def _binding(purpose: str, org: str) -> bytes:
    return f"limpet\0{purpose}\0{org}".encode()


def _derived(key: bytes, purpose: str) -> bytes:
    info = f"limpet signing\0{purpose}".encode()
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(key)


def _mac(key: bytes, message: str) -> str:
    digest = hmac.digest(key, message.encode(), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
