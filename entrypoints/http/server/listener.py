"""The listening socket, whose options bound what the system keeps for each connection."""

import socket

BACKLOG = 2048
RECEIVE_BYTES = 131_072
"""For what the client has sent and was not yet read; no request is longer."""
UNSENT_BYTES = 16_384
"""For what was written and not yet sent. It does not limit what is under way, so it costs no throughput."""


def listen(host: str, port: int, *, unread_seconds: float) -> socket.socket:
    """Bind a port. Connections inherit the options; the system ends one whose client reads nothing for so long.

    The system's time limit also holds after the connection was closed, when no file descriptor is left.
    Raises OSError, and UnicodeError for text that is not a host name.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unread_seconds * 1000))
    return listener
