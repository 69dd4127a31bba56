"""What Schemathesis needs to know of this API beyond its JSON Schema."""

from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData

from entrypoints.http.api.idempotency import IDEMPOTENCY_KEY_HEADER, KEY_PATTERN
from entrypoints.http.api.preconditions import TAGS_PATTERN

PRECONDITIONS = ("If-Match", "If-None-Match")

schemathesis.openapi.format(
    "idempotency-keys",
    st.uuids().map(str) | st.from_regex(KEY_PATTERN, fullmatch=True),
)
schemathesis.openapi.format(
    "entity-tags",
    st.just("*") | st.integers(1, 9).map('"{}"'.format) | st.from_regex(TAGS_PATTERN, fullmatch=True),
)


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: Any) -> None:
    """Generate entity tags and keys as above: by default Schemathesis puts no quotation mark into a header.

    Events are not JSON, which Schemathesis expects of them. A version is not written as 1.0, which it generates.
    """
    for name in ("UpdateEntry", "CompleteEntry", "RemoveEntry"):
        raw_schema["components"]["schemas"][name]["properties"]["if_version"]["enum"] = [1, 2, 3]
    operations = [each for path in raw_schema["paths"].values() for each in path.values()]
    own = [parameter for operation in operations for parameter in operation.get("parameters", ())]
    for parameter in (*own, *raw_schema["components"]["parameters"].values()):
        if parameter.get("name") in PRECONDITIONS:
            parameter["schema"]["format"] = "entity-tags"
        if parameter.get("name") == IDEMPOTENCY_KEY_HEADER.name:
            parameter["schema"]["format"] = "idempotency-keys"
    events = raw_schema["paths"]["/api/{user_id}/tasks/events"]["get"]
    del events["responses"]["200"]["content"]["text/event-stream"]["schema"]


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Accept rejections of well-formed data that only the state of the service explains.

    These are a tag, a version or a state that is not the current one; a cursor or a token that was never issued; a key
    that another request had; and a batch that names a task twice, has an update without a change, or 2.0 as a version.
    """
    if not isinstance(failure, RejectedPositiveData):
        return True
    body: Any = case.body if isinstance(case.body, dict) else {}
    operations = body.get("operations", ())
    match response.status_code:
        case 410:
            return "since" not in case.query and "Last-Event-ID" not in case.headers
        case 412:
            versions = [operation.get("if_version") for operation in operations]
            return not ({*PRECONDITIONS} & {*case.headers} or any(versions) or (operations and "if_state" in body))
        case 422:
            return IDEMPOTENCY_KEY_HEADER.name not in case.headers
    errors = response.json().get("errors", [])
    codes = [error["code"] for error in errors]
    if codes == ["missing_field"]:
        return not any(each["op"] == "update" and {"title", "is_completed"}.isdisjoint(each) for each in operations)
    if codes == ["wrong_type"]:
        return not any(isinstance(each.get("if_version"), float) for each in operations)
    blamed = {error.get("parameter") or error["code"] for error in errors}
    return not blamed or not blamed <= {"cursor", "task_repeated"}
