"""The OpenAPI document, and the page that shows it without internet access."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator

from adapters.tokens import issue_token
from domain import TASK_FIELDS, InvalidText
from tests.browser import Browser, Tab, needs_chromium
from tests.fields import REJECTED, RULES
from tests.http.wire import STATUS, dereferenced, raw
from tests.services import SECRET, Service, running_service

ANY = {414, 431, 500, 503}
ALWAYS = ANY | {400, 401, 403}
ITEM = ALWAYS | {404}
BODY = {413, 415}
WRITE = {412, 422}
OPERATIONS = {
    ("/api/{user_id}/tasks", "get"): (200, ALWAYS),
    ("/api/{user_id}/tasks", "post"): (201, ALWAYS | BODY | {409, 422}),
    ("/api/{user_id}/tasks/batch", "post"): (200, ITEM | BODY | {409, 412, 422}),
    ("/api/{user_id}/tasks/changes", "get"): (200, ALWAYS | {410}),
    ("/api/{user_id}/tasks/events", "get"): (200, ALWAYS),
    ("/api/{user_id}/tasks/{task_id}", "get"): (200, ITEM),
    ("/api/{user_id}/tasks/{task_id}", "put"): (200, ITEM | BODY | WRITE | {428}),
    ("/api/{user_id}/tasks/{task_id}/complete", "patch"): (200, ITEM | WRITE),
    ("/api/{user_id}/tasks/{task_id}", "delete"): (204, ITEM | WRITE | {428}),
    ("/health/live", "get"): (200, ANY),
    ("/health/ready", "get"): (200, ANY),
}
_ODD = st.sampled_from(
    [*map(chr, range(0xA2)), *"\u1680\u180e\u2003\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff\U0001f600"]
)
_LONG = st.sampled_from([rule.max_length + n for rule in RULES.values() for n in range(-4, 3)]).map("x".__mul__)
each_operation = pytest.mark.parametrize(("path", "method"), OPERATIONS)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One service for all tests: the document does not depend on the storage."""
    with running_service(DATABASE_URL="memory://") as service:
        yield service


@pytest.fixture(scope="module")
def document(service: Service) -> Any:
    answer = raw(service, "GET", "/openapi.json")
    assert answer.status_code == 200
    assert "json" in answer.headers["content-type"]
    assert len(answer.content) < 60_000
    return dereferenced(answer.json())


@pytest.fixture(scope="module")
def docs(service: Service, browser: Browser) -> Iterator[Tab]:
    """The page with the documentation, which takes a second to load."""
    tab = browser.open(f"{service.url}/docs")
    tab.until("document.querySelectorAll('.opblock').length", len(OPERATIONS))
    yield tab
    assert not tab.errors
    tab.close()


def resolved(document: Any, schema: Any) -> Any:
    """Follow a reference."""
    while "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        schema = document["components"]["schemas"][name]
    return schema


class TestDocument:
    def test_it_is_openapi_3_1_and_describes_every_operation(self, document: Any) -> None:
        assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
        assert {(path, method) for path, methods in document["paths"].items() for method in methods} == set(OPERATIONS)
        operations = [operation for methods in document["paths"].values() for operation in methods.values()]
        assert [(tag, operation["operationId"]) for operation in operations for tag in operation["tags"]] == [
            *[("tasks", name) for name in ("listTasks", "createTask", "getTask", "updateTask", "deleteTask")],
            *[("tasks", "completeTask"), ("tasks", "applyBatch")],
            *[("sync", "listChanges"), ("sync", "followTasks")],
            *[("health", "live"), ("health", "ready")],
        ]
        assert {tag["name"] for tag in document["tags"]} == {"tasks", "sync", "health"}

    @each_operation
    def test_an_error_has_an_example_of_each_of_its_codes(self, document: Any, path: str, method: str) -> None:
        for status, response in document["paths"][path][method]["responses"].items():
            if int(status) >= 400:
                examples = response["content"]["application/problem+json"]["examples"]
                for code, example in examples.items():
                    assert (example["value"]["code"], example["value"]["status"]) == (code, int(status))
                    assert f"`{code}`" in response["description"]

    @each_operation
    def test_an_operation_documents_its_success_and_every_error(self, document: Any, path: str, method: str) -> None:
        success, errors = OPERATIONS[path, method]
        operation = document["paths"][path][method]
        assert operation["summary"]
        assert str(success) in operation["responses"]
        assert {int(status) for status in operation["responses"]} >= errors
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                (media_type,) = response["content"]
                assert media_type == "application/problem+json"
                problem = resolved(document, response["content"][media_type]["schema"])
                required = {"type", "title", "status", "detail", "instance", "code", "request_id"}
                assert set(problem["required"]) == required
                assert problem["properties"].keys() == required | {"errors", "current_version"}
                assert "examples" not in problem  # Litestar would invent them; each response has real ones

    @each_operation
    def test_a_response_documents_its_headers(self, document: Any, path: str, method: str) -> None:
        sync = {"Sync-Token", "Idempotency-Replayed"} if path.startswith("/api") and method != "get" else set()
        tag = {"ETag"} if "task_id" in path or path.endswith("/tasks") else set()
        location = {"Location"} if (path, method) == ("/api/{user_id}/tasks", "post") else set()
        limited = {"RateLimit", "RateLimit-Policy"} if path.startswith("/api") else set()
        own = {
            "200": sync | tag | location,
            "201": sync | tag | location,
            "204": sync,
            "304": tag,
            "401": {"WWW-Authenticate"},
            "429": {"Retry-After"},
            "503": {"Retry-After"},
        }
        for status, response in document["paths"][path][method]["responses"].items():
            limit = limited if status != "401" else set()
            assert set(response["headers"]) - {"Link"} == {"X-Request-ID"} | own.get(status, set()) | limit
            assert not any(response["headers"][name]["required"] for name in limit)

    @each_operation
    def test_a_parameter_is_optional_and_never_null(self, document: Any, path: str, method: str) -> None:
        for parameter in document["paths"][path][method].get("parameters", ()):
            assert parameter["schema"]["type"] in ("string", "integer", "boolean"), parameter

    @pytest.mark.parametrize("body", ["CreateTaskRequest", "UpdateTaskRequest"])
    @given(text=st.lists(st.text(_ODD, max_size=3) | _LONG, max_size=3).map("".join))
    def test_the_schema_of_a_text_is_the_domains_rule(self, document: Any, body: str, text: str) -> None:
        described = document["components"]["schemas"][body]["properties"]
        texts = described.keys() & RULES.keys()
        assert "title" in texts
        for field in texts:
            try:
                RULES[field].clean(text)
            except InvalidText:
                assert not OAS31Validator(described[field]).is_valid(text)
            else:
                OAS31Validator(described[field]).validate(text)

    @each_operation
    def test_only_health_needs_no_token(self, document: Any, path: str, method: str) -> None:
        (name, scheme), = document["components"]["securitySchemes"].items()  # fmt: skip
        assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")
        operation = document["paths"][path][method]
        needed = operation.get("security", document.get("security")) or []
        assert needed == ([] if path.startswith("/health") else [{name: []}])

    def test_tasks_and_bodies_have_examples(self, document: Any) -> None:
        schemas = document["components"]["schemas"]
        task = schemas["TaskResponse"]
        assert task["properties"].keys() == {*TASK_FIELDS, "is_completed"} == set(task["required"])
        for schema in ("TaskResponse", "CreateTaskRequest", "UpdateTaskRequest"):
            for name, field in schemas[schema]["properties"].items():
                assert field.get("examples") or field.get("type") == "boolean", f"{schema}.{name}"

    def test_both_kinds_of_code_are_enumerations(self, document: Any) -> None:
        def codes(schema: str) -> set[str]:
            return set(document["components"]["schemas"][schema]["properties"]["code"]["enum"])

        assert codes("Problem") == STATUS.keys()
        form = {"missing_body", "missing_field", "unknown_field", "wrong_type", "invalid_value"}
        query = {"unknown_parameter", "repeated_parameter", "limit_out_of_range", "sync_token_malformed"}
        batch = {"task_repeated", "task_not_found", "task_already_exists", "version_mismatch"}
        reasons = {code.removeprefix("title_") for field, _, code in REJECTED if field == "title"}
        fields = {*RULES.keys() - {"user_id"}, "q", "idempotency_key"}
        texts = {f"{field}_{reason}" for field in fields for reason in reasons}
        assert codes("InputError") == form | query | batch | texts

    def test_the_parameters_of_the_list_document_their_limits(self, document: Any) -> None:
        operation = document["paths"]["/api/{user_id}/tasks"]["get"]
        query = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
        assert query.keys() == {"limit", "cursor", "completed", "q"}
        limit = query["limit"]["schema"]
        assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 500, 50)
        assert not any(each["required"] for each in query.values())

    def test_the_document_names_no_other_host(self, document: Any) -> None:
        assert not re.findall(r"https?://", str(document))


class TestPage:
    def test_the_service_serves_the_page_and_its_assets(self, service: Service) -> None:
        page = raw(service, "GET", "/docs")
        assert page.headers["content-type"].startswith("text/html")
        assets = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page.text)
        served = [asset for asset in assets if not asset.startswith("data:")]
        assert {asset.rpartition(".")[2] for asset in served} == {"js", "css"}
        for asset in served:
            answer = raw(service, "GET", urljoin("/docs", asset))
            assert answer.status_code == 200
            assert len(answer.content) > (100 if asset.endswith("page.js") else 1000)
            assert answer.headers["content-type"].split(";")[0] in ("text/javascript", "text/css")
            if answer.headers["content-type"].startswith("text/css"):
                assert not re.findall(r"@import|url\((?!['\"]?data:)", answer.text)
        assert not re.findall(r"""(?:https?:)?//[\w-]+\.[\w.-]+""", page.text)

    @needs_chromium
    def test_a_browser_shows_the_operations(self, docs: Tab) -> None:
        page = docs.evaluate("document.documentElement.outerHTML")
        shown = re.findall(r'class="opblock opblock-(\w+)', page)
        assert sorted(shown) == sorted(method for _, method in OPERATIONS)
        for words in ("View all personal tasks", "Create a task", "Complete a task", "Authorize"):
            assert words in page
        for loaded in re.findall(r"""<(?:script|img|link|iframe)[^>]*?(?:src|href)="([^"]*)""", page):
            assert loaded.startswith(("/", "data:", "./")), loaded

    @needs_chromium
    def test_a_token_fills_in_its_user(self, docs: Tab) -> None:
        docs.evaluate("document.querySelector('.btn.authorize').click()")
        docs.until("Boolean(document.querySelector('.auth-container input'))")
        docs.evaluate("document.querySelector('.auth-container input').focus()")
        docs.type(issue_token(SECRET, "auth0|Zoë"))
        docs.evaluate("document.querySelector('.auth-btn-wrapper .authorize').click()")
        docs.evaluate("document.querySelector('#operations-tasks-listTasks .opblock-summary-control').click()")
        shown = "document.querySelector('#operations-tasks-listTasks [placeholder=user_id]')?.value"
        docs.until(shown, "auth0|Zoë")
