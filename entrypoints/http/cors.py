"""Which pages of other origins may use the API, and what of it."""

from litestar.config.cors import CORSConfig

from entrypoints.http.docs.document import HEADERS
from entrypoints.settings import Settings


def cors_config(settings: Settings) -> CORSConfig | None:
    """Return the CORS rules for the allowed origins, or None without any."""
    if not settings.cors_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.cors_origins),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"),
            *("Last-Event-ID", "X-Request-ID"),
        ],
        expose_headers=[*HEADERS],
    )
