"""The event hub: who hears what, and what comes first."""

import asyncio

import pytest

from limpet.control.sandboxes.events import MAX_WAITING, EventHub, SandboxEvent, SandboxKey
from limpet.ids import AgentId, Branch, OrgId

pytestmark = pytest.mark.anyio

A = SandboxKey(OrgId("local"), AgentId("a"), Branch("b"))
OTHER_ORG = SandboxKey(OrgId("other"), AgentId("a"), Branch("b"))


async def test_a_late_listener_hears_the_last_phase_first() -> None:
    hub = EventHub()
    hub.publish(A, "phase", {"kind": "claiming"})
    hub.publish(A, "phase", {"kind": "ready"})
    hub.publish(A, "sandbox", {"state": "running"})
    subscription = hub.subscribe(A)
    hub.publish(A, "gone", {})
    assert await subscription.next() == SandboxEvent("phase", {"kind": "ready"})
    assert await subscription.next() == SandboxEvent("gone", {})


async def test_nothing_crosses_from_one_org_to_another() -> None:
    hub = EventHub()
    theirs = hub.subscribe(OTHER_ORG)
    hub.publish(A, "phase", {"kind": "ready"})
    hub.publish(OTHER_ORG, "gone", {})
    assert await theirs.next() == SandboxEvent("gone", {})


async def test_bye_ends_every_subscription_also_one_that_comes_later() -> None:
    hub = EventHub()
    early = hub.subscribe(A)
    waiting = asyncio.create_task(_all(early))
    await asyncio.sleep(0)
    hub.close()
    hub.close()
    assert await waiting == ["bye"]
    assert await _all(hub.subscribe(A)) == ["bye"]


async def test_a_listener_that_sleeps_loses_the_oldest_never_the_newest() -> None:
    hub = EventHub()
    subscription = hub.subscribe(A)
    for number in range(MAX_WAITING + 10):
        hub.publish(A, "sandbox", {"number": number})
    first = await subscription.next()
    assert first is not None
    assert first.data["number"] == 10


async def test_what_is_closed_or_forgotten_is_kept_nowhere() -> None:
    hub = EventHub()
    hub.publish(A, "phase", {"kind": "ready"})
    subscription = hub.subscribe(A)
    assert hub.listened(A)
    subscription.close()
    subscription.close()
    assert not hub.listened(A)
    hub.forget(A)
    assert hub.last_phase(A) is None


async def _all(subscription: object) -> list[str]:
    return [event.name async for event in subscription]  # type: ignore[attr-defined]
