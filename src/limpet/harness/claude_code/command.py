"""How the CLI is started: its flags, its environment, the settings above a project's own. Pure.

A project's `.claude/settings.json` may set variables of the CLI, over those of its environment:
what must not be turned is in the settings that we give, which come after.
"""

import json
from typing import Final

from claude_agent_sdk import __version__ as sdk_version

from limpet.harness.bounds import cut
from limpet.harness.tools import ModelGateway

SERVER: Final = "limpet"
"""The name of our MCP server: its tools are `mcp__limpet__NAME`."""
MAX_INSTRUCTIONS_BYTES: Final = 120_000
"""Linux takes no argument over 128 KiB."""

_TOOLS: Final = (
    *("Bash", "Read", "Edit", "Write", "NotebookEdit", "Glob", "Grep", "Task", "Skill"),
    *("TaskCreate", "TaskGet", "TaskList", "TaskUpdate", "WebFetch", "WebSearch"),
)
"""Of the CLI's own; not those that wait for a person, a clock, or another session."""

_WORKING: Final = """\
Beside your own tools you have those of the MCP server `limpet`: `preview` shows the running app \
as the user sees it; `start_task` starts what shall run on after your turn (a command that you put \
in the background with Bash ends with it), `task_log` and `stop_task` go with it; `save` keeps the \
workspace under a name, and `roll_back` brings it back to a snapshot."""

_QUIET: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_BUG_COMMAND": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    "CLAUDE_CODE_ENABLE_TELEMETRY": "0",
    "CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY": "1",
    "DISABLE_INSTALLATION_CHECKS": "1",
}
_NO_OTHER_KEY: Final = {
    "ANTHROPIC_API_KEY": "",
    "CLAUDE_CODE_OAUTH_TOKEN": "",
    "CLAUDE_CODE_USE_BEDROCK": "",
    "CLAUDE_CODE_USE_VERTEX": "",
    "CLAUDE_CODE_USE_FOUNDRY": "",
    "ANTHROPIC_CUSTOM_HEADERS": "",
}
_MODEL_NAMES: Final = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_DEFAULT_FABLE_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)


def command(
    program: str,
    *,
    model: str,
    instructions: str,
    gateway: ModelGateway,
    session: str,
    resumes: bool,
) -> list[str]:
    """The argv. The gateway's token is not in it: a command line is shown to anybody."""
    servers = {"mcpServers": {SERVER: {"type": "sdk", "name": SERVER}}}
    settings = {
        "env": _held(model, gateway),
        "apiKeyHelper": "",
        "cleanupPeriodDays": 36_500,
        "skipWebFetchPreflight": True,
    }
    return [
        program,
        *("--output-format", "stream-json", "--verbose", "--include-partial-messages"),
        *("--input-format", "stream-json"),
        *("--model", model),
        *("--permission-mode", "bypassPermissions"),
        *("--tools", ",".join(_TOOLS)),
        *("--setting-sources=project", "--settings", json.dumps(settings)),
        *("--mcp-config", json.dumps(servers)),
        # Recorded with the session, instructions would stay as they were when it began.
        *("--system-prompt-snapshot", "off"),
        f"--append-system-prompt={_appended(instructions)}",
        f"--resume={session}" if resumes else f"--session-id={session}",
    ]


def environment(*, model: str, gateway: ModelGateway, tries: int) -> dict[str, str]:
    """The variables that the CLI gets beside the sandbox's own."""
    return {
        **_held(model, gateway),
        "ANTHROPIC_AUTH_TOKEN": gateway.token,
        "IS_SANDBOX": "1",
        "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
        "CLAUDE_AGENT_SDK_VERSION": sdk_version,
        "CLAUDE_CODE_MAX_RETRIES": str(tries - 1),
        # An answer that broke off is asked for anew, in pieces again.
        "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
        # A turn ends when its process does, and so would what it left in the background.
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        # Not every server that speaks the protocol has the beta that late tools need.
        "ENABLE_TOOL_SEARCH": "false",
    }


def _held(model: str, gateway: ModelGateway) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": gateway.url,
        **dict.fromkeys(_MODEL_NAMES, model),
        **_NO_OTHER_KEY,
        **_QUIET,
    }


def _appended(instructions: str) -> str:
    whole = "\n\n".join(part for part in (_WORKING, instructions.strip()) if part)
    if len(whole.encode(errors="replace")) <= MAX_INSTRUCTIONS_BYTES:
        return whole
    return cut(whole, MAX_INSTRUCTIONS_BYTES // 4 - 100)
