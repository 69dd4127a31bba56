"""The HTTP API, in Litestar: requests become use-case calls, results and refusals become answers, and nothing else."""

from entrypoints.http.app import create_app, create_app_from_environment

__all__ = ["create_app", "create_app_from_environment"]
