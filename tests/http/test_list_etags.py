"""The entity tag of a list: that of the user's state and the query."""

from collections.abc import Callable
from itertools import permutations

import httpx
import pytest

from adapters.postgres import Database
from tests.http.wire import assert_problem, listed, made, one
from tests.services import Client, running_service

QUERIES = ["", "limit=1", "limit=2", "completed=true", "completed=false", "q=milk", "q=Milk", "limit=1&completed=false"]


def tag_of(client: Client, query: str = "") -> str:
    answer = client.get(f"{client.tasks}?{query}")
    assert answer.status_code == 200
    return answer.headers["etag"]


def ask(client: Client, tags: str, query: str = "") -> httpx.Response:
    return client.get(f"{client.tasks}?{query}", headers={"If-None-Match": tags})


def assert_unchanged(answer: httpx.Response, tag: str) -> None:
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)


def test_a_list_is_sent_again_after_each_kind_of_write_and_after_nothing_else(me: Client) -> None:
    first, second = made(me), made(me)
    operations = [{"op": "create", "title": "x"}, {"op": "delete", "id": second["id"]}]
    writes: list[Callable[[], httpx.Response]] = [
        lambda: me.post(me.tasks, json={"title": "Buy tea"}),
        lambda: me.put(one(me, first), json={"title": "Buy oat milk"}),
        lambda: me.patch(one(me, first) + "/complete"),
        lambda: me.post(f"{me.tasks}/batch", json={"operations": operations}),
        lambda: me.post(me.tasks, json={"title": "Buy tea"}, headers={"Idempotency-Key": "k"}),
        lambda: me.delete(one(me, first)),
    ]
    seen = set()
    for write in writes:
        tag = tag_of(me)
        seen.add(tag)
        assert_unchanged(ask(me, tag), tag)
        assert write().is_success
        answer = ask(me, tag)
        assert (answer.status_code, answer.json()["tasks"]) == (200, listed(me))
    assert len(seen) == len(writes)
    tag = tag_of(me)
    assert me.delete(one(me, first)).status_code == 404
    assert me.post(me.tasks, json={"title": "Buy tea"}, headers={"Idempotency-Key": "k"}).status_code == 201
    assert_unchanged(ask(me, tag), tag)


def test_a_tag_belongs_to_its_query(me: Client) -> None:
    for title in ("Buy milk", "Buy oat milk", "Buy tea"):
        made(me, title)
    cursor = me.get(me.tasks, params={"limit": 1}).json()["next_cursor"]
    tags = {query: tag_of(me, query) for query in (*QUERIES, f"limit=1&cursor={cursor}")}
    assert len(set(tags.values())) == len(tags)
    for query, other in permutations(tags, 2):
        assert ask(me, tags[other], query).status_code == 200
    for query, tag in tags.items():
        assert_unchanged(ask(me, tag, query), tag)
        assert_unchanged(ask(me, ", ".join(tags.values()), query), tag)


def test_a_tag_belongs_to_its_user(me: Client, other: Client) -> None:
    made(me), made(other)
    answer = ask(me, tag_of(other))
    assert (answer.status_code, answer.json()["tasks"]) == (200, listed(me))


@pytest.mark.parametrize("form", ["{}", "*", '"x", {}', 'W/"7" ,{},', "{0}, {0}", "strong"])
@pytest.mark.parametrize("tasks", [0, 2])
def test_forms_that_match(me: Client, form: str, tasks: int) -> None:
    for _ in range(tasks):
        made(me)
    tag = tag_of(me)
    assert tag.startswith('W/"')
    given = tag.removeprefix("W/") if form == "strong" else form.format(tag)
    assert_unchanged(ask(me, given), tag)
    head = me.head(me.tasks, headers={"If-None-Match": given})
    assert_unchanged(head, tag)


def test_forms_that_do_not_match(me: Client) -> None:
    task = made(me)
    state, _, digest = tag_of(me).removeprefix('W/"').removesuffix('"').rpartition("-")
    forms = [f"{state}-1-{digest}", f"{state}0-{digest}", f"{state}-{'0' * 8}", f"0{state}-{digest}", digest, state, ""]
    for form in [*(f'W/"{form}"' for form in forms), "garbage", state, "", '"1"']:
        answer = ask(me, form)
        assert (answer.status_code, answer.json()["tasks"]) == (200, [task]), form


def test_the_number_of_tags_is_bounded(me: Client) -> None:
    made(me)
    tag = tag_of(me)
    assert_unchanged(ask(me, '"x", ' * 99 + tag), tag)
    answer = ask(me, '"x", ' * 100 + tag)
    assert_problem(answer, "validation_error", ("parameter", "If-None-Match", "invalid_value"))


def test_a_query_that_is_not_valid_is_rejected_all_the_same(me: Client) -> None:
    assert me.get(f"{me.tasks}?limit=0", headers={"If-None-Match": "*"}).status_code == 400


@pytest.mark.database
def test_an_unchanged_list_is_one_statement_that_returns_no_task(
    service_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    fetch = Database.fetch

    async def noted(*args: object, **options: object) -> object:
        results.append(await fetch(*args, **options))  # type: ignore[arg-type]
        return results[-1]

    with running_service(DATABASE_URL=service_database_url) as service, service.client() as me:
        for _ in range(3):
            made(me)
        tag = tag_of(me)
        monkeypatch.setattr(Database, "fetch", noted)
        assert_unchanged(ask(me, tag), tag)
    ((row,),) = results
    assert row["id"] is None
