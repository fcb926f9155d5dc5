"""The config of a sandbox: its shape, how a patch is merged into it, and what a change means. Pure.

A clone URL's credentials are taken out of it before anything is kept: `Config` never holds them.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from limpet.branches import check_branch
from limpet.errors import InvalidInputError

Runtime = Literal["node", "bun", "deno", "python"]
ManagerName = Literal["npm", "pnpm", "yarn", "bun", "deno", "uv", "pip", "poetry"]
Transition = Literal[
    "identity-conflict",
    "bootstrap",
    "branch-change",
    "runtime-change",
    "pm-change",
    "port-change",
    "env-change",
    "no-op",
]
MAX_ENV_VALUE_BYTES = 32 * 1024
MAX_COMMAND_BYTES = 32 * 1024
MAX_DEPTH = 1_000_000
SCHEMES = ("https", "file")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")


def _like(**schema: object) -> msgspec.Meta:
    """What the description tells of a field; `parse` checks it, with words that say what to do."""
    return msgspec.Meta(extra_json_schema=schema)


CloneUrl = Annotated[str, _like(pattern=rf"^({'|'.join(SCHEMES)})://[!-~]+$")]
BranchName = Annotated[
    str, _like(pattern=r"^(thread:[A-Za-z0-9_-]{1,128}|[A-Za-z0-9_][A-Za-z0-9._/-]{0,199})$")
]
PersonName = Annotated[str, _like(pattern=r"^[^\x00-\x1f\x7f]+$")]
Folder = Annotated[str, _like(pattern=r"^[^/\x00][^\x00]*$")]
Depth = Annotated[int, _like(minimum=0, maximum=MAX_DEPTH)]
Port = Annotated[int, _like(minimum=1, maximum=65535)]
ScriptName = Annotated[str, _like(pattern=r"^[^\x00-\x20\x7f-][^\x00-\x20\x7f]*$")]
ShellCommand = Annotated[str, _like(pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]
Variables = Annotated[dict[str, str], _like(propertyNames={"pattern": f"^{_ENV_NAME.pattern}$"})]


class Repository(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """Where the workspace's git repository comes from; `clone_url` has no credentials in it.

    `depth` is how many commits of each branch are fetched, 0 all of them with tags; 1 by default.
    """

    clone_url: CloneUrl | None = None
    branch: BranchName | None = None
    display_name: str | None = None
    repo_name: str | None = None
    depth: Depth | None = None


class Identity(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """Who commits."""

    user_name: PersonName | None = None
    user_email: PersonName | None = None


class GitConfig(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """What git is told."""

    repository: Repository = Repository()
    identity: Identity = Identity()
    begin_branch: BranchName | None = None
    """A branch that a repository which is there begins as it is, unless it has it; no remote is
    asked."""
    publish_on_shutdown: bool = False


class PackageManager(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which package manager, and in which folder of the repository (`path`)."""

    name: ManagerName | None = None
    path: Folder | None = None


class Application(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """What is known of the app beforehand; what is not, is detected.

    `script` is the script that starts it in place of `dev` or `start`; `command` a shell's command
    that does, in the app's folder, with the project's own programs in its PATH.
    """

    package_manager: PackageManager = PackageManager()
    runtime: Runtime | None = None
    port: Port | None = None
    script: ScriptName | None = None
    command: ShellCommand | None = None


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that a daemon is told. `env` is for tasks and the dev server."""

    git: GitConfig = GitConfig()
    application: Application = Application()
    env: Variables = {}

    @property
    def clone_url(self) -> str | None:
        """The clone URL, without credentials."""
        return self.git.repository.clone_url

    @property
    def branch(self) -> str | None:
        """The configured branch; synthetic names among them."""
        return self.git.repository.branch


class Credentials(msgspec.Struct, frozen=True):
    """What a git server asks for. Kept in memory alone, never shown."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(...)"


Document = dict[str, Any]


def merge(old: Mapping[str, Any], patch: Mapping[str, Any]) -> Document:
    """`patch` laid over `old`: objects merge, everything else replaces, null takes away."""
    merged: Document = dict(old)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            below = merged.get(name)
            merged[name] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def parse(document: Mapping[str, Any]) -> tuple[Config, Credentials | None]:
    """The config that a merged document means, and the credentials of its clone URL.

    `InvalidInputError` names the field that is wrong.
    """
    try:
        config = msgspec.convert(dict(document), Config)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"invalid config: {error}") from error
    repository = config.git.repository
    credentials = None
    if "repository" in (document.get("git") or {}) and not repository.clone_url:
        raise InvalidInputError("invalid config: git.repository.cloneUrl must not be empty")
    if repository.clone_url is not None:
        url, credentials = split_url(repository.clone_url)
        repository = msgspec.structs.replace(repository, clone_url=url)
        git = msgspec.structs.replace(config.git, repository=repository)
        config = msgspec.structs.replace(config, git=git)
    _check(config)
    return config, credentials


def as_document(config: Config) -> Document:
    """The config as plain data, to merge a patch into or to write down."""
    document: Document = msgspec.to_builtins(config)
    return document


def classify(old: Config | None, new: Config) -> Transition:
    """What a change from `old` to `new` means, by precedence.

    The first config there is always means bootstrap, however little is in it: a workspace that was
    restored is brought up by it.
    """
    if old is None:
        return "bootstrap"
    if old.clone_url is not None and old.clone_url != new.clone_url:
        return "identity-conflict"
    if old.clone_url is None and new.clone_url is not None:
        return "bootstrap"
    if new.branch is not None and old.branch != new.branch:
        return "branch-change"
    if old.git.repository.depth != new.git.repository.depth:
        return "branch-change"
    if _run_by(old.application) != _run_by(new.application):
        return "runtime-change"
    if old.application.package_manager != new.application.package_manager:
        return "pm-change"
    if old.application.port != new.application.port:
        return "port-change"
    if old.env != new.env:
        return "env-change"
    return "no-op"


def _run_by(application: Application) -> tuple[str | None, ...]:
    return application.runtime, application.script, application.command


def split_url(url: str) -> tuple[str, Credentials | None]:
    """A clone URL without credentials, and those. `InvalidInputError` never repeats the URL."""
    if _CONTROL.search(url) or url.startswith("-"):
        raise InvalidInputError("invalid config: git.repository.cloneUrl has odd characters in it")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidInputError("invalid config: git.repository.cloneUrl is not a URL") from None
    if parts.scheme not in SCHEMES or (parts.scheme == "https" and not host):
        raise InvalidInputError(
            "invalid config: git.repository.cloneUrl must begin with https:// (or file://)"
        )
    if parts.scheme == "file":
        return url, None
    shown_host = f"[{host}]" if host and ":" in host else host or ""
    netloc = shown_host if port in {None, 443} else f"{shown_host}:{port}"
    public = urlunsplit(("https", netloc, parts.path, parts.query, ""))
    if parts.username is None and parts.password is None:
        return public, None
    given = Credentials(unquote(parts.username or ""), unquote(parts.password or ""))
    if any(c in given.username + given.password for c in "\r\n\0"):
        raise InvalidInputError("invalid config: git.repository.cloneUrl has odd credentials")
    return public, given


def _check(config: Config) -> None:
    for branch in (config.branch, config.git.begin_branch):
        if branch is not None:
            check_branch(branch)
    depth = config.git.repository.depth
    if depth is not None and not 0 <= depth <= MAX_DEPTH:
        raise InvalidInputError(
            f"invalid config: git.repository.depth must be from 0 (everything) to {MAX_DEPTH}"
        )
    identity = config.git.identity
    named = (identity.user_name, identity.user_email)
    if any(named) and not all(named):
        raise InvalidInputError("invalid config: git.identity needs userName and userEmail")
    if any(_CONTROL.search(name.replace(" ", "")) for name in named if name):
        raise InvalidInputError("invalid config: git.identity has odd characters in it")
    manager = config.application.package_manager
    if manager.path is not None:
        _check_folder(manager.path)
    _check_starter(config.application)
    port = config.application.port
    if port is not None and not 0 < port < 65536:
        raise InvalidInputError("invalid config: application.port must be from 1 to 65535")
    for name, value in config.env.items():
        if not _ENV_NAME.fullmatch(name):
            raise InvalidInputError(f"invalid config: env: {name[:80]!r} is not a variable's name")
        if "\0" in value or len(value.encode(errors="replace")) > MAX_ENV_VALUE_BYTES:
            raise InvalidInputError(f"invalid config: env: the value of {name} cannot be given")


def _check_starter(application: Application) -> None:
    script, command = application.script, application.command
    if script is not None and command is not None:
        raise InvalidInputError(
            "invalid config: application.script and application.command exclude each other"
        )
    if script is not None and (not script or script.startswith("-") or _CONTROL.search(script)):
        raise InvalidInputError("invalid config: application.script must be a script's name")
    if command is not None and (not command.strip() or "\0" in command):
        raise InvalidInputError("invalid config: application.command must not be empty")
    if command is not None and len(command.encode(errors="replace")) > MAX_COMMAND_BYTES:
        raise InvalidInputError(
            f"invalid config: application.command is longer than {MAX_COMMAND_BYTES} bytes"
        )


def _check_folder(path: str) -> None:
    inside = [part for part in path.split("/") if part not in {"", "."}]
    if not path or "\0" in path or path.startswith("/") or ".." in inside:
        raise InvalidInputError(
            "invalid config: application.packageManager.path must be a folder of the repository"
        )
