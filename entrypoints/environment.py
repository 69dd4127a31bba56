"""Where settings come from: names and values in the environment and in `.env`."""

import re
from collections.abc import Collection, Iterable, Iterator
from difflib import SequenceMatcher
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

from domain import HextasksError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SEPARATORS = re.compile(r"[\s_:-]")
MAX_DIFFERENCE = 2
"""A missing or additional letter counts once; a wrong one, or two that are exchanged, twice."""
MIN_MISSPELT_LENGTH = 5
"""HOST and PORT are too short to tell a misspelling from another word."""


class SettingsError(HextasksError):
    """A setting cannot be used. The text is one line, names the setting, and never repeats its value.

    `name` is the setting's, where it is known.
    """

    sentence = "A setting cannot be used."

    def __init__(self, text: str, name: str | None = None) -> None:
        super().__init__(text)
        self.name = name


def read_dotenv(path: Path, settings: Collection[str]) -> dict[str, str]:
    """Return what a file assigns, nothing if it is missing.

    Raises SettingsError for a file that cannot be read, and for its first line that is not NAME=value.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path} cannot be read as UTF-8 text") from None
    values = {}
    for binding in parse_stream(StringIO(text)):
        if binding.key is None and not binding.error:  # a comment or an empty line
            continue
        if binding.key is None or binding.value is None or not _NAME.fullmatch(binding.key):
            statement = binding.original.string.lstrip()
            line = binding.original.line + binding.original.string.count("\n", 0, -len(statement))
            word = re.match(r"(?:export\s+)?(\w*)", statement)
            about = f" ({word[1]})" if word and word[1] in settings else ""
            raise SettingsError(f"{path} line {line}{about} must be NAME=value. Example: ENVIRONMENT=production")
        values[binding.key] = binding.value
    return values


def misspelt_names(names: Iterable[str], settings: Collection[str]) -> Iterator[SettingsError]:
    """Yield an error for each name that is a misspelt setting."""
    for name in names:
        if name not in settings and (meant := misspelt(name, settings)):
            yield SettingsError(f"{name}: did you mean {meant}? Correct or remove it", meant)


def misspelt(name: str, settings: Collection[str]) -> str | None:
    """Return the setting that a name nearly matches.

    A name nearly matches if it has the same letters, apart from case and separators, or as many words and a difference
    of at most MAX_DIFFERENCE. One with a digit, a prefix or a further word does not: it may be another tool's.
    """
    if not name.isprintable() or any(character.isdigit() for character in name):
        return None
    capitals = name.upper()
    letters, underscores = _SEPARATORS.sub("", capitals), capitals.count("_")
    for setting in settings:
        if len(setting) < MIN_MISSPELT_LENGTH:
            continue
        has_same_letters = letters == setting.replace("_", "")
        has_same_words = underscores == setting.count("_") and not capitals.endswith(setting)
        if has_same_letters or (has_same_words and _difference(capitals, setting) <= MAX_DIFFERENCE):
            return setting
    return None


def _difference(name: str, setting: str) -> int:
    """Return the number of letters that only one of two names has at its place, or more than MAX_DIFFERENCE."""
    if abs(len(name) - len(setting)) > MAX_DIFFERENCE:
        return MAX_DIFFERENCE + 1
    blocks = SequenceMatcher(None, name, setting, autojunk=False).get_matching_blocks()
    return len(name) + len(setting) - 2 * sum(block.size for block in blocks)
