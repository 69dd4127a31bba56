"""Which bytes are a request, and which are not: RFC 9112, sections 2 to 7, and the limits of a head."""

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.http.wire import connected, in_memory, statuses
from tests.services import Service

pytestmark = in_memory
HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /health/live HTTP/1.1\r\nHost: x\r\n"  # which is answered with 405
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
ACCEPTED = {
    "plain": (HEAD + b"\r\n", 200),
    "an empty Host": (b"GET /health/live HTTP/1.1\r\nHost:\r\n\r\n", 200),
    "a Host with a port": (b"GET /health/live HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", 200),
    "white space around a value": (b"GET /health/live HTTP/1.1\r\nHost:\t x \t\r\n\r\n", 200),
    "HTTP/1.0 without Host": (b"GET /health/live HTTP/1.0\r\n\r\n", 200),
    "empty lines before it": (b"\r\n\r\n" + HEAD + b"\r\n", 200),
    "a body of a GET": (HEAD + b"Content-Length: 3\r\n\r\nabc", 200),
    "a length with zeros": (POST + b"Content-Length: 0003\r\n\r\nabc", 405),
    "chunks": (CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", 405),
    "chunks with extensions": (CHUNKED + b'3;a=b;c="d"\r\nabc\r\n0\r\n\r\n', 405),
    "chunks in capitals": (POST + b"Transfer-Encoding: CHUNKED \r\n\r\n0\r\n\r\n", 405),
    "another expectation": (POST + b"Expect: tea\r\nContent-Length: 1\r\n\r\nx", 405),
    "an absolute target": (b"GET http://h/health/live HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "an absolute target in capitals": (b"GET HTTPS://[::1]:80/health/live?q HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    "an absolute target without a path": (b"GET http://h?q HTTP/1.1\r\nHost: x\r\n\r\n", 200),  # the page
    "OPTIONS of the server": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 204),
    "two names in a Host": (b"GET /health/live HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "a list of Hosts": (b"GET /health/live HTTP/1.1\r\nHost: a:1, b\r\n\r\n", 400),
    "a Host with a path": (b"GET /health/live HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
}
"""What is a request, though its response may be a problem."""
LONG = 1_000_000
REJECTED = {
    "garbage": (b"garbage\r\n\r\n", 400),
    "a start of TLS": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "a start of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an unknown method": (b"FOO /health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a method in small letters": (b"get /health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "white space before the method": (b" " + HEAD + b"\r\n", 400),
    "a tab in the request line": (b"GET\t/health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "white space after the version": (b"GET /health/live HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /health/live HTTP/0.9\r\nHost: x\r\n\r\n", 400),
    "HTTP/0.9 without a version": (b"GET /health/live\r\n\r\n", 400),
    "HTTP/1.2": (b"GET /health/live HTTP/1.2\r\nHost: x\r\n\r\n", 400),
    "HTTP/2.0": (b"GET /health/live HTTP/2.0\r\nHost: x\r\n\r\n", 400),
    "http/1.1": (b"GET /health/live http/1.1\r\nHost: x\r\n\r\n", 400),
    "no Host": (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (HEAD + b"Host: x\r\n\r\n", 400),
    "two Hosts, HTTP/1.0": (b"GET /health/live HTTP/1.0\r\nHost: x\r\nhost: y\r\n\r\n", 400),
    "a long Host": (b"GET /health/live HTTP/1.1\r\nHost: %b\r\n\r\n" % (b"x" * 300), 400),
    "a fragment": (b"GET /health/live#x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a fragment of a query": (b"GET /health/live?a#x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a fragment of a URL": (b"GET http://h/health/live#x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a letter outside ASCII in the path": (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a letter outside ASCII in the query": (b"GET /?\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a control character in the target": (b"GET /health\x0b/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a relative path": (b"GET health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an authority": (b"GET h:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "CONNECT": (b"CONNECT h:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "GET of the server": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an absolute target and no Host": (b"GET http://h/health/live HTTP/1.1\r\n\r\n", 400),
    "an absolute target of a user": (b"GET http://u@h/health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an absolute target without a host": (b"GET http:///health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an absolute target with a port only": (b"GET http://:80/health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "another scheme": (b"GET ftp://h/health/live HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a folded header": (HEAD + b"X: a\r\n b\r\n\r\n", 400),
    "white space before the first header": (b"GET /health/live HTTP/1.1\r\n X: a\r\nHost: x\r\n\r\n", 400),
    "white space before a colon": (b"GET /health/live HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "a header without a name": (HEAD + b": x\r\n\r\n", 400),
    "a header without a colon": (HEAD + b"X\r\n\r\n", 400),
    "a bracket in a name": (HEAD + b"X(: a\r\n\r\n", 400),
    "a letter outside ASCII in a name": (HEAD + b"X\xff: a\r\n\r\n", 400),
    "a bare CR in a value": (HEAD + b"X: a\rb\r\n\r\n", 400),
    "a bare CR after the request line": (b"GET /health/live HTTP/1.1\rHost: x\r\n\r\n", 400),
    "a bare LF after the request line": (b"GET /health/live HTTP/1.1\nHost: x\r\n\r\n", 400),
    "a bare LF after a header": (b"GET /health/live HTTP/1.1\r\nHost: x\n\r\n", 400),
    "a bare LF after the headers": (HEAD + b"\n", 400),
    "a null byte in a value": (HEAD + b"X: a\0b\r\n\r\n", 400),
    "a control character in a value": (HEAD + b"X: a\x01b\r\n\r\n", 400),
    "a negative length": (POST + b"Content-Length: -3\r\n\r\nabc", 400),
    "a length with a plus": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a list of lengths": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "an empty length": (POST + b"Content-Length:\r\n\r\nabc", 400),
    "a hexadecimal length": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "a length with a space": (POST + b"Content-Length: 3 3\r\n\r\nabc", 400),
    "a length of 67 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\nabc", 400),
    "a length and chunks": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks and a length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "chunks twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "gzip and then chunks": (POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks, HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "an expectation, HTTP/1.0": (b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", 400),
    **{
        f"the transfer coding {coding!r}": (POST + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" % coding, 400)
        for coding in (
            b"gzip",
            b"gzip, chunked",
            b"chunked, gzip",
            b"identity",
            b"xchunked",
            b"",
            b"chunked;q=1",
            b",chunked",
        )
    },
    "a bare LF after the size of a chunk": (CHUNKED + b"1\nx\r\n0\r\n\r\n", 400),
    "a bare LF after a chunk": (CHUNKED + b"1\r\nx\n0\r\n\r\n", 400),
    "a bare LF in an extension": (CHUNKED + b"1;a\nb\r\nx\r\n0\r\n\r\n", 400),
    "a bare CR in an extension": (CHUNKED + b"1;a\rb\r\nx\r\n0\r\n\r\n", 400),
    "a bare LF after a trailer": (CHUNKED + b"0\r\na: b\n\r\n", 400),
    "a negative size of a chunk": (CHUNKED + b"-1\r\nx\r\n0\r\n\r\n", 400),
    "a prefix of the size of a chunk": (CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n", 400),
    "a space after the size of a chunk": (CHUNKED + b"1 \r\nx\r\n0\r\n\r\n", 400),
    "a chunk longer than its size": (CHUNKED + b"1\r\nxx\r\n0\r\n\r\n", 400),
    "a size of a chunk of 68 bits": (CHUNKED + b"fffffffffffffffff\r\nx\r\n0\r\n\r\n", 400),
    "a length in a trailer": (CHUNKED + b"0\r\nContent-Length: 3\r\n\r\nabc", 400),
    "a long path": (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 8192), 414),
    "a path of percent signs": (b"GET /" + b"%" * LONG, 414),
    "a long query": (b"GET /health/live?" + b"&" * LONG, 414),
    "a long header": (HEAD + b"X: " + b"x" * LONG, 431),
    "a long name": (HEAD + b"x" * LONG, 431),
    "many headers": (HEAD + b"X: y\r\n" * LONG, 431),
    "long headers": (HEAD + (b"X: %b\r\n" % (b"x" * 1000)) * 40, 431),
    "long chunk extensions": (CHUNKED + b"1;" + b"x" * LONG, 431),
    "long trailers": (CHUNKED + b"0\r\nx: " + b"x" * LONG, 431),
    "a byte in each chunk": (CHUNKED + b"1\r\nx\r\n" * 60_000, 431),
}
CODES = {400: "validation_error", 414: "uri_too_long", 431: "headers_too_large"}


def answer_to(service: Service, *parts: bytes) -> tuple[bytes, bytes]:
    """Send bytes until the service responds, and return head and body of the response."""
    url = urlsplit(service.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it closed the connection early, as expected
        received = b""
        try:
            while b"}" not in received and (more := connection.recv(65_536)):
                received += more
        except ConnectionResetError:
            pass
        head, _, body = received.partition(b"\r\n\r\n")
        return head, body


@pytest.mark.parametrize(("sent", "status"), REJECTED.values(), ids=REJECTED)
def test_what_is_not_a_request_is_a_problem_and_ends_the_connection(service: Service, sent: bytes, status: int) -> None:
    head, body = answer_to(service, *(sent[n : n + 65_536] for n in range(0, len(sent), 65_536)))
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    problem = json.loads(body)
    assert (problem["code"], problem["status"]) == (CODES[status], status)
    assert f"x-request-id: {problem['request_id']}".encode() in head


@pytest.mark.parametrize("sent", [sent for sent, _ in REJECTED.values() if len(sent) < 1000])
def test_nothing_is_parsed_behind_what_is_not_a_request(service: Service, sent: bytes) -> None:
    with connected(service) as connection:
        connection.sendall(sent + HEAD + b"\r\n")
        assert len(statuses(connection)) == 1


@pytest.mark.parametrize(("sent", "status"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_request_ends_where_the_next_one_begins(service: Service, sent: bytes, status: int) -> None:
    with connected(service) as connection:
        connection.sendall(sent)
        assert statuses(connection, 1) == [status]
        if b"HTTP/1.0" not in sent:
            connection.sendall(sent + HEAD + b"\r\n")
            assert statuses(connection, 2) == [status, 200]
