"""The short forms of the retries and of the replicas, and proof that the check of the replicas detects faults."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.torture.postgres import OwnPostgres
from tests.torture.replicas import check, new_file, replicas
from tests.torture.report import kept
from tests.torture.retries import retries


async def test_repeated_writes_are_done_once(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await retries(tmp_path, postgres, rounds=2))


async def test_offline_clients_lose_and_repeat_nothing(tmp_path: Path, postgres: OwnPostgres) -> None:
    kept(await replicas(tmp_path, postgres, seconds=3.0, pause=0.7))


CHANGES = """
INSERT INTO queue (kind, id, fields) VALUES
    ('create', '1', '{"id": "1", "title": "Buy milk"}'), ('edit', '1', '{"is_completed": true}'),
    ('create', '2', '{"id": "2", "title": "Buy bread"}'), ('delete', '2', '{}'), ('edit', '2', '{"title": "Buy rye"}');
UPDATE queue SET outcome = 'done', version = number WHERE number < 4;
UPDATE queue SET outcome = 'done' WHERE number = 4;
UPDATE queue SET outcome = 'task_not_found' WHERE number = 5;
DELETE FROM queue WHERE outcome = 'done';
INSERT INTO tasks VALUES ('1', 2, '{"id": "1", "title": "Buy milk", "is_completed": true, "version": 2}');
"""


@pytest.mark.parametrize(
    ("fault", "counter", "detected"),
    [
        ("", 4, ""),
        ("", 5, "3 versions and 1 deletions answered, 5 done"),
        ("DELETE FROM answered WHERE number = 5", 4, "5 changes accepted, 4 answered"),
        ('UPDATE tasks SET task = \'{"id": "1"}\'', 4, "not equal to the server"),
        ("UPDATE queue SET outcome = NULL", 4, "not equal to the server"),
        ("UPDATE answered SET outcome = 'validation_error' WHERE number = 5", 4, "Change(kind='edit'"),
        ("UPDATE answered SET id = '1' WHERE number = 5", 4, "Change(kind='edit'"),
        ("UPDATE answered SET fields = '{}' WHERE number = 2", 4, "the server's tasks are not"),
    ],
)
def test_the_check_detects_faults(tmp_path: Path, fault: str, counter: int, detected: str) -> None:
    file = new_file(tmp_path / "0.db")
    with closing(sqlite3.connect(file)) as db:
        db.executescript(CHANGES + "DROP TRIGGER answered;" + fault)
    stored = [{"id": "1", "title": "Buy milk", "is_completed": True, "version": 2}]
    accepted, wrong = check([file], stored, counter)
    assert accepted == 5
    assert wrong[0].startswith(detected) if detected else wrong == []
