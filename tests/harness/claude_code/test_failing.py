"""Models that fail under the real CLI, and programs in its place that break their word."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from limpet.harness.base import ModelChoice, ModelError, ProviderKind
from limpet.harness.claude_code import ClaudeCode, Patience
from limpet.harness.claude_code.failures import ApiFailure, final_words
from limpet.harness.events import Notice
from limpet.harness.tools import ToolFailedError
from tests.harness.claude_code.staging import IMPATIENT, staged
from tests.harness.driving import MODELS, Took, chosen, replies, turn_of
from tests.harness.folder_tools import lives
from tests.models.server import KEY

pytestmark = pytest.mark.anyio
DONE = {"text": "Done."}
ONCE_MORE = Patience(tries=2)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"status": 401}, "refuses the key"),
        ({"status": 429, "retry_after": 0}, "limits how fast"),
        ({"status": 500}, "fails at the moment"),
    ],
)
async def test_what_the_cli_gives_up_on_is_said_in_words_for_people(
    error: dict[str, Any], words: str, tmp_path: Path
) -> None:
    async with staged(tmp_path, replies({"error": error, "times": 4})) as stage:
        took = Took()
        with pytest.raises(ModelError) as failed:
            await stage.take(took=took)
        assert not any(lives(group) for group in stage.tools.shells)
    assert words in str(failed.value)
    assert KEY not in str(failed.value)
    assert took.answer == ""


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ApiFailure("overloaded", 529), "is overloaded. It was asked several times"),
        (ApiFailure("billing_error", 400), "no quota or credit left"),
        (ApiFailure("model_not_found", 404), "knows no model claude-sonnet-4-6. Check the model"),
        (ApiFailure("invalid_request", 400, reason="prompt_too_long"), "too long for the model"),
        (ApiFailure("invalid_request", 400, f"No {KEY}, sk-ant-abc"), "request: No [key], [key]"),
        (ApiFailure("unknown"), "broke off its answer, or cannot be reached"),
    ],
)
def test_each_failure_has_its_words(failure: ApiFailure, words: str) -> None:
    choice = ModelChoice("anthropic", "claude-sonnet-4-6", KEY)
    assert words in final_words(failure, choice)
    assert KEY not in final_words(failure, choice)


async def test_a_key_that_is_refused_is_not_tried_again(tmp_path: Path) -> None:
    async with staged(tmp_path, replies(DONE)) as stage:
        stage.patience = Patience()
        stage.models.key = "sk-another"
        with pytest.raises(ModelError, match="refuses the key"):
            await stage.take()
        assert len(stage.models.asked) == 1


async def test_an_answer_that_breaks_off_and_a_server_that_fails_are_asked_again(
    tmp_path: Path,
) -> None:
    script = replies(
        {"text": "I write it now, see how.", "cut_after": "half"}, {"error": {"status": 500}}, DONE
    )
    async with staged(tmp_path, script) as stage:
        stage.patience = Patience(tries=3)
        took = await stage.take()
        assert stage.models.replies == []
    assert took.answer.endswith("Done.")
    assert any("Asking again in" in event.text for event in took.of(Notice))


@pytest.mark.parametrize("provider", ["openai", "openai-compatible", "google", "bedrock"])
async def test_another_providers_model_is_refused_before_anything_starts(
    provider: ProviderKind, tmp_path: Path
) -> None:
    async with staged(tmp_path, []) as stage:
        choice = chosen("openai", stage.models, name=MODELS.get(provider, "x"))
        turn = turn_of(type(choice)(provider, choice.name, KEY, choice.base_url))
        with pytest.raises(ModelError, match="Choose a model of an Anthropic provider"):
            async for _ in ClaudeCode().run(turn, stage.tools):
                pass
        assert stage.tools.shells == []


# --- in place of the CLI --------------------------------------------------------------------------


def program(folder: Path, text: str) -> str:
    """A program of this text."""
    file = folder / "claude"
    file.write_text(text)
    file.chmod(0o755)
    return str(file)


def speaking(folder: Path, says: str) -> str:
    """A program that is initialized, hears a message, and then does what `says` says."""
    return program(
        folder,
        f"""#!{sys.executable}
import json, sys, time
def say(**message):
    print(json.dumps(message), flush=True)
def hear():
    return json.loads(sys.stdin.readline())
asked = hear()
answer = {{"subtype": "success", "request_id": asked["request_id"], "response": {{}}}}
say(type="control_response", response=answer)
hear()
result = {{"type": "result", "subtype": "success", "duration_ms": 1, "duration_api_ms": 1}}
result |= {{"is_error": False, "num_turns": 1, "session_id": "s"}}
{says}
""",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\necho no such library >&2; exit 3\n", "exit code 3.*no such library"),
        ("#!/bin/sh\nexit 0\n", "exit code 0"),
        ('#!/bin/sh\nread line; echo \'{"type": "control_resp\'; sleep 600\n', "no JSON"),
        ("#!/bin/sh\nread line; exec yes hello\n", "no messages, without an end"),
        ("#!/bin/sh\nread line; exec tr '\\0' x < /dev/zero\n", "no end"),
        ("#!/bin/sh\nkill -9 $$\n", "ended in the middle"),
    ],
)
async def test_a_cli_that_breaks_is_said_with_what_it_said(
    text: str, words: str, tmp_path: Path
) -> None:
    async with staged(tmp_path, [], cli=program(tmp_path, text)) as stage:
        with pytest.raises(ModelError, match=words):
            await stage.take()
        assert not any(lives(group) for group in stage.tools.shells)


async def test_a_cli_that_never_answers_is_given_up(tmp_path: Path) -> None:
    hangs = program(tmp_path, "#!/bin/sh\nexec sleep 600\n")
    async with staged(tmp_path, [], cli=hangs) as stage:
        stage.patience = Patience(start_s=0.5, stop_s=0.2)
        with pytest.raises(ModelError, match=r"did not answer within 0\.5 s"):
            await stage.take()
        assert not any(lives(group) for group in stage.tools.shells)


async def test_a_program_that_cannot_be_run_is_said(tmp_path: Path) -> None:
    async with staged(tmp_path, [], cli=str(tmp_path / "nothing")) as stage:
        with pytest.raises(ModelError, match="cannot be started") as failed:
            await stage.take()
    assert isinstance(failed.value.__cause__, ToolFailedError)


async def test_what_nobody_knows_is_passed_over(tmp_path: Path) -> None:
    says = """
say(type="a_new_kind", of={"message": 1})
say(type="system", subtype="a_new_subtype")
say(type="stream_event", uuid="u", session_id="s", event={"type": "a_new_event"})
print("A warning of a library.", flush=True)
content = [{"type": "hologram"}, {"type": "text", "text": "Whole."}]
say(type="assistant", uuid="u", message={"id": "m", "model": "m", "content": content})
content = [{"type": "tool_result", "tool_use_id": "never", "content": "?"}]
say(type="user", message={"content": content})
say(**result)
hear()
"""
    async with staged(tmp_path, [], cli=speaking(tmp_path, says)) as stage:
        took = await stage.take()
    assert took.answer == "Whole."


async def test_a_cli_that_dies_in_the_middle_is_said(tmp_path: Path) -> None:
    says = 'sys.stderr.write("Illegal instruction\\n"); sys.exit(132)'
    async with staged(tmp_path, [], cli=speaking(tmp_path, says)) as stage:
        stage.patience = IMPATIENT
        with pytest.raises(ModelError, match=r"exit code 132.*Illegal instruction"):
            await stage.take()


async def test_a_message_with_what_no_database_takes_is_mended(tmp_path: Path) -> None:
    odd = json.dumps("a\x00b\ud800c")
    says = f"""
content = [{{"type": "text", "text": json.loads({odd!r})}}]
say(type="assistant", uuid="u", message={{"id": "m", "model": "m", "content": content}})
say(**result)
hear()
"""
    async with staged(tmp_path, [], cli=speaking(tmp_path, says)) as stage:
        took = await stage.take()
    assert took.answer == "a\ufffdb\ufffdc"
