"""The client's calls on the running service."""

import asyncio
import subprocess
import sys
from uuid import UUID, uuid4

import httpx
import pytest

from adapters.tokens import issue_token
from hextasks import (
    ChangeOperation,
    CreateOperation,
    DeleteOperation,
    HextasksError,
    InvalidText,
    Operation,
    Removal,
    Task,
    TaskChange,
    TaskDraft,
)
from hextasks.client import ApiProblem, TasksClient, UserTasksClient
from tests.services import SECRET, Service

COMPLETED = TaskChange(is_completed=True)


async def created(me: UserTasksClient, *titles: str) -> list[Task]:
    return [(await me.create(title)).task for title in titles]


async def test_a_task_is_created_changed_and_deleted(me: UserTasksClient) -> None:
    written = await me.create("  Buy milk ")
    task = written.task
    assert (task.title, task.version, task.is_completed, task.user_id) == ("Buy milk", 1, False, me.user_id)
    assert (written.sync_token or "").endswith("-1")
    renamed = (await me.update(task.id, TaskChange(title="Buy oat milk"))).task
    assert (renamed.title, renamed.version) == ("Buy oat milk", 2)
    done = await me.complete(task.id)
    assert done.task.is_completed
    again = await me.complete(task.id)
    assert (again.task, again.sync_token) == (done.task, None)
    assert await me.get(task.id) == done.task
    reopened = (await me.update(task.id, TaskChange(is_completed=False))).task
    assert reopened.completed_at is None
    deleted = await me.delete(task.id)
    assert deleted.task is None
    assert (await me.changes()).changes == ()
    assert (await me.changes(since=written.sync_token)).changes == (Removal(id=task.id, version=5),)
    with pytest.raises(ApiProblem, match=r"^The task does not exist \(404 task_not_found, request \S+\)\.$"):
        await me.get(task.id)


async def test_an_unchanged_task_and_page_are_the_known_ones(me: UserTasksClient) -> None:
    [task] = await created(me, "Buy milk")
    page = await me.list()
    assert await me.get(task) is task
    assert await me.list(known=page) is page
    assert await me.list(completed=True, known=page) is not page
    await me.complete(task.id)
    assert (await me.get(task)).version == 2
    assert (await me.list(known=page)).tasks == (await me.get(task.id),)


async def test_lists_are_read_page_by_page(me: UserTasksClient) -> None:
    tasks = await created(me, "Café", "Buy milk", "CAFÉ crème")
    await me.complete(tasks[1].id)
    first = await me.list(limit=2)
    second = await me.list(limit=2, cursor=first.next_cursor)
    assert [task.id for task in (*first.tasks, *second.tasks)] == [task.id for task in reversed(tasks)]
    assert second.next_cursor is None
    assert [task.title async for task in me.all(page_size=1)] == ["CAFÉ crème", "Buy milk", "Café"]
    assert [task.title async for task in me.all(page_size=1, q="café", completed=False)] == ["CAFÉ crème", "Café"]
    assert [task.title async for task in me.all(completed=True)] == ["Buy milk"]


async def test_changes_are_read_page_by_page(me: UserTasksClient) -> None:
    one, two, three = await created(me, "one", "two", "three")
    pages = [page async for page in me.all_changes(page_size=2)]
    assert [page.changes for page in pages] == [(one, two), (three,)]
    await me.delete(two.id)
    [page] = [page async for page in me.all_changes(since=pages[-1].next)]
    assert page.changes == (Removal(id=two.id, version=4),)
    with pytest.raises(ApiProblem) as expired:
        await anext(me.all_changes(since="ffffffffffff-7"))
    assert expired.value.code == "sync_token_expired"


async def test_a_batch_is_carried_out_completely_or_not_at_all(me: UserTasksClient) -> None:
    one, two, three = await created(me, "one", "two", "three")
    key, new = "the key", uuid4()
    operations: list[Operation] = [
        CreateOperation(draft=TaskDraft(title="four"), task_id=new),
        ChangeOperation(task_id=one.id, change=TaskChange(title="first", is_completed=True), expected_version=1),
        ChangeOperation(task_id=two.id, change=COMPLETED),
        DeleteOperation(task_id=three.id, expected_version=3),
    ]
    state = (await me.changes()).next
    result = await me.batch(operations, if_state=state, idempotency_key=key)
    assert not result.is_replayed
    four, first, second, removal = result.results
    assert isinstance(four, Task)
    assert (four.id, four.title) == (new, "four")
    assert isinstance(first, Task)
    assert (first.title, first.is_completed) == ("first", True)
    assert isinstance(second, Task)
    assert second.is_completed
    assert removal == Removal(id=three.id, version=7)
    replayed = await me.batch(operations, if_state=state, idempotency_key=key)
    assert replayed.is_replayed
    assert (replayed.results, replayed.next) == (result.results, (await me.changes()).next)
    with pytest.raises(ApiProblem) as changed:
        await me.batch(operations[:1], if_state=state)
    assert changed.value.code == "version_mismatch"
    with pytest.raises(ApiProblem) as rejected:
        await me.batch([*operations[1:2], DeleteOperation(task_id=three.id)])
    places = [(error.pointer, error.code, error.current_version) for error in rejected.value.errors]
    assert places == [("/operations/0/if_version", "version_mismatch", 5), ("/operations/1/id", "task_not_found", None)]


async def test_writes_take_a_version_that_the_task_must_or_must_not_have(me: UserTasksClient) -> None:
    [task] = await created(me, "Buy milk")
    for write in (
        me.update(task.id, TaskChange(title="no"), if_version=9),
        me.update(task.id, TaskChange(title="no"), unless_version=1),
        me.complete(task.id, if_version=9),
        me.complete(task.id, unless_version=1),
        me.delete(task.id, if_version=9),
        me.delete(task.id, unless_version=1),
    ):
        with pytest.raises(ApiProblem) as error:
            await write
        assert (error.value.status, error.value.code, error.value.current_version) == (412, "version_mismatch", 1)
    assert (await me.update(task.id, TaskChange(title="yes"), if_version=1, unless_version=9)).task.version == 2
    assert (await me.complete(task.id, if_version=2)).task.version == 3
    await me.delete(task.id, if_version=3)


async def test_a_known_key_or_id_repeats_a_call_of_an_earlier_process(me: UserTasksClient) -> None:
    key = r'any "key" \ 1'
    first = await me.create("Buy milk", idempotency_key=key)
    again = await me.create("Buy milk", idempotency_key=key)
    assert (again.task, again.sync_token, again.is_replayed) == (first.task, first.sync_token, True)
    with pytest.raises(ApiProblem) as reused:
        await me.create("Buy bread", idempotency_key=key)
    assert reused.value.code == "idempotency_key_reused"
    kept = await me.create("Buy milk", task_id=first.task.id)
    assert (kept.task, kept.sync_token, kept.is_replayed) == (first.task, None, False)
    for wrong in ("", "x" * 256, "a\nb", "clé"):
        with pytest.raises(ValueError, match="idempotency key must"):
            await me.create("Buy milk", idempotency_key=wrong)


async def test_errors_are_those_of_the_domain_or_typed_problems(me: UserTasksClient) -> None:
    [task] = await created(me, "Buy milk")
    with pytest.raises(InvalidText):
        await me.create(" ")
    with pytest.raises(InvalidText):
        await me.update(task.id, TaskChange(title="x" * 501))
    with pytest.raises(HextasksError) as invalid:
        await me.list(limit=501, q="")
    assert isinstance(invalid.value, ApiProblem)
    assert (invalid.value.status, invalid.value.code) == (400, "validation_error")
    assert [(error.parameter, error.code) for error in invalid.value.errors] == [("limit", "limit_out_of_range")]
    assert str(UUID(invalid.value.request_id)) in str(invalid.value)


@pytest.mark.parametrize("user", ["auth0|42", "a/b?c#d", "100%", ".", "..", "...", "Zoë 🎉", "%2F"])
async def test_every_user_id_is_one_segment_of_the_path(me: UserTasksClient, user: str) -> None:
    assert (await me.create("Buy milk")).task.user_id == user


async def test_the_service_may_be_below_a_path(
    http: httpx.AsyncClient, service: Service, user: str, token: str
) -> None:
    with pytest.raises(ApiProblem) as missing:
        await TasksClient(f"{service.url}/below/", token=token, http=http).of(user).list()
    assert missing.value.problem.instance.startswith("/below/api/user%2F")


async def test_the_token_comes_from_a_function_which_is_asked_again_once(
    service: Service, http: httpx.AsyncClient, user: str, token: str
) -> None:
    given = iter([token, "expired", token, "expired", "expired", "expired", "wrong"])

    async def fresh() -> str:
        await asyncio.sleep(0)
        return next(given)

    me = TasksClient(service.url, token=fresh, http=http).of(user)
    await me.create("one")
    await me.create("two")
    for _ in range(2):
        with pytest.raises(ApiProblem) as rejected:
            await me.create("three")
        assert (rejected.value.status, rejected.value.code) == (401, "token_invalid")
    assert next(given, None) is None
    other = TasksClient(service.url, token=lambda: issue_token(SECRET, "other"), http=http).of(user)
    with pytest.raises(ApiProblem) as forbidden:
        await other.list()
    assert forbidden.value.code == "forbidden"


async def test_what_cannot_be_sent_is_refused_with_a_sentence(service: Service, http: httpx.AsyncClient) -> None:
    for url in ("ada", "ftp://host", "https://", "https://host?a=b", "https://ada:pw@host"):
        with pytest.raises(ValueError, match="URL of the service"):
            TasksClient(url, token="t")
    with pytest.raises(ValueError, match="access token") as wrong:
        await TasksClient(service.url, token="secret\n", http=http).of("ada").list()
    assert "secret" not in str(wrong.value)
    with pytest.raises(InvalidText):
        TasksClient(service.url, token="t", http=http).of("")


async def test_the_service_is_alive_and_ready(service: Service) -> None:
    async with TasksClient(service.url, token="none") as client:
        assert ((await client.live()).status, (await client.ready()).status) == ("ok", "ok")


def test_only_httpx_and_msgspec_are_loaded() -> None:
    code = "import sys, hextasks.client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"httpx", "msgspec"} <= {*loaded}
    assert not {"litestar", "sqlalchemy", "asyncpg", "jwt", "dependency_injector", "entrypoints"} & {*loaded}
