"""The progress of `hextasks export | import`."""

import os
import sys

import pytest

from entrypoints.cli.progress import Progress


def test_progress_is_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(200) as progress:
        progress.show(50, 100)
    assert capsys.readouterr().err == ""
    screen, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        for whole in (200, None):
            with Progress(whole) as progress:
                progress.show(50, 100)
                progress.show(51, 101)  # too soon to be seen
    shown = ""
    while shown.count("\x1b[K") < 4:
        shown += os.read(screen, 4096).decode()
    os.close(screen)
    assert shown == f"\r{'█' * 15}{'░' * 15}  50%  50 tasks\x1b[K\r\x1b[K\r50 tasks\x1b[K\r\x1b[K"
