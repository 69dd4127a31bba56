"""How long the tests of somebody's project take on the testing kit: `python -m tests.benchmarks.consumer`."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS, RUNS = 1000, 5
INI = """[pytest]
asyncio_mode = auto
asyncio_default_test_loop_scope = session
asyncio_default_fixture_loop_scope = session
"""
KINDS = {
    "tests of nothing": """
        async def test(n):
            pass
    """,
    "tests of use-cases, eight calls each": """
        async def test(hextasks_tasks, hextasks_clock, hextasks_build, n):
            await hextasks_build.fill(hextasks_tasks, 3, completed=1)
            ada = hextasks_tasks.of("ada")
            created = await ada.create("Buy milk")
            hextasks_clock.step(3600)
            done = await ada.complete(created.task.id)
            assert (done.task.updated_at - created.task.created_at).total_seconds() == 3600
            assert len((await ada.list()).tasks) == 4
    """,
    "tests over HTTP, a call each": """
        async def test(hextasks_client, n):
            answer = await hextasks_client.post(hextasks_client.tasks, json={"title": "Buy milk"})
            assert answer.json()["version"] == 1
    """,
}


def seconds(folder: Path) -> tuple[float, float]:
    """Run the tests of a project; returns the seconds that passed, and those of processor time."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:schemathesis", "-p", "no:faker", "-p", "no:xdist"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "PYTEST"))}
    began, before = time.perf_counter(), os.times()
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert f"{TESTS} passed" in ran.stdout, ran.stdout
    after = os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, busy


def main() -> None:
    for kind, body in KINDS.items():
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "pytest.ini").write_text(INI)
            source = "\n".join(line[8:] for line in body.splitlines())
            (Path(name) / "test_project.py").write_text(
                f"import pytest\n\n\n@pytest.mark.parametrize('n', range({TESTS})){source}"
            )
            passed, busy = map(min, zip(*(seconds(Path(name)) for _ in range(RUNS)), strict=True))
            print(f"{TESTS} {kind}: {passed:.2f} s, {busy:.2f} s of processor time; the best of {RUNS}")


if __name__ == "__main__":
    main()
