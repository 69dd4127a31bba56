"""The options of `hextasks serve`, and its log on a terminal. `test_serve_connections.py` uses the others."""

import os
import re
import shutil
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.cli.processes import ROOT, command, said, serving
from tests.patience import DEADLINE_SECONDS, eventually

pytestmark = pytest.mark.service


def test_it_restarts_when_the_code_changes_and_logs_readably_on_a_terminal(tmp_path: Path) -> None:
    for layer in ("domain", "application", "adapters", "entrypoints"):
        shutil.copytree(ROOT / layer, tmp_path / "code" / layer)
    terminal, standard_error = os.openpty()
    output = bytearray()

    def read() -> None:
        while True:
            try:
                output.extend(os.read(terminal, 65_536))
            except OSError:  # its other end is closed
                return

    Thread(target=read, daemon=True).start()
    settings = {"DATABASE_URL": "memory://", "PYTHONPATH": str(tmp_path / "code"), "WEB_CONCURRENCY": "2"}
    with serving(tmp_path, standard_error, "", "--reload", **settings) as served:
        os.close(standard_error)
        assert served.line("mode") == "development, 1 worker, restarted when the code changes"
        assert title(served.address) == "hextasks"
        code = tmp_path / "code" / "entrypoints" / "http" / "docs" / "page.py"
        code.write_text(code.read_text().replace("<title>hextasks<", "<title>changed<"))
        eventually(lambda: title(served.address) == "changed")
        assert served.stop() == 0
    eventually(lambda: output.count(b"/docs") >= 2)
    lines = output.decode().splitlines()
    assert any(re.fullmatch(r"\x1b\[2m[\d:.]{12}\x1b\[0m \x1b\[32m200\x1b.*GET +/docs .* ms.*", line) for line in lines)
    assert not any(line.startswith("{") for line in lines)


def title(address: str) -> str | None:
    try:
        page = httpx.get(f"{address}/docs", timeout=DEADLINE_SECONDS, verify=False)
    except httpx.TransportError:
        return None
    found = re.search("<title>(.*)</title>", page.text)
    return found and found[1]


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        (["--port", "70000"], {}, "PORT must be"),
        (["--workers", "2"], {"DATABASE_URL": "memory://"}, "WEB_CONCURRENCY must be 1 with memory://"),
        (
            ["--reload"],
            {"ENVIRONMENT": "production", "DATABASE_URL": "postgresql://db/x", "JWT_SECRET": "x" * 32},
            "--reload is for development only",
        ),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line(
    tmp_path: Path, options: list[str], settings: dict[str, str], words: str
) -> None:
    ran = command("serve", *options, cwd=tmp_path, **settings)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert words in said(ran)
