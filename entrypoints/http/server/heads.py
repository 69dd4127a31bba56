"""What RFC 9112 demands of a request's head, beyond its syntax, which httptools checks."""

import re

from entrypoints.http.server.asgi import HeaderList

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z!$&'()*+,;=._~%-]*)(:[0-9]{0,5})?")
_MAX_HOST_BYTES = 261
"""A name of 255 bytes and a port."""
_ABSOLUTE = re.compile(rb"https?://(?P<authority>[^/?@:][^/?@]*)(?P<path>/[^?]*)?(\?(?P<query>.*))?", re.IGNORECASE)


class InvalidRequest(Exception):
    """The client sent something that is not a request, so nothing after it can be parsed. The text gives the reason."""

    def __init__(self, detail: str, code: str = "validation_error") -> None:
        """`code` is the problem code of the response."""
        super().__init__(detail)
        self.code = code


def check_headers(version: str, headers: HeaderList) -> bool:
    """Check the headers that decide where a request ends and whom it is for. Raises InvalidRequest.

    A proxy may read them in another way if they are ambiguous. Returns whether the client waits for 100 Continue.
    """
    if version not in ("1.1", "1.0"):
        raise InvalidRequest("The version must be HTTP/1.1 or HTTP/1.0.")
    named = dict(headers)
    if len(named) < len(headers):
        names = [name for name, _ in headers]
        if names.count(b"host") > 1 or names.count(b"transfer-encoding") > 1:
            raise InvalidRequest("Send one Host header, and no more than one Transfer-Encoding header.")
    host = named.get(b"host")
    if host is None:
        if version == "1.1":
            raise InvalidRequest("Send a Host header.")
    elif len(host) > _MAX_HOST_BYTES:
        raise InvalidRequest("The Host header is too long.")
    coding, expectation = named.get(b"transfer-encoding"), named.get(b"expect")
    if coding is not None and (version == "1.0" or coding.lower() != b"chunked"):
        raise InvalidRequest("The only transfer coding is chunked, in HTTP/1.1.")
    if expectation is None:
        return False
    if version == "1.0":
        raise InvalidRequest("HTTP/1.0 has no Expect header.")
    return expectation.lower() == b"100-continue"


def split_target(method: bytes, target: bytes, headers: HeaderList) -> tuple[bytes, bytes]:
    """Return the path and the query of a request's target (RFC 9112, section 3.2). Raises InvalidRequest.

    The host of an absolute URL replaces that of the Host header.
    """
    if b"#" in target:
        raise InvalidRequest("The target must not have a fragment.")
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
        return path, query
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    url = _ABSOLUTE.fullmatch(target)
    if not url or len(url["authority"]) > _MAX_HOST_BYTES or not _HOST.fullmatch(url["authority"]):
        raise InvalidRequest("The target must be a path or a URL of HTTP.")
    headers[:] = [(name, url["authority"] if name == b"host" else value) for name, value in headers]
    return url["path"] or b"/", url["query"] or b""
