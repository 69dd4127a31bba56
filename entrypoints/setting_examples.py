"""Examples of settings, for the messages about invalid ones."""

from types import MappingProxyType

DATABASE_URL_EXAMPLE = "postgresql://user:password@db.example.com:5432/hextasks"
EXAMPLES = MappingProxyType(
    {
        "DATABASE_URL": DATABASE_URL_EXAMPLE,
        "DATABASE_SCHEMA": "hextasks",
        "JWT_SECRET": "$(openssl rand -base64 48)",
        "JWT_JWKS_URL": "https://auth.example.com/api/auth/jwks",
        "JWT_ISSUER": "https://auth.example.com",
        "JWT_AUDIENCE": "hextasks",
        "ADMIN_PORT": "8001",
        "METRICS": "true",
        "CORS_ORIGINS": "https://app.example.com,http://localhost:3000",
        "APP_PAGE": "true",
        "DATABASE_POOL_PRE_PING": "true",
    }
)
"""Of settings without a default that could be the example."""
