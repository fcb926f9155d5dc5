"""Where an agent's sandboxes may connect to: what is stored of it, and what a start is told."""

from typing import Any
from urllib.parse import urlsplit

from limpet.control.db import AgentRow
from limpet.control.operations.egress_models import EgressChoice, EgressInfo
from limpet.runners.egress import EgressMode, EgressPolicy, HostRule


def stored_egress(choice: EgressChoice | None) -> dict[str, Any] | None:
    """What the database keeps of a choice; `InvalidInputError` names the host that is wrong."""
    if choice is None:
        return None
    policy = EgressPolicy.of(choice.mode, choice.hosts, registries=choice.registries)
    return {
        "mode": policy.mode,
        "hosts": [str(host) for host in policy.hosts],
        "registries": policy.registries,
    }


def egress_of(agent: AgentRow, default: EgressMode) -> EgressInfo:
    """The agent's policy as the API shows it."""
    if agent.egress is None:
        return EgressInfo(mode=default, hosts=[], registries=True, is_default=True)
    return EgressInfo(**agent.egress, is_default=False)


def policy_for_pages(agent: AgentRow, default: EgressMode) -> EgressPolicy:
    """The agent's policy for its app's pages, which install nothing."""
    info = egress_of(agent, default)
    return EgressPolicy.of(info.mode, info.hosts, registries=False)


def policy_for_start(agent: AgentRow, default: EgressMode) -> EgressPolicy:
    """The agent's policy with the host that it is cloned from, which a list need not name."""
    info = egress_of(agent, default)
    policy = EgressPolicy.of(info.mode, info.hosts, registries=info.registries)
    if agent.clone_url is None:
        return policy
    return policy.with_hosts([HostRule.parse(urlsplit(agent.clone_url).netloc)])
