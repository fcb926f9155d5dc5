"""Models that fail: what is tried again, what people are told, and what never is."""

import logging
import ssl
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from limpet.harness.base import CappedError, ModelChoice, ModelError, ProviderKind
from limpet.harness.decopilot import Patience
from limpet.harness.events import EVENTS, Notice, ToolFinished, Usage
from tests.harness.driving import (
    MODELS,
    PROTOCOLS,
    Took,
    chosen,
    no_caps,
    replies,
    staged,
    take,
    turn_of,
)
from tests.harness.folder_tools import lives
from tests.live import poll_until
from tests.models.server import KEY

pytestmark = pytest.mark.anyio
DONE = {"text": "Done."}


def call(tool: str, **given: object) -> dict[str, Any]:
    return {"calls": [{"tool": tool, "input": given}]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"status": 401}, "Check the key"),
        ({"status": 403}, "Check the key"),
        ({"status": 404}, "Check the model's name and the base URL"),
        ({"status": 429, "kind": "quota"}, "no quota or credit left"),
        ({"status": 400}, "refuses the request"),
    ],
)
async def test_what_only_people_can_mend_is_said_at_once(
    protocol: ProviderKind, error: dict[str, Any], words: str, tmp_path: Path
) -> None:
    if protocol == "anthropic" and error.get("kind") == "quota":
        error = {**error, "status": 400}
    async with staged(protocol, tmp_path, replies({"error": error}, DONE)) as stage:
        with pytest.raises(ModelError, match=words):
            await stage.take()
        assert len(stage.models.asked) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_wrong_key_is_never_repeated_in_any_words(
    protocol: ProviderKind, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "sk-wrong-00112233445566778899"
    caplog.set_level(logging.DEBUG)
    async with staged(protocol, tmp_path, replies(DONE)) as stage:
        turn = turn_of(chosen(protocol, stage.models, api_key=wrong))
        took = Took()
        with pytest.raises(ModelError) as raised:
            await take(stage.harness, turn, stage.tools, took)
        whole = "".join(traceback.format_exception(raised.value))
        told = "".join(event.model_dump_json() for event in took.events)
        for text in (whole, told, repr(turn), caplog.text):
            assert wrong not in text


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("error", [{"status": 400}, {"status": 500}, {"status": 429}])
async def test_a_provider_that_repeats_the_key_is_not_quoted_with_it(
    protocol: ProviderKind, error: dict[str, Any], tmp_path: Path
) -> None:
    key = "an~unusual~key~0123456789"
    script = replies({"error": error, "times": 5})
    async with staged(protocol, tmp_path, script) as stage:
        stage.models.key = key
        took = Took()
        with pytest.raises(ModelError) as raised:
            await take(
                stage.harness,
                turn_of(chosen(protocol, stage.models, api_key=key)),
                stage.tools,
                took,
            )
        told = "".join(event.model_dump_json() for event in took.events)
        assert key not in "".join(traceback.format_exception(raised.value)) + told


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_patience_ends(protocol: ProviderKind, tmp_path: Path) -> None:
    script = replies({"error": {"status": 529}, "times": 9})
    async with staged(protocol, tmp_path, script, patience=Patience(3, 0.0, 0.0)) as stage:
        took = Took()
        with pytest.raises(ModelError, match="try later"):
            await stage.take(took=took)
        assert len(stage.models.asked) == 3
        assert len(took.of(Notice)) == 2


async def test_a_provider_that_says_when_is_waited_for_no_longer_than_patience_has(
    tmp_path: Path,
) -> None:
    script = replies({"error": {"status": 429, "retry_after": 3600}}, DONE)
    async with staged("anthropic", tmp_path, script) as stage:
        took = await stage.take()
    assert took.answer == "Done."
    assert "limits how fast" in took.of(Notice)[0].text


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with staged("openai-compatible", tmp_path, []) as stage:
        choice = chosen("openai-compatible", stage.models, base_url="http://127.0.0.1:1/v1")
        with pytest.raises(ModelError, match=r"cannot be reached at 127\.0\.0\.1:1"):
            await take(stage.harness, turn_of(choice), stage.tools)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (ModelChoice("anthropic", "claude-sonnet-4-6"), "no key for Anthropic"),
        (ModelChoice("openai", "gpt-5.2"), "no key for OpenAI"),
        (ModelChoice("google", "gemini-3-pro"), "no key for Google"),
        (ModelChoice("bedrock", "anthropic.claude"), "no key for Amazon Bedrock"),
        (ModelChoice("bedrock", "anthropic.claude", "key"), "base URL of its region"),
        (ModelChoice("openai-compatible", "qwen3"), "needs its base URL"),
        (ModelChoice("openai", "gpt-5.2", "key", "not a url"), "base URL|cannot be reached"),
    ],
)
async def test_a_choice_that_lacks_something_says_what(
    choice: ModelChoice, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "GOOGLE_API_KEY",
        "AWS_BEARER_TOKEN_BEDROCK",
    ):
        monkeypatch.setenv(name, "the-operators-own")
    async with staged("openai", tmp_path, []) as stage:
        with pytest.raises(ModelError, match=words):
            await take(stage.harness, turn_of(choice), stage.tools)


async def test_a_library_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "pydantic_ai.models.bedrock", raising=False)
    monkeypatch.delitem(sys.modules, "pydantic_ai.providers.bedrock", raising=False)
    choice = ModelChoice(
        "bedrock", "m", "key", "https://bedrock-runtime.eu-central-1.amazonaws.com"
    )
    async with staged("openai", tmp_path, []) as stage:
        with pytest.raises(ModelError, match=r"pip install 'limpet\[bedrock\]'"):
            await take(stage.harness, turn_of(choice), stage.tools)


async def test_a_refused_key_at_bedrock_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-operators-own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-operators-own")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    seen: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        seen.append(str(request.headers))
        kind = {"x-amzn-errortype": "AccessDeniedException"}
        return web.json_response({"message": "no"}, status=403, headers=kind)

    app = web.Application()
    app.router.add_post("/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        url = f"https://localhost:{runner.addresses[0][1]}/eu-central-1"
        choice = ModelChoice("bedrock", "amazon.nova-pro-v1:0", "its-key", url)
        async with staged("openai", tmp_path, []) as stage:
            with pytest.raises(ModelError, match="Check the key"):
                await take(stage.harness, turn_of(choice), stage.tools)
    finally:
        await runner.cleanup()
    assert "Bearer its-key" in seen[0]
    assert "the-operators-own" not in seen[0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_nothing_of_the_operators_environment_is_sent(
    protocol: ProviderKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        *["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY"],
        *["OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_WEBHOOK_SECRET"],
    ):
        monkeypatch.setenv(name, "the-operators-own")
    for name in ("ANTHROPIC_CUSTOM_HEADERS", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "X-Secret: the-operators-own")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")
    async with staged(protocol, tmp_path, replies(DONE)) as stage:
        await stage.take()
        (asked,) = stage.models.asked
    assert "the-operators-own" not in str(asked.headers) + asked.text
    assert KEY in str(asked.headers)
    assert KEY not in asked.text


async def test_a_server_without_a_key_gets_none_of_ours(tmp_path: Path) -> None:
    async with staged("openai-compatible", tmp_path, replies(DONE)) as stage:
        stage.models.key = "none"
        choice = chosen("openai-compatible", stage.models, api_key=None)
        took = await take(stage.harness, turn_of(choice), stage.tools)
    assert took.answer == "Done."


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_run_asks_the_model_no_more_often_than_it_may(
    protocol: ProviderKind, tmp_path: Path
) -> None:
    script = [replies(call("write", path=f"{n}.txt", content="x"))[0] for n in range(9)]
    async with staged(protocol, tmp_path, script) as stage:
        with pytest.raises(CappedError, match="3 times"):
            await stage.take(caps=no_caps(requests=3))
        assert len(stage.models.asked) == 3


async def test_requests_that_failed_count_too(tmp_path: Path) -> None:
    script = replies(call("glob", pattern="*"), {"error": {"status": 500}, "times": 4}, DONE)
    async with staged("anthropic", tmp_path, script) as stage:
        with pytest.raises(CappedError):
            await stage.take(caps=no_caps(requests=3))
        assert len(stage.models.asked) == 3


async def test_a_run_ends_when_it_has_cost_what_it_may(tmp_path: Path) -> None:
    dear = {**call("glob", pattern="*"), "tokens": {"input": 150_000, "output": 10}}
    async with staged("anthropic", tmp_path, replies(dear, DONE), context_window=10**9) as stage:
        took = Took()
        with pytest.raises(CappedError, match=r"0\.10 US dollars"):
            await stage.take(took=took, caps=no_caps(cost_usd=0.1))
        assert len(stage.models.asked) == 1
    assert took.of(ToolFinished)


async def test_a_cost_cap_that_cannot_hold_is_said(tmp_path: Path) -> None:
    async with staged("openai-compatible", tmp_path, replies(DONE)) as stage:
        took = await stage.take(caps=no_caps(cost_usd=0.1))
    assert "cost cap" in took.of(Notice)[0].text


async def test_a_run_ends_when_its_time_is_over_also_in_a_request(tmp_path: Path) -> None:
    hold = {"text": "A long answer that never ends.", "hold_after": 6}
    async with staged("openai", tmp_path, replies(hold)) as stage:
        with pytest.raises(CappedError, match="as long as it may: 1 s"):
            await stage.take(caps=no_caps(time_s=1))
        if stage.models.held.is_set():
            await stage.models.left.wait()


async def test_a_run_ends_when_its_time_is_over_also_in_a_command(tmp_path: Path) -> None:
    script = replies(call("bash", command="sleep 1000"), DONE)
    async with staged("openai", tmp_path, script) as stage:
        with pytest.raises(CappedError):
            await stage.take(caps=no_caps(time_s=2))
        for shell in stage.tools.shells:
            poll_until("the command's end", lambda shell=shell: not lives(shell))


async def test_time_and_requests_of_before_a_death_count(tmp_path: Path) -> None:
    script = replies(call("glob", pattern="*"), call("glob", pattern="*"), DONE)
    async with staged("openai", tmp_path, script) as stage:
        took = Took()
        with pytest.raises(CappedError):
            await stage.take(took=took, run="run-x", caps=no_caps(requests=1))
        state = took.state
        assert state["spent"]["requests"] == 1
        state["spent"]["elapsed_s"] = 100.0
        with pytest.raises(CappedError, match="1 times"):
            await stage.take(run="run-x", state=state, resumes=True, caps=no_caps(requests=1))
        with pytest.raises(CappedError, match="90 s"):
            await stage.take(run="run-x", state=state, resumes=True, caps=no_caps(time_s=90))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_model_that_goes_round_in_circles_is_told_then_stopped(
    protocol: ProviderKind, tmp_path: Path
) -> None:
    circle = replies(call("read", path="not-there.txt"), call("glob", pattern="*.x"))
    async with staged(protocol, tmp_path, list(circle) * 20) as stage:
        took = Took()
        with pytest.raises(CappedError, match="the same 8 times"):
            await stage.take(took=took)
    assert any("repeats itself" in event.text for event in took.of(Notice))
    assert any("try something else" in event.output for event in took.of(ToolFinished))
    assert took.of(Usage)[-1].requests <= 17


async def test_a_test_run_again_after_each_edit_is_no_circle(tmp_path: Path) -> None:
    script = []
    for number in range(10):
        script += replies(
            call("write", path="a.txt", content=str(number)), call("bash", command="exit 1")
        )
    async with staged("openai", tmp_path, [*script, *replies(DONE)]) as stage:
        took = await stage.take()
    assert took.answer == "Done."


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("empty", [{}, {"text": " "}, {"thinking": "Hm."}])
async def test_an_empty_answer_is_said_and_the_thread_goes_on_after_it(
    protocol: ProviderKind, empty: dict[str, Any], tmp_path: Path
) -> None:
    blank = {"text": "\n\n", **call("glob", pattern="*")}
    async with staged(protocol, tmp_path, replies(blank, empty, DONE)) as stage:
        took = await stage.take()
        assert "empty answer" in took.of(Notice)[-1].text
        after = await stage.take("And now?", state=took.state)
    assert after.answer == "Done."


def test_neither_servers_nor_commands_nor_daemons_load_the_models_libraries() -> None:
    heavy = ("pydantic_ai", "anthropic", "openai", "google.genai", "boto3", "mcp")
    modules = [
        "limpet.cli.main",
        "limpet.daemon.main",
        "limpet.control.serve",
        "limpet.harness.base",
        "limpet.harness.decopilot",
    ]
    code = f"import sys, {', '.join(modules)}; print([m for m in {heavy} if m in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert said.strip() == "[]"


def test_each_protocol_has_a_model_of_its_own() -> None:
    assert set(MODELS) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_halves_of_characters_and_nuls_never_reach_an_event_or_a_file(
    protocol: ProviderKind, tmp_path: Path
) -> None:
    raw = '{"path": "a.txt", "content": "\\ud83d"}'
    deep = '{"path": ' + "[" * 3000 + "]" * 3000 + "}"
    script = replies(
        {"text": "half \ud83d, nothing \0.", "calls": [{"tool": "write", "raw": raw}]},
        {"calls": [{"tool": "write", "raw": deep}]},
        call("bash", command="printf 'a\\0b'"),
        DONE,
    )
    async with staged(protocol, tmp_path, script) as stage:
        took = await stage.take()
    for event in took.events:
        text = event.model_dump_json()
        assert "\\u0000" not in text
        assert EVENTS.validate_json(text) == event
    assert "half \ufffd, nothing \ufffd." in took.answer
    whole = protocol == "google"  # which sends no JSON text that could be refused, but objects
    assert [event.ok for event in took.of(ToolFinished)] == [whole, False, True]
    assert (tmp_path / "a.txt").exists() == whole


async def test_odd_ids_of_calls_are_taken_by_every_provider_later(tmp_path: Path) -> None:
    odd = {
        "calls": [{"tool": "glob", "input": {"pattern": f"*.{n}"}, "id": "call 0!"} for n in "ab"]
    }
    async with staged("openai-compatible", tmp_path, replies(odd, odd, DONE, DONE)) as stage:
        took = await stage.take()
        assert len({event.call for event in took.of(ToolFinished)}) == 4
        stage.protocol = "anthropic"
        await stage.take(state=took.state)


async def test_without_the_libraries_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged("openai", tmp_path, []) as stage:
        monkeypatch.delitem(sys.modules, "limpet.harness.decopilot.loop", raising=False)
        for name in ("pydantic_ai", "pydantic_ai.messages"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ModelError, match=r"pip install 'limpet\[harness\]'"):
            await stage.take()
