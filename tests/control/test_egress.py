"""An agent's egress policy: chosen, shown, copied, and what its sandboxes are started with."""

from pathlib import Path
from typing import Any

import pytest

from limpet.control.db import AgentRow
from limpet.control.egress import policy_for_start
from limpet.ids import AgentId, OrgId, UserId
from limpet.runners.base import EnsureOptions, Provisioned, SandboxId
from tests.control.live_app import LiveApp, live_app

pytestmark = pytest.mark.anyio

LISTED = {"mode": "listed", "hosts": ["API.example.com", "*.example.org"], "registries": False}
SHOWN = {
    "mode": "listed",
    "hosts": ["api.example.com", "*.example.org"],
    "registries": False,
    "is_default": False,
}
OPEN = {"mode": "open", "hosts": [], "registries": True, "is_default": True}


async def row_of(live: LiveApp, agent: dict[str, Any]) -> AgentRow:
    return await live.limpet.services.agents.get(OrgId("local"), AgentId(agent["id"]))


async def test_a_policy_is_kept_changed_and_given_up(live: LiveApp) -> None:
    agent = await live.agent(title="A", egress=LISTED)
    assert agent["egress"] == SHOWN
    path = f"/agents/{agent['id']}"
    assert (await live.api("PATCH", path, {"title": "B"}))[1]["egress"] == SHOWN
    closed = (await live.api("PATCH", path, {"egress": {"mode": "closed"}}))[1]["egress"]
    assert closed == {"mode": "closed", "hosts": [], "registries": True, "is_default": False}
    assert (await live.api("GET", path))[1]["egress"] == closed
    assert (await live.api("PATCH", path, {"egress": None}))[1]["egress"] == OPEN


async def test_who_says_nothing_has_the_operators_default(
    tmp_path: Path, templates_dir: Path
) -> None:
    async with live_app(tmp_path / "data", templates_dir=templates_dir) as first:
        agent = await first.agent(title="A")
        assert agent["egress"] == OPEN
    async with live_app(tmp_path / "data", templates_dir=templates_dir, egress="closed") as second:
        _, now = await second.api("GET", f"/agents/{agent['id']}")
        assert now["egress"] == {**OPEN, "mode": "closed"}
        assert policy_for_start(await row_of(second, agent), "closed").mode == "closed"


@pytest.mark.parametrize(
    ("egress", "told"),
    [
        ({"mode": "shut"}, "egress.mode"),
        ({"hosts": []}, "egress.mode"),
        ({"mode": "listed", "host": ["a"]}, "egress.host"),
        ({"mode": "listed", "hosts": ["a.example", "https://b.example/"]}, "https://b.example/"),
        ({"mode": "listed", "hosts": ["a.example:0"]}, "0 is no port"),
        ({"mode": "listed", "hosts": [f"h{n}.example" for n in range(201)]}, "egress.hosts"),
    ],
)
async def test_a_policy_that_cannot_be_is_400(
    refusing: LiveApp, egress: dict[str, Any], told: str
) -> None:
    status, answer = await refusing.api("POST", "/agents", {"title": "A", "egress": egress})
    assert status == 400
    assert told in answer["error"]["message"]


async def test_a_copy_has_the_same_policy(live: LiveApp) -> None:
    agent = await live.agent(title="A", egress=LISTED)
    copy = await live.limpet.services.agents.copy(
        OrgId("local"), UserId("owner"), AgentId(agent["id"])
    )
    assert (await live.api("GET", f"/agents/{copy.id}"))[1]["egress"] == SHOWN


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://git.example/team/shop", "git.example", 443),
        ("https://me:pw@git.example:8443/team/shop", "git.example", 8443),
        ("https://[2001:db8::1]:8443/shop", "2001:db8::1", 8443),
    ],
)
async def test_a_list_need_not_name_the_host_that_is_cloned_from(
    live: LiveApp, url: str, host: str, port: int
) -> None:
    agent = await live.agent(clone_url=url, egress=LISTED)
    assert agent["egress"] == SHOWN
    policy = policy_for_start(await row_of(live, agent), "open")
    assert policy.allows(host, port)
    assert policy.allows("api.example.com", 443)
    assert not policy.allows("other.example", 443)
    closed = await live.agent(clone_url=url, egress={"mode": "closed"})
    assert not policy_for_start(await row_of(live, closed), "open").allows(host, port)


async def test_sandboxes_are_started_with_it(
    live: LiveApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = live.limpet.services.runner
    ensure, seen = runner.ensure, list[EnsureOptions]()

    async def ensure_and_see(sandbox: SandboxId, options: EnsureOptions) -> Provisioned:
        seen.append(options)
        return await ensure(sandbox, options)

    monkeypatch.setattr(runner, "ensure", ensure_and_see)
    agent = await live.agent(title="A", egress=LISTED)
    status, started = await live.api("POST", "/vm/start", {"virtualMcpId": agent["id"]})
    assert status == 200, started
    assert [str(host) for options in seen for host in options.egress.hosts] == [
        *SHOWN["hosts"], *SHOWN["hosts"],
    ]  # fmt: skip
    assert {options.egress.mode for options in seen} == {"listed"}
    assert (await live.api("DELETE", f"/agents/{agent['id']}"))[0] == 200
