"""How each harness calls its tools for files and commands: what a script's step is on the wire."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.models.scenario import Call

REPO = "/sandbox/workspace/repo"


@dataclass(frozen=True)
class Hands:
    """One harness' tools. Each makes the call of a step; paths are relative to the repository."""

    read: Callable[[str], Call]
    replace: Callable[[str, str, str], Call]
    """In a file that was read, this text by that one."""
    run: Callable[[str], Call]


HANDS = {
    "decopilot": Hands(
        read=lambda path: Call(tool="read", input={"path": path}),
        replace=lambda path, old, new: Call(
            tool="edit", input={"path": path, "edits": [{"old": old, "new": new}]}
        ),
        run=lambda command: Call(tool="bash", input={"command": command, "timeout_s": 600}),
    ),
    "claude-code": Hands(
        read=lambda path: Call(tool="Read", input={"file_path": f"{REPO}/{path}"}),
        replace=lambda path, old, new: Call(
            tool="Edit",
            input={"file_path": f"{REPO}/{path}", "old_string": old, "new_string": new},
        ),
        run=lambda command: Call(
            tool="Bash", input={"command": command, "description": "Run it", "timeout": 600_000}
        ),
    ),
}
HANDS["acp"] = HANDS["claude-code"]
"""Its agent is Claude's adapter."""
