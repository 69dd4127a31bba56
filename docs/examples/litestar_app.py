"""The API of tasks within a Litestar application that has users of its own.

```console
$ DATABASE_URL=memory:// uvicorn docs.examples.litestar_app:app
$ curl -H 'X-API-Key: key-of-ada' 127.0.0.1:8000/todo/ada/tasks
```
"""

import os
from typing import Any

from litestar import Litestar, Request, get
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware

from hextasks.litestar import Settings, TasksPlugin

USERS = {"key-of-ada": "ada", "key-of-grace": "grace"}


class ApiKeys(AbstractAuthenticationMiddleware):
    """Your authentication, which applies to all routes."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """Return the user of a key."""
        user = USERS.get(connection.headers.get("X-API-Key", ""))
        if user is None:
            raise NotAuthorizedException("Send a valid X-API-Key.")
        return AuthenticationResult(user=user, auth=None)


@get("/me")
async def me(request: Request[str, None, Any]) -> dict[str, str]:
    """Return the user: a route of your own."""
    return {"user": request.user}


tasks = TasksPlugin(
    Settings(database_url=os.environ["DATABASE_URL"]), user_of=lambda request: request.user, path="/todo"
)
app = Litestar([me], plugins=[tasks], middleware=[DefineMiddleware(ApiKeys, exclude="^/schema")])
