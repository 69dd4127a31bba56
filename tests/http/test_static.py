"""The API reference as caches and browsers use it: compressed, and not sent again to clients that have it."""

from collections.abc import Iterator

import httpx
import pytest

from tests.http.wire import raw
from tests.services import Service, running_service

PATHS = [
    *["/docs", "/openapi.json", "/docs/assets/swagger.js", "/docs/assets/swagger.css", "/docs/assets/page.js"],
    *["/", "/app/assets/main.js", "/app/assets/style.css"],
]
each_path = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service(DATABASE_URL="memory://", CORS_ORIGINS="*") as service:
        yield service


def get(service: Service, path: str, *headers: tuple[str, str]) -> httpx.Response:
    return raw(service, "GET", path, headers)


@each_path
def test_a_client_that_accepts_gzip_receives_the_same_compressed(service: Service, path: str) -> None:
    plain = get(service, path)
    compressed = get(service, path, ("Accept-Encoding", "br;q=1.0, GZIP;q=0.8"))
    assert plain.status_code == compressed.status_code == 200
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.headers["content-type"] == plain.headers["content-type"]
    assert compressed.content == plain.content, "which the client has decompressed"
    if path.startswith("/docs/assets/swagger"):
        assert int(compressed.headers["content-length"]) < len(plain.content) / 3


@each_path
@pytest.mark.parametrize("accepted", ["", "identity", "br, deflate", "gzip;q=0", "gzip; q=0.000, br", "gzipped"])
def test_another_client_does_not(service: Service, path: str, accepted: str) -> None:
    assert "content-encoding" not in get(service, path, ("Accept-Encoding", accepted)).headers


@each_path
@pytest.mark.parametrize("origin", [(), (("Origin", "https://app.example.com"),)], ids=["", "another origin"])
def test_caches_keep_both_apart(service: Service, path: str, origin: tuple[tuple[str, str], ...]) -> None:
    tags = set()
    for accepted in ((), (("Accept-Encoding", "gzip"),)):
        answer = get(service, path, *accepted, *origin)
        assert "accept-encoding" in answer.headers["vary"].lower()
        tags.add(answer.headers["etag"])
        assert answer.headers["etag"].startswith('"'), "a strong tag"
    assert len(tags) == 2


@each_path
@pytest.mark.parametrize("accepted", ["identity", "gzip"])
def test_a_client_that_has_it_does_not_receive_it_again(service: Service, path: str, accepted: str) -> None:
    encoding = ("Accept-Encoding", accepted)
    first = get(service, path, encoding)
    tag = first.headers["etag"]
    for seen in (tag, f'"other", W/{tag}', "*"):
        again = get(service, path, encoding, ("If-None-Match", seen))
        assert (again.status_code, again.content) == (304, b"")
        same = ("etag", "vary", "cache-control")
        assert [again.headers[name] for name in same] == [first.headers[name] for name in same]
    assert get(service, path, encoding, ("If-None-Match", '"other"')).status_code == 200
    changed = ("Accept-Encoding", "identity" if accepted == "gzip" else "gzip")
    assert get(service, path, changed, ("If-None-Match", tag)).status_code == 200
