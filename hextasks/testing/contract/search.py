"""The contract for searches."""

from datetime import timedelta

from hextasks import PageRequest, TaskChange, TaskRepository
from hextasks.testing.contract.calls import LATER, NOW, a_task, add, save
from hextasks.testing.contract.case import RepositoryCase

TITLES = [
    "Buy MILK",
    "100% sure",
    "snake_case",
    "back\\slash",
    "Straße fegen",
    "STRASSE",
    "İstanbul",
    "ΟΔΥΣΣΕΥΣ",
    "οδυσσευς",
    "cafe\u0301",
    "CAFÉ",
    "K2",  # the Kelvin sign
    "日本語",
    "\U0001f600 emoji",
]
FOUND = {
    "milk": ["Buy MILK"],
    "Y m": ["Buy MILK"],
    "%": ["100% sure"],
    "_": ["snake_case"],
    "\\": ["back\\slash"],
    "x": [],
    "ss": ["Straße fegen", "STRASSE"],
    "ß": ["Straße fegen", "STRASSE"],
    "STRASSE F": ["Straße fegen"],
    "i\u0307s": ["İstanbul"],
    "İ": ["İstanbul"],
    "istanbul": [],
    "σευσ": ["ΟΔΥΣΣΕΥΣ", "οδυσσευς"],
    "ευς": ["ΟΔΥΣΣΕΥΣ", "οδυσσευς"],
    "ς": ["ΟΔΥΣΣΕΥΣ", "οδυσσευς"],
    "É": ["cafe\u0301", "CAFÉ"],
    "cafe\u0301": ["cafe\u0301", "CAFÉ"],
    "k": ["Buy MILK", "snake_case", "back\\slash", "K2"],
    "本": ["日本語"],
    "\U0001f600": ["\U0001f600 emoji"],
    "'; --": [],
}
"""The titles that contain a text, by text."""


class SearchContract(RepositoryCase):
    """Lists of the tasks whose title contains a text."""

    async def test_titles_that_contain_a_text(self, tasks: TaskRepository) -> None:
        for n, title in enumerate(TITLES):
            await tasks.add(a_task(title, now=NOW - timedelta(seconds=n)))
        for text in FOUND:
            await tasks.add(a_task(text, user_id="grace"))
        for text, found in FOUND.items():
            page = await tasks.list("ada", PageRequest(text=text))
            assert [task.title for task in page.tasks] == found, text

    async def test_it_goes_with_pages_and_filters_and_follows_a_change_of_title(self, tasks: TaskRepository) -> None:
        made = [
            await add(tasks, a_task(f"{'Ä' if n % 2 else 'b'} {n}", now=NOW - timedelta(seconds=n))) for n in range(12)
        ]
        done = await save(tasks, made[3].apply(TaskChange(is_completed=True), now=LATER))
        request = PageRequest(text="ä", completed=False, limit=3)
        first = await tasks.list("ada", request)
        rest = await tasks.list("ada", PageRequest(text="ä", completed=False, limit=3, after=first.next))
        assert [*first.tasks, *rest.tasks] == [made[n] for n in (1, 5, 7, 9, 11)]
        assert rest.next is None
        assert (await tasks.list("ada", PageRequest(text="Ä", completed=True))).tasks == (done,)
        ascii_now = await save(tasks, done.apply(TaskChange(title="plain"), now=LATER))
        assert (await tasks.list("ada", PageRequest(text="Ä 3"))).tasks == ()
        assert (await tasks.list("ada", PageRequest(text="LAIN"))).tasks == (ascii_now,)
        back = await save(tasks, ascii_now.apply(TaskChange(title="Ö"), now=LATER))
        assert (await tasks.list("ada", PageRequest(text="ö"))).tasks == (back,)
        assert (await tasks.list("ada", PageRequest(text="plain"))).tasks == ()
