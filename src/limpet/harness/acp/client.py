"""What an agent may ask of its client: files, terminals, and leave to do what it is about to do.

Everything that our own loop may do in the sandbox is allowed; nothing reaches outside of it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from acp import RequestError, schema
from acp.meta import CLIENT_METHODS
from pydantic import BaseModel, ValidationError

from limpet.errors import LimpetError
from limpet.harness.acp.files import Files, NoFileError
from limpet.harness.acp.terminals import Terminals
from limpet.harness.tools import ToolFailedError

# Reading is answered and not offered: the agent sees the same files itself, and Gemini's CLI, which
# asks for a file before it makes it, takes no client's word for it that there is none.
CAPABILITIES: Final = schema.ClientCapabilities(
    fs=schema.FileSystemCapabilities(read_text_file=False, write_text_file=True), terminal=True
)
_FAILED: Final = -32603
_NOT_FOUND: Final = -32002
_OVER: Final = -32600
R = TypeVar("R", bound=BaseModel)
_Act = Callable[[Any], Awaitable[BaseModel]]


class Client:
    """Answers an agent's requests, none once the turn is `over`.

    `told` is given what a request for permission says of a session's tool call, as an update;
    `broke` what ends the run.
    """

    def __init__(
        self,
        files: Files,
        terminals: Terminals,
        told: Callable[[dict[str, Any]], Awaitable[None]],
        broke: Callable[[Exception], None],
    ) -> None:
        self._files, self._terminals = files, terminals
        self._told, self._broke = told, broke
        self.over = False
        self._acts: dict[str, tuple[type[BaseModel], _Act]] = {
            CLIENT_METHODS["session_request_permission"]: (
                schema.RequestPermissionRequest,
                self._allow,
            ),
            CLIENT_METHODS["fs_read_text_file"]: (schema.ReadTextFileRequest, self._read),
            CLIENT_METHODS["fs_write_text_file"]: (schema.WriteTextFileRequest, self._write),
            CLIENT_METHODS["terminal_create"]: (schema.CreateTerminalRequest, self._create),
            CLIENT_METHODS["terminal_output"]: (schema.TerminalOutputRequest, self._output),
            CLIENT_METHODS["terminal_wait_for_exit"]: (
                schema.WaitForTerminalExitRequest,
                self._wait,
            ),
            CLIENT_METHODS["terminal_kill"]: (schema.KillTerminalRequest, self._kill),
            CLIENT_METHODS["terminal_release"]: (schema.ReleaseTerminalRequest, self._release),
        }

    async def handle(self, method: str, params: Any, _is_notification: bool) -> Any:
        """The answer to a request, or a `RequestError`."""
        entry = self._acts.get(method)
        if entry is None:
            raise RequestError.method_not_found(method)
        model, act = entry
        try:
            request = model.model_validate(params or {})
        except ValidationError as error:
            wrong = ["/".join(map(str, one["loc"])) for one in error.errors(include_input=False)]
            raise RequestError.invalid_params({"fields": wrong[:20]}) from None
        if self.over and act != self._allow:
            raise RequestError(_OVER, "The turn is over")
        try:
            return await act(request)
        except NoFileError as error:
            raise RequestError(_NOT_FOUND, f"Resource not found: {error}") from None
        except ToolFailedError as error:
            raise RequestError(_FAILED, str(error)) from None
        except LimpetError as error:
            self._broke(error)
            raise RequestError(_FAILED, "The sandbox cannot be reached") from None

    async def _allow(
        self, asked: schema.RequestPermissionRequest
    ) -> schema.RequestPermissionResponse:
        """Allowed, once where that can be chosen: 'always' may be written into the project."""
        call = asked.tool_call.model_dump(mode="json", by_alias=True, exclude_none=True)
        update = {"sessionUpdate": "tool_call_update", **call}
        await self._told({"sessionId": asked.session_id, "update": update})
        options = {option.kind: option.option_id for option in reversed(asked.options)}
        chosen = options.get("allow_once") or options.get("allow_always")
        if chosen is None or self.over:
            return schema.RequestPermissionResponse(
                outcome=schema.DeniedOutcome(outcome="cancelled")
            )
        return schema.RequestPermissionResponse(
            outcome=schema.AllowedOutcome(outcome="selected", option_id=chosen)
        )

    async def _read(self, asked: schema.ReadTextFileRequest) -> schema.ReadTextFileResponse:
        content = await self._files.read(asked.path, asked.line, asked.limit)
        return schema.ReadTextFileResponse(content=content)

    async def _write(self, asked: schema.WriteTextFileRequest) -> schema.WriteTextFileResponse:
        await self._files.write(asked.path, asked.content)
        return schema.WriteTextFileResponse()

    async def _create(self, asked: schema.CreateTerminalRequest) -> schema.CreateTerminalResponse:
        name = await self._terminals.create(
            asked.command,
            asked.args or (),
            {one.name: one.value for one in asked.env or ()},
            asked.cwd,
            asked.output_byte_limit,
        )
        return schema.CreateTerminalResponse(terminal_id=name)

    async def _output(self, asked: schema.TerminalOutputRequest) -> schema.TerminalOutputResponse:
        terminal = self._terminals.get(asked.terminal_id)
        status = None
        if terminal.ended.is_set():
            status = schema.TerminalExitStatus.model_validate(_status(terminal.code))
        return schema.TerminalOutputResponse(
            output=terminal.text, truncated=terminal.truncated, exit_status=status
        )

    async def _wait(
        self, asked: schema.WaitForTerminalExitRequest
    ) -> schema.WaitForTerminalExitResponse:
        terminal = self._terminals.get(asked.terminal_id)
        await terminal.ended.wait()
        return schema.WaitForTerminalExitResponse.model_validate(_status(terminal.code))

    async def _kill(self, asked: schema.KillTerminalRequest) -> schema.KillTerminalResponse:
        await self._terminals.kill(asked.terminal_id)
        return schema.KillTerminalResponse()

    async def _release(
        self, asked: schema.ReleaseTerminalRequest
    ) -> schema.ReleaseTerminalResponse:
        await self._terminals.release(asked.terminal_id)
        return schema.ReleaseTerminalResponse()


def _status(code: int | None) -> dict[str, object]:
    return {"signal": "SIGKILL"} if code is None else {"exitCode": max(code, 0)}
