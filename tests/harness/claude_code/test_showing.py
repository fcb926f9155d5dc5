"""How the CLI's tool calls are shown, whatever a model wrote into them."""

from typing import Any

import pytest

from limpet.harness.claude_code.showing import diff_of, title_of

REPO = "/sandbox/workspace/repo"


@pytest.mark.parametrize(
    ("name", "given", "title"),
    [
        ("Edit", {"file_path": f"{REPO}/src/App.tsx"}, "Edit src/App.tsx"),
        ("Read", {"file_path": "/etc/hosts"}, "Read /etc/hosts"),
        ("Bash", {"command": "npm test\nnpm run build"}, "npm test ..."),
        ("Bash", {"command": "x" * 500}, f"{'x' * 120} ..."),
        ("Bash", {"command": ["not", "text"]}, "Bash"),
        ("Bash", {}, "Bash"),
        ("TaskUpdate", {"taskId": "1"}, "Update the plan"),
        ("mcp__limpet__preview", {"path": "/pricing"}, "Look at /pricing"),
        ("mcp__limpet__preview", {"path": 7}, "preview"),
        ("mcp__limpet__odd", {}, "odd"),
        ("mcp__other__tool", {}, "mcp__other__tool"),
    ],
)
def test_a_title_is_one_line(name: str, given: dict[str, Any], title: str) -> None:
    assert title_of(name, given, REPO) == title


HUNK = {"oldStart": 3, "oldLines": 1, "newStart": 3, "newLines": 1, "lines": ["-a", "+b"]}


@pytest.mark.parametrize(
    ("name", "given", "told", "diff"),
    [
        (
            "Edit",
            {"old_string": "a", "new_string": "b"},
            {"structuredPatch": [HUNK]},
            "--- a/x.ts\n+++ b/x.ts\n@@ -3,1 +3,1 @@\n-a\n+b\n",
        ),
        (
            "Edit",
            {"old_string": "a", "new_string": "b"},
            None,
            "--- a/x.ts\n+++ b/x.ts\n@@ -1 +1 @@\n-a\n+b\n",
        ),
        (
            "MultiEdit",
            {"edits": [{"old_string": "a", "new_string": "b"}, {"old_string": 1}]},
            "done",
            "--- a/x.ts\n+++ b/x.ts\n@@ -1 +1 @@\n-a\n+b\n",
        ),
        ("Edit", {"old_string": "a"}, {"structuredPatch": [{"oldStart": "3"}]}, None),
        ("Write", {"content": "a"}, {"type": "update", "structuredPatch": []}, None),
        ("Bash", {"command": "x"}, {"structuredPatch": [HUNK]}, None),
        ("Write", {"content": "x\n" * 200_000}, {"type": "create"}, None),
    ],
)
def test_a_change_is_a_unified_diff_as_far_as_it_is_known(
    name: str, given: dict[str, Any], told: object, diff: str | None
) -> None:
    given = {"file_path": f"{REPO}/x.ts", **given}
    assert diff_of(name, given, told, REPO) == diff
