"""The usual stack: FastAPI, SQLModel, asyncpg and python-jose, as their documentation shows them.

Reads DATABASE_URL and JWT_SECRET. Run by `uvicorn usual_stack:app`, with the packages of the group `bench`.
"""

import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jose import JWTError, jwt
from sqlalchemy import DateTime, Index
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
logger = logging.getLogger("tasks")

JWT_SECRET = os.environ["JWT_SECRET"]
DATABASE_URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")

engine = create_async_engine(DATABASE_URL, pool_size=10, max_overflow=20, pool_pre_ping=True)
new_session = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
TIME = DateTime(timezone=True)


class Task(SQLModel, table=True):
    __tablename__ = "tasks"
    __table_args__ = (Index("tasks_newest_first", "user_id", "created_at", "id"),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    user_id: str = Field(max_length=255)
    title: str = Field(max_length=500)
    is_completed: bool = False
    completed_at: datetime | None = Field(default=None, sa_type=TIME)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC), sa_type=TIME)
    updated_at: datetime = Field(default_factory=lambda: datetime.now(UTC), sa_type=TIME)
    version: int = 1


class TaskCreate(SQLModel):
    title: str = Field(min_length=1, max_length=500)


class TaskUpdate(SQLModel):
    title: str | None = Field(default=None, min_length=1, max_length=500)
    is_completed: bool | None = None


class TaskRead(SQLModel):
    id: UUID
    user_id: str
    title: str
    is_completed: bool
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int


class TaskList(SQLModel):
    tasks: list[TaskRead]
    next_cursor: datetime | None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(title="Tasks", lifespan=lifespan)
Next = Callable[[Request], Awaitable[Response]]


@app.middleware("http")
async def log_requests(request: Request, call_next: Next) -> Response:
    began = time.perf_counter()
    response = await call_next(request)
    milliseconds = (time.perf_counter() - began) * 1000
    request_id = response.headers.get("x-request-id")
    logger.info("%s %s %s %.1fms %s", request.method, request.url.path, response.status_code, milliseconds, request_id)
    return response


@app.middleware("http")
async def add_request_id(request: Request, call_next: Next) -> Response:
    request_id = request.headers.get("x-request-id") or str(uuid4())
    request.state.request_id = request_id
    response = await call_next(request)
    response.headers["x-request-id"] = request_id
    return response


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


async def get_user(user_id: str, credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    try:
        claims = jwt.decode(credentials.credentials, JWT_SECRET, algorithms=["HS256"])
    except JWTError:
        raise HTTPException(status_code=401, detail="Invalid token") from None
    if claims.get("sub") != user_id:
        raise HTTPException(status_code=403, detail="Not your tasks")
    return user_id


Session = Annotated[AsyncSession, Depends(get_session)]
User = Annotated[str, Depends(get_user)]


async def get_own_task(task_id: UUID, user: User, session: Session) -> Task:
    task = (await session.exec(select(Task).where(Task.id == task_id, Task.user_id == user))).first()
    if task is None:
        raise HTTPException(status_code=404, detail="Task not found")
    return task


OwnTask = Annotated[Task, Depends(get_own_task)]


async def store(task: Task, session: AsyncSession) -> Task:
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task


@app.get("/api/{user_id}/tasks", response_model=TaskList)
async def list_tasks(
    user: User, session: Session, limit: Annotated[int, Query(ge=1, le=500)] = 50, cursor: datetime | None = None
) -> dict[str, object]:
    query = select(Task).where(Task.user_id == user)
    if cursor is not None:
        query = query.where(Task.created_at < cursor)
    query = query.order_by(col(Task.created_at).desc(), col(Task.id).desc()).limit(limit + 1)
    tasks = (await session.exec(query)).all()
    return {"tasks": tasks[:limit], "next_cursor": tasks[limit - 1].created_at if len(tasks) > limit else None}


@app.post("/api/{user_id}/tasks", response_model=TaskRead, status_code=201)
async def create_task(user: User, session: Session, data: TaskCreate) -> Task:
    return await store(Task(user_id=user, title=data.title.strip()), session)


@app.get("/api/{user_id}/tasks/{task_id}", response_model=TaskRead)
async def get_task(task: OwnTask) -> Task:
    return task


@app.put("/api/{user_id}/tasks/{task_id}", response_model=TaskRead)
async def update_task(task: OwnTask, session: Session, data: TaskUpdate) -> Task:
    if data.title is not None:
        task.title = data.title.strip()
    if data.is_completed is not None and data.is_completed != task.is_completed:
        task.is_completed = data.is_completed
        task.completed_at = datetime.now(UTC) if data.is_completed else None
    task.updated_at = datetime.now(UTC)
    task.version += 1
    return await store(task, session)


@app.patch("/api/{user_id}/tasks/{task_id}/complete", response_model=TaskRead)
async def complete_task(task: OwnTask, session: Session) -> Task:
    if not task.is_completed:
        task.is_completed = True
        task.completed_at = task.updated_at = datetime.now(UTC)
        task.version += 1
        return await store(task, session)
    return task


@app.delete("/api/{user_id}/tasks/{task_id}", status_code=204)
async def delete_task(task: OwnTask, session: Session) -> None:
    await session.delete(task)
    await session.commit()


@app.get("/health/ready")
async def ready() -> dict[str, str]:
    return {"status": "ok"}
