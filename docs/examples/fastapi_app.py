"""The use-cases of tasks in a FastAPI application: routes, users and errors are the application's own.

```console
$ DATABASE_URL=memory:// uvicorn docs.examples.fastapi_app:app
$ curl -H 'X-User: ada' -H 'Content-Type: application/json' 127.0.0.1:8000/todo -d '{"title": "Buy milk"}'
```
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse

from hextasks import DomainError, HextasksError, PageRequest, Task, UserTasks, open_tasks


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Open the storage while the application runs."""
    async with open_tasks(os.environ["DATABASE_URL"]) as app.state.tasks:
        yield


app = FastAPI(lifespan=lifespan)


def my_tasks(request: Request, x_user: Annotated[str, Header()]) -> UserTasks:
    """Return the use-cases of the user who sends the request. Use your own authentication instead of the header."""
    tasks: UserTasks = request.app.state.tasks.of(x_user)
    return tasks


@app.post("/todo", status_code=201)
async def create(title: Annotated[str, Body(embed=True)], mine: Annotated[UserTasks, Depends(my_tasks)]) -> Task:
    """Create a task."""
    return (await mine.create(title)).task


@app.get("/todo")
async def unfinished(mine: Annotated[UserTasks, Depends(my_tasks)]) -> list[Task]:
    """Return the newest open tasks."""
    return list((await mine.list(PageRequest(completed=False))).tasks)


@app.exception_handler(HextasksError)
def explain(_: Request, error: HextasksError) -> JSONResponse:
    """Respond to an error of a use-case; its text is a sentence without user data."""
    return JSONResponse({"detail": str(error)}, 422 if isinstance(error, DomainError) else 503)
