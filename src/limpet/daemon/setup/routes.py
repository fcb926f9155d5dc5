"""Routes of the config, the setup's steps and the project's scripts."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from starlette.requests import Request

from limpet.daemon.config_model import Config, as_document
from limpet.daemon.routes import Route, RouteError, json_bytes, read_body
from limpet.daemon.setup.orchestrator import ORDER
from limpet.daemon.status_routes import Orchestrator
from limpet.daemon.task import TaskSummary
from limpet.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:
    from limpet.daemon.context import DaemonContext

MIN_TOKEN, MAX_TOKEN = 32, 256


class TokenChange(msgspec.Struct, rename="camel", omit_defaults=True):
    """The token that counts from now on."""

    rotate_token: (
        Annotated[
            str, msgspec.Meta(extra_json_schema={"pattern": f"^[!-~]{{{MIN_TOKEN},{MAX_TOKEN}}}$"})
        ]
        | None
    ) = None


class ConfigPatch(Config, frozen=True):
    """What is laid over the config; null takes a field away."""

    auth: TokenChange = msgspec.field(default_factory=TokenChange)


class ConfigAnswer(msgspec.Struct, rename="camel"):
    """What a change of the config meant."""

    boot_id: str
    transition: str
    config: dict[str, Any]


class ConfigNow(msgspec.Struct, rename="camel"):
    """The config without secrets: of the environment only the names.

    `missing_env` are those that had a value before the daemon restarted, and have none until it is
    posted again.
    """

    boot_id: str
    config: dict[str, Any] | None
    env_keys: list[str]
    missing_env: list[str]
    ready: bool
    orchestrator: Orchestrator
    tasks: list[TaskSummary]


class Enqueued(msgspec.Struct):
    """The step that was asked for."""

    enqueued: str


class Scripts(msgspec.Struct):
    """The names of the project's scripts; none before they are known."""

    scripts: list[str]


async def get_config(ctx: "DaemonContext", _: object, __: Request) -> ConfigNow:
    """The config, and how far the setup is."""
    config = ctx.config.current
    return ConfigNow(
        boot_id=ctx.settings.boot_id,
        config=None if config is None else shown(config),
        env_keys=sorted({*ctx.config.env, *ctx.config.missing_env}),
        missing_env=ctx.config.missing_env,
        ready=ctx.setup.phase == "running",
        orchestrator=Orchestrator(ctx.setup.running, list(ctx.setup.pending)),
        tasks=[task.summary() for task in ctx.tasks.running()],
    )


async def post_config(ctx: "DaemonContext", _: object, request: Request) -> ConfigAnswer:
    """Merge a patch into the config; what it means is done, and the answer does not wait for it."""
    patch = _patch(await read_body(request))
    auth = patch.pop("auth", None)
    if auth is not None:
        _rotate(ctx, auth)
    before = ctx.config.credentials
    try:
        transition, config = await ctx.config.apply(patch)
    except ConflictError as error:
        raise RouteError(error.message, status=409, transition="identity-conflict") from error
    fresh = ctx.config.credentials != before
    ctx.setup.config_changed(transition, credentials=fresh)
    return ConfigAnswer(ctx.settings.boot_id, transition, shown(config))


async def enqueue(ctx: "DaemonContext", _: object, request: Request) -> Enqueued:
    """Resume from a step."""
    step = request.path_params["step"]
    for known in ORDER:
        if step == known:
            # A sandbox that was held looks at its whole workspace anew, whatever is asked for.
            ctx.setup.enqueue("clone" if ctx.setup.release() else known)
            return Enqueued(step)
    raise RouteError(f"no step is called {step!r}", status=404, available=list(ORDER))


async def scripts(ctx: "DaemonContext", _: object, __: Request) -> Scripts:
    """The names of the project's scripts."""
    return Scripts(ctx.setup.scripts)


def shown(config: Config) -> dict[str, Any]:
    """The config without values of variables; its clone URL never has credentials."""
    return as_document(msgspec.structs.replace(config, env={}))


def _patch(body: bytes) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(json_bytes(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the body is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidInputError("the config must be a JSON object")
    return given


def _rotate(ctx: "DaemonContext", auth: object) -> None:
    token = auth.get("rotateToken") if isinstance(auth, dict) else None
    if token is None:
        return
    if not isinstance(token, str) or not MIN_TOKEN <= len(token) <= MAX_TOKEN:
        raise InvalidInputError(
            f"auth.rotateToken must have from {MIN_TOKEN} to {MAX_TOKEN} characters"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInputError("auth.rotateToken must be printable ASCII without blanks")
    ctx.token.rotate(token)


def config_routes(_: "DaemonContext") -> list[Route]:
    """`/config`."""
    return [
        Route(
            ("GET",), "/config", get_config, output=ConfigNow, activity=False, summary="The config"
        ),
        Route(
            ("POST", "PUT"),
            "/config",
            post_config,
            output=ConfigAnswer,
            body=("application/json",),
            patch=ConfigPatch,
            statuses=(400, 408, 409, 413),
            summary="Configure",
        ),
    ]


def setup_routes(_: "DaemonContext") -> list[Route]:
    """`/setup/<step>`."""
    return [
        Route(
            ("POST",),
            "/setup/{step}",
            enqueue,
            output=Enqueued,
            statuses=(404,),
            summary="Resume from a step",
        )
    ]


def scripts_routes(_: "DaemonContext") -> list[Route]:
    """`/scripts`."""
    return [
        Route(
            ("GET",),
            "/scripts",
            scripts,
            output=Scripts,
            auth=False,
            activity=False,
            summary="The project's scripts",
        )
    ]
