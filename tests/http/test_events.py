"""Server-sent events: every change once and in order, resumed from any event."""

import json
import random
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from entrypoints.http.api import events
from tests.cli.processes import ROOT
from tests.http.wire import FIRST_TOKEN, assert_problem, listed, made, one, raw
from tests.services import Client, Service, fill
from tests.streams import Event, following, put

DRIVER = """
const [url, token, lastId] = process.argv.slice(2);
const change = ({ op, task }) => console.log(op, task.title);
await follow(url, () => token, lastId, { change, resync: (id) => console.log("resync", id) });
"""
"""Runs the client of docs/reference/events.md."""
FOREIGN = "ffffffffffff-7"
"""A token of another epoch."""


def ready(token: str) -> Event:
    return Event(name="ready", id=token, data={})


def plain(event: Event) -> Event:
    """Return an event without `retry`, which only the first one has."""
    return Event(name=event.name, id=event.id, data=event.data)


def applied(replica: dict[str, Any], event: Event) -> None:
    """Apply a change to a copy of the list."""
    assert event.name == "change"
    if event.data["op"] == "put":
        replica[event.data["task"]["id"]] = event.data["task"]
    else:
        assert event.data.keys() == {"op", "id", "version"}
        replica.pop(event.data["id"], None)


class TestChanges:
    def test_each_is_an_event_whose_id_is_the_token_after_it(self, me: Client) -> None:
        with following(me) as stream:
            assert plain(next(stream)) == ready(FIRST_TOKEN)
            created = me.post(me.tasks, json={"title": "Buy milk"})
            assert put(created) == next(stream)
            path = one(me, created.json())
            assert put(me.put(path, json={"title": "Buy oat milk"})) == next(stream)
            assert put(me.patch(f"{path}/complete")) == next(stream)
            deleted = me.delete(path)
            assert deleted.status_code == 204
            gone = {"op": "delete", "id": created.json()["id"], "version": 4}
            assert next(stream) == Event(name="change", id=deleted.headers["sync-token"], data=gone)
            operations = [{"op": "create", "title": "one"}, {"op": "create", "title": "two"}]
            batch = me.post(f"{me.tasks}/batch", json={"operations": operations}).json()
            both = stream.take(2)
            assert [event.data["task"]["title"] for event in both] == ["one", "two"]
            assert both[1].id == batch["next"]
            entries = me.get(f"{me.tasks}/changes", params={"since": deleted.headers["sync-token"]}).json()["changes"]
            assert [event.data for event in both] == entries

    def test_a_write_that_changes_nothing_is_no_event(self, me: Client) -> None:
        task = made(me)
        with following(me) as stream:
            next(stream)
            me.put(one(me, task), json={"title": task["title"]})
            me.put(one(me, task), json={"title": " "})
            me.delete(f"{me.tasks}/{'0' * 8}-0000-7000-8000-{'0' * 12}")
            assert put(me.post(me.tasks, json={"title": "after all"})) == next(stream)

    def test_no_one_else_receives_them(self, me: Client, other: Client) -> None:
        with following(me) as mine, following(other) as others:
            next(mine), next(others)
            for n in range(3):
                assert put(me.post(me.tasks, json={"title": f"mine {n}"})) == next(mine)
                assert put(other.post(other.tasks, json={"title": f"other {n}"})) == next(others)

    def test_all_streams_of_a_user_receive_them(self, me: Client) -> None:
        with following(me) as one_tab, following(me) as another:
            next(one_tab), next(another)
            created = put(me.post(me.tasks, json={"title": "x"}))
            assert next(one_tab) == next(another) == created


class TestStart:
    def test_with_neither_header_nor_query_it_is_now(self, me: Client) -> None:
        created = me.post(me.tasks, json={"title": "before"})
        with following(me) as stream:
            first = next(stream)
            assert plain(first) == ready(created.headers["sync-token"])
            assert first.retry in events.RETRY_MILLISECONDS
            assert put(me.post(me.tasks, json={"title": "after"})) == next(stream)

    def test_a_stream_resumes_after_any_event_and_misses_nothing(self, me: Client) -> None:
        fill(me, 5)
        with following(me, since=FIRST_TOKEN) as stream:
            everything = stream.take(6)
        for n, event in enumerate(everything):
            with following(me, event.id) as stream:
                assert plain(next(stream)) == ready(event.id or "")
                assert [each.data for each in stream.take(5 - n)] == [each.data for each in everything[n + 1 :]]
        with following(me, everything[-1].id) as stream:
            next(stream)
            assert put(me.post(me.tasks, json={"title": "new"})) == next(stream)

    def test_the_header_takes_precedence(self, me: Client) -> None:
        one, two = (me.post(me.tasks, json={"title": title}) for title in ("one", "two"))
        with following(me, one.headers["sync-token"], since=FIRST_TOKEN) as stream:
            assert [event.data.get("task") for event in stream.take(2)] == [None, two.json()]
        with following(me, "", since=one.headers["sync-token"]) as stream:  # an empty one is none
            assert [event.data.get("task") for event in stream.take(2)] == [None, two.json()]

    def test_a_first_synchronization_may_break_off_within_a_page(self, me: Client) -> None:
        """Tasks that are changed and deleted meanwhile, some before they came, are as in the list at the end."""
        fill(me, 250)
        chance, token, replica = random.Random(7), FIRST_TOKEN, dict[str, Any]()
        for _ in range(12):
            with following(me, token) as stream:
                next(stream)
                for event in stream.take(chance.randrange(1, 40)):
                    applied(replica, event)
                    token = event.id or ""
            for task in chance.sample(listed(me), 5):
                assert me.delete(one(me, task)).status_code == 204
            for task in chance.sample(listed(me), 5):
                assert me.patch(f"{one(me, task)}/complete").status_code == 200
        last = me.post(me.tasks, json={"title": "the last"})
        with following(me, token) as stream:
            next(stream)
            for event in stream:
                applied(replica, event)
                if event.id == last.headers["sync-token"]:
                    break
        assert replica == {task["id"]: task for task in listed(me)}

    @pytest.mark.parametrize("ahead", [FOREIGN, "{epoch}-9"], ids=["another epoch", "ahead of the counter"])
    def test_after_an_expired_token_comes_resync_and_what_happens_from_then_on(self, me: Client, ahead: str) -> None:
        now = me.post(me.tasks, json={"title": "unknown"}).headers["sync-token"]
        with following(me, ahead.format(epoch=now.partition("-")[0])) as stream:
            assert [plain(event) for event in stream.take(2)] == [ready(now), Event(name="resync", id=now, data={})]
            assert put(me.post(me.tasks, json={"title": "x"})) == next(stream)

    @pytest.mark.parametrize("token", ["7", "x-1", "000000000000-01", FIRST_TOKEN + "-"])
    def test_a_malformed_token_is_rejected(self, me: Client, token: str) -> None:
        with following(me, since=token) as stream:
            assert_problem(stream.answer, "validation_error", ("parameter", "since", "sync_token_malformed"))
        with following(me, token) as stream:
            assert_problem(stream.answer, "validation_error", ("parameter", "Last-Event-ID", "sync_token_malformed"))


class TestResponse:
    def test_its_headers_forbid_to_store_and_to_buffer(self, me: Client) -> None:
        with following(me) as stream:
            head = me.head(f"{me.tasks}/events")
            for headers in (stream.answer.headers, head.headers):
                assert headers["content-type"] == "text/event-stream"
                assert headers["cache-control"] == "no-store, no-transform"
                assert headers["x-accel-buffering"] == "no"
                assert headers["x-content-type-options"] == "nosniff"
            assert (head.status_code, head.content) == (200, b"")

    def test_pages_of_an_allowed_origin_may_read_it(self, me: Client) -> None:
        me.headers["Origin"] = "https://app.example.com"
        try:
            with following(me) as stream:
                assert stream.answer.headers["access-control-allow-origin"] == "https://app.example.com"
        finally:
            del me.headers["Origin"]

    def test_only_the_owner_may_read_it(self, service: Service, me: Client, other: Client) -> None:
        assert_problem(me.get(f"{other.tasks}/events"), "forbidden")
        assert_problem(raw(service, "GET", f"{me.tasks}/events"), "token_missing")

    def test_a_ping_without_an_id_comes_when_nothing_changes(self, me: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events, "PING_SECONDS", 0.1)
        with following(me) as stream:
            assert [event.name for event in stream.take(3)] == ["ready", "ping", "ping"]
            created = put(me.post(me.tasks, json={"title": "x"}))
            others = [event for event in stream.take(5) if event != created]
            assert others == [Event(name="ping", id=None, data={})] * 4

    def test_its_line_in_the_log_is_written_at_its_end_with_its_duration(self, service: Service, me: Client) -> None:
        lines: list[Any] = []

        def note(written: bytes) -> None:
            line = json.loads(written)
            if line["user_id"] == me.user:  # a stream of another test may end only now
                lines.append(line)

        service.access_lines.append(note)
        with following(me) as stream:
            next(stream)
            time.sleep(0.3)
            made(me)
            next(stream)
            assert [line["method"] for line in lines] == ["POST"]
        deadline = time.monotonic() + 20
        while len(lines) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        service.access_lines.clear()
        assert (lines[1]["route"], lines[1]["status"]) == ("/api/{user_id}/tasks/events", 200)
        assert lines[1]["duration_ms"] > 300


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_documented_client_follows_changes(me: Client, tmp_path: Path) -> None:
    (client,) = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "reference" / "events.md").read_text(), re.DOTALL)
    (tmp_path / "client.mjs").write_text(f"{client}\n{DRIVER}")
    authorization = me.headers["Authorization"].removeprefix("Bearer ")
    command = ["node", "client.mjs", f"{me.base_url}{me.tasks}/events", authorization, FOREIGN]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == f"resync {FIRST_TOKEN}\n"
            made(me, "one: two")
            assert process.stdout.readline() == "put one: two\n"
        finally:
            process.kill()
