"""Calls the service with the client that openapi-python-client generates: python main.py URL USER TOKEN."""

import json
import sys
from uuid import uuid4

from tasks_client import AuthenticatedClient
from tasks_client.api.sync import list_changes
from tasks_client.api.tasks import create_task, get_task, list_tasks
from tasks_client.models import (
    ChangesResponse,
    CreateTaskRequest,
    DeleteEntry,
    InputErrorCode,
    Problem,
    ProblemCode,
    TaskListResponse,
    TaskResponse,
)


def explain(answer: object) -> str:
    if isinstance(answer, Problem):
        match answer.code:
            case ProblemCode.VALIDATION_ERROR if answer.errors:
                return advice(answer.errors[0].code)
            case ProblemCode.TASK_NOT_FOUND:
                return "Remove it from the list."
    return "Report a defect."


def advice(code: InputErrorCode) -> str:
    match code:
        case InputErrorCode.TITLE_EMPTY:
            return "Enter a title."
        case InputErrorCode.TITLE_TOO_LONG:
            return "Shorten the title."
        case _:
            return "Report a defect."


def main(url: str, user: str, token: str) -> None:
    with AuthenticatedClient(base_url=url, token=token) as client:
        created = create_task.sync(user, client=client, body=CreateTaskRequest(title="Buy milk"))
        assert isinstance(created, TaskResponse)
        listed = list_tasks.sync(user, client=client, completed=False)
        assert isinstance(listed, TaskListResponse)
        changed = list_changes.sync(user, client=client)
        assert isinstance(changed, ChangesResponse)
        empty = create_task.sync(user, client=client, body=CreateTaskRequest(title=" "))
        long = create_task.sync(user, client=client, body=CreateTaskRequest(title="x" * 501))
        missing = get_task.sync(user, uuid4(), client=client)
    result = {
        "created": created.title,
        "listed": [task.id == created.id for task in listed.tasks],
        "changed": [
            str(change.id) if isinstance(change, DeleteEntry) else change.task.title for change in changed.changes
        ],
        "explained": [explain(answer) for answer in (empty, long, missing)],
    }
    print(json.dumps(result))


main(*sys.argv[1:])
