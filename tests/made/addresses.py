"""Addresses of this machine for processes that listen."""

import socket


def free_address():
    """127.0.0.1 with a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"
