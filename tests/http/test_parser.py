"""The parser alone: where its limits lie, and that the sizes of the packets make no difference."""

import gc
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoints.http.server.heads import InvalidRequest
from entrypoints.http.server.limits import ServerLimits
from entrypoints.http.server.parser import RequestParser

LIMITS = ServerLimits(max_concurrent_requests=1, request_seconds=1)
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"PUT /b HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc"
HOST_BYTES = len("Host: x\r\n")


class Sink:
    """Records what was parsed."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def begin_request(self, parts: dict[str, Any], *, keep_alive: bool, expects_continue: bool) -> None:
        self.seen.append([parts, keep_alive, expects_continue, b"", False])

    def add_to_body(self, body: bytes) -> None:
        self.seen[-1][3] += body

    def complete_request(self) -> None:
        self.seen[-1][4] = True


def parsed(pieces: Iterable[bytes]) -> list[Any]:
    """Return what was parsed, with the problem code that ended it."""
    sink = Sink()
    parser = RequestParser(sink, LIMITS)
    try:
        for piece in pieces:
            parser.feed(piece)
    except InvalidRequest as invalid:
        return [*sink.seen, invalid.code]
    return sink.seen


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def target(size: int) -> bytes:
    return b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * (size - 1))


def one_header(size: int) -> bytes:
    """All headers together have this size."""
    return LIVE[:-2] + b"X: %b\r\n\r\n" % (b"x" * (size - HOST_BYTES - 5))


def many_headers(size: int) -> bytes:
    filler = (size - HOST_BYTES) // 90
    last = size - HOST_BYTES - filler * 89
    return LIVE[:-2] + b"X: %b\r\n" % (b"x" * (filler - 5)) * 89 + b"Y: %b\r\n\r\n" % (b"y" * (last - 5))


WHOLE = 1 << 20
HEADS = [(target, LIMITS.target_bytes, "uri_too_long")]
HEADS += [(make, LIMITS.header_bytes, "headers_too_large") for make in (one_header, many_headers)]
each_head = pytest.mark.parametrize(("make", "limit", "code"), HEADS, ids=["target", "one header", "many headers"])
each_size = pytest.mark.parametrize("size", [WHOLE, 8193, 8192, 1000, 1])
BEFORE = [b"", LIVE, b"\r\n\r\n", CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", UPGRADE, LIVE * 300]
each_start = pytest.mark.parametrize(
    "before", BEFORE, ids=["first", "second", "empty lines", "chunked", "upgrade", "300"]
)


class TestHeads:
    @each_head
    @each_size
    @each_start
    def test_a_head_at_its_limit_is_accepted(self, make: Any, limit: int, code: str, size: int, before: bytes) -> None:
        seen = parsed(cut(before + make(limit) + LIVE, size))
        assert all(is_complete for *_, is_complete in seen)
        assert len(seen) == len(parsed([before])) + 2

    @each_head
    @each_size
    @each_start
    def test_a_head_of_one_byte_more_is_rejected(
        self, make: Any, limit: int, code: str, size: int, before: bytes
    ) -> None:
        seen = parsed(cut(before + make(limit + 1) + LIVE, size))
        assert seen == [*parsed([before]), code]

    @pytest.mark.parametrize("size", [8192, 1000, 1])
    @pytest.mark.parametrize(
        ("start", "rest", "most", "code"),
        [
            (b"GET /", b"%", LIMITS.target_bytes, "uri_too_long"),
            (b"GET ", b" ", LIMITS.header_bytes, "headers_too_large"),
            (LIVE[:-2] + b"X: ", b"x", LIMITS.header_bytes, "headers_too_large"),
            (LIVE[:-2] + b"X:", b" ", LIMITS.header_bytes, "headers_too_large"),
            (LIVE[:-2], b"x", LIMITS.header_bytes, "headers_too_large"),
            (LIVE[:-2], b"x: y\r\n", 6 * LIMITS.headers, "headers_too_large"),
            (CHUNKED, b"1\r\nx\r\n", 2 * LIMITS.header_bytes, "headers_too_large"),
            (CHUNKED + b"1;", b"x", LIMITS.header_bytes, "headers_too_large"),
            (CHUNKED + b"1;", b"x=y;", LIMITS.header_bytes, "headers_too_large"),
            (CHUNKED, b"1;xxxxxxx\r\nx\r\n", 2 * LIMITS.header_bytes, "headers_too_large"),
            (CHUNKED + b"0\r\nX: ", b"x", LIMITS.header_bytes, "headers_too_large"),
            (CHUNKED + b"0\r\n", b"x: y\r\n", LIMITS.header_bytes, "headers_too_large"),
        ],
    )
    def test_what_never_ends_is_rejected_as_it_arrives(
        self, start: bytes, rest: bytes, most: int, code: str, size: int
    ) -> None:
        fed = 0

        def pieces() -> Iterable[bytes]:
            nonlocal fed
            for piece in cut(start + rest * (1_000_000 // len(rest)), size):
                fed += len(piece)
                yield piece

        assert parsed(pieces())[-1] == code
        assert fed <= len(start) + most + 3 * 8192


@given(
    st.lists(
        st.sampled_from(
            [
                LIVE,
                CHUNKED,
                UPGRADE,
                b"3\r\nabc\r\n",
                b"0\r\n\r\n",
                b"0\r\nX: y\r\n\r\n",
                b"\r\n",
                b"garbage",
                one_header(20_000),
            ]
        ),
        max_size=6,
    ).map(b"".join),
    st.lists(st.integers(1, 20_000) | st.integers(1, 40), min_size=1, max_size=30),
)
def test_the_sizes_of_packets_make_no_difference(data: bytes, sizes: list[int]) -> None:
    pieces, start = [], 0
    for size in sizes * (len(data) // sum(sizes) + 1):
        pieces.append(data[start : start + size])
        start += size
    assert parsed(pieces) == parsed([data])


def test_nothing_of_a_complete_request_is_kept() -> None:
    sink = Sink()
    parser = RequestParser(sink, LIMITS)
    parser.feed(one_header(30_000))
    ((parts, *_),) = sink.seen
    assert gc.get_referrers(parts["headers"]) == [parts]
