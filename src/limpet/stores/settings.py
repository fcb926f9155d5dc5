"""Which store the environment asks for: read in this one place."""

from collections.abc import Mapping
from pathlib import Path

from limpet.errors import InvalidInputError, StoreUnsupportedError
from limpet.stores.base import SandboxStore
from limpet.stores.local import LocalStore

DEFAULT_PREFIX = "sandbox-snapshots"
FORCE_PATH_STYLE = "SANDBOX_SNAPSHOTS_FORCE_PATH_STYLE"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def flag(env: Mapping[str, str], name: str) -> bool:
    """A yes or no of the environment; unset or empty is no, anything odd an error naming it."""
    told = env.get(name, "").strip().lower()
    if told in _TRUE:
        return True
    if told in _FALSE or not told:
        return False
    raise InvalidInputError(f"{name}: {told[:40]!r} is neither yes nor no", hint="Use 1 or 0.")


def open_store(env: Mapping[str, str], data_dir: Path) -> SandboxStore:
    """The store that `env` asks for; without a bucket, the folder below `data_dir`."""
    flag(env, FORCE_PATH_STYLE)
    bucket = env.get("SANDBOX_SNAPSHOTS_BUCKET", "").strip()
    if bucket:
        raise StoreUnsupportedError(
            f"SANDBOX_SNAPSHOTS_BUCKET: this version keeps no snapshots in buckets ({bucket!r})",
            hint="Unset it: snapshots go to a folder in the data folder.",
        )
    return LocalStore(data_dir / DEFAULT_PREFIX)
