"""The page for users in a browser: what it shows, what its users do, and a service that can be killed."""

import signal
from contextlib import ExitStack
from pathlib import Path

from adapters.tokens import issue_token
from tests.browser import Tab
from tests.cli.processes import Served, serving
from tests.http.wire import pages
from tests.services import SECRET, Client
from tests.wires import free_port

TITLES = "[...document.querySelectorAll('#list .title')].map(each => each.textContent)"
NOTICES = "[...document.querySelectorAll('#notices span')].map(each => each.textContent)"
STATUS = "document.querySelector('#status')?.textContent"
FOCUSED = "(e => e.getAttribute('aria-label') ?? (e.labels?.[0] ?? e).textContent)(document.activeElement)"
SHOWN_FORM = "[...document.querySelectorAll('main > [id]:not([hidden])')].map(each => each.id)"


class Backend:
    """A service that can be killed and started again at the same address, on the same database."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = str(free_port())
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        self.served: Served = self._running.enter_context(serving(self._home, PORT=self._port, JWT_SECRET=SECRET))

    def kill(self) -> None:
        assert self.served.stop(signal.SIGKILL) == -signal.SIGKILL

    def stop(self) -> None:
        self._running.close()

    def url(self, user: str) -> str:
        return f"{self.served.address}/#token={issue_token(SECRET, user)}"

    def client(self, user: str) -> Client:
        return Client(self.served.address, user, issue_token(SECRET, user))

    def titles(self, user: str) -> list[str]:
        with self.client(user) as client:
            return [task["title"] for page in pages(client, limit=500) for task in page]


def control(title: str, name: str) -> str:
    """Return the expression for a control in the row of a task."""
    row = f"[...document.querySelectorAll('#list li')].find(each => each.textContent.includes({title!r}))"
    return f"{row}?.querySelector('.{name}')"


def add(tab: Tab, title: str) -> None:
    tab.evaluate("document.querySelector('#add input').focus()")
    tab.type(title)
    tab.press("Enter")


def retitle(tab: Tab, old: str, new: str) -> None:
    tab.evaluate(f"{control(old, 'title')}.click()")
    tab.evaluate("document.activeElement.select()")
    tab.type(new)
    tab.press("Enter")
