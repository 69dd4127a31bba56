"""Settings in `.env`, and in the environment of the process."""

import os
from pathlib import Path

import pytest

from entrypoints.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_is_read_where_the_command_runs() -> None:
    Path(".env").write_text("# comment\nexport PORT=9000\nHOST='::1' # here\n\nJWT_ISSUER=\"a b\"\nUNKNOWN=1\n")
    read = Settings.load({})
    assert (read.port, read.host, read.jwt_issuer, read.log_level) == (9000, "::1", "a b", "INFO")


def test_the_environment_goes_before_it() -> None:
    Path(".env").write_text("PORT=9000\nHOST=::1\n")
    read = Settings.load({"PORT": "9001"})
    assert (read.port, read.host) == (9001, "::1")


def test_an_empty_value_counts_as_unset_in_either() -> None:
    Path(".env").write_text("PORT=9000\nHOST=\nLOG_LEVEL=\n")
    read = Settings.load({"PORT": "", "JWT_SECRET": "", "WEB_CONCURRENCY": ""})
    assert (read.port, read.host, read.jwt_secret, read.web_concurrency) == (9000, "127.0.0.1", None, 1)


def test_none_is_needed() -> None:
    assert Settings.load({}) == Settings()


def test_a_bad_value_in_it_is_refused_too() -> None:
    Path(".env").write_text("PORT=tell-tale\n")
    with pytest.raises(SettingsError, match=r"^PORT must be a whole number from 0 to 65535\. Example: PORT=8000$"):
        Settings.load({})


def test_a_line_or_a_name_that_is_wrong_is_refused() -> None:
    Path(".env").write_text("\nENVIRONMENT: production\n")
    with pytest.raises(SettingsError, match=r"^\.env line 2 \(ENVIRONMENT\) must be NAME=value\. Example: \w+=\w+$"):
        Settings.load({})
    Path(".env").write_text("ENVIROMENT=production\n")
    with pytest.raises(SettingsError, match=r"^ENVIROMENT: did you mean ENVIRONMENT\?"):
        Settings.load({"ENVIRONMENT": "development"})


@pytest.mark.parametrize("content", [b"PORT=9000\nHOST=\xff\xfe\n", None], ids=["not UTF-8", "a folder"])
def test_one_that_cannot_be_read_is_one_line(content: bytes | None) -> None:
    if content is None:
        Path(".env").mkdir()
    else:
        Path(".env").write_bytes(content)
    with pytest.raises(SettingsError, match=r"^[^\n]*\.env[^\n]*$"):
        Settings.load({})


def test_the_process_environment_is_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.names():
        monkeypatch.delenv(name, raising=False)
    assert Settings.load() == Settings()
    monkeypatch.setitem(os.environ, "PORT", "9002")
    monkeypatch.setitem(os.environ, "port", "9003")
    assert Settings.load().port == 9002
