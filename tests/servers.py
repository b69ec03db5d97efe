"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket

_FIRST, _LAST = 20_000, 32_000
"""Below the ports that Linux and macOS give to outgoing connections, one of which could take it before the server."""


def free_port() -> int:
    """A port of this host that nobody listens on, and that no connection is given by chance."""
    choice = random.SystemRandom()  # pytest-randomly seeds the other one alike in every worker
    while True:
        port = choice.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
