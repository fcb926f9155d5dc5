"""egress, and `new --egress`: where sandboxes may connect to."""

from typing import Any

import pytest

from tests.cli.conftest import AGENT, Cli, events, lifecycle
from tests.sdk.wire import Wire

OPEN: dict[str, Any] = {"mode": "open", "hosts": [], "registries": True, "is_default": True}


def answer(wire: Wire, policy: dict[str, Any]) -> None:
    wire.on("GET /agents", {"agents": [{**AGENT, "egress": OPEN}]})
    wire.on("PATCH /agents/agt_abc123", {**AGENT, "egress": policy})


def test_it_is_shown(wire: Wire, cli: Cli) -> None:
    answer(wire, OPEN)
    assert "open: everything but" in (out := cli("egress", "My shop").out)
    assert "(the operator's default)" in out
    assert cli("egress", "My shop", "--json").json == OPEN


def test_hosts_are_listed(wire: Wire, cli: Cli) -> None:
    policy = {**OPEN, "mode": "listed", "hosts": ["a.example", "*.b.example"], "is_default": False}
    answer(wire, policy)
    ran = cli("egress", "My shop", "listed", "--allow", "a.example", "--allow", "*.b.example")
    assert wire.last("PATCH /agents/agt_abc123").json == {
        "egress": {"mode": "listed", "hosts": ["a.example", "*.b.example"], "registries": True}
    }
    assert "listed: a.example, *.b.example, package registries" in ran.out
    assert "until it is stopped and started" in ran.err
    cli("egress", "My shop", "listed", "--no-registries")
    assert wire.last("PATCH /agents/agt_abc123").json == {
        "egress": {"mode": "listed", "hosts": [], "registries": False}
    }


def test_it_goes_back_to_the_operators_default(wire: Wire, cli: Cli) -> None:
    answer(wire, OPEN)
    assert cli("egress", "My shop", "default").code == 0
    assert wire.last("PATCH /agents/agt_abc123").json == {"egress": None}


@pytest.mark.parametrize("mode", ["open", "closed", "default"])
def test_hosts_go_with_a_list_alone(wire: Wire, cli: Cli, mode: str) -> None:
    answer(wire, OPEN)
    ran = cli("egress", "My shop", mode, "--allow", "a.example")
    assert ran.code == 2
    assert "'listed' alone" in ran.err


def test_new_takes_a_policy(wire: Wire, cli: Cli) -> None:
    events(wire, lifecycle("running", port=5173))
    assert cli("new", "webapp", "--egress", "closed").code == 0
    sent = wire.last("POST /agents").json
    assert sent == {"template": "webapp", "egress": {"mode": "closed"}}
