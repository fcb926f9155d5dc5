"""Which store the environment asks for: every `SANDBOX_SNAPSHOTS_*` variable, read in this place.

A value that cannot be used is an error that names its variable, never a silent default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from limpet.errors import InvalidInputError, StoreUnsupportedError
from limpet.stores.base import SandboxStore
from limpet.stores.local import LocalStore

BUCKET = "SANDBOX_SNAPSHOTS_BUCKET"
REGION = "SANDBOX_SNAPSHOTS_REGION"
PREFIX = "SANDBOX_SNAPSHOTS_PREFIX"
ENDPOINT = "SANDBOX_SNAPSHOTS_ENDPOINT"
FORCE_PATH_STYLE = "SANDBOX_SNAPSHOTS_FORCE_PATH_STYLE"
DEFAULT_REGION = "us-east-1"
DEFAULT_PREFIX = "sandbox-snapshots"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The store as the environment describes it; `bucket` None is the local folder.

    `prefix` neither begins nor ends with `/`; it is a bucket's alone, as are the other fields.
    """

    bucket: str | None = None
    region: str = DEFAULT_REGION
    prefix: str = DEFAULT_PREFIX
    endpoint: str | None = None
    force_path_style: bool = False

    @classmethod
    def from_environ(cls, env: Mapping[str, str]) -> Self:
        """What `env` says; unset or empty is the default. `InvalidInputError` names what is odd."""
        return cls(
            bucket=env.get(BUCKET, "").strip() or None,
            region=env.get(REGION, "").strip() or DEFAULT_REGION,
            prefix=_prefix(env.get(PREFIX, "").strip()) or DEFAULT_PREFIX,
            endpoint=_endpoint(env.get(ENDPOINT, "").strip()),
            force_path_style=flag(env, FORCE_PATH_STYLE),
        )


def flag(env: Mapping[str, str], name: str) -> bool:
    """A yes or no of the environment; unset or empty is no, anything odd an error naming it."""
    told = env.get(name, "").strip().lower()
    if told in _TRUE:
        return True
    if told in _FALSE or not told:
        return False
    raise InvalidInputError(f"{name}: {told[:40]!r} is neither yes nor no", hint="Use 1 or 0.")


def open_store(env: Mapping[str, str], data_dir: Path) -> SandboxStore:
    """The store that `env` asks for; without a bucket, the folder below `data_dir`.

    Raises `InvalidInputError` naming a malformed variable, and `StoreUnsupportedError` for a
    bucket.
    """
    settings = StoreSettings.from_environ(env)
    if settings.bucket is not None:
        raise StoreUnsupportedError(
            f"{BUCKET}: this version keeps no snapshots in buckets ({settings.bucket!r})",
            hint="Unset it: snapshots go to a folder in the data folder.",
        )
    return LocalStore(data_dir / DEFAULT_PREFIX)


def _prefix(told: str) -> str:
    prefix = told.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise InvalidInputError(f"{PREFIX}: {told[:80]!r} is no prefix of keys")
    return prefix


def _endpoint(told: str) -> str | None:
    if not told:
        return None
    try:
        url = urlsplit(told)
        sound = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        sound = False
    if not sound or url.username or url.password or url.query or url.fragment:
        # The value is not repeated: people put credentials into such URLs.
        raise InvalidInputError(
            f"{ENDPOINT} is no http or https URL, or holds more than scheme, host, port and path",
            hint="For example https://minio.example.org:9000; credentials go elsewhere.",
        )
    return told.rstrip("/")
