"""The commands that README, CONTRIBUTING and docs/ tell a reader to give, in the order of the text.

A command is an indented or fenced line that begins with one of `PROGRAMS`, with the lines that continue it, or the like
between backticks in a sentence. `perf.walk` runs them; `tests/test_docs.py` checks every one.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAMS = ("python", "torchrun", "pip", "pytest", "srun", "ruff", "mypy", ".ci/run")
PLACEHOLDER = re.compile(r"(?:[^=]*=)?(?:[a-z]+://)?[A-Z]{3,}(?:/[A-Z]+)*")

_FILE = re.compile(r"`([\w./]+)`:\n\n```\w*\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`((?:python|torchrun|pip|pytest) [^`]*)`")


@dataclass(frozen=True)
class Documented:
    """One command.

    Attributes:
        page: the file that gives it, relative to the clone.
        line: where in it, from 1.
        arguments: its words, as a shell would split them; comments are gone.
    """

    page: str
    line: int
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.arguments)

    @property
    def placeholders(self) -> list[str]:
        """What stands for a file or directory of the reader's own: words in capitals."""
        return [argument for argument in self.arguments[1:] if PLACEHOLDER.fullmatch(argument)]


def pages() -> list[Path]:
    """README, the tutorial, the other pages by name, CONTRIBUTING."""
    docs = ROOT / "docs"
    rest = sorted(path for path in docs.glob("*.md") if path.name != "tutorial.md")
    return [ROOT / "README.md", docs / "tutorial.md", *rest, ROOT / "CONTRIBUTING.md"]


def documented_commands() -> list[Documented]:
    """All commands of all pages."""
    return [
        command for page in pages() for command in commands_of(page.read_text("utf-8"), str(page.relative_to(ROOT)))
    ]


def commands_of(text: str, page: str) -> list[Documented]:
    """The commands of one page; `a && b` is two."""
    found = []
    prose: list[tuple[int, str]] = []
    for number, line, is_code in code_and_prose(text):
        if is_code:
            found += [Documented(page, number, words) for words in split(line) if words[0] in PROGRAMS]
        else:
            prose.append((number, line))
    whole = "\n".join(line for _, line in prose)
    for match in _INLINE.finditer(whole):
        number = prose[whole.count("\n", 0, match.start())][0]
        found += [Documented(page, number, words) for words in split(match[1].replace("\n", " "))]
    return sorted(found, key=lambda command: command.line)


def files_of(text: str) -> dict[str, tuple[int, str]]:
    """The files that a page tells to write: by path the line of the block, and the content.

    A block is one where the sentence before it ends in the path.
    """
    return {found[1]: (text.count("\n", 0, found.start(2)) + 1, found[2]) for found in _FILE.finditer(text)}


def as_known(overrides: list[str]) -> list[str]:
    """The overrides of a run with an intervention that the tutorial tells to write as one that the kit has."""
    written = files_of((ROOT / "docs" / "tutorial.md").read_text("utf-8"))
    own = "|".join(Path(path).stem for path in written if path.endswith(".yaml"))
    return [re.sub(rf"^intervention=(?:{own})\b", "intervention=swap", override) for override in overrides]


def code_and_prose(text: str) -> Iterator[tuple[int, str, bool]]:
    """Lines as (number, text, whether it is code); code that goes on behind a backslash is one line, its first."""
    fenced, begun, start = False, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
            continue
        if not (fenced or line.startswith("    ")):
            yield number, line, False
            continue
        start = start if begun else number
        begun += line.strip()
        if begun.endswith("\\"):
            begun = begun[:-1]
            continue
        yield start, begun, True
        begun = ""


def split(line: str) -> list[tuple[str, ...]]:
    """The words of each command of a line; none where it is no line for a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word == "&&":
                commands.append([])
            else:
                commands[-1].append(word)
    except ValueError:  # an apostrophe of a sentence, a quote of Python's
        return []
    return [tuple(words) for words in commands if words]
