"""The HTTP entry point: the server, the API, its documentation, and the composition of the three."""

from entrypoints.http.app import create_app, server_limits

__all__ = ["create_app", "server_limits"]
