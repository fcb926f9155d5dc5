"""The control plane's settings: every `LIMPET_*` variable, read in one place.

Knows the environment and nothing else. A value that cannot be used is an error that names its
variable, never a silent default.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from limpet.control.preview_address import (
    LOCAL,
    PreviewAccess,
    PreviewAddresses,
    Site,
    proxies_of,
)
from limpet.errors import InvalidInputError
from limpet.runners.docker_container import DockerOptions
from limpet.runners.egress import EgressMode, networks_of
from limpet.runners.limits import Limits
from limpet.runners.network import NetworkSettings, ports_of
from limpet.snapshots.retention import MAX_DAYS, MAX_HOURS, MAX_LAST, MAX_TURNS, RetentionPolicy

DEFAULT_PORT = 7070
PREFIX = "LIMPET_"


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    """So that pydantic names the variable."""
    try:
        yield
    except InvalidInputError as error:
        raise ValueError(error.message) from None


def _most_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4


class SettingsError(InvalidInputError):
    """A setting is malformed or cannot be used; the message names the variable."""

    code = "bad_setting"


class Settings(BaseSettings):
    """What the control plane is started with. Times end in `_s` and are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True
    )

    data_dir: Path = Field(default_factory=lambda: Path.home() / ".local/share/limpet")
    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65535)
    """None: 7070, or the next free one. 0: any free one."""
    preview_url: str | None = None
    """`https://DOMAIN[:PORT]`: previews are at `<handle>.DOMAIN` too, as a proxy in front serves
    them. None: at `<handle>.localhost` alone."""
    preview_access: PreviewAccess = "link"
    """Who sees previews of which nobody said it: whoever has the address, or who is signed in."""
    trusted_proxies: str = ""
    """Addresses and networks, separated by commas, whose `X-Forwarded-*` headers are believed."""
    poll_s: float = Field(default=30.0, gt=0)
    idle_s: float = Field(default=60.0, ge=0)
    max_unsaved_s: float = Field(default=600.0, gt=0)
    store_wait_s: float = Field(default=30.0, ge=0)
    max_workspace_bytes: int = Field(default=2_000_000_000, gt=0)
    """Of all files of a workspace together; a larger one runs on and is not saved."""
    org_quota_bytes: int | None = Field(default=None, gt=0)
    """Of an org's snapshots in the store; None: no limit. Saves beyond it are refused."""
    retention_last: int = Field(default=10, ge=1, le=MAX_LAST)
    retention_hours: int = Field(default=24, ge=0, le=MAX_HOURS)
    retention_days: int = Field(default=30, ge=0, le=MAX_DAYS)
    retention_turns: int = Field(default=200, ge=0, le=MAX_TURNS)
    """What is kept of each branch, where org and agent say nothing else: the last snapshots, one an
    hour of so many hours, one a day of so many days."""
    pack_cache_bytes: int = Field(default=4 << 30, ge=0)
    """Of packs of a bucket that are kept in the data folder for restores; 0: none."""
    prune_every_s: float = Field(default=21_600.0, ge=0)
    """How often what is not kept any more is looked for; 0: only when somebody asks."""
    drain_s: float = Field(default=10.0, ge=0)
    """How long requests may go on at shutdown, after everything is saved."""
    runner: Literal["host", "docker"] = "host"
    """Where sandboxes live: processes of this machine, or containers of a Docker engine."""
    isolation: Literal["auto", "bubblewrap", "none"] = "auto"
    network: Literal["auto", "own", "shared"] = "auto"
    """Whether each sandbox gets a network of its own; `auto`: where that works."""
    egress_deny: str = ""
    """Networks, separated by commas, that no sandbox reaches, beside those that none ever does."""
    sandbox_host_ports: str = ""
    """Ports of this machine's loopback, separated by commas, that sandboxes find at theirs."""
    sandbox_memory_bytes: int = Field(default_factory=_most_memory, gt=64 << 20)
    """Of all processes of a sandbox together; unless it is said, three quarters of the machine."""
    sandbox_pids: int = Field(default=4096, ge=64)
    """Processes and threads of a sandbox."""
    sandbox_cpus: float | None = Field(default=None, gt=0.05)
    """Processors' worth of time; None: all, when nobody else wants them."""
    sandbox_file_bytes: int = Field(default=16 << 30, gt=1 << 20)
    """Of one file that a sandbox writes."""
    team: bool = False
    """Whether more than one person's sandboxes run here: then they must be kept apart."""
    egress: EgressMode = "open"
    """Where sandboxes of agents that say nothing else may connect to."""
    docker_host: str = Field(
        default_factory=lambda: os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    )
    """The engine's socket."""
    docker_image: str = Field(default="limpet-sandbox", pattern=r"^[A-Za-z0-9][\w.:/@-]*$")
    docker_runtime: str = Field(default="", pattern=r"^[\w.-]*$")
    """The engine's name of an OCI runtime, such as gVisor's `runsc`; empty: its default one."""
    docker_filter: bool = True
    """Whether a packet filter keeps sandboxes from the engine's machine and from what none gets."""
    docker_disk_bytes: int | None = Field(default=None, ge=64 << 20)
    """Of a sandbox's whole root, where the engine's disk has project quotas; None: no limit."""
    secret_key: SecretStr | None = None
    """Keys for sealed values, separated by commas; the first one seals."""
    database_url: SecretStr | None = None
    """None: SQLite in the data folder."""
    templates_dir: Path | None = None
    claude_code: Path | None = None
    """The CLI of the harness `claude-code`, as sandboxes see it; None: npm's, installed by us."""
    template_builds: bool = True
    """Whether a template that was used is installed once more, aside, for all that come after."""
    max_request_bytes: int = Field(default=4 * 1024 * 1024, gt=0)
    """Of a JSON request's body; streams (imports, file transfers) have limits of their own."""
    browser: str | None = None
    """The Chromium or Chrome that takes pictures of previews, `off` for none; None: one in PATH."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    """`auto`: text on a terminal, JSON lines elsewhere."""

    @field_validator("docker_host")
    @classmethod
    def _is_a_socket(cls, value: str) -> str:
        if not value.startswith(("unix:///", "tcp://", "http://", "https://")):
            raise ValueError("an engine is named as unix:///PATH or tcp://HOST:PORT")
        return value

    @field_validator("claude_code")
    @classmethod
    def _is_absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("the program is named by its absolute path")
        return value

    @field_validator("preview_url")
    @classmethod
    def _is_a_site(cls, value: str | None) -> str | None:
        if value is not None:
            Site.parse(value)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        proxies_of(value)
        return value

    @field_validator("egress_deny")
    @classmethod
    def _are_denied(cls, value: str) -> str:
        with _as_value_error():
            networks_of(value)
        return value

    @field_validator("sandbox_host_ports")
    @classmethod
    def _are_ports(cls, value: str) -> str:
        with _as_value_error():
            ports_of(value)
        return value

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings of the environment under `overrides` that are not None.

        Raises `SettingsError` naming each variable that cannot be used.
        """
        try:
            settings = cls(
                **{name: value for name, value in overrides.items() if value is not None}
            )
        except ValidationError as error:
            problems = "; ".join(
                f"{PREFIX}{str(item['loc'][0]).upper()}: {item['msg']}"
                for item in error.errors(include_input=False, include_url=False)
            )
            raise SettingsError(
                f"These settings cannot be used: {problems}", hint="Correct or unset them."
            ) from None
        return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().absolute()})

    @property
    def previews(self) -> PreviewAddresses:
        """Where previews are to be had."""
        return PreviewAddresses(
            local=Site("http", LOCAL, self.port),
            named=Site.parse(self.preview_url) if self.preview_url is not None else None,
            proxies=proxies_of(self.trusted_proxies),
        )

    @property
    def networks(self) -> NetworkSettings:
        """What is said of sandboxes' networks."""
        return NetworkSettings(
            self.network, networks_of(self.egress_deny), ports_of(self.sandbox_host_ports)
        )

    @property
    def limits(self) -> Limits:
        """What one sandbox may take."""
        return Limits(
            self.sandbox_memory_bytes, self.sandbox_pids, self.sandbox_cpus, self.sandbox_file_bytes
        )

    @property
    def docker(self) -> DockerOptions:
        """How containers are made."""
        return DockerOptions(
            image=self.docker_image,
            runtime=self.docker_runtime,
            limits=self.limits,
            disk_bytes=self.docker_disk_bytes,
        )

    @property
    def retention(self) -> RetentionPolicy:
        """What is kept where nobody says anything else."""
        return RetentionPolicy(
            self.retention_last, self.retention_hours, self.retention_days, self.retention_turns
        )

    @property
    def sqlite_path(self) -> Path:
        """Where the embedded database lies."""
        return self.data_dir / "limpet.sqlite3"

    @property
    def effective_database_url(self) -> str:
        """The SQLAlchemy URL, with credentials if it has any: never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.sqlite_path}"

    @property
    def uses_sqlite(self) -> bool:
        """Whether one control plane alone works on the database."""
        return self.effective_database_url.startswith("sqlite")
