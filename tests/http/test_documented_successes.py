"""Every operation of `/openapi.json` is called: status, headers and body of its successes match the document."""

import json
import re
from copy import deepcopy
from itertools import islice
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.http.wire import dereferenced, made
from tests.services import Client

TITLE = {"json": {"title": "Buy oat milk"}}
CALLS: list[tuple[str, int, str, str, dict[str, Any]]] = [
    ("listTasks", 200, "GET", "{tasks}", {}),
    ("listTasks", 200, "GET", "{tasks}?limit=1", {}),
    ("listTasks", 304, "GET", "{tasks}", {"headers": {"If-None-Match": "*"}}),
    ("listChanges", 200, "GET", "{tasks}/changes", {}),
    ("followTasks", 200, "GET", "{tasks}/events", {}),
    ("createTask", 201, "POST", "{tasks}", TITLE),
    ("createTask", 200, "POST", "{tasks}", {"json": {"id": "{id}", "title": "Buy milk"}}),
    ("applyBatch", 200, "POST", "{tasks}/batch", {"json": {"operations": [{"op": "create", "title": "Buy tea"}]}}),
    ("getTask", 200, "GET", "{tasks}/{id}", {}),
    ("getTask", 304, "GET", "{tasks}/{id}", {"headers": {"If-None-Match": "*"}}),
    ("updateTask", 200, "PUT", "{tasks}/{id}", TITLE),
    ("completeTask", 200, "PATCH", "{tasks}/{id}/complete", {}),
    ("deleteTask", 204, "DELETE", "{tasks}/{id}", {}),
    ("live", 200, "GET", "/health/live", {}),
    ("ready", 200, "GET", "/health/ready", {}),
]
FOR_PROXIES = {"connection", "transfer-encoding", "x-accel-buffering"}
"""Headers of streams that no client sees."""
Json = dict[str, Any]


@pytest.fixture
def description(me: Client) -> httpx.Response:
    return me.get("/openapi.json")


def operations(document: Json) -> dict[str, tuple[str, str, Json]]:
    """Return method, path and description of each operation by its id."""
    return {
        operation["operationId"]: (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def check(document: Json, schema: Json, value: object) -> None:
    """Fail unless a value fits a non-empty schema, and has no field that the schema does not name."""
    strict = deepcopy(document["components"])
    for component in strict["schemas"].values():
        component.setdefault("additionalProperties", False)
    name = schema.get("$ref", "").rpartition("/")[2]
    described = strict["schemas"][name] if name else schema
    assert described.get("properties") if isinstance(value, dict) else described, "the document has no schema for this"
    OAS31Validator({**schema, "components": strict}, format_checker=OAS31Validator.FORMAT_CHECKER).validate(value)


def test_the_document_is_valid_and_each_of_its_successes_is_called(description: httpx.Response) -> None:
    validate(description.json())
    successes = {
        (name, int(status))
        for name, (_, _, operation) in operations(description.json()).items()
        for status in operation["responses"]
        if int(status) < 400
    }
    stream = ("followTasks", 200)  # which has no end: see test_events.py
    assert {(name, status) for name, status, *_ in CALLS} | {stream} == successes


@pytest.mark.parametrize(
    ("name", "status", "method", "target", "request_"), CALLS, ids=[f"{name} {status}" for name, status, *_ in CALLS]
)
def test_a_success_matches_the_document(
    me: Client, description: httpx.Response, name: str, status: int, method: str, target: str, request_: Json
) -> None:
    made(me)
    task = made(me)
    path = target.format(tasks=me.tasks, id=task["id"])
    request_ = json.loads(json.dumps(request_).replace("{id}", task["id"]))
    with me.stream(method, path, **request_) as answer:
        content = next(answer.iter_text()) if name == "followTasks" else answer.read().decode()
    document = dereferenced(description.json())
    described_method, described_path, operation = operations(document)[name]
    assert method.lower() == described_method
    assert path.partition("?")[0] == described_path.format(user_id=me.user, task_id=task["id"])
    assert answer.status_code == status, content

    described = operation["responses"][str(status)]
    for header, about in described["headers"].items():
        assert header in answer.headers or not about["required"], header
        if header in answer.headers:
            check(document, about["schema"], answer.headers[header])
    own = answer.headers.keys() - description.headers.keys() - FOR_PROXIES  # the others are on every answer
    assert own <= {header.lower() for header in described["headers"]}

    if "content" not in described:
        assert content == ""
    else:
        (media_type,) = described["content"]
        assert answer.headers["content-type"].partition(";")[0] == media_type
        check(
            document,
            described["content"][media_type]["schema"],
            content if name == "followTasks" else json.loads(content),
        )


def masked(content: object) -> str:
    """Return content without what differs from call to call: users, ids, times and epochs."""
    text = content if isinstance(content, str) else json.dumps(content)
    for pattern in (r"\bme-[0-9a-f-]{36}|\bada\b", r"[0-9a-f-]{36}", r"[0-9-]{10}T[0-9:.]{15}Z", r"[0-9a-f]{12}-"):
        text = re.sub(pattern, "…", text)
    return text


def test_the_examples_are_what_the_service_returns(me: Client, description: httpx.Response) -> None:
    document = dereferenced(description.json())

    def send(name: str, status: int = 200, **names: str) -> Any:
        method, path, operation = operations(document)[name]
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        answer = me.request(method, path.format(user_id=me.user, **names), json=body)
        assert answer.status_code == status, answer.text
        example = operation["responses"][str(status)]["content"]["application/json"]["example"]
        assert masked(answer.json()) == masked(example)
        return answer.json()

    task_id = send("createTask", 201)["id"]
    send("getTask", task_id=task_id)
    send("listTasks")
    send("updateTask", task_id=task_id)
    send("completeTask", task_id=task_id)
    since = send("listChanges")["next"]
    send("applyBatch")
    _, path, operation = operations(document)["followTasks"]
    with me.stream("GET", path.format(user_id=me.user), params={"since": since}) as stream:
        lines = [*islice(stream.iter_lines(), 13)]  # three events, of which the example has the first and the last
    example = operation["responses"]["200"]["content"]["text/event-stream"]["example"]
    events = masked("\n".join([*lines[:5], *lines[9:], ""]))
    assert re.sub("retry: [0-9]+", "retry: 2500", events) == masked(example)
