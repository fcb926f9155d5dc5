"""Which store the environment asks for: every `SANDBOX_SNAPSHOTS_*` variable, read in this place.

A value that cannot be used is an error that names its variable, never a silent default.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from limpet.errors import InvalidInputError
from limpet.stores.base import BucketKind, SandboxStore
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
_SCHEMES: dict[str, BucketKind] = {
    "s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "azure": "azure",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The store as the environment describes it; `bucket` None is the local folder.

    `prefix` neither begins nor ends with `/`; it is a bucket's alone, as are the other fields.
    """

    bucket: str | None = None
    kind: BucketKind = "s3"
    region: str = DEFAULT_REGION
    prefix: str = DEFAULT_PREFIX
    endpoint: str | None = None
    force_path_style: bool = False

    @classmethod
    def from_environ(cls, env: Mapping[str, str]) -> Self:
        """What `env` says; unset or empty is the default. `InvalidInputError` names what is odd."""
        kind, bucket = _bucket(env.get(BUCKET, "").strip())
        return cls(
            bucket=bucket,
            kind=kind,
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

    Raises `InvalidInputError` naming a malformed variable.
    """
    settings = StoreSettings.from_environ(env)
    if settings.bucket is None:
        return LocalStore(data_dir / DEFAULT_PREFIX)
    # Only who has a bucket pays for loading the clients, and needs to have them.
    try:
        from limpet.stores.buckets import open_bucket
    except ImportError as error:
        raise InvalidInputError(
            f"{BUCKET} is set, and this installation has no client for buckets",
            hint="Install limpet[control], or unset it: snapshots go to a folder then.",
        ) from error
    return open_bucket(settings)


def _bucket(told: str) -> tuple[BucketKind, str | None]:
    if not told:
        return "s3", None
    scheme, _, name = told.partition("://") if "://" in told else ("s3", "", told)
    kind = _SCHEMES.get(scheme.lower())
    if kind is None or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{BUCKET}: {told[:80]!r} names no bucket",
            hint="A name, s3://NAME, gs://NAME or az://CONTAINER; a folder in it goes into "
            f"{PREFIX}.",
        )
    return kind, name


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
