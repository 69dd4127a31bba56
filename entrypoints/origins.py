"""Web origins."""

import re

_ORIGIN = re.compile(r"(https?)://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_DEFAULT_PORTS = {("http", "80"), ("https", "443")}


def is_origin(text: str) -> bool:
    """Return whether a browser may send this as the origin of a page."""
    origin = _ORIGIN.fullmatch(text)
    return origin is not None and int(origin[2] or 1) < 65_536 and (origin[1], origin[2]) not in _DEFAULT_PORTS
