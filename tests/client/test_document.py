"""The client and the OpenAPI document say the same: operations, parameters, headers, and the fields of all bodies."""

import json
import re
from collections import defaultdict
from datetime import datetime
from typing import Any, get_type_hints
from uuid import UUID, uuid4

import httpx
import pytest

from hextasks import ChangeOperation, CreateOperation, DeleteOperation, Task, TaskChange, TaskDraft
from hextasks.client import ApiProblem, BatchResult, ChangePage, Health, InputError, Problem, TaskPage, TasksClient
from hextasks.client.messages import Delete, Put
from tests.client.unsteady import Unsteady, events_response
from tests.fields import CHANGES, DRAFTS
from tests.http.wire import dereferenced
from tests.services import Service

USUAL = {"host", "accept", "accept-encoding", "connection", "user-agent", "authorization"}
USUAL |= {"content-type", "content-length"}
TYPES = {
    "TaskResponse": Task,
    "TaskListResponse": TaskPage,
    "PutEntry": Put,
    "DeleteEntry": Delete,
    "ChangesResponse": ChangePage,
    "BatchResponse": BatchResult,
    "HealthResponse": Health,
    "Problem": Problem,
    "InputError": InputError,
}
FROM_HEADERS = {"TaskListResponse": {"etag"}, "BatchResponse": {"is_replayed"}}
NEW = {field: value for draft in DRAFTS for field, value in draft.items()} | {"title": "one"}
CHANGE = {field: value for change in CHANGES for field, value in change.items()}
"""A value of each field that can be given, and of each that can be changed."""
SCALARS = {"uuid": UUID, "date-time": datetime, "string": str, "integer": int, "boolean": bool}

Operation = tuple[str, str]


@pytest.fixture(scope="module")
def document(service: Service) -> Any:
    return dereferenced(httpx.get(f"{service.url}/openapi.json", verify=False).json())


class Recorded:
    """What the client has sent, by the operations of a document, and the headers that it has received."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self.parameters: dict[Operation, set[str]] = defaultdict(set)
        self.bodies: dict[Operation, dict[str, Any]] = defaultdict(dict)
        self.responses: list[httpx.Response] = []

    async def request(self, request: httpx.Request) -> None:
        operation = self._operation(request)
        headers = {name.lower() for name in request.headers} - USUAL
        self.parameters[operation] |= headers | set(request.url.params)
        if request.content:
            _merge(self.bodies[operation], _shape(json.loads(request.content)))

    async def response(self, response: httpx.Response) -> None:
        self.responses.append(response)

    def _operation(self, request: httpx.Request) -> Operation:
        """Return the operation of a request: the one whose path has the fewest parameters."""
        target = request.url.raw_path.partition(b"?")[0].decode()
        paths = sorted(self._document["paths"], key=lambda path: path.count("{"))
        found = (path for path in paths if re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), target))
        return next(found), request.method.lower()


def _shape(value: Any) -> dict[str, Any]:
    """Return the names in a body; entries of different kinds by their kind."""
    if isinstance(value, list):
        merged: dict[str, Any] = {}
        for each in value:
            _merge(merged, _shape(each))
        return merged
    if not isinstance(value, dict):
        return {}
    shape = {name: _shape(each) for name, each in value.items()}
    return {value["op"]: shape} if "op" in value else shape


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for name, each in other.items():
        _merge(into.setdefault(name, {}), each)


def _described(document: Any, schema: Any) -> dict[str, Any]:
    """Return the shape that a schema describes."""
    if "$ref" in schema:
        return _described(document, document["components"]["schemas"][_name(schema)])
    if "discriminator" in schema:
        mapping = schema["discriminator"]["mapping"]
        return {kind: _described(document, {"$ref": reference}) for kind, reference in mapping.items()}
    if schema.get("type") == "array":
        return _described(document, schema["items"])
    return {name: _described(document, each) for name, each in schema.get("properties", {}).items()}


def _name(schema: Any) -> str:
    return str(schema["$ref"].removeprefix("#/components/schemas/"))


async def everything(client: TasksClient, user: str) -> str:
    """Use all of the client, and return a token."""
    me = client.of(user)
    await client.live()
    await client.ready()
    task = (await me.create(TaskDraft(**NEW), task_id=uuid4())).task
    await me.create("two")
    await me.get(task)
    page = await me.list(limit=1, completed=False, q="o")
    await me.list(cursor=page.next_cursor, completed=False, q="o", known=page)
    changes = await me.changes(limit=1)
    await anext(me.all_changes(since=changes.next))
    versions: Any = {"if_version": 1, "unless_version": 9}
    await me.update(task.id, TaskChange(**CHANGE), **versions)
    for write in (me.complete, me.delete):
        with pytest.raises(ApiProblem):
            await write(task.id, **versions)
    with pytest.raises(ApiProblem):
        await me.batch(
            [
                CreateOperation(draft=TaskDraft(**NEW), task_id=uuid4()),
                ChangeOperation(task_id=uuid4(), change=TaskChange(**CHANGE), expected_version=1),
                ChangeOperation(task_id=uuid4(), change=TaskChange(is_completed=True), expected_version=1),
                DeleteOperation(task_id=uuid4(), expected_version=1),
            ],
            if_state=changes.next,
        )
    return changes.next


async def test_every_operation_parameter_and_field_of_a_request_is_used(
    document: Any, unsteady: Unsteady, user: str, token: str
) -> None:
    recorded = Recorded(document)
    hooks: Any = {"request": [recorded.request]}
    async with httpx.AsyncClient(verify=False, event_hooks=hooks) as http:
        client = TasksClient(unsteady.url, token=token, http=http)
        since = await everything(client, user)
        unsteady.faults.append(events_response(f"retry: 1\nid: {since}\n\n"))
        await anext(client.of(user).events(since=since))
    operations = {
        (path, method): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert recorded.parameters == {
        key: {each["name"].lower() for each in operation.get("parameters", []) if each["in"] != "path"}
        for key, operation in operations.items()
    }
    assert recorded.bodies == {
        key: _described(document, operation["requestBody"]["content"]["application/json"]["schema"])
        for key, operation in operations.items()
        if "requestBody" in operation
    }


def test_every_field_of_a_response_has_its_name_and_type(document: Any) -> None:
    described: set[str] = set()
    for response in _responses(document):
        for content in response.get("content", {}).values():
            described |= _names(document, content["schema"])
    assert described == TYPES.keys()
    for name in described:
        schema = document["components"]["schemas"][name]
        assert set(_types(TYPES[name])) == set(schema["properties"]) - {"op"} | FROM_HEADERS.get(name, set())
        for field, value in schema["properties"].items():
            kinds = [each.get("format", each.get("type")) for each in value.get("anyOf", [value])]
            if scalars := [SCALARS[kind] for kind in kinds if kind in SCALARS and field != "op"]:
                is_optional = "null" in kinds or (field not in schema["required"] and "default" not in value)
                expected = scalars[0] | None if is_optional else scalars[0]
                assert _types(TYPES[name])[field] == expected, (name, field)


async def test_every_header_of_a_response_is_told(service: Service, document: Any, user: str, token: str) -> None:
    received: list[httpx.Headers] = []

    async def receive(response: httpx.Response) -> None:
        received.append(response.headers)

    hooks: Any = {"response": [receive]}
    async with httpx.AsyncClient(verify=False, event_hooks=hooks) as http:
        me = TasksClient(service.url, token=token, http=http).of(user)
        first = await me.create("one", idempotency_key="1")
        replayed = await me.create("one", idempotency_key="1")
        await me.create("two")
        page = await me.list(limit=1)
        with pytest.raises(ApiProblem) as missing:
            await me.get(uuid4())
        with pytest.raises(ApiProblem) as rejected:
            await TasksClient(service.url, token="none", http=http).of(user).list()
    assert received[0]["ETag"] == f'"{first.task.version}"'
    assert received[0]["Sync-Token"] == first.sync_token
    assert received[0]["Location"].endswith(f"/{first.task.id}")
    assert (received[1]["Idempotency-Replayed"] == "true") is replayed.is_replayed
    assert received[3]["ETag"] == page.etag
    assert f"cursor={page.next_cursor}" in received[3]["Link"]
    assert received[4]["X-Request-ID"] == missing.value.request_id
    assert "invalid_token" in received[5]["WWW-Authenticate"]
    assert rejected.value.code == "token_invalid"
    assert len(received) == 6  # the same token is not sent again
    proved = {"ETag", "Sync-Token", "Location", "Idempotency-Replayed", "Link", "X-Request-ID", "WWW-Authenticate"}
    elsewhere = {"Retry-After", "RateLimit", "RateLimit-Policy"}  # test_attempts.py, and event hooks
    assert {name for response in _responses(document) for name in response["headers"]} == proved | elsewhere


def _responses(document: Any) -> list[Any]:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    return [response for operation in operations for response in operation["responses"].values()]


def _names(document: Any, schema: Any) -> set[str]:
    """Return the names of all types in a schema."""
    found = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(schema)))
    return found.union(*(_names(document, document["components"]["schemas"][name]) for name in found))


def _types(kind: type) -> dict[str, object]:
    """Return the public attributes of a class with their types."""
    properties = {name: each.fget for name, each in vars(kind).items() if isinstance(each, property)}
    returned = {name: get_type_hints(function)["return"] for name, function in properties.items()}
    return {name: hint for name, hint in (get_type_hints(kind) | returned).items() if not name.startswith("_")}
