"""How a tool call of the CLI is shown: a line for people, and a file's change as a unified diff.

Pure. What the CLI gives is looked at with care: it is what a model wrote.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from limpet.harness.claude_code.command import SERVER
from limpet.harness.toolbox import BY_NAME

PREFIX: Final = f"mcp__{SERVER}__"
_MOST_TITLE_CHARS: Final = 200
_MOST_DIFF_CHARS: Final = 200_000
_BY_FIELD: Final = {
    "Read": ("Read {}", "file_path"),
    "Edit": ("Edit {}", "file_path"),
    "MultiEdit": ("Edit {}", "file_path"),
    "Write": ("Write {}", "file_path"),
    "NotebookEdit": ("Edit {}", "notebook_path"),
    "Glob": ("Find {}", "pattern"),
    "Grep": ("Search for {}", "pattern"),
    "Bash": ("{}", "command"),
    "Task": ("{}", "description"),
    "Agent": ("{}", "description"),
    "Skill": ("Use the skill {}", "skill"),
    "TaskCreate": ("Plan: {}", "subject"),
    "WebFetch": ("Fetch {}", "url"),
    "WebSearch": ("Search the web for {}", "query"),
}
_PLAIN: Final = {
    "TaskUpdate": "Update the plan",
    "TaskGet": "Look at the plan",
    "TaskList": "Look at the plan",
}


def short_name(name: str) -> str:
    """A tool's name without our server's."""
    return name.removeprefix(PREFIX)


def title_of(name: str, given: Mapping[str, Any], repo: str) -> str:
    """One line for people, such as `Edit src/App.tsx` or `npm test`."""
    return _title(name, given, repo)[:_MOST_TITLE_CHARS]


def _title(name: str, given: Mapping[str, Any], repo: str) -> str:
    if name.startswith(PREFIX):
        tool = BY_NAME.get(short_name(name))
        if tool is None:
            return short_name(name)
        try:
            return tool.title(tool.takes.model_validate(given))
        except ValidationError:
            return tool.name
    if name in _PLAIN:
        return _PLAIN[name]
    form, field = _BY_FIELD.get(name, ("", ""))
    value = given.get(field)
    if not isinstance(value, str) or not value.strip():
        return name
    return form.format(_first_line(relative(value, repo)))


def _first_line(text: str) -> str:
    line, _, rest = text.strip().partition("\n")
    return f"{line[:120]} ..." if rest or len(line) > 120 else line


def relative(path: str, repo: str) -> str:
    """A path as people know it: from the repository's folder, where it lies in it."""
    return path.removeprefix(repo.rstrip("/") + "/")


def diff_of(name: str, given: Mapping[str, Any], result: object, repo: str) -> str | None:
    """The change of a file: as the CLI tells it, else as far as the call itself does."""
    path = given.get("file_path")
    if name not in {"Edit", "MultiEdit", "Write"} or not isinstance(path, str):
        return None
    told = result if isinstance(result, dict) else {}
    new = told.get("type") == "create" or (name == "Write" and not told)
    lines = list(_patch(told.get("structuredPatch"))) or list(_from_call(name, given, new=new))
    if not lines:
        return None
    shown = relative(path, repo)
    head = [f"--- {'/dev/null' if new else f'a/{shown}'}", f"+++ b/{shown}"]
    diff = "\n".join([*head, *lines]) + "\n"
    return diff if len(diff) <= _MOST_DIFF_CHARS else None


def _patch(hunks: object) -> Iterator[str]:
    for hunk in hunks if isinstance(hunks, list) else []:
        match hunk:
            case {
                "oldStart": int(old),
                "oldLines": int(olds),
                "newStart": int(new),
                "newLines": int(news),
                "lines": list(lines),
            }:
                yield f"@@ -{old},{olds} +{new},{news} @@"
                yield from (str(line) for line in lines)
            case _:
                return


def _from_call(name: str, given: Mapping[str, Any], *, new: bool) -> Iterator[str]:
    if name == "Write":
        content = given.get("content")
        if new and isinstance(content, str):
            yield from _compared("", content)
        return
    edits = given.get("edits") if name == "MultiEdit" else [given]
    for edit in edits if isinstance(edits, list) else []:
        match edit:
            case {"old_string": str(old), "new_string": str(after)}:
                yield from _compared(old, after)
            case _:
                return


def _compared(before: str, after: str) -> Iterator[str]:
    compared = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="")
    for number, line in enumerate(compared):
        if number > 1:
            yield line
