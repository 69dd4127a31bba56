"""A token issuer that signs with its own keys and publishes them over HTTP, as real ones do."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from adapters.tokens import TokenError, TokenVerifier
from adapters.tokens.remote_keys import RemoteKeySet

ISSUER, AUDIENCE = "https://id.example", "https://tasks.example"
PRIVATE: dict[str, Any] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
TO_JWK: dict[str, Any] = {"EdDSA": OKPAlgorithm.to_jwk, "ES256": ECAlgorithm.to_jwk, "RS256": RSAAlgorithm.to_jwk}
OTHER = ed25519.Ed25519PrivateKey.generate()


def published(algorithm: str, key: Any = None, **members: Any) -> dict[str, Any]:
    """A public key as Better Auth publishes it: an id, and no `alg`."""
    jwk: dict[str, Any] = json.loads(TO_JWK[algorithm]((key or PRIVATE[algorithm]).public_key()))
    jwk.pop("alg", None)
    jwk.pop("key_ops", None)
    return {**jwk, "kid": algorithm, **members}


def token(algorithm: str = "EdDSA", key: Any = None, *, kid: str | None = "", **claims: Any) -> str:
    now = int(time.time())
    full = {"sub": "ada", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 900, **claims}
    headers = {} if kid is None else {"kid": kid or algorithm}
    return jwt.encode(full, key or PRIVATE[algorithm], algorithm, headers=headers)


def verifier(keys: RemoteKeySet) -> TokenVerifier:
    return TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE)


async def code_of(judge: TokenVerifier, given: str) -> str:
    """Return the code with which a token is rejected."""
    with pytest.raises(TokenError) as rejected:
        await judge.user_id(given)
    return rejected.value.code


class Issuer:
    """What the server answers, and how often it was asked."""

    def __init__(self) -> None:
        self.keys = [published(algorithm) for algorithm in PRIVATE]
        self.url = ""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.delay = 0.0
        self.seconds_per_byte = 0.0
        self.asked = 0


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            time.sleep(issuer.delay)
            body = issuer.body or json.dumps({"keys": issuer.keys}).encode()
            self.send_response(issuer.status)
            for name, value in {**issuer.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # the client disconnected
                for n in range(len(body) if issuer.seconds_per_byte else 0):
                    self.wfile.write(body[n : n + 1])
                    time.sleep(issuer.seconds_per_byte)
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with _serving(Handler) as url:
        issuer.url = url
        yield issuer


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.001})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/jwks"
        server.shutdown()
        thread.join()
