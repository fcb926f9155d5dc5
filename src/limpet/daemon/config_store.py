"""Keeps the config: in memory whole, on disk without secrets.

On disk are neither clone credentials nor values of environment variables, only that there were
some; `masks` keep those values out of logs and events. Patches are applied one after another, in
the order of their arrival.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from limpet.daemon.config_model import (
    Config,
    Credentials,
    Transition,
    as_document,
    classify,
    merge,
    parse,
)
from limpet.daemon.masking import Masks
from limpet.errors import ConflictError, InvalidInputError
from limpet.snapshots.durable import write_durably

FILE_NAME = "config.json"


class Kept(msgspec.Struct):
    """What config.json holds: no secret. `env_keys` had values that must be posted again."""

    config: Config
    had_credentials: bool = False
    env_keys: list[str] = []


class ConfigStore:
    """The one owner of the config. `current` is None before the first one ever."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME
        self._lock = asyncio.Lock()
        self.current: Config | None = None
        self.credentials: Credentials | None = None
        self.needs_credentials = False
        self.missing_env: list[str] = []
        self.resumed = False
        self.masks = Masks()
        self._load()

    @property
    def env(self) -> dict[str, str]:
        """What tasks get beside the daemon's own environment."""
        return dict(self.current.env) if self.current is not None else {}

    async def apply(self, patch: Mapping[str, Any]) -> tuple[Transition, Config]:
        """Merge a patch; what that means, and the config from now on.

        Credentials in the clone URL are taken whatever else changes. `InvalidInputError` and
        `ConflictError` (another clone URL) change nothing.
        """
        async with self._lock:
            old = self.current
            document = merge(as_document(old) if old is not None else {}, patch)
            config, credentials = parse(document)
            transition = classify(old, config)
            if transition == "identity-conflict":
                raise ConflictError(
                    "immutable: cloneUrl",
                    hint="A sandbox keeps the repository that it began with.",
                )
            had = credentials is not None or (
                config.clone_url is not None
                and (self.credentials is not None or self.needs_credentials)
            )
            said = patch.get("env") or {}
            missing = [name for name in self.missing_env if name not in said]
            if config != old or credentials is not None or missing != self.missing_env:
                names = sorted({*config.env, *missing})
                kept = Kept(msgspec.structs.replace(config, env={}), had, names)
                await asyncio.to_thread(write_durably, self._path, msgspec.json.encode(kept))
            self.current = config
            self.masks.learn(config.env)
            self.missing_env = missing
            if credentials is not None:
                self.credentials = credentials
                self.needs_credentials = False
            return transition, config

    def _load(self) -> None:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=Kept)
            config, _ = parse(as_document(kept.config))
        except (OSError, msgspec.DecodeError, InvalidInputError):
            return  # none yet, or of a version that we cannot read: it is posted anew
        self.current = config
        self.needs_credentials = kept.had_credentials
        self.missing_env = kept.env_keys
        self.resumed = True
