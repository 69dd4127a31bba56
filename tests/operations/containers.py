"""The containers of compose.yaml, run from a copy of the repository as its users do."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from entrypoints.settings import Settings
from tests.test_documents import ROOT
from tests.wires import free_port

IMAGE = "hextasks-test"
BASES = ("python:3.13-slim", "postgres:18-alpine", "caddy:2-alpine")
"""Which are not pulled here, because that takes a registry."""


def reason_to_skip() -> str:
    """Return why containers cannot be run here, or nothing."""
    if not os.environ.get("TEST_IMAGE"):
        return "`make test-image` runs it"
    commands = [["docker", "version"], ["docker", "compose", "version"]]
    commands += [["docker", "image", "inspect", base] for base in BASES]
    for command in commands:
        if not shutil.which("docker") or subprocess.run(command, capture_output=True, check=False).returncode:
            return f"{' '.join(command)} fails"
    return ""


@dataclass(frozen=True, slots=True)
class Stack:
    """A folder with the files of the repository, and the containers that are started from it."""

    folder: Path
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['PORT']}"

    def run(self, *command: str) -> str:
        """Run a command in the folder, and return what it prints."""
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def shell(self, *blocks: str) -> str:
        """Run blocks of a document, with the port of this service."""
        script = "".join(blocks).replace("8000", self.environment["PORT"])
        return self.run("bash", "-c", f"set -euo pipefail\n{script}")

    async def compose(self, *arguments: str) -> str:
        """Run a command of `docker compose` beside what else goes on."""
        return await asyncio.to_thread(self.run, "docker", "compose", *arguments)


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """Copy the repository, and remove all containers and data at the end."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    kept = {k: v for k, v in os.environ.items() if k not in Settings.names() and not k.startswith(("MAKE", "COMPOSE_"))}
    names = {"COMPOSE_PROJECT_NAME": IMAGE, "IMAGE": IMAGE, "PORT": str(free_port())}
    containers = Stack(folder, kept | names)
    try:
        yield containers
    finally:
        down = ["docker", "compose", "down", "--volumes", "--remove-orphans"]
        environment = containers.environment | {"JWT_SECRET": "unused"}
        subprocess.run(down, cwd=folder, env=environment, capture_output=True, check=False)
