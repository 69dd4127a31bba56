"""The HTTP API, in Litestar: requests become use-case calls, results and refusals become answers, and nothing else."""

from entrypoints.http.app import create_app, server_limits

__all__ = ["create_app", "server_limits"]
