"""Rows of tokens for the eye: text, documents, pronouns, and what an intervention made of them."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foundation import UserError

PRONOUNS = {
    "cyan": ("he", "him", "his", "himself"),
    "magenta": ("she", "her", "hers", "herself"),
    "yellow": ("they", "them", "their", "theirs", "themselves", "themself"),
}

Decode = Callable[[list[int]], str]

_COLOURS = {word: colour for colour, words in PRONOUNS.items() for word in words}
_PRONOUN = re.compile(rf"\b({'|'.join(_COLOURS)})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Intervened:
    """What an intervention made of some rows.

    Attributes:
        rows: (S, W) token ids.
        swapped: (S, W) tokens of swapped words.
        words: swapped words in all of them.
    """

    intervention: str
    rows: NDArray[np.uint16]
    swapped: NDArray[np.bool_]
    words: int


@dataclass(frozen=True)
class View:
    """Some sequences of one step.

    Attributes:
        step: whose batch they are of.
        batch: corpus rows of that batch.
        sequences: the places of these sequences in the batch.
        rows: (S, W) token ids.
        intervened: the same rows after an intervention; None where none was asked for.
    """

    step: int
    batch: range
    sequences: range
    rows: NDArray[np.uint16]
    intervened: Intervened | None = None


def parse_sequences(text: str, batch_rows: int) -> range:
    """`A:B` is sequences A to B - 1 of a batch, `A` is one.

    Raises:
        UserError: the text means no sequences of the batch.
    """
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if match is None:
        raise UserError(f"rows={text} is not understood; take rows=A:B, B not included, or rows=A")
    first = int(match[1])
    stop = int(match[2]) if match[2] else first + 1
    if not first < stop <= batch_rows:
        raise UserError(
            f"rows={text} are no sequences of a step: they are numbered from 0 to {batch_rows - 1}, and rows=A:B ends "
            f"before B"
        )
    return range(first, stop)


def documents(row: NDArray[np.integer[Any]], end_of_document: int) -> list[slice]:
    """The parts of a row that belong to one document each; the end-of-document token is the last of its part."""
    bounds = [0, *(np.flatnonzero(row == end_of_document) + 1).tolist(), len(row)]
    return [slice(start, stop) for start, stop in pairwise(bounds) if start < stop]


def show(view: View, decode: Decode, *, end_of_document: int, console: Console) -> None:
    """Print a view: a table a row of the corpus, in it a line a document.

    Args:
        decode: turns ids into text.
        end_of_document: the id that ends a document.
        console: where to print; one without colours gets marks in their place.
    """
    marked = console.color_system is None
    console.print(
        f"Step {view.step} is rows {view.batch.start} to {view.batch.stop - 1} of the corpus, its sequences 0 to "
        f"{len(view.batch) - 1}, first and last included.",
        highlight=False,
    )
    for place, sequence in enumerate(view.sequences):
        console.print()
        console.print(_table(view, place, sequence, decode, end_of_document, marked=marked))
    console.print()
    console.print(_legend(view, end_of_document, marked=marked), markup=False, highlight=False)


def _table(view: View, place: int, sequence: int, decode: Decode, end_of_document: int, *, marked: bool) -> Table:
    title = f"row {view.batch[sequence]}: sequence {sequence} of step {view.step}"
    table = Table(title=title, title_justify="left", show_lines=True, expand=True)
    table.add_column("tokens", no_wrap=True)
    table.add_column("corpus", ratio=1, overflow="fold")
    row = view.rows[place]
    versions, swapped = [row], np.zeros(len(row), np.bool_)
    if view.intervened is not None:
        table.add_column(view.intervened.intervention, ratio=1, overflow="fold")
        versions, swapped = [row, view.intervened.rows[place]], view.intervened.swapped[place]
    for part in documents(row, end_of_document):
        ends = row[part.stop - 1] == end_of_document
        note = f"{part.start} to {part.stop - 1}" + ("\nend of\ndocument" if ends else "")
        table.add_row(note, *(_text(ids[part], swapped[part], decode, marked=marked) for ids in versions))
    return table


def _text(ids: NDArray[np.integer[Any]], swapped: NDArray[np.bool_], decode: Decode, *, marked: bool) -> Text:
    """Decoded tokens; pronouns in the colour of their kind, swapped words underlined as well."""
    text = Text()
    bounds = np.flatnonzero(np.diff(swapped)) + 1
    for run, flags in zip(np.split(ids, bounds), np.split(swapped, bounds), strict=True):
        for piece, colour in _by_pronoun(visible(decode(run.tolist()))):
            if colour is None:
                text.append(piece)
            elif marked:
                text.append(f"⟦{piece}⟧" if flags[0] else f"⟨{piece}⟩")
            else:
                text.append(piece, style=f"bold {colour}" + (" underline" if flags[0] else ""))
    return text


def visible(text: str) -> str:
    """The text with its control characters, which a terminal would obey, as their pictures; lines and tabs stay."""
    return "".join(
        character if character == "\n" or unicodedata.category(character) != "Cc" else _picture(character)
        for character in text.replace("\t", "    ")
    )


def _picture(control: str) -> str:
    return chr(0x2400 + ord(control)) if ord(control) < 0x20 else "�"


def _by_pronoun(text: str) -> Iterator[tuple[str, str | None]]:
    """The text in pieces; the pronouns among them with their colour."""
    done = 0
    for match in _PRONOUN.finditer(text):
        yield text[done : match.start()], None
        yield match[0], _COLOURS[match[0].lower()]
        done = match.end()
    yield text[done:], None


def _legend(view: View, end_of_document: int, *, marked: bool) -> str:
    width = view.rows.shape[1]
    lines = [
        f"A row has tokens 0 to {width - 1}: 0 to {width - 2} are inputs, 1 to {width - 1} are labels; token 0 is "
        f"never a label."
    ]
    if not (view.rows == end_of_document).any():
        lines.append(
            "No end-of-document token is in these rows (the deduplicated Pile has none): documents join unmarked."
        )
    pronouns = "Pronouns are marked ⟨so⟩" if marked else "Pronouns are coloured by gender"
    if view.intervened is None:
        return "\n".join([*lines, f"{pronouns}."])
    swapped = "swapped words ⟦so⟧" if marked else "swapped words are underlined"
    lines.append(f"{pronouns}, {swapped}.")
    lines.append(f"{view.intervened.intervention} swaps {view.intervened.words} words of these rows.")
    return "\n".join(lines)
