"""A run's model from inside a real sandbox, with scripted providers on loopback."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from limpet.control.threads.console import PreviewConsoles
from limpet.control.threads.run_model import RunModel
from limpet.control.threads.sandbox_tools import DaemonTools
from limpet.harness.base import Caps, ModelChoice, ModelError
from limpet.harness.tools import NOTHING_SPENT, ModelGateway, Spent
from tests.control.gateway.provider import provider
from tests.control.sandboxes import conftest as sandboxes
from tests.control.sandboxes.conftest import Box, House
from tests.control.threads.test_programs import daemon_pid
from tests.daemon.test_pipes import memory_kib
from tests.models.scenario import Error, Reply, Tokens
from tests.models.server import KEY, scripted

pytestmark = pytest.mark.anyio

house = sandboxes.house
template_folder = sandboxes.template_folder

SONNET = "claude-sonnet-4-5"
REPLY = Reply(text="Some words, said slowly.", tokens=Tokens(input=1000, output=100, cached=400))
ASKED = {"model": "another", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
STREAMED = {**ASKED, "stream": True}
INSIDE = """
import json, os, sys, urllib.request
request = urllib.request.Request(
    os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", method="POST", data=sys.stdin.buffer.read(),
    headers={"x-api-key": os.environ["ANTHROPIC_API_KEY"], "content-type": "application/json"},
)
with urllib.request.urlopen(request) as answer:
    print(answer.status, answer.headers["content-type"], flush=True)
    print(answer.read().decode(), flush=True)
sys.stdin = open("/dev/null")
import signal
signal.pause()
"""


@pytest.fixture
async def box(house: House) -> Box:
    made = await house.agent(template="page")
    await made.start()
    return made


@pytest.fixture
async def inside() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that reaches what the sandbox reaches: there is no isolation here."""
    async with aiohttp.ClientSession() as session:
        yield session


def tools_of(
    box: Box, choice: ModelChoice | None, caps: Caps | None = None, before: Spent = NOTHING_SPENT
) -> DaemonTools:
    async def revive() -> None:
        await box.start()

    model = RunModel(choice, caps or Caps(), before) if choice else None
    return DaemonTools(box.service, box.key, PreviewConsoles(), revive, model)


def anthropic(url: str, name: str = SONNET) -> ModelChoice:
    return ModelChoice("anthropic", name, KEY, url)


def compatible(url: str) -> ModelChoice:
    return ModelChoice("openai-compatible", "gpt-4o-mini", KEY, f"{url}/v1")


async def post(
    inside: aiohttp.ClientSession, gateway: ModelGateway, body: Any, path: str = "/v1/messages"
) -> tuple[int, bytes]:
    headers = {"x-api-key": gateway.token}
    async with inside.post(f"{gateway.url}{path}", json=body, headers=headers) as answer:
        return answer.status, await answer.read()


async def test_a_program_in_the_sandbox_asks_the_model_and_the_key_is_nowhere_in_there(
    box: Box,
) -> None:
    async with scripted([REPLY]) as models:
        tools = tools_of(box, anthropic(models.url))
        async with tools.gateway() as gateway:
            env = {"ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_API_KEY": gateway.token}
            async with tools.process([sys.executable, "-c", INSIDE], env=env) as program:
                await program.send(json.dumps(STREAMED).encode())
                await program.end_input()
                said = b""
                async for piece in program.output():
                    said += piece
                    if b"message_stop" in said:
                        break
                assert said.startswith(b"200 text/event-stream\n")
                assert "".join(
                    json.loads(line[6:]).get("delta", {}).get("text", "")
                    for line in said.splitlines()
                    if line.startswith(b"data: ")
                ) == (REPLY.text)
                root = await box.root()
                seen = await asyncio.to_thread(everything_in, daemon_pid(root), str(root))
                assert gateway.token.encode() in seen
                assert KEY.encode() not in seen
            spent = gateway.spent()
    assert (spent.requests, spent.input_tokens, spent.output_tokens) == (1, 1000, 100)
    assert spent.cache_read_tokens == 400
    assert spent.cost_usd == pytest.approx((600 * 3 + 400 * 0.3 + 100 * 15) / 1e6)
    [asked] = models.asked
    assert asked.headers["x-api-key"] == KEY
    assert asked.body["model"] == SONNET
    assert gateway.token not in asked.text + str(asked.headers)


def everything_in(daemon: int, root: str) -> bytes:
    """The environments and arguments of all processes of the sandbox, and all of its files."""
    seen, pids = b"", [daemon]
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                children = open(f"/proc/{pid}/task/{task}/children").read()  # noqa: PTH123, SIM115
                pids += [int(child) for child in children.split()]
        for name in ("environ", "cmdline"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:  # noqa: PTH123
                seen += file.read()
    assert len(pids) > 1
    for folder, _, files in os.walk(root):
        for name in files:
            with contextlib.suppress(OSError), open(f"{folder}/{name}", "rb") as file:  # noqa: PTH123
                seen += file.read()
    return seen


async def test_events_come_as_they_are_told_and_one_who_leaves_is_missed_by_the_provider(
    box: Box, inside: aiohttp.ClientSession
) -> None:
    async with scripted([Reply(text="Word after word. " * 9, hold_after=6), REPLY]) as models:
        tools = tools_of(box, anthropic(models.url))
        async with tools.gateway() as gateway:
            headers = {"authorization": f"Bearer {gateway.token}"}
            async with inside.post(
                f"{gateway.url}/v1/messages?beta=true", json=STREAMED, headers=headers
            ) as answer:
                seen = b""
                while b"content_block_delta" not in seen:
                    seen += await answer.content.readany()
                await models.held.wait()
                assert not models.left.is_set()
            async with asyncio.timeout(30):
                await models.left.wait()
            status, _ = await post(inside, gateway, STREAMED)
            assert status == 200
            spent = gateway.spent()
            # What the first one took is estimated: what was told of its input, and what was said.
            assert spent.requests == 2
            assert spent.input_tokens == 2000
            assert 100 < spent.output_tokens < 200


@pytest.mark.parametrize("asks", [True, False])
async def test_chats_are_counted_whether_their_usage_is_asked_for_or_not(
    box: Box, inside: aiohttp.ClientSession, asks: bool
) -> None:
    async with (
        scripted([REPLY, REPLY]) as models,
        tools_of(box, compatible(models.url)).gateway() as gateway,
    ):
        body = {**STREAMED, **({"stream_options": {"include_usage": True}} if asks else {})}
        status, said = await post(inside, gateway, body, "/v1/chat/completions")
        assert status == 200
        assert (b"completion_tokens" in said) is asks
        assert said.endswith(b"data: [DONE]\n\n")
        spent = gateway.spent()
        assert (spent.input_tokens, spent.output_tokens) == (1000, 100)
        headers = {"authorization": f"Bearer {gateway.token}"}
        async with inside.get(f"{gateway.url}/v1/models", headers=headers) as answer:
            listed = await answer.json()
        assert [one["id"] for one in listed["data"]] == ["gpt-4o-mini"]
    assert models.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert models.asked[0].body["model"] == "gpt-4o-mini"
    assert len(models.asked) == 1


async def test_responses_are_counted_and_priced(box: Box, inside: aiohttp.ClientSession) -> None:
    async with scripted([REPLY]) as models:
        choice = ModelChoice("openai", "gpt-4o-mini", KEY, f"{models.url}/v1")
        async with tools_of(box, choice).gateway() as gateway:
            body = {"model": "x", "input": [{"role": "user", "content": "Hi"}], "stream": True}
            status, said = await post(inside, gateway, body, "/v1/responses")
            assert status == 200
            assert b"response.completed" in said
            spent = gateway.spent()
            assert (spent.requests, spent.input_tokens, spent.output_tokens) == (1, 1000, 100)
            assert spent.cost_usd
            status, _ = await post(inside, gateway, {**body, "background": True}, "/v1/responses")
            assert status == 400
            assert len(models.asked) == 1


async def test_answers_in_one_piece_are_counted_and_counting_tokens_is_free(
    box: Box, inside: aiohttp.ClientSession
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("count_tokens"):
            return web.json_response({"input_tokens": 77})
        usage = {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 3}
        return web.json_response({"content": [], "usage": usage}, headers={"Server": "secret"})

    async with provider(answer) as models:
        caps = Caps(requests=1)
        async with tools_of(box, anthropic(models.url), caps).gateway() as gateway:
            for _ in range(3):
                _, said = await post(inside, gateway, ASKED, "/v1/messages/count_tokens")
                assert json.loads(said) == {"input_tokens": 77}
            assert gateway.spent() == Spent(cost_usd=0.0)
            status, _ = await post(inside, gateway, ASKED)
            assert status == 200
            spent = gateway.spent()
            assert (spent.requests, spent.input_tokens, spent.output_tokens) == (1, 13, 5)
            await post(inside, gateway, ASKED, "/v1/messages/count_tokens")
            assert len(models.asked) == 5


async def test_only_the_token_of_this_run_and_only_paths_to_the_model_are_let_through(
    box: Box, inside: aiohttp.ClientSession
) -> None:
    async with scripted([REPLY]) as models:
        tools, others = (tools_of(box, anthropic(models.url)) for _ in range(2))
        async with tools.gateway() as gateway, others.gateway() as other:
            assert gateway.url != other.url
            url = f"{gateway.url}/v1/messages"
            for headers in (
                {"x-api-key": other.token},
                {"authorization": f"Bearer {other.token}"},
                {"x-api-key": KEY},
                {"x-api-key": ""},
                {"x-api-key": "é"},
                {},
            ):
                async with inside.post(url, json=ASKED, headers=headers) as answer:
                    assert answer.status == 401
                    told = await answer.json()
                    assert told["error"]["type"] == "authentication_error"
            headers = {"x-api-key": gateway.token}
            for method, path in (
                ("GET", "/v1/messages"),
                ("DELETE", "/v1/messages"),
                ("POST", "/v1/messages/batches"),
                ("POST", "/v1/files"),
                ("POST", "/v1/chat/completions"),
                ("GET", "/v1/models"),
                ("POST", "/"),
                ("POST", "//v1/messages"),
                ("OPTIONS", "*"),
            ):
                async with inside.request(
                    method, f"{gateway.url}/{path.lstrip('/')}", json=ASKED, headers=headers
                ) as answer:
                    status = answer.status
                assert (status == 404) is (path != "//v1/messages"), (method, path)
            assert len(models.asked) == 1  # the one whose slashes the client had mended


async def test_errors_of_the_provider_come_through_without_the_key(
    box: Box, inside: aiohttp.ClientSession
) -> None:
    async def in_pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=418, headers={"X-Request-Id": f"for {KEY}"})
        await response.prepare(request)
        for at in range(0, len(KEY), 5):
            await response.write(KEY[at : at + 5].encode())
        return response

    async with (
        scripted([Reply(error=Error(status=529, retry_after=7))]) as models,
        tools_of(box, anthropic(models.url)).gateway() as gateway,
    ):
        headers = {"x-api-key": gateway.token}
        async with inside.post(
            f"{gateway.url}/v1/messages", json=STREAMED, headers=headers
        ) as answer:
            assert answer.status == 529
            assert answer.headers["retry-after"] == "7"
            message = (await answer.json())["error"]["message"]
        assert message == "It is scripted so (529, [key])."
        assert gateway.spent() == Spent(requests=1, cost_usd=0.0)
    async with (
        provider(in_pieces) as models_,
        tools_of(box, anthropic(models_.url)).gateway() as gateway,
    ):
        headers = {"x-api-key": gateway.token}
        async with inside.post(
            f"{gateway.url}/v1/messages", json=STREAMED, headers=headers
        ) as answer:
            assert answer.status == 418
            assert answer.headers["x-request-id"] == "for [key]"
            assert await answer.read() == b"[key]"


async def test_a_provider_that_cannot_be_asked_is_said_in_its_own_shape(
    box: Box, inside: aiohttp.ClientSession
) -> None:
    async def away(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://elsewhere.example/")

    async with (
        provider(away) as moves,
        tools_of(box, anthropic("http://127.0.0.1:1")).gateway() as closed,
        tools_of(box, anthropic(moves.url)).gateway() as moved,
        scripted([]) as models,
        tools_of(
            box, ModelChoice("openai", "m", "sk-another-key", models.url + "/v1")
        ).gateway() as wrong,
    ):
        for gateway, path, status, words in (
            (closed, "/v1/messages", 502, "cannot be reached"),
            (moved, "/v1/messages", 502, "base URL"),
            (wrong, "/v1/chat/completions", 401, "refuses the key"),
        ):
            got, said = await post(inside, gateway, ASKED, path)
            assert got == status
            assert words in json.loads(said)["error"]["message"]
            assert b"sk-" not in said
            assert gateway.spent().input_tokens == 0


async def test_a_budget_that_is_used_up_is_said_so_that_nobody_asks_again(
    box: Box, inside: aiohttp.ClientSession
) -> None:
    async with scripted([REPLY] * 5) as models:
        tools = tools_of(box, anthropic(models.url), Caps(requests=2))
        async with tools.gateway() as gateway:
            assert (await post(inside, gateway, STREAMED))[0] == 200
            assert gateway.refused() is None
        async with tools.gateway() as gateway:  # the same run's
            assert (await post(inside, gateway, STREAMED))[0] == 200
            assert gateway.refused() is None
            headers = {"x-api-key": gateway.token}
            async with inside.post(
                f"{gateway.url}/v1/messages", json=STREAMED, headers=headers
            ) as answer:
                assert answer.status == 400
                assert answer.headers["x-should-retry"] == "false"
                told = await answer.json()
            words = "The run asked the model as often as it may: 2 times."
            assert told == {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": words},
            }
            assert gateway.refused() == words
            assert len(models.asked) == gateway.spent().requests == 2
        again = tools_of(box, anthropic(models.url), Caps(requests=2), Spent(requests=2))
        async with again.gateway() as gateway:
            assert (await post(inside, gateway, STREAMED))[0] == 400
            assert "2 times" in (gateway.refused() or "")
            assert gateway.spent().requests == 2
        costly = tools_of(box, anthropic(models.url), Caps(cost_usd=0.003))
        async with costly.gateway() as gateway:
            assert (await post(inside, gateway, STREAMED))[0] == 200
            status, said = await post(inside, gateway, STREAMED)
            assert status == 400
            assert b"cost as much as it may: 0.00 US dollars" in said
            assert len(models.asked) == 3


async def test_a_stream_that_the_provider_cuts_is_cut_and_counted(
    box: Box, inside: aiohttp.ClientSession
) -> None:
    async with (
        scripted([Reply(text="word " * 99, cut_after="half"), REPLY]) as models,
        tools_of(box, anthropic(models.url)).gateway() as gateway,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):
            await post(inside, gateway, STREAMED)
        spent = gateway.spent()
        assert spent.input_tokens == 1000
        assert 20 < spent.output_tokens < 100
        assert (await post(inside, gateway, STREAMED))[0] == 200


async def test_a_slow_reader_holds_the_provider_up(box: Box, inside: aiohttp.ClientSession) -> None:
    written = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        event = b"data: " + b"x" * 65536 + b"\n\n"
        for _ in range(1600):  # 100 MiB
            await response.write(event)
            written += len(event)
        return response

    async with (
        provider(flood) as models,
        tools_of(box, anthropic(models.url)).gateway() as gateway,
    ):
        headers = {"x-api-key": gateway.token}
        async with inside.post(
            f"{gateway.url}/v1/messages", json=STREAMED, headers=headers
        ) as answer:
            await answer.content.readany()
            daemon = daemon_pid(await box.root())
            before, seen = memory_kib(daemon), -1
            while seen != written:  # until it stands still
                seen = written
                await asyncio.sleep(0.3)
            assert written < 40 * 1024 * 1024
            assert memory_kib(daemon) - before < 16 * 1024
            assert (await post(inside, gateway, ASKED, "/v1/none"))[0] == 404
        async with asyncio.timeout(30):
            await models.left.wait()


async def test_a_gateway_ends_with_its_run_and_with_its_sandbox(
    box: Box, inside: aiohttp.ClientSession
) -> None:
    async with scripted([Reply(text="Word after word. " * 9, hold_after=4)]) as models:
        tools = tools_of(box, anthropic(models.url))
        async with tools.gateway() as gateway:
            assert (await post(inside, gateway, ASKED, "/none"))[0] == 404
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(inside, gateway, ASKED)
        async with tools.gateway() as gateway:
            asking = asyncio.create_task(post(inside, gateway, STREAMED))
            await models.held.wait()
            os.kill(daemon_pid(await box.root()), signal.SIGKILL)
            with pytest.raises(aiohttp.ClientError):
                await asking
            async with asyncio.timeout(30):
                await models.left.wait()
            with pytest.raises(aiohttp.ClientConnectorError):
                await post(inside, gateway, ASKED)
        async with tools.gateway() as gateway:  # the sandbox is brought home for it
            assert (await post(inside, gateway, ASKED, "/none"))[0] == 404


async def test_what_cannot_be_handed_through_is_said_on_entering(box: Box) -> None:
    for choice, words in (
        (ModelChoice("google", "gemini", KEY), "Google does not"),
        (ModelChoice("bedrock", "claude", KEY, "https://bedrock"), "Amazon Bedrock does not"),
        (ModelChoice("anthropic", "claude"), "no key for Anthropic"),
        (None, "No model"),
    ):
        with pytest.raises(ModelError, match=words):
            async with tools_of(box, choice).gateway():
                pass


async def test_bodies_that_are_too_many_or_no_json_are_refused_by_the_gateway(
    box: Box, inside: aiohttp.ClientSession
) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with (
        provider(never) as models,
        tools_of(box, anthropic(models.url)).gateway() as gateway,
    ):
        headers = {"x-api-key": gateway.token}
        async with inside.post(
            f"{gateway.url}/v1/messages", data=b"[1]", headers=headers
        ) as answer:
            assert answer.status == 400
        asking = [asyncio.create_task(post(inside, gateway, ASKED)) for _ in range(16)]
        for _ in asking:
            await models.arrived.acquire()
        assert (await post(inside, gateway, ASKED))[0] == 429
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        while gateway.spent().input_tokens < 16 * 20:  # each is estimated once it is gone
            await asyncio.sleep(0.01)
