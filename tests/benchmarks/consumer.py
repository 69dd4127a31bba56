"""How long the tests of somebody's project take on the testing kit: `python -m tests.benchmarks.consumer`."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

USE_CASES, HTTP = 900, 100
PROJECT = """[pytest]
asyncio_mode = auto
"""
MODULE = """
import pytest


@pytest.mark.parametrize("n", range({use_cases}))
async def test_the_digest_names_open_tasks(hextasks_tasks, hextasks_clock, hextasks_build, n):
    await hextasks_build.fill(hextasks_tasks, 3, completed=1)
    ada = hextasks_tasks.of("ada")
    created = await ada.create(f"Task {{n}}")
    hextasks_clock.step(3600)
    done = await ada.complete(created.task.id)
    assert (done.task.updated_at - created.task.created_at).total_seconds() == 3600
    assert len((await ada.list()).tasks) == 4


@pytest.mark.parametrize("n", range({http}))
async def test_a_client_sees_them(hextasks_client, hextasks_tasks, n):
    answer = await hextasks_client.post(hextasks_client.tasks, json={{"title": f"Task {{n}}"}})
    assert answer.status_code == 201
    assert [task.version for task in (await hextasks_tasks.of("ada").list()).tasks] == [1]
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "pytest.ini").write_text(PROJECT)
        for kind, use_cases, http in [("use-cases", USE_CASES + HTTP, 0), ("a tenth over HTTP", USE_CASES, HTTP)]:
            (Path(name) / "test_project.py").write_text(MODULE.format(use_cases=use_cases, http=http))
            for _ in range(3):
                started = time.perf_counter()
                environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
                ran = subprocess.run(
                    [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:schemathesis", "-p", "no:faker"],
                    cwd=name,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                seconds = time.perf_counter() - started
                print(f"{kind}: {seconds:.2f} s; {ran.stdout.splitlines()[-1]}")


if __name__ == "__main__":
    main()
