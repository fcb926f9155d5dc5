"""`limpet serve`: the process around the control plane: sockets, signals, what is printed.

Signals are ours, not the ASGI server's, which would drain before it tells anyone: an open event
stream never drains. The first one refuses new work, ends streams with `bye`, saves every sandbox
and then drains; a second one ends at once.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import structlog
import uvicorn

from limpet.console import outlive_readers
from limpet.control.app import Limpet
from limpet.control.data_folder import announced
from limpet.control.db import EMBEDDED_ORG, EMBEDDED_USER
from limpet.control.listening import Listening, listen
from limpet.control.logging import configure_logging
from limpet.control.preview_hosts import MAX_SOCKET_MESSAGE_BYTES
from limpet.control.settings import Settings
from limpet.control.system import sign_in_url
from limpet.errors import LimpetError
from limpet.memory import share_one_arena

CLI_KEY = "The command line on this machine"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(*, port: int | None = None, data_dir: Path | None = None) -> int:
    """Serve until a signal; the process's exit code. `port` is insisted on, 0 is any free one."""
    outlive_readers()
    share_one_arena()
    try:
        settings = Settings.load(port=port, data_dir=data_dir)
        configure_logging(settings)
        listening = listen(settings.host, settings.port, insist=port is not None)
        with contextlib.closing(listening):
            settings = settings.model_copy(update={"port": listening.port})
            return asyncio.run(_serve(settings, listening))
    except asyncio.CancelledError:
        return 1  # somebody insisted before we were ready
    except LimpetError as error:
        _say(f"limpet: {error.message}", file=sys.stderr)
        if error.hint:
            _say(f"  {error.hint}", file=sys.stderr)
        return error.exit_code


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Signals:
    """The signals that ask us to stop: the first one asks, and a Ctrl+C after it insists.

    No other signal insists, since each may come twice although it was meant once
    (docs/decisions/0036-only-ctrl-c-insists.md). Until `ready`, nobody waits for either, and who
    insists cancels the start.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        self.ready = False
        self._main = asyncio.current_task()

    def arrive(self, number: signal.Signals) -> None:
        """One signal."""
        if not self.asked.is_set():
            structlog.get_logger().info("stopping", signal=number.name)
            self.asked.set()
        elif number is signal.SIGINT:
            self.insisted.set()
            if not self.ready and self._main is not None:
                self._main.cancel()

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catch them for the length of the block.

        A hang-up that is ignored stays so: who began us under nohup wants us to outlive him.
        """
        loop = asyncio.get_running_loop()
        hung_on = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        numbers = [one for one in _SIGNALS if one is not signal.SIGHUP or not hung_on]
        for number in numbers:
            loop.add_signal_handler(number, self.arrive, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


async def _serve(settings: Settings, listening: Listening) -> int:
    signals = _Signals()
    with signals.caught():
        async with Limpet.open(settings) as limpet:
            signals.ready = True
            services = limpet.services
            key = await services.authenticator.replace_api_key(EMBEDDED_ORG, EMBEDDED_USER, CLI_KEY)
            server = new_server(limpet, settings)
            serving = asyncio.create_task(server.serve(sockets=list(listening.sockets)))
            try:
                url = f"http://127.0.0.1:{listening.port}"
                with announced(settings.data_dir, url=url, api_key=key):
                    _greet(limpet, listening)
                    await _first_of(signals.asked, serving)
                    code = await _stop(limpet, server, serving, signals)
            finally:
                server.force_exit = server.should_exit = True
                if signals.insisted.is_set():
                    serving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await serving
            return code


def new_server(limpet: Limpet, settings: Settings) -> uvicorn.Server:
    """An ASGI server for the app, that leaves signals and logs to us."""
    return _Server(
        uvicorn.Config(
            limpet.app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        )
    )


async def _stop(
    limpet: Limpet, server: uvicorn.Server, serving: asyncio.Task[None], signals: _Signals
) -> int:
    """Save, then drain; 1 when somebody insisted and cut it short."""
    _say("Saving every sandbox, then stopping. Ctrl+C (SIGINT) now ends at once, without saving.")
    saving = asyncio.create_task(limpet.save_all())
    await _first_of(signals.insisted, saving)
    if not saving.done():
        saving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await saving
        return 1
    failed = saving.exception()
    if failed is not None:
        structlog.get_logger().error("save_all_failed", exc_info=failed)
    server.should_exit = True
    await _first_of(signals.insisted, serving)
    return 1 if failed is not None or not serving.done() else 0


async def _first_of(signalled: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Until one of them has come; what the task raised is left in it."""
    waiting = asyncio.create_task(signalled.wait())
    try:
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _greet(limpet: Limpet, listening: Listening) -> None:
    if listening.moved_from is not None:
        _say(f"Port {listening.moved_from} is taken; serving on {listening.port}.")
    isolation = limpet.services.runner.isolation
    if isolation.kind == "none":
        why = f" ({isolation.reason})" if isolation.reason else ""
        _say(f"No isolation: sandboxes can read and change what you can{why}.")
    elif isolation.network == "shared":
        _say("Sandboxes share this machine's network: they reach what listens on its loopback.")
    _say(f"Limpet is ready. Open this to sign in:\n\n  {sign_in_url(limpet.services)}\n")


def _say(text: str, *, file: TextIO | None = None) -> None:
    """For the person at the terminal."""
    print(text, file=file, flush=True)
