"""The networks of sandboxes in containers, and the packet filter that says where they may go. Pure.

A sandbox may be reached by the control plane, which connects to its address, and by nobody else.
What it may reach itself is decided in a table of its own of the engine's machine: not in the
chains that Docker keeps, which it rewrites when it starts.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any

from limpet.runners.docker_container import Names
from limpet.runners.egress import Network


def network_config(names: Names, *, closed: bool) -> dict[str, Any]:
    """The body of `POST /networks/create`. Containers of it do not see each other."""
    return {
        "Name": names.network(closed=closed),
        "Driver": "bridge",
        "Internal": closed,
        "Labels": names.labels(),
        "Options": {
            "com.docker.network.bridge.name": names.bridge(closed=closed),
            "com.docker.network.bridge.enable_icc": "false",
        },
    }


def filter_rules(names: Names, refused: Iterable[Network]) -> str:
    """An nftables script: sandboxes reach the internet, and nothing of `refused` or the machine.

    Running it again is no error. It only ever drops, so that it holds beside any other filter.
    Name servers are reached wherever they are, since the network's own may be one that is refused.
    """
    table = names.table
    bridges = ", ".join(f'"{names.bridge(closed=closed)}"' for closed in (False, True))
    lines = [
        f"add table inet {table}",
        f"delete table inet {table}",
        f"table inet {table} {{",
        "chain forward { type filter hook forward priority -10; policy accept;",
        f"iifname {{ {bridges} }} oifname {{ {bridges} }} drop",
        f'iifname "{names.bridge(closed=True)}" drop',
        f"iifname {{ {bridges} }} meta l4proto {{ tcp, udp }} th dport 53 return",
    ]
    refused = list(refused)
    four = [one for one in refused if isinstance(one, ipaddress.IPv4Network)]
    six = [one for one in refused if isinstance(one, ipaddress.IPv6Network)]
    for family, networks in (
        ("ip", list(map(str, ipaddress.collapse_addresses(four)))),
        ("ip6", list(map(str, ipaddress.collapse_addresses(six)))),
    ):
        if networks:
            listed = ", ".join(networks)
            lines.append(f"iifname {{ {bridges} }} {family} daddr {{ {listed} }} drop")
    lines += [
        "}",
        "chain input { type filter hook input priority -10; policy accept;",
        f"iifname {{ {bridges} }} ct state established,related accept",
        f"iifname {{ {bridges} }} drop",
        "}",
        "}",
    ]
    return "\n".join(lines)


def no_filter_rules(names: Names) -> str:
    """An nftables script that takes the table away."""
    return f"add table inet {names.table}\ndelete table inet {names.table}"
