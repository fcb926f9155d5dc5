import contextlib
import socket

import pytest

from limpet.control.listening import PortTakenError, listen
from limpet.control.settings import SettingsError


def has_ipv6() -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET6)) as one:
        try:
            one.bind(("::1", 0))
        except OSError:
            return False
    return True


def test_both_loopbacks_listen_on_one_port() -> None:
    with contextlib.closing(listen("127.0.0.1", 0, insist=False)) as listening:
        names = [one.getsockname()[:2] for one in listening.sockets]
        expected = [("127.0.0.1", listening.port)]
        assert names == expected + ([("::1", listening.port)] if has_ipv6() else [])


def test_a_taken_port_gives_the_next_free_one_and_says_so() -> None:
    with contextlib.closing(listen("127.0.0.1", 0, insist=False)) as first:
        again = listen("127.0.0.1", first.port, insist=False)
        with contextlib.closing(again):
            assert again.port > first.port
            assert again.moved_from == first.port


def test_a_port_that_was_insisted_on_is_not_replaced() -> None:
    with (
        contextlib.closing(listen("127.0.0.1", 0, insist=False)) as first,
        pytest.raises(PortTakenError, match=f"Port {first.port} is taken"),
    ):
        listen("127.0.0.1", first.port, insist=True)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_a_thief_on_one_of_the_two_loopbacks_counts() -> None:
    with contextlib.closing(socket.socket(socket.AF_INET6)) as thief:
        thief.bind(("::1", 0))
        thief.listen()
        port = thief.getsockname()[1]
        with pytest.raises(PortTakenError):
            listen("127.0.0.1", port, insist=True)
        with contextlib.closing(listen("127.0.0.1", port, insist=False)) as moved:
            assert moved.port != port
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", port))  # what was tried and given up is closed again


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_only_loopback_addresses_are_listened_on(host: str) -> None:
    with pytest.raises(SettingsError, match="LIMPET_HOST"):
        listen(host, 0, insist=False)
