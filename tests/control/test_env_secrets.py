"""Secrets in environment variables: they go in, are sealed, and never come out of the API."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from limpet.control.db import EnvSecretRow, OrgRow
from limpet.control.env_secrets import (
    MAX_SECRETS,
    MAX_TOTAL_BYTES,
    MAX_VALUE_BYTES,
    PROXIES,
    RESERVED,
    RESERVED_PREFIXES,
)
from limpet.control.secrets import UnsealError
from limpet.ids import AgentId, OrgId, UserId
from tests.control.live_app import LiveApp

pytestmark = [pytest.mark.anyio, pytest.mark.long]

VALUE = "sk-live/0123456789+é"
LOCAL = OrgId("local")


async def put(live: LiveApp, name: str, value: str = VALUE, **more: Any) -> tuple[int, Any]:
    return await live.api("POST", "/secrets", {"name": name, "value": value, **more})


async def names(live: LiveApp, agent: str | None = None) -> list[tuple[str, str | None]]:
    path = "/secrets" + (f"?agent_id={agent}" if agent else "")
    status, answer = await live.api("GET", path)
    assert status == 200, answer
    return [(one["name"], one["agent_id"]) for one in answer["secrets"]]


async def environment(live: LiveApp, agent: str) -> dict[str, str]:
    return await live.limpet.services.env_secrets.environment(LOCAL, AgentId(agent))


async def test_a_secret_is_listed_by_name_and_its_value_is_sealed(
    live: LiveApp, tmp_path: Path
) -> None:
    agent = (await live.agent(title="A"))["id"]
    status, changed = await put(live, "API_KEY", agent_id=agent)
    assert (status, changed["secret"]["name"], changed["given_to"]) == (200, "API_KEY", [])
    assert "until it is started again" in changed["note"]
    _, listed = await live.api("GET", f"/secrets?agent_id={agent}")
    [one] = listed["secrets"]
    assert one == changed["secret"]
    assert one.keys() == {"name", "agent_id", "updated_at", "updated_by"}
    assert one["updated_by"] == "owner"
    assert await environment(live, agent) == {"API_KEY": VALUE}
    stored = b"".join(p.read_bytes() for p in (tmp_path / "data").glob("limpet.sqlite3*"))
    assert b"API_KEY" in stored
    assert VALUE.encode() not in stored
    assert VALUE not in str((changed, listed))


async def test_an_agents_own_come_before_the_orgs(live: LiveApp) -> None:
    one, two = [(await live.agent(title=title))["id"] for title in "AB"]
    await put(live, "SHARED", "for all of them")
    await put(live, "BOTH", "for all of them")
    await put(live, "BOTH", "for one of them", agent_id=one)
    assert await names(live) == [("BOTH", None), ("SHARED", None)]
    assert await names(live, one) == [("BOTH", one), ("SHARED", None)]
    assert await environment(live, one) == {"BOTH": "for one of them", "SHARED": "for all of them"}
    assert await environment(live, two) == dict.fromkeys(("BOTH", "SHARED"), "for all of them")
    status, _ = await live.api("DELETE", f"/secrets/BOTH?agent_id={one}")
    assert status == 200
    assert (await environment(live, one))["BOTH"] == "for all of them"


async def test_a_secret_can_be_replaced_and_deleted(live: LiveApp) -> None:
    agent = (await live.agent(title="A"))["id"]
    _, first = await put(live, "K", "one", agent_id=agent)
    _, second = await put(live, "K", "two", agent_id=agent)
    assert second["secret"]["updated_at"] > first["secret"]["updated_at"]
    assert await environment(live, agent) == {"K": "two"}
    status, gone = await live.api("DELETE", f"/secrets/K?agent_id={agent}")
    assert (status, gone["secret"]) == (200, None)
    assert await environment(live, agent) == {}
    status, answer = await live.api("DELETE", f"/secrets/K?agent_id={agent}")
    assert (status, answer["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "name", sorted({*RESERVED, *PROXIES, *(f"{p}X" for p in RESERVED_PREFIXES), "https_proxy"})
)
async def test_names_of_the_sandbox_and_of_what_runs_code_are_refused(
    refusing: LiveApp, name: str
) -> None:
    status, answer = await put(refusing, name)
    assert (status, answer["error"]["code"]) == (400, "reserved_name")
    assert name in answer["error"]["message"]
    assert await names(refusing) == []


async def test_names_that_only_look_like_reserved_ones_are_taken(live: LiveApp) -> None:
    for name in ("MY_PATH", "LIMPETS", "path", "_X", "NPM_TOKEN", "DATABASE_URL"):
        assert (await put(live, name))[0] == 200, name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", VALUE), ("1A", VALUE), ("A-B", VALUE), ("A B", VALUE), ("A=B", VALUE), ("Ä", VALUE),
        ("A\n", VALUE), ("x" * 129, VALUE), ("A", ""), ("A", "nul\0inside sk-live"),
        ("A", "sk-live" + "x" * MAX_VALUE_BYTES), ("A", "sk-live" + "é" * (MAX_VALUE_BYTES // 2)),
    ],
)  # fmt: skip
async def test_what_no_variable_can_be_is_400_and_never_repeated(
    refusing: LiveApp, name: str, value: str
) -> None:
    status, answer = await put(refusing, name, value)
    assert status == 400, answer
    assert "sk-refusing" not in str(answer)


async def test_a_value_of_the_wrong_kind_is_not_repeated(live: LiveApp) -> None:
    for value in (["sk-live"], {"a": "sk-live"}):
        status, answer = await live.api("POST", "/secrets", {"name": "A", "value": value})
        assert status == 400
        assert "sk-live" not in str(answer)


async def test_the_largest_value_is_taken(live: LiveApp) -> None:
    assert (await put(live, "A", "x" * MAX_VALUE_BYTES))[0] == 200


async def test_there_are_limits_to_their_number_and_size(live: LiveApp) -> None:
    agent = AgentId((await live.agent(title="A"))["id"])
    secrets = live.limpet.services.env_secrets
    for number in range(MAX_SECRETS):
        await secrets.set(LOCAL, agent, f"K{number}", "x", UserId("owner"))
    status, answer = await put(live, "ONE_MORE", agent_id=agent)
    assert (status, answer["error"]["code"]) == (409, "conflict")
    assert (await put(live, "K0", "another", agent_id=agent))[0] == 200
    assert (await put(live, "ONE_MORE"))[0] == 200, "the org's own are counted apart"
    for number in range(MAX_TOTAL_BYTES // MAX_VALUE_BYTES - 1):
        assert (await put(live, f"L{number}", "x" * MAX_VALUE_BYTES))[0] == 200
    status, answer = await put(live, "TOO_MUCH", "x" * MAX_VALUE_BYTES)
    assert (status, answer["error"]["code"]) == (409, "conflict")


async def test_an_unknown_agent_is_told(live: LiveApp) -> None:
    for method, path, body in (
        ("GET", "/secrets?agent_id=agt_none", None),
        ("POST", "/secrets", {"name": "A", "value": VALUE, "agent_id": "agt_none"}),
        ("DELETE", "/secrets/A?agent_id=agt_none", None),
    ):
        status, answer = await live.api(method, path, body)
        assert (status, answer["error"]["code"]) == (404, "not_found")


async def test_a_copy_of_an_agent_has_its_secrets_and_a_deleted_one_none(live: LiveApp) -> None:
    services = live.limpet.services
    agent = (await live.agent(title="A"))["id"]
    await put(live, "K", agent_id=agent)
    copy = await services.agents.copy(LOCAL, UserId("owner"), AgentId(agent))
    assert await environment(live, copy.id) == {"K": VALUE}
    await put(live, "K", "own", agent_id=copy.id)
    assert await environment(live, agent) == {"K": VALUE}
    assert (await live.api("DELETE", f"/agents/{agent}"))[0] == 200
    async with services.database.reading() as session:
        assert await session.get(EnvSecretRow, (LOCAL, agent, "K")) is None
        assert await session.get(EnvSecretRow, (LOCAL, copy.id, "K")) is not None


async def test_a_sealed_value_that_is_moved_to_another_org_does_not_open(live: LiveApp) -> None:
    agent = (await live.agent(title="A"))["id"]
    await put(live, "K", agent_id=agent)
    async with live.limpet.services.database.session() as session:
        session.add(OrgRow(id="other", slug="other", name="Other"))
        await session.flush()
        await session.execute(update(EnvSecretRow).values(org_id="other"))
    with pytest.raises(UnsealError):
        await live.limpet.services.env_secrets.environment(OrgId("other"), AgentId(agent))
    assert await environment(live, agent) == {}


async def test_no_answer_has_a_place_for_a_value(live: LiveApp) -> None:
    _, _, schema = await live.raw(
        "GET", "/api/openapi.json", headers={"Authorization": f"Bearer {live.key}"}
    )
    shapes = schema["components"]["schemas"]
    assert shapes["SecretSet"]["properties"]["value"]["writeOnly"] is True
    for name in ("SecretInfo", "SecretList", "SecretChanged"):
        assert "value" not in shapes[name]["properties"]
