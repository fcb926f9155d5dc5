"""Other MCP servers' tools beside the sandbox's: a real server over loopback HTTP."""

import base64
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.toolsets import FunctionToolset

from limpet.harness.base import ProviderKind, ToolServer
from limpet.harness.decopilot.mcp_server import McpServer
from limpet.harness.events import Notice, ToolFinished, ToolStarted
from tests.harness.driving import PROTOCOLS, replies, staged
from tests.harness.test_streaming import PNG
from tests.harness.weather import weather_server

pytestmark = pytest.mark.anyio
DONE = {"text": "Done."}
ODD = ("over.the/year", "over/the/year", "wind" * 30, "wind" * 30 + "s", "é")


def call(tool: str, **given: object) -> dict[str, Any]:
    return {"calls": [{"tool": tool, "input": given}]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_another_servers_tools_are_called_beside_the_sandboxs(
    protocol: ProviderKind, tmp_path: Path
) -> None:
    script = replies(
        call("weather_weather", city="Lisbon"),
        call("weather_fails", city="Lisbon"),
        call("weather_picture", city="Lisbon"),
        call("weather_much", city="Lisbon"),
        call("glob", pattern="*"),
        DONE,
    )
    async with weather_server("its-token") as weather:
        server = McpServer("weather", weather.url, headers={"Authorization": "Bearer its-token"})
        async with staged(protocol, tmp_path, script, toolsets=[server]) as stage:
            took = await stage.take()
            took_again = await stage.take(state=took.state) if stage.models.replies else took
            asked = stage.models.asked
    finished = took_again.of(ToolFinished)
    assert [event.ok for event in finished] == [True, False, True, True, True]
    assert [event.output for event in finished[:3]] == [
        "Rain in Lisbon.",
        "The weather service is down.",
        "A map.",
    ]
    assert len(finished[3].output) < 40_000
    assert took.of(ToolStarted)[0].input == {"city": "Lisbon"}
    assert asked[3].pictures(base64.b64encode(PNG).decode()) == 1
    assert not any("its-token" in one.text for one in asked)


async def test_a_server_that_cannot_be_entered_is_said_and_the_turn_goes_on(tmp_path: Path) -> None:
    async with weather_server("its-token") as weather:
        wrong = McpServer("weather", weather.url, headers={"Authorization": "Bearer wrong-token"})
        away = McpServer("away", "http://127.0.0.1:1/mcp")
        async with staged("anthropic", tmp_path, replies(DONE), toolsets=[wrong, away]) as stage:
            took = await stage.take()
    assert took.answer == "Done."
    told = [event.text for event in took.of(Notice)]
    assert [("cannot be used" in text, "token" in text) for text in told] == [(True, False)] * 2


async def test_a_tool_that_has_a_name_of_ours_is_left_out(tmp_path: Path) -> None:
    def read(path: str) -> str:
        """Read."""
        return "the other one"

    toolset = FunctionToolset([read])
    script = replies(call("read", path="a.txt"), DONE)
    async with staged("openai", tmp_path, script, toolsets=[toolset]) as stage:
        (tmp_path / "a.txt").write_text("ours")
        took = await stage.take()
    assert "the name is taken" in took.of(Notice)[0].text
    assert "ours" in took.of(ToolFinished)[0].output


async def test_odd_names_are_made_such_that_every_provider_takes_them(tmp_path: Path) -> None:
    script = replies(call("weather_over_the_year_2", city="Lisbon"), DONE)
    async with weather_server("its-token", *ODD) as weather:
        server = ToolServer("weather", weather.url, {"Authorization": "Bearer its-token"})
        async with staged("openai", tmp_path, script) as stage:
            took = await stage.take(servers=[server])
            asked = stage.models.asked[0].body["tools"]
    names = [tool["name"] for tool in asked if tool["name"].startswith("weather_")]
    assert len(names) == len(set(names)) == len(ODD)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    [finished] = took.of(ToolFinished)
    assert (finished.ok, finished.output) == (True, "over/the/year of Lisbon")


async def test_what_a_server_says_of_its_headers_is_masked(tmp_path: Path) -> None:
    script = replies(call("weather_headers", city="Lisbon"), DONE)
    async with weather_server("its-token") as weather:
        server = ToolServer("weather", weather.url, {"Authorization": "Bearer its-token"})
        async with staged("anthropic", tmp_path, script) as stage:
            took = await stage.take(servers=[server])
    [finished] = took.of(ToolFinished)
    assert finished.output == "You sent ***, which ends with ***."


async def test_a_server_that_says_nothing_is_waited_for_only_so_long(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"
        server = McpServer("silent", url, greeting_s=0.2)
        async with staged("anthropic", tmp_path, replies(DONE), toolsets=[server]) as stage:
            took = await stage.take()
    assert took.answer == "Done."
    assert "cannot be used" in took.of(Notice)[0].text
