"""A headless Chromium without internet access, driven through the DevTools protocol."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.patience import DEADLINE_SECONDS

needs_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")

_OPTIONS = (
    *["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
    *["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"],
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # Two pages of the browser itself, loaded into each new window for its address bar: half of the processor time.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup",
)
_REPLACED = "Inspected target navigated or closed"
_KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, "")}


class PageReplaced(Exception):
    """The page was replaced by another one while a command was carried out."""


class Browser:
    """A browser process. What it reports while a command is awaited goes to the tab that it is about."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._received = b""
        self._last_id = 0
        self._tabs: dict[str, Tab] = {}

    def open(self, url: str, *, width: int = 800, height: int = 700) -> "Tab":
        """Open a page in a window of its own, so that it is visible, as one of two pages side by side."""
        target = self.call("Target.createTarget", url="about:blank", newWindow=True, width=width, height=height)
        session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(browser=self, session=session)
        for domain in ("Page", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        tab.call("Page.navigate", url=url)
        return tab

    def call(self, method: str, session: str | None = None, **params: object) -> Any:
        """Run a command to its end and return its result. Raises PageReplaced."""
        sent = self.send(method, session, **params)
        while (message := self._receive()).get("id") != sent:
            tab = self._tabs.get(message.get("sessionId", ""))
            if tab and "method" in message:
                tab.record(message["method"], message["params"])
        if message.get("error", {}).get("message") == _REPLACED:
            raise PageReplaced
        assert "error" not in message, (method, message["error"])
        return message["result"]

    def send(self, method: str, session: str | None = None, **params: object) -> int:
        """Send a command, and return the id of its result."""
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "params": params}
        self._channel.sendall(json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0")
        return self._last_id

    def _receive(self) -> Any:
        while b"\0" not in self._received:
            received = self._channel.recv(1 << 16)
            assert received, "the browser has ended"
            self._received += received
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)


@dataclass(slots=True, kw_only=True)
class Tab:
    """A page, used by scripts, text and keys."""

    browser: Browser
    session: str
    errors: list[str] = field(default_factory=list)
    """Exceptions, violations of the Content-Security-Policy, errors and warnings of the console."""
    failed_requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    """The kinds of dialogs that were shown; each is accepted at once."""
    loads: int = 0

    def call(self, method: str, **params: object) -> Any:
        return self.browser.call(method, self.session, **params)

    def record(self, event: str, about: Any) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(about["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(about["args"]))
        elif event == "Page.loadEventFired":
            self.loads += 1
        elif event == "Page.javascriptDialogOpening":
            self.dialogs.append(about["type"])
            self.browser.send("Page.handleJavaScriptDialog", self.session, accept=True)
        elif event == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            entry = about["entry"]
            (self.failed_requests if entry["source"] == "network" else self.errors).append(entry["text"])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str, value: object = True) -> None:
        """Wait until an expression has a value, if necessary in the page that replaces this one."""
        deadline, found = time.monotonic() + DEADLINE_SECONDS, None
        while True:
            with suppress(PageReplaced):
                if (found := self.evaluate(expression)) == value:
                    return
            assert time.monotonic() < deadline, f"{expression} is {found!r} and not {value!r}; {self.errors}"
            time.sleep(0.02)

    def reload(self) -> None:
        """Load the page again, as a user does, who is asked first if the page wants that."""
        self.load("location.reload()")

    def load(self, script: str) -> None:
        """Run a script, and wait until the page that it loads is there."""
        loads = self.loads
        self.evaluate(f"setTimeout(() => {{ {script} }})")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.loads == loads:
            assert time.monotonic() < deadline, "the page does not load"
            self.browser.call("Browser.getVersion")
            time.sleep(0.02)

    def close(self) -> None:
        """Close the page, without asking it."""
        self.call("Page.close")

    def press(self, key: str) -> None:
        code, text = _KEYS[key]
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def type(self, text: str) -> None:
        """Replace the selected text of the control that has the focus."""
        self.call("Input.insertText", text=text)


@contextmanager
def running_browser(profile: Path) -> Iterator[Browser]:
    """Run a browser with a new profile until the end of the block."""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_SECONDS)
    pipes = f'exec chromium "$@" 3<&{theirs.fileno()} 4>&{theirs.fileno()}'
    with (
        ours,
        theirs,
        subprocess.Popen(
            ["bash", "-c", pipes, "bash", *_OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        browser = Browser(ours)
        try:
            yield browser
            browser.call("Browser.close")
            process.wait(DEADLINE_SECONDS)
        finally:
            process.kill()
