"""Moves what operations share to the components of the OpenAPI document, which then has each part once."""

from collections import defaultdict
from http import HTTPStatus
from typing import Any

from entrypoints.http.problems import PROBLEM_MEDIA_TYPE

Json = dict[str, Any]


def share(document: Json) -> None:
    """Replace repeated parameters, all problems with their examples, and all headers by references."""
    components = document["components"]
    operations = [each for path in document["paths"].values() for each in path.values()]
    _share_parameters(components, operations)
    for operation in operations:
        for status, response in operation["responses"].items():
            _share_headers(components, response)
            if PROBLEM_MEDIA_TYPE in response.get("content", ()):
                name = _share_examples(components, response, int(status))
                name += "" if operation["security"] else "WithoutToken"
                operation["responses"][status] = _reference(components, "responses", name, response)
            else:
                _name_no_example(response)


def _share_parameters(components: Json, operations: list[Json]) -> None:
    found: dict[str, list[Json]] = defaultdict(list)
    for operation in operations:
        for parameter in operation.get("parameters", ()):
            found[parameter["name"]].append(parameter)
    shared = {name for name, same in found.items() if len(same) > 1 and all(each == same[0] for each in same)}
    for operation in operations:
        if "parameters" in operation:
            operation["parameters"] = [
                _reference(components, "parameters", each["name"], each) if each["name"] in shared else each
                for each in operation["parameters"]
            ]


def _share_headers(components: Json, response: Json) -> None:
    headers = response["headers"]
    response["headers"] = {name: _reference(components, "headers", name, headers[name]) for name in headers}


def _share_examples(components: Json, response: Json, status: int) -> str:
    """Return a name for a response to problems: that of its code, of its two codes, or of its status."""
    content = response["content"][PROBLEM_MEDIA_TYPE]
    values = {each["value"]["code"]: each for each in content["examples"].values()}
    content["examples"] = {code: _reference(components, "examples", code, each) for code, each in values.items()}
    if len(values) > 2:
        return HTTPStatus(status).phrase.replace(" ", "")
    return "Or".join(code.title().replace("_", "") for code in values)


def _name_no_example(response: Json) -> None:
    for content in response.get("content", {}).values():
        (example,) = content.pop("examples").values()
        content["example"] = example["value"]


def _reference(components: Json, kind: str, name: str, part: Json) -> Json:
    """Move a part to the components, and return the reference to it."""
    known = components.setdefault(kind, {}).setdefault(name, part)
    assert known == part, f"two different {kind} would be named {name}"  # noqa: S101
    return {"$ref": f"#/components/{kind}/{name}"}
