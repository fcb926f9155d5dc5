"""A turn with an agent that speaks the Agent Client Protocol: what it does, asks and tells."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from limpet.harness.base import CappedError, Exchange, ModelError
from limpet.harness.events import (
    Notice,
    StateKept,
    Text,
    Thinking,
    ToolFinished,
    ToolOutput,
    ToolStarted,
    Usage,
)
from limpet.harness.tools import Spent
from tests.harness.acp.driving import CLAUDE, HASTY, QUICK, Stand
from tests.harness.folder_tools import StraightGateway, all_gone

pytestmark = pytest.mark.anyio


def asking(method: str, **params: Any) -> str:
    return f"ask {method} {json.dumps({'sessionId': '$session', **params})}"


def answers(stand: Stand) -> list[Any]:
    return [json.loads(line) for line in stand.took.answer.splitlines()]


async def test_what_an_agent_says_and_thinks_is_told_in_its_order(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    took = await stand.take("think one", "think two", "say a", "say b", "think three", "say c")
    told = [(e.kind, e.part, e.delta) for e in took.events if isinstance(e, Text | Thinking)]
    assert [(kind, delta) for kind, _, delta in told] == [
        ("thinking", "one"), ("thinking", "two"), ("text", "a"), ("text", "b"),
        ("thinking", "three"), ("text", "c"),
    ]  # fmt: skip
    parts = [part for _, part, _ in told]
    assert parts[0] == parts[1]
    assert len({parts[1], parts[2], parts[4], parts[5]}) == 4
    assert parts[2] == parts[3]


async def test_files_are_read_and_written_below_the_repository_and_nowhere_else(
    tmp_path: Path,
) -> None:
    stand = Stand(tmp_path)
    (tmp_path / "secret.txt").write_text("not yours")
    (stand.repo / "lines.txt").write_text("one\ntwo\nthree\n")
    (stand.repo / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    text = "a" * 5000 + "\n" + "ä\n" * 3000
    (stand.repo / "long.txt").write_text(text)
    await stand.take(
        asking("fs/write_text_file", path="$repo/deep/new.txt", content="hé\n"),
        asking("fs/read_text_file", path="$repo/deep/new.txt"),
        asking("fs/read_text_file", path="$repo/lines.txt", line=2, limit=1),
        asking("fs/read_text_file", path="$repo/long.txt"),
        asking("fs/read_text_file", path="$repo/picture.png"),
        asking("fs/read_text_file", path="$repo/none.txt"),
        *(
            asking(f"fs/{verb}_text_file", path=path, content="x")
            for verb in ("read", "write")
            for path in ("$repo/../secret.txt", "/etc/hostname", "lines.txt", "$repo", "$repo2/a")
        ),
    )
    wrote, new, second, long, picture, none, *outside = answers(stand)
    assert wrote == {}
    assert (stand.repo / "deep/new.txt").read_text() == "hé\n"
    assert new == {"content": "hé\n"}
    assert second == {"content": "two\n"}
    assert long == {"content": text}
    assert "no text" in picture["message"]
    assert none["code"] == -32002
    assert "none.txt" in none["message"]
    assert all("no absolute path below" in one["message"] for one in outside)
    assert (tmp_path / "secret.txt").read_text() == "not yours"


async def test_a_terminal_is_begun_looked_at_waited_for_and_let_go_of(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    (stand.repo / "sub").mkdir()
    wait = {"terminalId": "$last"}
    await stand.take(
        asking("terminal/create", command="echo out; echo err >&2; exit 3"),
        asking("terminal/wait_for_exit", **wait),
        asking("terminal/output", **wait),
        asking("terminal/release", **wait),
        asking("terminal/output", **wait),
        asking(
            "terminal/create",
            command="sh",
            args=["-c", 'pwd; echo "$GREETING $1"', "sh", "a b"],
            cwd="$repo/sub",
            env=[{"name": "GREETING", "value": "hello"}],
        ),
        asking("terminal/wait_for_exit", **wait),
        asking("terminal/output", **wait),
        asking("terminal/create", command="printf '0123456789äöü'", outputByteLimit=5),
        asking("terminal/wait_for_exit", **wait),
        asking("terminal/output", **wait),
        asking("terminal/create", command="no-such-program-at-all", args=["x"]),
        asking("terminal/wait_for_exit", **wait),
        asking("terminal/create", command="pwd", cwd="/etc"),
    )
    told = answers(stand)
    assert told[1] == {"exitCode": 3}
    status = {"exitCode": 3}
    assert told[2] == {"output": "out\nerr\n", "truncated": False, "exitStatus": status}
    assert told[3] == {}
    assert "no terminal" in told[4]["message"]
    assert told[7]["output"] == f"{stand.repo}/sub\nhello a b\n"
    assert told[10]["output"] == "öü"
    assert told[10]["truncated"] is True
    assert told[12]["exitCode"] in {126, 127}
    assert "no absolute path below" in told[13]["message"]


async def test_a_killed_terminal_keeps_what_it_printed_and_takes_its_children_along(
    tmp_path: Path,
) -> None:
    stand = Stand(tmp_path)
    (stand.repo / "ready").touch()
    await stand.take(
        asking("terminal/create", command="echo begun > started; sleep 600 & wait"),
        asking("terminal/create", command="until test -s started; do sleep 0.01; done"),
        asking("terminal/wait_for_exit", terminalId="term-2"),
        asking("terminal/kill", terminalId="term-1"),
        asking("terminal/wait_for_exit", terminalId="term-1"),
        asking("terminal/output", terminalId="term-1"),
        asking("terminal/create", command="sleep 601"),
    )
    told = answers(stand)
    assert told[4] == {"signal": "SIGKILL"}
    assert told[5]["exitStatus"] == {"signal": "SIGKILL"}
    await all_gone(stand.tools)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (
            "reject_once allow_always allow_once",
            {"optionId": "o-allow_once", "outcome": "selected"},
        ),
        ("allow_always reject_always", {"optionId": "o-allow_always", "outcome": "selected"}),
        ("reject_once", {"outcome": "cancelled"}),
    ],
)
async def test_what_an_agent_asks_leave_for_is_allowed_once(
    offered: str, chosen: dict[str, str], tmp_path: Path
) -> None:
    stand = Stand(tmp_path)
    took = await stand.take(f"permission {offered}")
    assert json.loads(took.answer) == {"outcome": chosen}
    [started] = took.of(ToolStarted)
    assert (started.title, started.input) == ("Delete all", {"what": "all"})


async def test_tool_calls_are_told_with_their_output_and_diff(tmp_path: Path) -> None:
    stand = Stand(tmp_path)

    def told(update: str, call: str, **given: Any) -> str:
        return f"update {json.dumps({'sessionUpdate': update, 'toolCallId': call, **given})}"

    def text(said: str) -> dict[str, Any]:
        return {"type": "content", "content": {"type": "text", "text": said}}

    edits = [{"type": "diff", "path": "$repo/a.txt", "oldText": "old\n", "newText": "new\n"}]
    made = [{"type": "diff", "path": "$repo/b.txt", "newText": "hello"}]
    took = await stand.take(
        told("tool_call", "one", title="Bash", kind="execute", status="pending", rawInput={}),
        told("tool_call", "one", status="pending", title="Bash", rawInput={"cwd": "/"}),
        told("tool_call_update", "one", title="npm test", rawInput={"command": "npm test"}),
        told("tool_call_update", "one", status="in_progress", content=[text("a")]),
        told("tool_call_update", "one", content=[text("ab")]),
        told("tool_call_update", "one", status="failed", content=[text("abc")]),
        told("tool_call_update", "one", status="completed", content=[text("too late")]),
        told("tool_call", "two", title="Edit a.txt", kind="edit", status="in_progress"),
        told("tool_call_update", "two", status="completed", content=edits),
        told("tool_call", "three", title="Write b.txt", status="completed", content=made),
        told("tool_call", "four", title="Look", kind="read", status="completed",
             rawOutput={"lines": 3}),
        told("tool_call", "five", title="Never ends", kind="read", status="in_progress"),
        told("tool_call_update", "six", rawInput=["not", "an", "object"]),
    )  # fmt: skip
    started = {event.title: event for event in took.of(ToolStarted)}
    assert list(started) == [
        "npm test", "Edit a.txt", "Write b.txt", "Look", "Never ends", "other",
    ]  # fmt: skip
    assert started["npm test"].name == "bash"
    assert started["npm test"].input == {"command": "npm test"}
    assert started["other"].input == {"input": ["not", "an", "object"]}
    assert "".join(e.delta for e in took.of(ToolOutput)) == "ab"
    finished = {event.call: event for event in took.of(ToolFinished)}
    assert len(finished) == len(took.of(ToolFinished)) == len(started)
    one, two, three, four, five, _six = (finished[event.call] for event in started.values())
    assert (one.ok, one.output) == (False, "abc")
    assert two.ok
    assert two.diff == "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-old\n+new\n"
    assert three.diff is not None
    assert three.diff.startswith("--- /dev/null\n+++ b/b.txt\n")
    assert three.diff.endswith("+hello\n\\ No newline at end of file\n")
    assert four.output == '{"lines": 3}'
    assert not five.ok


async def test_what_a_terminal_of_ours_prints_is_the_output_of_the_call_that_shows_it(
    tmp_path: Path,
) -> None:
    stand = Stand(tmp_path)
    shows = {
        "sessionUpdate": "tool_call", "toolCallId": "c", "title": "Count", "kind": "execute",
        "status": "in_progress", "content": [{"type": "terminal", "terminalId": "term-1"}],
    }  # fmt: skip
    ends = {"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "completed"}
    took = await stand.take(
        asking("terminal/create", command="until test -e go; do sleep 0.01; done; echo one"),
        f"update {json.dumps(shows)}",
        asking("fs/write_text_file", path="$repo/go", content=""),
        asking("terminal/wait_for_exit", terminalId="term-1"),
        asking("terminal/release", terminalId="term-1"),
        f"update {json.dumps(ends)}",
    )
    [started], [finished] = took.of(ToolStarted), took.of(ToolFinished)
    assert [(e.call, e.delta) for e in took.of(ToolOutput)] == [(started.call, "one\n")]
    assert (finished.call, finished.output) == (started.call, "one\n")


async def test_a_plan_is_told_when_it_changes(tmp_path: Path) -> None:
    took = await Stand(tmp_path).take("plan look|write", "plan look|write", "plan look")
    assert [event.text for event in took.of(Notice)] == ["Plan: ○ look · ○ write", "Plan: ○ look"]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("max_tokens", "limit and was cut"),
        ("refusal", "refused"),
        ("max_turn_requests", "requests"),
    ],
)
async def test_an_end_that_is_none_is_said(reason: str, words: str, tmp_path: Path) -> None:
    took = await Stand(tmp_path).take("say a", f"ends {reason}")
    assert words in took.of(Notice)[-1].text


# -- sessions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["load", "resume"])
async def test_the_next_turn_goes_on_in_the_same_session(how: str, tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", how])
    first = await stand.take("say one", instructions="Be brief.")
    other = Exchange("What of decopilot?", "It was here.")
    second = await stand.take(
        "say two", "told", instructions="Be brief.", state=first.state, history=[other]
    )
    assert len(stand.asked("session/new")) == 1
    [again] = stand.asked(f"session/{how}")
    assert again["sessionId"] == "session-1"
    assert second.of(Notice) == []
    assert "told again" not in second.answer
    [before] = json.loads(second.answer.removeprefix("two"))
    assert "It was here." in before
    assert "Be brief." not in before
    assert [turn["prompt"] for turn in second.state["turns"]] == [
        "say one", "What of decopilot?", "say two\ntold",
    ]  # fmt: skip


async def test_a_session_that_cannot_be_had_again_is_told_in_a_new_one(tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", "load"])
    first = await stand.take("say blue")
    (stand.home / "sessions/session-1").unlink()
    second = await stand.take("told", state=first.state, instructions="Be brief.")
    assert "begins a new session" in second.of(Notice)[0].text
    instructions, before = json.loads(second.answer)
    assert "Be brief." in instructions
    assert "say blue" in before
    forgetful = Stand(tmp_path)
    third = await forgetful.take("told", state=second.state)
    assert "begins a new session" in third.of(Notice)[0].text
    assert "say blue" in third.answer


async def test_another_command_is_not_given_a_session_of_the_one_before(tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", "load"])
    first = await stand.take("say one")
    stand.how = ["offers", "load", "modes"]
    await stand.take("say two", state=first.state)
    assert stand.asked("session/load") == []


async def test_a_turn_that_was_cut_by_a_death_is_gone_on_with(tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", "load"])
    with pytest.raises(ModelError):
        await stand.take("say begun", "die 9 killed")
    kept = stand.took.of(StateKept)[0].state
    took = await stand.take("told", state=kept, resumes=True)
    [words] = json.loads(took.answer)
    assert "look before you do it again" in words
    assert [turn["prompt"] for turn in took.state["turns"]] == ["told"]


@pytest.mark.parametrize("state", ["nonsense", {"turns": 3}, {"session": ["x"]}, None])
async def test_a_state_that_cannot_be_read_is_none(state: Any, tmp_path: Path) -> None:
    took = await Stand(tmp_path).take("say fresh", state=state)
    assert took.answer == "fresh"


async def test_modes_that_ask_nothing_are_chosen_where_there_are(tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", "modes"])
    await stand.take("say a")
    assert [one["modeId"] for one in stand.asked("session/set_mode")] == ["bypassPermissions"]


# -- the model ----------------------------------------------------------------------------------

GATEWAY = {"url": "http://127.0.0.1:9", "token": "run-token-42"}


async def test_the_runs_gateway_is_in_the_agents_environment_and_its_model_is_chosen(
    tmp_path: Path,
) -> None:
    stand = Stand(tmp_path, ["offers", "options"])
    stand.tools.models = StraightGateway(**GATEWAY)
    names = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_MODEL")
    lines = [line for name in names for line in (f"env {name}", "say  ")]
    took = await stand.take(*lines, model=CLAUDE)
    assert took.answer.split() == [
        "http://127.0.0.1:9", "run-token-42", "run-token-42", "claude-sonnet-4-6",
    ]  # fmt: skip
    chosen = {one["configId"]: one["value"] for one in stand.asked("session/set_config_option")}
    assert chosen == {"m": "anthropic/claude-sonnet-4-6", "mode": "yolo"}


async def test_agents_that_offer_models_in_the_older_way_are_given_the_runs(tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", "models"])
    stand.tools.models = StraightGateway(**GATEWAY)
    await stand.take("say a", model=CLAUDE)
    assert [one["modelId"] for one in stand.asked("session/set_model")] == ["claude-sonnet-4-6"]


async def test_without_a_model_the_agent_keeps_to_its_own(tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", "options"])
    took = await stand.take("env ANTHROPIC_API_KEY")
    assert took.answer == "(none)"
    assert [one["configId"] for one in stand.asked("session/set_config_option")] == ["mode"]


async def test_a_provider_that_cannot_be_handed_through_is_said(tmp_path: Path) -> None:
    took = await Stand(tmp_path).take("env ANTHROPIC_API_KEY", model=CLAUDE)
    assert took.answer == "(none)"
    assert "cannot be handed through" in took.of(Notice)[0].text


async def test_a_key_that_the_sandbox_has_goes_before_the_gateway(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.tools.models = StraightGateway(**GATEWAY)
    stand.tools.environ["ANTHROPIC_API_KEY"] = "a-secret-of-the-org"
    took = await stand.take("env ANTHROPIC_API_KEY", "env ANTHROPIC_BASE_URL", model=CLAUDE)
    assert took.answer == "a-secret-of-the-org(none)"


async def test_what_the_agent_says_that_it_took_is_told_where_no_gateway_counts(
    tmp_path: Path,
) -> None:
    stand = Stand(tmp_path, ["offers", "load"])
    used = json.dumps(
        {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7, "cachedReadTokens": 3}
    )
    first = await stand.take("cost 0.25", f"used {used}")
    [usage] = first.of(Usage)
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (5, 2, 3)
    assert usage.cost_usd == 0.25
    second = await stand.take("cost 0.75", state=first.state)
    assert [event.cost_usd for event in second.of(Usage)] == [0.5]


class Counting(StraightGateway):
    """A gateway through which something went."""

    def spent(self) -> Spent:
        return Spent(requests=3, input_tokens=100, output_tokens=10, cost_usd=0.5)


async def test_what_the_gateway_counts_is_what_the_turn_took(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.tools.models = Counting(**GATEWAY)
    took = await stand.take("cost 0.25", model=CLAUDE)
    [*_, usage] = took.of(Usage)
    assert (usage.requests, usage.input_tokens, usage.cost_usd) == (3, 100, 0.5)


@pytest.mark.parametrize("lines", [["say a"], ["fail -32603 no budget"], ["die 1 bye"], ["deaf"]])
async def test_a_gateway_that_refuses_ends_the_turn_as_capped(
    lines: list[str], tmp_path: Path
) -> None:
    stand = Stand(tmp_path, waits=HASTY)
    stand.tools.models = StraightGateway(**GATEWAY, refusal="This turn has cost enough.")
    with pytest.raises(CappedError, match="cost enough"):
        await stand.take(*lines, model=CLAUDE)
    assert len(stand.noted("cancelled")) == (lines == ["deaf"])


# -- signing in -----------------------------------------------------------------------------------


async def test_an_agent_is_signed_in_by_a_key_that_the_sandbox_has(tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", "auth-env", "SCRIPTED_KEY"])
    stand.tools.environ["SCRIPTED_KEY"] = "k"
    took = await stand.take("say in")
    assert took.answer == "in"
    assert [one["methodId"] for one in stand.asked("authenticate")] == ["env"]


async def test_a_method_that_is_named_after_a_key_is_tried(tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", "auth-login", "auth-key"])
    took = await stand.take("say in")
    assert took.answer == "in"
    assert [one["methodId"] for one in stand.asked("authenticate")] == ["scripted-api-key"]


async def test_what_to_set_is_said_where_nobody_can_sign_in(tmp_path: Path) -> None:
    stand = Stand(tmp_path, ["offers", "auth-env", "SCRIPTED_KEY"])
    with pytest.raises(ModelError, match="set SCRIPTED_KEY as a secret"):
        await stand.take("say in")
    assert stand.asked("authenticate") == []
    browser = Stand(tmp_path, ["offers", "auth-login"])
    with pytest.raises(ModelError, match="limpet secrets set"):
        await browser.take("say in")
    assert browser.asked("authenticate") == []


# -- stopping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["hang", "deaf"])
async def test_a_stop_reaches_the_agent_and_ends_it_with_all_that_it_started(
    verb: str, tmp_path: Path
) -> None:
    stand = Stand(tmp_path, waits=HASTY if verb == "deaf" else QUICK)
    running = asyncio.create_task(
        stand.take(asking("terminal/create", command="sleep 600"), f"say {verb}", verb)
    )
    while not stand.took.of(Text)[1:]:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    [cancelled] = stand.noted("cancelled")
    assert cancelled["params"] == {"sessionId": "session-1"}
    await all_gone(stand.tools)


async def test_an_agent_that_is_done_may_put_its_things_away(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    await stand.take("say a")
    assert stand.noted("ended") == ["end of input"]
