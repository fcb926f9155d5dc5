import asyncio
from pathlib import Path

import pytest

from limpet.control.db import AgentRow
from limpet.control.templates import INSTRUCTIONS
from limpet.ids import AgentId, OrgId
from tests.control.live_app import LiveApp, live_app

pytestmark = pytest.mark.anyio


async def test_a_template_agent_opens_on_its_preview_and_is_pinned(live: LiveApp) -> None:
    agent = await live.agent(template="webapp")
    assert agent["id"].startswith("agt_")
    assert (agent["org"], agent["title"], agent["pinned"]) == ("local", "Web app", True)
    assert agent["metadata"] == {
        "instructions": INSTRUCTIONS,
        "ui": {"layout": {"default_main_view": "preview", "chat_side": "left"}},
        "github_repo": None,
        "clone_url": None,
        "clone_url_has_credentials": False,
        "template": "webapp",
        "start_command": None,
        "acp_command": None,
    }
    assert agent["default_branch"].startswith("limpet/")


async def test_a_clone_url_agent_shows_no_credentials_and_keeps_them_sealed(
    live: LiveApp, tmp_path: Path
) -> None:
    agent = await live.agent(clone_url="https://me:hunter2@git.example:8443/team/shop.git")
    assert agent["title"] == "shop"
    assert agent["metadata"]["clone_url"] == "https://git.example:8443/team/shop.git"
    assert agent["metadata"]["clone_url_has_credentials"] is True
    assert "hunter2" not in str(agent)
    row = await live.limpet.services.agents.get(OrgId("local"), AgentId(agent["id"]))
    with_credentials = live.limpet.services.agents.clone_url_with_credentials(row)
    assert with_credentials == "https://me:hunter2@git.example:8443/team/shop.git"
    stored = b"".join(p.read_bytes() for p in (tmp_path / "data").glob("limpet.sqlite3*"))
    assert b"shop.git" in stored
    assert b"hunter2" not in stored


async def test_credentials_may_come_beside_the_url_and_be_replaced(live: LiveApp) -> None:
    agent = await live.agent(
        clone_url="https://git.example/shop", clone_username="me", clone_password="one"
    )
    path = f"/agents/{agent['id']}"
    agents = live.limpet.services.agents

    async def present() -> str | None:
        row: AgentRow = await agents.get(OrgId("local"), AgentId(agent["id"]))
        return agents.clone_url_with_credentials(row)

    assert await present() == "https://me:one@git.example/shop"
    await live.api("PATCH", path, {"clone_username": "me", "clone_password": "two"})
    assert await present() == "https://me:two@git.example/shop"
    await live.api("PATCH", path, {"title": "Shop"})
    assert await present() == "https://me:two@git.example/shop"
    status, answer = await live.api("PATCH", path, {"clone_username": None})
    assert (status, await present()) == (200, "https://git.example/shop"), answer


async def test_what_is_said_wins_over_what_the_source_suggests(live: LiveApp) -> None:
    agent = await live.agent(
        template="webapp",
        title="Mine",
        instructions="Be brief.",
        pinned=False,
        ui={"layout": {"chat_side": "left"}},
    )
    assert (agent["title"], agent["pinned"]) == ("Mine", False)
    assert agent["metadata"]["instructions"] == "Be brief."
    layout = agent["metadata"]["ui"]["layout"]
    assert layout == {"default_main_view": "preview", "chat_side": "left"}


async def test_a_start_command_is_kept_until_it_is_taken_away(live: LiveApp) -> None:
    agent = await live.agent(template="webapp", start_command="  ./serve\n")
    assert agent["metadata"]["start_command"] == "./serve"
    path = f"/agents/{agent['id']}"
    for patch, then in (
        ({"title": "Other"}, "./serve"),
        ({"start_command": "cd web &&\n\tnpm run serve"}, "cd web &&\n\tnpm run serve"),
        ({"start_command": None}, None),
    ):
        status, changed = await live.api("PATCH", path, patch)
        assert (status, changed["metadata"]["start_command"]) == (200, then)


async def test_an_acp_command_is_kept_until_it_is_taken_away(live: LiveApp) -> None:
    agent = await live.agent(template="webapp", acp_command="  npx -y 'an agent' --acp ")
    path = f"/agents/{agent['id']}"
    for patch, then in (
        ({"title": "Other"}, "npx -y 'an agent' --acp"),
        ({"acp_command": "opencode acp"}, "opencode acp"),
        ({"acp_command": None}, None),
    ):
        status, changed = await live.api("PATCH", path, patch)
        assert (status, changed["metadata"]["acp_command"]) == (200, then)


async def test_agents_are_listed_pinned_first_changed_and_deleted(live: LiveApp) -> None:
    plain = await live.agent(title="Plain")
    pinned = await live.agent(template="webapp")
    _, listed = await live.api("GET", "/agents")
    assert [a["id"] for a in listed["agents"]] == [pinned["id"], plain["id"]]
    status, changed = await live.api(
        "PATCH", f"/agents/{plain['id']}", {"title": "Renamed", "icon": "🐚", "status": "inactive"}
    )
    assert (status, changed["title"], changed["icon"]) == (200, "Renamed", "🐚")
    assert changed["updated_at"] > plain["updated_at"]
    assert await live.api("GET", f"/agents/{plain['id']}") == (200, changed)
    assert await live.api("DELETE", f"/agents/{plain['id']}") == (200, {"ok": True})
    status, gone = await live.api("GET", f"/agents/{plain['id']}")
    assert (status, gone["error"]["code"]) == (404, "not_found")
    status, gone = await live.api("DELETE", f"/agents/{plain['id']}")
    assert (status, gone["error"]["code"]) == (404, "not_found")


async def test_every_agent_gets_a_branch_of_its_own(live: LiveApp) -> None:
    agents = await asyncio.gather(*(live.agent(title=str(number)) for number in range(12)))
    assert len({agent["default_branch"] for agent in agents}) == 12


async def test_agents_outlive_the_server(tmp_path: Path, templates_dir: Path) -> None:
    async with live_app(tmp_path / "data", templates_dir=templates_dir) as first:
        agent = await first.agent(template="webapp")
    async with live_app(tmp_path / "data", templates_dir=templates_dir) as second:
        assert await second.api("GET", f"/agents/{agent['id']}") == (200, agent)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"template": "webapp", "clone_url": "https://h/r"}, "not both"),
        ({"clone_password": "x"}, "need a clone_url"),
        ({"clone_url": "http://h/r"}, "https://"),
        ({"clone_url": "https://h/r", "clone_username": "a\nb"}, "control characters"),
        ({"title": ""}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"tittle": "x"}, "tittle"),
        ({"ui": {"layout": {"chat_side": "top"}}}, "ui.layout.chat_side"),
        ({"template": "../../etc"}, "template"),
        ({"start_command": " \n"}, "start_command"),
        ({"start_command": "./serve\0"}, "start_command"),
        ({"start_command": "./serve \x1b[2J"}, "start_command"),
        ({"start_command": "x" * 8001}, "start_command"),
        ({"start_command": ["./serve"]}, "start_command"),
        ({"acp_command": " "}, "acp_command"),
        ({"acp_command": "''"}, "acp_command"),
        ({"acp_command": "opencode 'acp"}, "acp_command"),
        ({"acp_command": "opencode acp\0"}, "acp_command"),
        ({"acp_command": "opencode\nacp"}, "acp_command"),
        ({"acp_command": "x" * 2001}, "acp_command"),
        ([], "valid dictionary"),
    ],
)
async def test_what_does_not_fit_is_400_and_names_the_field(
    refusing: LiveApp, body: object, told: str
) -> None:
    status, answer = await refusing.api("POST", "/agents", body)
    assert status == 400
    assert answer["error"].keys() == {"code", "message", "hint"}
    assert told in answer["error"]["message"]


async def test_an_unknown_template_is_told_with_those_there_are(live: LiveApp) -> None:
    status, answer = await live.api("POST", "/agents", {"template": "nothing"})
    assert (status, answer["error"]["hint"]) == (404, "Templates: webapp.")


async def test_templates_are_listed(live: LiveApp) -> None:
    (live.limpet.services.templates.folder / "broken").mkdir()
    (live.limpet.services.templates.folder / "broken" / "template.json").write_text("{")
    assert await live.api("GET", "/templates") == (
        200,
        {
            "templates": [
                {"name": "webapp", "title": "Web app", "description": "A page to start from"}
            ]
        },
    )


async def test_wrong_values_are_never_repeated_in_answers(live: LiveApp) -> None:
    status, answer = await live.api(
        "POST", "/agents", {"clone_url": "https://u:hunter2@h/r?x", "clone_password": ["hunter2"]}
    )
    assert status == 400
    assert "hunter2" not in str(answer)
