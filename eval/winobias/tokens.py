"""WinoBias as PromptSource's templates see it: tokens joined by single spaces, punctuation apart ("paperwork .").

The hub's `wino_bias`, which PromptSource reads, was made from WinoBias's CoNLL files. The text files, tokenised as
here, give the same tokens and the same mentions for all 3168 sentences, so that either kind of file will do. The CoNLL
files were made from the brackets as they stand: where these are misplaced, the view keeps it. A pro sentence has the
referent "physician" instead of "the physician" (type 2, dev, line 176), and three sentences read "the the" (type 2:
that line's anti twin; test, line 3, pro and anti).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eval.winobias.sentences import (
    FILES,
    SENTENCES_PER_FILE,
    CutText,
    load_lines,
    occupation_of,
    places,
    pronoun_case,
)
from foundation import UserError

_CONLL = ".v4_auto_conll"
# Full stops and commas are tokens of their own only where a word ends, which keeps "2,000" whole.
_END = r"(?=[\s\[\]]|$)"
_TOKEN = re.compile(rf"[\[\]]|'s|n't|[.,]{_END}|(?:(?!n't|[.,]{_END})[^\s\[\]'])+")


@dataclass(frozen=True)
class Tokens:
    """A sentence's tokens, and the first and last of them for each mention: the referent, then its pronouns."""

    tokens: tuple[str, ...]
    mentions: tuple[tuple[int, int], ...]

    @property
    def text(self) -> str:
        return " ".join(self.tokens)

    @property
    def referent(self) -> str:
        first, last = self.mentions[0]
        return " ".join(self.tokens[first : last + 1])

    @property
    def cut(self) -> CutText:
        """The text, cut at the first pronoun."""
        place, _ = self.mentions[1]
        before, after = (" ".join(part) for part in (self.tokens[:place], self.tokens[place + 1 :]))
        return CutText(before=before, pronoun=self.tokens[place], after=f" {after}")


def tokenize(line: str) -> Tokens:
    """Read one line of a text file: a number, then words with the referent and its pronouns in brackets."""
    _, marked = line.split(" ", 1)
    tokens: list[str] = []
    mentions: list[tuple[int, int]] = []
    start = 0
    for token in _TOKEN.findall(marked):
        if token == "[":
            start = len(tokens)
        elif token == "]":
            mentions.append((start, len(tokens) - 1))
        else:
            tokens.append(token)
    return Tokens(tuple(tokens), tuple(mentions))


def read_conll(file: Path) -> list[Tokens]:
    """The documents of a CoNLL file by number: its document k is line k + 1 of the text file.

    A token's line has the token in its fourth column and `(1`, `1)`, `(1)` or `-` in its last: where a mention begins,
    ends, both, or neither. The documents stand in the order of their numbers as text (0, 1, 10, 100, 101, ...).

    Raises:
        UserError: there is no such file, or it has other documents than numbers 0 to 395, each with a referent and a
            pronoun.
    """
    if not file.is_file():
        raise UserError(f"winobias: there is no file {file}, expected all eight of conll_format; add it")
    documents = {}
    for document in file.read_text(encoding="utf-8").split("#begin document ")[1:]:
        header, *lines = document.splitlines()
        found = re.match(r"\(.*//(\d+)\)", header)
        rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
        starts = [i for i, row in enumerate(rows) if row[-1].startswith("(1")]
        ends = [i for i, row in enumerate(rows) if row[-1].endswith("1)")]
        if found is None or len(starts) != len(ends) or len(starts) < 2:
            raise UserError(
                f"{file}: document {header.strip()} has {len(starts)} beginnings and {len(ends)} ends of mentions, "
                f"expected a number after //, and as many of each, two at least; take the file as it was published"
            )
        mentions = tuple(zip(starts, ends, strict=True))
        documents[int(found[1])] = Tokens(tuple(row[3] for row in rows), mentions)
    if sorted(documents) != list(range(SENTENCES_PER_FILE)):
        raise UserError(
            f"{file} has {len(documents)} documents, expected {SENTENCES_PER_FILE}, numbered from 0; take the file as "
            f"it was published"
        )
    return [documents[number] for number in range(SENTENCES_PER_FILE)]


def load_tokens(directory: Path | None) -> pd.DataFrame:
    """The published sentences, one row each, in the order of `FILES`; see `tabulate_tokens`.

    Args:
        directory: local copies of the eight text files, or of the eight CoNLL files; None fetches the text files.

    Raises:
        UserError: a file is missing, or has not its published number of sentences.
    """
    if directory is not None and any(directory.glob(f"*{_CONLL}")):
        names = [f"{split}_type{kind}_{condition}_stereotype{_CONLL}" for condition, kind, split in FILES]
        return tabulate_tokens([sentence for name in names for sentence in read_conll(directory / name)])
    return tabulate_tokens([tokenize(line) for line in load_lines(directory)])


def tabulate_tokens(sentences: list[Tokens]) -> pd.DataFrame:
    """A row for each sentence of all files in the order of `FILES`, equally many from each.

    Columns: condition, type, split, line (from 1), text (the tokens joined by single spaces), referent (the mention,
    with its article), occupation, pronoun (the first) and case.
    """
    cut = [sentence.cut for sentence in sentences]
    twins = cut[len(cut) // 2 :] + cut[: len(cut) // 2]
    rows = [
        {
            **place,
            "text": sentence.text,
            "referent": sentence.referent,
            "occupation": occupation_of(sentence.referent),
            "pronoun": own.pronoun,
            "case": pronoun_case(own, twin),
        }
        for place, sentence, own, twin in zip(places(len(sentences)), sentences, cut, twins, strict=True)
    ]
    return pd.DataFrame(rows)
