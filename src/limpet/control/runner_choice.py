"""Which runner the settings ask for, opened."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limpet.control.settings import Settings
from limpet.runners.base import RunnerState
from limpet.runners.host import HostRunner

if TYPE_CHECKING:
    from limpet.runners.docker import DockerRunner


async def open_runner(
    settings: Settings, data_dir: Path, state: RunnerState, app_origins: Sequence[str] = ()
) -> "HostRunner | DockerRunner":
    """The runner of `settings` for the sandboxes of `data_dir`; close it when done.

    `app_origins` are the pages that previews may talk to. Raises `RunnerError` when it cannot be
    used here.
    """
    if settings.runner == "docker":
        from limpet.runners.docker import DockerRunner

        return await DockerRunner.open(
            data_dir,
            state,
            options=settings.docker,
            host=settings.docker_host,
            filtered=settings.docker_filter,
            denied=settings.networks.denied,
            environ=os.environ,
            app_origins=app_origins,
        )
    return await asyncio.to_thread(
        HostRunner,
        data_dir,
        state,
        isolation=settings.isolation,
        networks=settings.networks,
        limits=settings.limits,
        environ=os.environ,
        app_origins=tuple(app_origins),
        visible=_given(settings),
    )


def _given(settings: Settings) -> tuple[Path, ...]:
    """Programs of harnesses that are on this machine, and what they are links to."""
    if settings.claude_code is None:
        return ()
    return (settings.claude_code, settings.claude_code.resolve())
