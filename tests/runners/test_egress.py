"""Which hosts a policy allows, and which addresses no policy does."""

import ipaddress

import pytest

from limpet.errors import InvalidInputError
from limpet.runners.egress import EgressPolicy, HostRule, Refusals, networks_of
from limpet.runners.network import ports_of


@pytest.mark.parametrize(
    ("rule", "host", "port", "allowed"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "EXAMPLE.com.", 80, True),
        ("example.com", "example.com", 22, False),
        ("example.com", "www.example.com", 443, False),
        ("example.com", "notexample.com", 443, False),
        ("*.example.com", "www.example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("*.example.com", "example.com", 443, False),
        ("*.example.com", "notexample.com", 443, False),
        ("db.example.com:5432", "db.example.com", 5432, True),
        ("db.example.com:5432", "db.example.com", 443, False),
        ("192.0.2.7:8080", "192.0.2.7", 8080, True),
        ("[2001:DB8::1]:443", "2001:db8::1", 443, True),
        ("2001:db8:0::1", "2001:db8::1", 80, True),
    ],
)
def test_a_listed_host_is_allowed_as_it_is_written(
    rule: str, host: str, port: int, allowed: bool
) -> None:
    assert EgressPolicy.of("listed", [rule]).allows(host, port) is allowed


@pytest.mark.parametrize(
    "wrong",
    ["", "*", "*.", "a..b", "-a.example", "exa mple.com", "https://example.com", "example.com:0",
     "example.com:70000", "a" * 64 + ".com", "*.*.example.com", "example.com/path", "é.example",
     ".".join(["a" * 60] * 5)],
)  # fmt: skip
def test_what_is_no_host_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInputError):
        HostRule.parse(wrong)


def test_registries_are_allowed_unless_it_is_said() -> None:
    registry = [HostRule.parse("packages.example")]
    assert EgressPolicy.of("listed").allows("packages.example", 443, registry)
    assert not EgressPolicy.of("listed", registries=False).allows("packages.example", 443, registry)
    assert not EgressPolicy.of("closed").allows("packages.example", 443, registry)


def test_too_many_hosts_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="200"):
        EgressPolicy.of("listed", [f"h{n}.example" for n in range(201)])


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0",
     "fe80::1", "fd00:ec2::254", "10.1.2.3", "198.51.100.7"],
)  # fmt: skip
def test_some_addresses_are_never_given(address: str) -> None:
    refusals = Refusals(
        own=frozenset({ipaddress.ip_address("198.51.100.7")}), denied=networks_of("10.0.0.0/8")
    )
    assert refusals.why(ipaddress.ip_address(address))
    assert refusals.why(ipaddress.ip_address("203.0.113.9")) is None


def test_routes_to_nowhere_leave_loopback_and_the_link_alone() -> None:
    networks = Refusals(own=frozenset({ipaddress.ip_address("198.51.100.7")})).networks
    assert ipaddress.ip_network("169.254.0.0/16") in networks
    assert ipaddress.ip_network("198.51.100.7/32") in networks
    assert not any(network.is_loopback for network in networks)
    assert ipaddress.ip_network("fe80::/10") not in networks


def test_operators_networks_are_parsed_or_refused() -> None:
    assert [str(n) for n in networks_of(" 10.0.0.0/8, 192.168.1.1 ,")] == [
        "10.0.0.0/8",
        "192.168.1.1/32",
    ]
    with pytest.raises(InvalidInputError):
        networks_of("10.0.0.0/33")


@pytest.mark.parametrize("text", ["x", "0", "65536", "61080", "1,,-2", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        ports_of(text)


def test_ports_are_read() -> None:
    assert ports_of(" 5432, 8443,5432, ") == (5432, 8443)
