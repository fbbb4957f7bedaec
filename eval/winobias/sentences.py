"""The 3168 sentences of WinoBias's text files, the occupations that they name, and the pronouns that they mark.

Where a sentence marks two pronouns (44 pro, 43 anti), the first one counts: the text before a later one has told its
gender. The text is mended where brackets are misplaced ("[ x]", "the [the x]"), nowhere else; some twins differ in more
than their pronouns.
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eval.items import check_counts
from foundation import SOURCES, fetch

# Women among the employed, in % (US labour statistics, as WinoBias's README gives them).
MALE_OCCUPATIONS = {
    "supervisor": 44.0,
    "janitor": 34.0,
    "cook": 38.0,
    "mover": 18.0,
    "laborer": 3.5,
    "construction worker": 3.5,
    "chief": 27.0,
    "developer": 20.0,
    "carpenter": 2.1,
    "manager": 43.0,
    "lawyer": 35.0,
    "farmer": 22.0,
    "driver": 6.0,
    "salesperson": 48.0,
    "physician": 38.0,
    "guard": 22.0,
    "analyst": 41.0,
    "mechanic": 4.0,
    "sheriff": 14.0,
    "CEO": 39.0,
}
FEMALE_OCCUPATIONS = {
    "cashier": 73.0,
    "teacher": 78.0,
    "nurse": 90.0,
    "assistant": 85.0,
    "secretary": 95.0,
    "auditor": 61.0,
    "cleaner": 89.0,
    "receptionist": 90.0,
    "clerk": 72.0,
    "counselor": 73.0,
    "designer": 54.0,
    "hairdresser": 92.0,
    "attendant": 76.0,
    "writer": 63.0,
    "housekeeper": 89.0,
    "baker": 65.0,
    "accountant": 61.0,
    "editor": 52.0,
    "librarian": 84.0,
    "tailor": 80.0,
}
PCT_FEMALE = MALE_OCCUPATIONS | FEMALE_OCCUPATIONS

FILES = [(condition, kind, split) for condition in ("pro", "anti") for kind in (1, 2) for split in ("dev", "test")]
SENTENCES_PER_FILE = 396

# case -> masculine, feminine, singular they; no sentence has a reflexive as its first pronoun
PRONOUNS = {
    "subject": ("he", "she", "they"),
    "possessive": ("his", "her", "their"),
    "object": ("him", "her", "them"),
}

_BRACKETS = re.compile(r"\[([^\]]*)\]")
_OCCUPATION = re.compile(rf"\b({'|'.join(PCT_FEMALE)})\b", re.IGNORECASE)
_BY_LOWER_CASE = {occupation.lower(): occupation for occupation in PCT_FEMALE}


@dataclass(frozen=True)
class CutText:
    """A text cut at its first pronoun: text = before + " " + pronoun + after."""

    before: str
    pronoun: str
    after: str

    @property
    def text(self) -> str:
        return f"{self.before} {self.pronoun}{self.after}"


@dataclass(frozen=True)
class Sentence(CutText):
    """A sentence without brackets, and the two occupations that it is about."""

    referent: str
    other: str


def parse_sentence(line: str) -> Sentence:
    """Read one line of a WinoBias file: a number, then words with the referent and its pronouns in brackets.

    Raises:
        ValueError: no other occupation than the referent is named.
    """
    _, marked = line.split(" ", 1)
    marked = marked.replace("the [the ", "the [")
    parts = [part.strip() if i % 2 else part for i, part in enumerate(_BRACKETS.split(marked))]
    before, pronoun, after = "".join(parts[:3]).rstrip(), parts[3], "".join(parts[4:])
    referent = occupation_of(parts[1])
    named = [_BY_LOWER_CASE[found.lower()] for found in _OCCUPATION.findall(before + after)]
    others = [occupation for occupation in named if occupation != referent]
    if not others:
        raise ValueError(f"no occupation but {referent} in: {line}")
    # One pair of sentences goes on to name a third person, after the two that it is about.
    return Sentence(before=before, pronoun=pronoun, after=after, referent=referent, other=others[0])


def occupation_of(mention: str) -> str:
    """The occupation, a key of `PCT_FEMALE`, that a mention ("The nurse", "a CEO", "baker") names."""
    return _BY_LOWER_CASE[re.sub(r"^(the|an?) ", "", mention.lower())]


def pronoun_case(sentence: CutText, twin: CutText) -> str:
    """The case of a sentence's pronoun, a key of `PRONOUNS`.

    Only "her" is ambiguous; it has the case whose masculine form makes the sentence more like its twin.
    """
    cases = [case for case, forms in PRONOUNS.items() if sentence.pronoun in forms]

    def likeness(case: str) -> float:
        masculine = f"{sentence.before} {PRONOUNS[case][0]}{sentence.after}"
        return difflib.SequenceMatcher(None, masculine.split(), twin.text.split(), autojunk=False).ratio()

    return max(cases, key=likeness) if len(cases) > 1 else cases[0]


def load_lines(directory: Path | None) -> list[str]:
    """The lines of the eight text files in the order of `FILES`; `directory` holds local copies, None fetches them.

    Raises:
        UserError: a file cannot be had, has other content, or was read as another number of lines.
    """
    names = [f"winobias/{condition}_type{kind}.{split}" for condition, kind, split in FILES]
    files = [fetch(name, path=directory and directory / SOURCES[name].filename) for name in names]
    lines = [line for file in files for line in file.read_text("utf-8").removesuffix("\n").split("\n")]
    check_counts("winobias", {"sentences": len(lines)}, {"sentences": SENTENCES_PER_FILE * len(FILES)})
    return lines


def places(sentences: int) -> list[dict[str, str | int]]:
    """Condition, type, split and line (from 1) of so many sentences in the order of `FILES`, equally many a file."""
    return [
        {"condition": condition, "type": kind, "split": split, "line": line}
        for condition, kind, split in FILES
        for line in range(1, sentences // len(FILES) + 1)
    ]


def load_sentences(directory: Path | None) -> pd.DataFrame:
    """The published sentences, one row each, all pro ones before all anti ones; see `tabulate`."""
    return tabulate(load_lines(directory))


def tabulate(lines: list[str]) -> pd.DataFrame:
    """Parse the lines of all files in the order of `FILES`, equally many from each.

    Columns: condition, type, split, line (from 1), those of `Sentence`, text, and case.
    """
    sentences = [parse_sentence(line) for line in lines]
    pro, anti = sentences[: len(lines) // 2], sentences[len(lines) // 2 :]
    rows = [
        {**place, **vars(sentence), "text": sentence.text, "case": pronoun_case(sentence, twin)}
        for place, sentence, twin in zip(places(len(lines)), sentences, anti + pro, strict=True)
    ]
    return pd.DataFrame(rows)
