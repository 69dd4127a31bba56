"""The use-cases of tasks in a FastAPI application: bodies, users and errors are the application's own.

DATABASE_URL=memory:// uvicorn docs.examples.fastapi_app:app
curl -H 'X-User: ada' -H 'Content-Type: application/json' http://127.0.0.1:8000/todo -d '{"title": "Buy milk"}'
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from hextasks import DomainError, HextasksError, PageRequest, Task, TaskNotFound, UserTasks, open_tasks


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the storage while the application runs."""
    async with open_tasks(os.environ["DATABASE_URL"]) as app.state.tasks:
        yield


app = FastAPI(lifespan=lifespan)


class NewTask(BaseModel):
    """What a client sends."""

    title: str


def tasks_of_user(request: Request, x_user: Annotated[str, Header()]) -> UserTasks:
    """Return the use-cases of the user who sends the request. Replace the header by your authentication."""
    tasks: UserTasks = request.app.state.tasks.of(x_user)
    return tasks


Mine = Annotated[UserTasks, Depends(tasks_of_user)]


@app.post("/todo", status_code=201)
async def create(body: NewTask, mine: Mine) -> Task:
    """Create a task."""
    return (await mine.create(body.title)).task


@app.get("/todo")
async def unfinished(mine: Mine) -> list[Task]:
    """Return the newest open tasks."""
    return list((await mine.list(PageRequest(completed=False))).tasks)


@app.post("/todo/{task_id}/done")
async def complete(task_id: UUID, mine: Mine) -> Task:
    """Complete a task."""
    return (await mine.complete(task_id)).task


@app.exception_handler(HextasksError)
def explain(_: Request, error: HextasksError) -> JSONResponse:
    """Respond to an error of a use-case; its text is a sentence without user data."""
    status = 404 if isinstance(error, TaskNotFound) else 422 if isinstance(error, DomainError) else 503
    return JSONResponse({"detail": str(error)}, status)
