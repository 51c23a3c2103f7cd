"""The socket that the service listens on, and what it says of it."""

from __future__ import annotations

import socket

import pytest

from interbert.errors import InterbertError
from interbert.recall.service.server import bound, opened


def test_port_0_takes_a_free_one_which_lets_in_once_it_is_opened() -> None:
    with bound("127.0.0.1", 0) as listening:
        place = listening.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place)
        assert opened(listening) == f"http://127.0.0.1:{place[1]}/"
        socket.create_connection(place).close()


def test_all_addresses_are_shown_as_one_that_a_browser_can_open() -> None:
    with bound("0.0.0.0", 0) as listening:
        assert opened(listening).startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_and_a_host_that_is_none_say_what_to_give() -> None:
    with bound("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        listening.listen()
        with pytest.raises(InterbertError, match=f"127.0.0.1:{port} cannot be listened on"):
            bound("127.0.0.1", port)
    with pytest.raises(InterbertError, match="give another --port or --host"):
        bound("203.0.113.1", 0)
