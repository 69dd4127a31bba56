"""Search: `q` finds titles that contain it, regardless of case."""

import time
from itertools import permutations

import pytest

from tests.http.wire import assert_problem, listed, made, one
from tests.services import Client

TITLES = [
    "Buy milk",
    "MILK for Ada",
    "Stra\u00dfe fegen",
    "STRASSE",
    "Cafe\u0301 cr\u00e8me",
    "CAF\u00c9",
    "\u0130stanbul",
    "100% wool",
    "1000 wool",
    "a_b",
    "aXb",
    "back\\slash",
    "'; DROP TABLE tasks; --",
    "\U0001f600 smile",
    "\u039f\u0394\u039f\u03a3",
]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("milk", ["Buy milk", "MILK for Ada"]),
        ("MiLK", ["Buy milk", "MILK for Ada"]),
        ("strasse", ["Stra\u00dfe fegen", "STRASSE"]),
        ("STRA\u00dfE", ["Stra\u00dfe fegen", "STRASSE"]),
        ("caf\u00e9", ["Cafe\u0301 cr\u00e8me", "CAF\u00c9"]),
        ("CAFE\u0301", ["Cafe\u0301 cr\u00e8me", "CAF\u00c9"]),
        ("cafe", []),
        ("i\u0307stan", ["\u0130stanbul"]),
        ("100%", ["100% wool"]),
        ("%", ["100% wool"]),
        ("_", ["a_b"]),
        ("a_b", ["a_b"]),
        ("\\", ["back\\slash"]),
        ("'; drop", ["'; DROP TABLE tasks; --"]),
        ("\U0001f600", ["\U0001f600 smile"]),
        ("\u03bf\u03b4\u03bf\u03c2", ["\u039f\u0394\u039f\u03a3"]),
        (" smile", ["\U0001f600 smile"]),
        ("z", []),
    ],
)
def test_it_finds_what_contains_the_text_regardless_of_case(me: Client, q: str, found: list[str]) -> None:
    operations = [{"op": "create", "title": title} for title in TITLES]
    me.post(f"{me.tasks}/batch", json={"operations": operations})
    assert sorted(task["title"] for task in listed(me, q=q, limit=2)) == sorted(found)


def test_a_title_is_found_by_what_it_is_now(me: Client, other: Client) -> None:
    made(other, "Buy milk")
    task = made(me, "Caf\u00e9")
    assert listed(me, q="milk") == []
    for title, q in (("Buy milk", "milk"), ("\u00c4pfel", "\u00e4pfel"), ("Buy tea", "TEA")):
        task = me.put(one(me, task), json={"title": title}).json()
        assert listed(me, q=q) == [task]
        assert listed(me, q="caf") == []


def test_together_with_completed_and_pages(me: Client) -> None:
    tasks = [made(me, f"{'Buy' if n % 3 else 'Sell'} & <ship> \u00fc=%{n}+") for n in range(12)]
    tasks = [me.patch(one(me, task) + "/complete").json() if n % 2 else task for n, task in enumerate(tasks)]
    q = "y & <SHIP> \u00dc=%"
    wanted = [task for task in reversed(tasks) if task["title"].startswith("Buy") and task["is_completed"]]
    link: str | None = str(me.get(me.tasks, params={"q": q, "completed": "true", "limit": 1}).url)
    found = []
    while link:
        answer = me.get(link)
        found += answer.json()["tasks"]
        link = answer.links.get("next", {}).get("url")
    assert found == wanted == listed(me, q=q, completed="true", limit=3)
    assert len(wanted) == 4


def test_a_cursor_belongs_to_its_text_and_filter(me: Client) -> None:
    for _ in range(2):
        made(me, "Buy milk")
    queries: list[dict[str, str]] = [{}, {"q": "milk"}, {"q": "buy"}, {"q": "milk", "completed": "false"}, {"q": "m"}]
    cursors = [me.get(me.tasks, params={"limit": 1, **query}).json()["next_cursor"] for query in queries]
    for (query, _), (_, cursor) in permutations(zip(queries, cursors, strict=True), 2):
        answer = me.get(me.tasks, params={**query, "cursor": cursor})
        assert_problem(answer, "validation_error", ("parameter", "cursor", "invalid_value"))
    same = me.get(me.tasks, params={"q": "MILK", "cursor": cursors[1]})
    assert len(same.json()["tasks"]) == 1, "the same search in another case"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("q=", "q_empty"),
        ("q", "q_empty"),
        (f"q={'x' * 201}", "q_too_long"),
        (f"q={'x' * 202}", "invalid_value"),
        ("q=%00", "q_control_character"),
        ("q=a%0Ab", "q_control_character"),
        ("q=%C2%85", "q_control_character"),
        ("q=a&q=b", "repeated_parameter"),
    ],
)
def test_a_text_that_no_title_can_contain_is_not_valid(me: Client, query: str, code: str) -> None:
    made(me)
    answer = me.get(f"{me.tasks}?{query}")
    assert_problem(answer, "validation_error", ("parameter", "q", code))
    if code.startswith("q_"):
        assert answer.json()["detail"].startswith("The q must ")


@pytest.mark.parametrize("query", ["q=%FF", "q=%ED%A0%80", "q=%E2%82", "q=%", "q=%zz", "q=+", "q=%2B"])
def test_odd_encodings_are_answered(me: Client, query: str) -> None:
    made(me)
    assert me.get(f"{me.tasks}?{query}").status_code in (200, 400)


@pytest.mark.parametrize("character", ["x", "\u0390", "\u1fb7", "\ufb03", "\U0001f600"])
def test_200_characters_are_accepted_whatever_case_folding_makes_of_them(me: Client, character: str) -> None:
    text = character * 200
    operations = [{"op": "create", "title": text + "!"}] * 100
    task = made(me, f"{text} and more")
    body = {"operations": operations[: 262_144 // (len(text.encode()) + 300)]}
    assert me.post(f"{me.tasks}/batch", json=body).status_code == 200
    began = time.process_time()  # of the service, too
    assert listed(me, q=f"{text[1:]} ") == [task]
    assert time.process_time() - began < 1
