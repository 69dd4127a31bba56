"""Access is restricted to the user's own path, for every call and every spelling of the path."""

from itertools import product
from urllib.parse import quote

import httpx
import pytest

from tests.http.test_routing import METHODS, ROUTES
from tests.http.wire import STATUS, assert_problem, bearer, claims, listed, made, one, pages, raw, some_id, token
from tests.services import Client, Service

CALLS = {
    "list": ("GET", "", None),
    "list by HEAD": ("HEAD", "", None),
    "create": ("POST", "", b'{"title": "intruded"}'),
    "get": ("GET", "/{id}", None),
    "get by HEAD": ("HEAD", "/{id}", None),
    "update": ("PUT", "/{id}", b'{"title": "intruded"}'),
    "complete": ("PATCH", "/{id}/complete", None),
    "delete": ("DELETE", "/{id}", None),
}
each_call = pytest.mark.parametrize(("method", "end", "body"), CALLS.values(), ids=CALLS.keys())
TASK_ROUTES = [route for route in ROUTES if "{user}" in route]
JSON_TYPE = ("Content-Type", "application/json")


def spellings(user: str) -> dict[str, str]:
    """Spell a name as a server that decodes, folds or normalises might confuse it."""
    full = "".join(f"%{byte:02x}" for byte in user.encode())
    return {
        "user": user,
        "full": full,
        "twice": full.replace("%", "%25"),
        "thrice": full.replace("%", "%2525"),
        "upper": user.upper(),
        "capital": user.capitalize(),
        "mixed": "".join(letter.upper() if n % 2 else letter for n, letter in enumerate(user)),
        "alike": quote(user.replace("o", "\u043e")),
        "wide": quote("".join(chr(ord(letter) + 0xFEE0) for letter in user)),
    }


def comparable(answer: httpx.Response) -> object:
    """Return a response without what differs between any two."""
    problem = answer.json() if answer.content else {}
    headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id", "content-length")}
    return answer.status_code, headers, {**problem, "instance": "", "request_id": ""}


class TestAnotherUsersPath:
    @each_call
    def test_it_is_forbidden_whether_or_not_the_task_exists(
        self, service: Service, me: Client, other: Client, method: str, end: str, body: bytes | None
    ) -> None:
        task, mine = made(other), made(me)
        answers = [
            raw(service, method, other.tasks + end.format(id=asked), [bearer(me), JSON_TYPE], body)
            for asked in (task["id"], mine["id"], some_id(), "not-an-id")
        ]
        for answer in answers:
            assert_problem(answer, "forbidden", body=method != "HEAD")
            assert comparable(answer) == comparable(answers[0])
            assert other.user not in str(comparable(answer))
        assert (listed(other), listed(me)) == ([task], [mine])

    def test_no_method_discloses_whether_a_task_exists(self, service: Service, me: Client, other: Client) -> None:
        task = made(other)
        for route, method in product(TASK_ROUTES, METHODS):
            there, missing = (
                raw(service, method, route.format(user=other.user, id=asked), [bearer(me), JSON_TYPE], b"{}")
                for asked in (task["id"], some_id())
            )
            assert comparable(there) == comparable(missing)
            code = "forbidden" if method in ROUTES[route] else "method_not_allowed"
            assert_problem(there, code, body=method != "HEAD")
        assert listed(other) == [task]

    @pytest.mark.parametrize(
        "user", ["nobody", "%00", "%FF", "%", "%zz", "%F0%9F", "*", ".", "..", "%2e%2e", "me", "%20"]
    )
    def test_an_invalid_user_id_is_another_user(self, service: Service, me: Client, user: str) -> None:
        for method, end, body in CALLS.values():
            path = f"/api/{user}/tasks{end.format(id=some_id())}"
            answer = raw(service, method, path, [bearer(me), JSON_TYPE], body)
            assert_problem(answer, "forbidden", body=method != "HEAD")


class TestSpelling:
    """The path's user is one percent-encoded segment, compared code point by code point."""

    @pytest.mark.parametrize(
        "spelling",
        [
            *["{user}", "{full}", "{twice}", "{thrice}", "{upper}", "{capital}", "{mixed}", "{alike}", "{wide}"],
            *["{user}%20", "%20{user}", "{user}%00", "{user}%0A", "{user}%2F", "%2F{user}", "{user}%C0%80", "*", "%25"],
            *["{user}.", ".{user}", "{user}%2E", "%2e%2e%2f{user}", "%2e%2e%2f%2e%2e%2fapi%2f{user}", "..%5c{user}"],
            *["{mine}%2F..%2F{user}", "{user}%2F..%2F{mine}", "{mine}%252F..%252F{user}", "{mine}%00{user}", "+{user}"],
            *["{user};x", "{user};{mine}", "{user}%3Fx", "{user}%23x", "{user},{mine}", "{mine},{user}", "{user}*"],
            *["{user}@{mine}", "{mine}:{user}", "%EF%BB%BF{user}", "{mine}%2Ftasks%2F..%2F..%2F{user}"],
        ],
    )  # fmt: skip
    def test_no_spelling_reaches_another_users_path_or_discloses_its_tasks(
        self, service: Service, me: Client, other: Client, spelling: str
    ) -> None:
        task = made(other)
        name = spelling.format(mine=me.user, **spellings(other.user))
        for method, end, body in CALLS.values():
            there, missing = (
                raw(service, method, f"/api/{name}/tasks{end.format(id=asked)}", [bearer(me), JSON_TYPE], body)
                for asked in (task["id"], some_id())
            )
            assert_problem(there, "forbidden", body=method != "HEAD")
            assert_problem(missing, "forbidden", body=method != "HEAD")
            assert comparable(there) == comparable(missing)
        assert listed(other) == [task]

    @pytest.mark.parametrize(
        ("code", "start"),
        [
            *[("route_not_found", start) for start in ("/api/{mine}/../{user}/tasks", "/./api/{user}/tasks")],
            *[("route_not_found", start) for start in ("/api/{mine}/tasks/../../{user}/tasks", "/API/{user}/tasks")],
            *[("route_not_found", start) for start in ("/api/{mine}/%2e%2e/{user}/tasks", "/api/{user}/%74asks")],
            *[
                ("route_not_found", start)
                for start in ("/%2e%2e/api/{user}/tasks", "/api/{user}/tasks;/api/{mine}/tasks")
            ],
            *[("forbidden", start) for start in ("//api/{user}/tasks", "/api//{user}/tasks", "/api/{user}//tasks")],
        ],
    )
    def test_no_other_path_reaches_it(self, service: Service, me: Client, other: Client, code: str, start: str) -> None:
        task = made(other)
        path = start.format(mine=me.user, user=other.user)
        for method, end, body in CALLS.values():
            for asked in (task["id"], some_id()):
                for slash in ("", "/"):
                    target = f"{path}{end.format(id=asked)}{slash}?user_id={me.user}"
                    answer = raw(service, method, target, [bearer(me), JSON_TYPE], body)
                    assert answer.status_code == STATUS[code]
                    assert method == "HEAD" or answer.json()["code"] == code
        assert listed(other) == [task]

    def test_no_path_from_my_own_reaches_it(self, service: Service, me: Client, other: Client) -> None:
        task = made(other)
        for asked in (task["id"], some_id()):
            for detour in (
                "%2e%2e%2f%2e%2e%2f{}%2ftasks%2f{}",
                "..%2F..%2F{}%2Ftasks%2F{}",
                "%252e%252e%252f{}%252f{}",
            ):
                answer = raw(service, "GET", f"{me.tasks}/{detour.format(other.user, asked)}", [bearer(me)])
                assert_problem(answer, "task_not_found")

    def test_my_own_name_fully_encoded_is_mine(self, service: Service, me: Client) -> None:
        full = "".join(f"%{byte:02x}" for byte in me.user.encode())
        answer = raw(service, "POST", f"/api/{full}/tasks", [bearer(me), JSON_TYPE], b'{"title": "x"}')
        assert answer.headers["location"] == one(me, answer.json())
        assert listed(me) == [answer.json()]
        assert_problem(raw(service, "GET", f"/api/{full.replace('%', '%25')}/tasks", [bearer(me)]), "forbidden")

    def test_similar_names_are_different_users(self, service: Service) -> None:
        users = ["caf\u00e9 ", "cafe\u0301 ", "caf\u00e9", "CAF\u00c9", "cafe"]
        for user in users:
            with service.client(user, token(claims(user))) as client:
                for name in users:
                    answer = client.get(f"/api/{quote(name, safe='')}/tasks")
                    assert answer.status_code == (200 if name == user else 403)


@pytest.mark.parametrize("user", ["% 2", " 2", "2", "z" * 255])
def test_long_segments_of_the_path_are_compared_as_they_were_sent(service: Service, user: str) -> None:
    with service.client(user, token(claims(user))) as client:
        task = client.post(f"/api/{quote(user)}/tasks", json={"title": "x"}).json()
        for name in ("y" * 255, "z" * 256, "y" * 8000, quote(user) + "y" * 300, "z" * 254 + "y", "%7A" * 255):
            answer = client.get(f"/api/{name}/tasks")
            assert answer.status_code == (200 if name == "%7A" * 255 and len(user) == 255 else 403)
        for name in ("y" * 300, task["id"] + "y" * 300, "%" * 300):
            assert client.get(f"/api/{quote(user)}/tasks/{name}").status_code == 404
        assert client.get(f"/api{'/' * 3000}{quote(user)}/tasks/{task['id']}").json() == task


@pytest.mark.parametrize(
    "user",
    [
        *["auth0|a/b ü", "a/b/tasks/c", "100%", "%41", "a%2Fb", "?limit=1", "#x", "a+b c&d=e;f,g", '"<>\\^`{|}'],
        *["https://issuer.example/users/7?x#y", "\U0001f600\u05d0", "ada@example.com:x", "x" * 255],
        *["google-oauth2|1", "\U0001f600" * 255, "'--"],
    ],
    ids=ascii,
)  # fmt: skip
def test_any_user_id_works_for_its_owner(service: Service, user: str) -> None:
    tasks = f"/api/{quote(user, safe='')}/tasks"
    with service.client(user, token(claims(user))) as client:
        client.tasks = tasks
        first = client.post(tasks, json={"title": "first"})
        assert first.json()["user_id"] == user
        assert first.headers["location"] == f"{tasks}/{first.json()['id']}"
        assert client.get(first.headers["location"]).json() == first.json()
        second = made(client)
        link = client.get(tasks, params={"limit": 1}).links["next"]["url"]
        assert client.get(link).json()["tasks"] == [first.json()]
        assert list(pages(client, limit=1)) == [[second], [first.json()]]
        done = client.patch(one(client, second) + "/complete").json()
        assert client.put(one(client, second), json={"is_completed": True}).json() == done
        assert client.delete(one(client, second)).status_code == 204
        assert client.delete(one(client, first.json())).status_code == 204
        problem = client.get(one(client, second))
        assert_problem(problem, "task_not_found")
