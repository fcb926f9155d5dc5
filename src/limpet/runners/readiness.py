"""Waits until a daemon that was started answers as itself and takes its token."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from limpet.errors import DaemonError, DaemonUnreachableError, RunnerError
from limpet.ids import BootId
from limpet.runners.daemon_client import DaemonClient

_ATTEMPT_S: Final = 2.0
_MAX_PAUSE_S: Final = 0.25


async def until_ready(
    client: DaemonClient,
    *,
    boot_id: BootId,
    exit_code: Callable[[], Awaitable[int | None]],
    log_tail: Callable[[], Awaitable[str]],
    within_s: float,
) -> None:
    """Wait until the daemon answers, as itself, and takes its token; `RunnerError` if not.

    It serves nothing before its workspace is whole. Its `ready` is another matter: it tells of the
    app's dev server, which may never run.
    """
    deadline = time.monotonic() + within_s
    pause_s = 0.01
    why = "no answer"
    while (left_s := deadline - time.monotonic()) > 0:
        code = await exit_code()
        if code is not None:
            raise RunnerError(
                f"The sandbox's daemon ended while it started (exit code {code})"
                + said(await log_tail())
            )
        try:
            # The socket may listen already: a daemon that still starts answers when it is up.
            health = await client.health(timeout_s=min(left_s, _ATTEMPT_S))
        except (DaemonUnreachableError, DaemonError) as error:
            why = error.message
        else:
            if health.boot_id != boot_id:
                raise RunnerError(
                    "The sandbox's daemon gives another boot id than it was started with"
                    + said(await log_tail())
                )
            try:
                await client.config()
            except (DaemonError, DaemonUnreachableError) as error:
                raise RunnerError(
                    f"The sandbox's daemon does not take its token: {error.message}"
                    + said(await log_tail())
                ) from error
            return
        await anyio.sleep(pause_s)
        pause_s = min(2 * pause_s, _MAX_PAUSE_S)
    raise RunnerError(
        f"The sandbox's daemon did not answer within {within_s:g} s: {why}"
        + said(await log_tail()),
        hint="Try again; if the machine is busy, wait a moment first.",
    )


def said(log_tail: str) -> str:
    """The end of a daemon's log, to go after an error."""
    return f"\nThe end of its log:\n{log_tail}" if log_tail else "\nIts log is empty."
