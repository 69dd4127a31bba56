"""The page for users: what it may load, and how it works in a browser, on the real service."""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.embedded_postgres import EmbeddedPostgres
from adapters.tokens import issue_token
from tests.browser import Browser, Tab, needs_chromium
from tests.cli.processes import command
from tests.embedded_servers import end_servers, query, with_cluster
from tests.http.page import FOCUSED, NOTICES, SHOWN_FORM, STATUS, TITLES, Backend, add, control, retitle
from tests.http.wire import raw
from tests.services import SECRET, Service, running_service


@pytest.fixture(scope="module")
def production() -> Iterator[Service]:
    with running_service(
        ENVIRONMENT="production",
        DATABASE_URL="postgresql://ada@127.0.0.1:1/tasks",
        APP_PAGE="true",
        JWT_USER_CLAIM='a"<b>',
    ) as service:
        yield service


def test_it_allows_nothing_but_its_own_files_and_the_api(production: Service) -> None:
    page = raw(production, "GET", "/app")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(each.split(" ", 1) for each in page.headers["content-security-policy"].split("; "))
    own = ("script-src", "style-src", "img-src", "connect-src")
    none = ("default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types")
    scripts = {"require-trusted-types-for": "'script'"}
    assert policy == dict.fromkeys(own, "'self'") | dict.fromkeys(none, "'none'") | scripts
    assert not re.search(r"<script>|<style>|\son\w+=|\sstyle=|https?://", page.text)
    assert 'content="a&quot;&lt;b&gt;"' in page.text


def test_it_is_at_app_in_production_where_the_root_names_places(production: Service) -> None:
    places = raw(production, "GET", "/").json()
    assert places.pop("page") == "/app"
    assert places.pop("tasks") == "/api/{user_id}/tasks"
    health = places.pop("health")
    assert set(health) == {"live", "ready"}
    assert set(places) == {"docs", "openapi"}
    for path in ("/app", health["live"], *places.values()):
        assert raw(production, "GET", path).status_code == 200, path
    for path in re.findall(r'(?:href|src)="([^"]+)"', raw(production, "GET", "/app").text):
        assert raw(production, "GET", path).status_code == 200, path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    with_cluster(home / ".data" / "postgres", is_migrated=True)
    yield home
    end_servers(home)


@pytest.fixture(scope="module")
def backend(home: Path) -> Iterator[Backend]:
    backend = Backend(home)
    yield backend
    backend.stop()


@pytest.fixture
def user() -> str:
    return f"user-{uuid4()}"


@pytest.fixture
def tabs(browser: Browser, backend: Backend, user: str) -> Iterator[tuple[Tab, Tab]]:
    """Two pages of one user, both connected."""
    one, two = browser.open(backend.url(user)), browser.open(backend.url(user))
    for tab in (one, two):
        tab.until(STATUS, "Live")
    yield one, two
    for tab in (one, two):
        assert not tab.errors
        tab.close()


@needs_chromium
@pytest.mark.database
class TestInABrowser:
    def test_what_is_done_in_one_tab_is_seen_in_the_other(self, tabs: tuple[Tab, Tab]) -> None:
        one, two = tabs
        add(one, "Buy <img src=x onerror=alert(1)>")
        assert one.evaluate(TITLES) == ["Buy <img src=x onerror=alert(1)>"], "at once, before the service has answered"
        two.until(TITLES, ["Buy <img src=x onerror=alert(1)>"])
        add(two, "Call Groß & Σίσυφος")
        one.until(TITLES, ["Call Groß & Σίσυφος", "Buy <img src=x onerror=alert(1)>"])
        retitle(two, "Buy", "Buy milk")
        one.until(TITLES, ["Call Groß & Σίσυφος", "Buy milk"])
        for is_completed in (True, False):
            one.evaluate(f"{control('milk', 'done')}.click()")
            two.until(f"{control('milk', 'done')}.checked", is_completed)
        for text in ("GROSS", "ΣΊΣΥΦΟΣ", "& "):
            two.evaluate("document.querySelector('#find [type=search]').select()")
            two.type(text)
            two.until(TITLES, ["Call Groß & Σίσυφος"])
        two.evaluate(f"{control('Groß', 'delete')}.click()")
        one.until(TITLES, ["Buy milk"])
        for tab in tabs:
            tab.until(STATUS, "Live")
            assert not tab.failed_requests

    def test_the_keyboard_is_enough(self, tabs: tuple[Tab, Tab]) -> None:
        one, two = tabs
        for title in ("first", "second"):
            add(one, title)
        focused = []
        while (label := one.evaluate(FOCUSED)) != "Delete second":
            focused.append(label)
            one.press("Tab")
        assert focused == ["New task", "Add", "Search tasks", "All", "second", "second"]
        one.press("Enter")
        two.until(TITLES, ["first"])
        assert one.evaluate(FOCUSED) == "Delete first", "the focus moves to the neighbour"
        one.evaluate(f"{control('first', 'title')}.focus()")
        for text, key, title in (("renamed", "Enter", "renamed"), (" not", "Escape", "renamed")):
            one.press("Enter")
            one.evaluate("document.activeElement.select()")
            one.type(text)
            one.press(key)
            assert one.evaluate(FOCUSED) == title
        two.until(TITLES, ["renamed"])

    def test_a_title_that_the_user_has_not_seen_is_not_overwritten(self, tabs: tuple[Tab, Tab]) -> None:
        one, two = tabs
        add(one, "draft")
        two.until(TITLES, ["draft"])
        one.evaluate(f"{control('draft', 'title')}.click()")
        retitle(two, "draft", "theirs")
        one.until(TITLES, ["theirs"])
        one.evaluate("document.activeElement.select()")
        one.type("mine")
        one.press("Enter")
        one.until(NOTICES, ["“mine” was not saved: “draft” is now “theirs”."])
        assert one.evaluate(TITLES) == ["theirs"]
        one.evaluate("document.querySelector('#notices button').click()")
        two.until(TITLES, ["mine"])

    def test_what_is_done_while_the_service_is_down_arrives_once(
        self, tabs: tuple[Tab, Tab], backend: Backend, user: str
    ) -> None:
        """Killed while changes are sent, so that the outcome of some is unknown."""
        one, two = tabs
        for title in ("to rename", "to complete", "to delete"):
            add(one, title)
        two.until(f"{TITLES}.length", 3)
        burst = [f"task {n}" for n in range(20)]
        for title in burst[:10]:
            add(one, title)
        backend.kill()
        for title in burst[10:]:
            add(one, title)
        retitle(one, "to rename", "renamed")
        one.evaluate(f"{control('to complete', 'done')}.click()")
        one.evaluate(f"{control('to delete', 'delete')}.click()")
        expected = [*reversed(burst), "to complete", "renamed"]
        assert one.evaluate(TITLES) == expected
        two.until(STATUS, "Connecting…")
        backend.start()
        for tab in tabs:
            tab.until(STATUS, "Live")
            tab.until(TITLES, expected)
            assert tab.evaluate(f"{control('to complete', 'done')}.checked")
        assert backend.titles(user) == expected

    def test_a_reload_keeps_what_is_not_saved_yet(self, tabs: tuple[Tab, Tab]) -> None:
        one, two = tabs
        one.call("Network.enable")
        one.call("Network.setBlockedURLs", urls=["*/api/*"])
        add(one, "unsaved")
        one.reload()
        one.until(TITLES, ["unsaved"])
        assert one.dialogs == ["beforeunload"], "the user is asked first"
        assert two.evaluate(TITLES) == []
        one.call("Network.setBlockedURLs", urls=[])
        two.until(TITLES, ["unsaved"])

    def test_a_long_list_is_read_page_by_page(self, browser: Browser, backend: Backend, user: str) -> None:
        with backend.client(user) as client:
            for hundred in range(11):
                operations = [{"op": "create", "title": f"task {hundred}-{n}"} for n in range(100)]
                client.post(f"{client.tasks}/batch", json={"operations": operations}).raise_for_status()
        tab = browser.open(backend.url(user))
        tab.until("document.querySelector('#count')?.textContent", "1100 tasks; these are the newest 500")
        assert tab.evaluate(TITLES) == backend.titles(user)[:500]
        tab.evaluate("document.querySelector('#find [type=search]').focus()")
        tab.type("task 0-99")
        tab.until(TITLES, ["task 0-99"])
        tab.close()

    def test_a_restored_backup_replaces_what_is_shown(self, tabs: tuple[Tab, Tab], home: Path, user: str) -> None:
        one, two = tabs
        add(one, "lost")
        two.until(TITLES, ["lost"])
        one.until(STATUS, "Live")
        with EmbeddedPostgres(home / ".data" / "postgres").running() as url:
            query(url, f"DELETE FROM tasks WHERE user_id = '{user}'")
        assert command("restored", cwd=home).returncode == 0
        for tab in tabs:
            tab.until(TITLES, [])
        add(one, "new")
        two.until(TITLES, ["new"])

    def test_it_asks_for_a_token_and_shows_none(self, browser: Browser, backend: Backend, user: str) -> None:
        tab = browser.open(backend.served.address)
        invalid = issue_token("another secret that is long enough", user)
        for token, reason in (("nonsense", "This is not a token."), (invalid, "The token's signature does not match.")):
            tab.until(SHOWN_FORM, ["sign-in"])
            tab.evaluate("document.querySelector('#token').focus()")
            tab.type(token)
            tab.press("Enter")
            tab.until("document.querySelector('#reason')?.textContent", reason)
        tab.load(f"location.href = '{backend.url(user)}'")
        tab.until(STATUS, "Live")
        assert tab.evaluate("[location.href, document.body.innerHTML.includes('eyJ')]") == [
            f"{backend.served.address}/",
            False,
        ]
        tab.evaluate("document.querySelector('#sign-out').click()")
        tab.until(SHOWN_FORM, ["sign-in"])
        assert tab.evaluate("sessionStorage.length") == 0
        assert not tab.errors
        tab.close()

    def test_in_production_a_link_does_not_choose_the_user(self, browser: Browser, production: Service) -> None:
        tab = browser.open(f"{production.url}/app#token={issue_token(SECRET, 'mallory')}")
        tab.until(SHOWN_FORM, ["sign-in"])
        assert tab.evaluate("location.hash + sessionStorage.length") == "0"
        assert not tab.errors
        tab.close()
