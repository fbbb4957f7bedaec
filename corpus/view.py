"""Rows of tokens for the eye: text, documents, pronouns, and what an intervention made of them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

PRONOUNS = {
    "cyan": ("he", "him", "his", "himself"),
    "magenta": ("she", "her", "hers", "herself"),
    "yellow": ("they", "them", "their", "theirs", "themselves", "themself"),
}
Decode = Callable[[list[int]], str]

_COLOURS = {word: colour for colour, words in PRONOUNS.items() for word in words}
_PRONOUN = re.compile(rf"\b({'|'.join(_COLOURS)})\b", re.IGNORECASE)


@dataclass(frozen=True)
class View:
    """Some sequences of one step.

    Attributes:
        step: whose batch they are of.
        sequences: range of their places in the batch.
        first_row: corpus row of the first of them.
        batch_rows: rows in the whole batch.
        rows: (S, W) token ids.
        intervention: name of the intervention that made `intervened`; None where none did.
        intervened: (S, W) ids after it.
        swapped: (S, W) tokens of swapped words.
    """

    step: int
    sequences: range
    first_row: int
    batch_rows: int
    rows: NDArray[np.uint16]
    intervention: str | None = None
    intervened: NDArray[np.uint16] | None = None
    swapped: NDArray[np.bool_] | None = None


def parse_sequences(text: str, batch_rows: int) -> range:
    """`a:b` is sequences a to b - 1 of a batch, `a` is one.

    Raises:
        ValueError: the text means no sequences of the batch.
    """
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    if match is None:
        raise ValueError(f"rows={text} is not understood; take rows=A:B, B not included, or rows=A")
    first = int(match[1])
    stop = int(match[2]) if match[2] else first + 1
    if not first < stop <= batch_rows:
        raise ValueError(
            f"rows={text} are no sequences of a step: they are numbered from 0 to {batch_rows - 1}, and rows=A:B ends "
            f"before B"
        )
    return range(first, stop)


def documents(row: NDArray[np.integer[Any]], end_of_document: int) -> Iterator[slice]:
    """The parts of a row that belong to one document each; the end-of-document token is the last of its part."""
    start = 0
    for end in np.flatnonzero(row == end_of_document):
        yield slice(start, int(end) + 1)
        start = int(end) + 1
    if start < len(row):
        yield slice(start, len(row))


def show(view: View, decode: Decode, *, end_of_document: int, console: Console) -> None:
    """Print a view: a table a row of the corpus, in it a line a document.

    Args:
        decode: turns ids into text.
        end_of_document: the id that ends a document.
        console: where to print; one that is no terminal gets marks in place of colours.
    """
    last_row = view.first_row + len(view.rows) - 1
    batch_first = view.first_row - view.sequences.start
    console.print(
        f"step {view.step}: rows {batch_first} to {batch_first + view.batch_rows - 1} of the corpus, both included. "
        f"Here are rows {view.first_row} to {last_row}, sequences {view.sequences.start} to "
        f"{view.sequences.stop - 1} of the step.",
        highlight=False,
    )
    for place, sequence in enumerate(view.sequences):
        console.print()
        console.print(_table(view, place, sequence, decode, end_of_document, marked=not console.is_terminal))
    console.print()
    console.print(_legend(view, end_of_document, marked=not console.is_terminal), markup=False, highlight=False)


def _table(view: View, place: int, sequence: int, decode: Decode, end_of_document: int, *, marked: bool) -> Table:
    title = f"row {view.first_row + place}: sequence {sequence} of step {view.step}"
    table = Table(title=title, title_justify="left", show_lines=True, expand=True)
    table.add_column("tokens", no_wrap=True, vertical="top")
    table.add_column("corpus" if view.intervened is not None else "text", ratio=1)
    versions = [view.rows[place]]
    if view.intervened is not None:
        table.add_column(str(view.intervention), ratio=1)
        versions.append(view.intervened[place])
    swapped = np.zeros(len(view.rows[place]), np.bool_) if view.swapped is None else view.swapped[place]
    for part in documents(view.rows[place], end_of_document):
        ends = view.rows[place][part.stop - 1] == end_of_document
        note = f"{part.start} to {part.stop - 1}" + ("\nend of\ndocument" if ends else "")
        table.add_row(note, *(_text(ids[part], swapped[part], decode, marked=marked) for ids in versions))
    return table


def _text(ids: NDArray[np.integer[Any]], swapped: NDArray[np.bool_], decode: Decode, *, marked: bool) -> Text:
    """Decoded tokens; pronouns in the colour of their kind, swapped words underlined as well."""
    text = Text()
    bounds = np.flatnonzero(np.diff(swapped)) + 1
    for run, is_swapped in zip(np.split(ids, bounds), _flags(swapped, bounds), strict=True):
        for piece, colour in _by_pronoun(decode(run.tolist())):
            if colour is None:
                text.append(piece)
            elif marked:
                text.append(f"[[{piece}]]" if is_swapped else f"[{piece}]")
            else:
                text.append(piece, style=f"bold {colour}" + (" underline" if is_swapped else ""))
    return text


def _flags(swapped: NDArray[np.bool_], bounds: NDArray[np.intp]) -> Sequence[bool]:
    return [bool(swapped[start]) if len(swapped) else False for start in (0, *bounds)]


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
        f"A row has {width} tokens, 0 to {width - 1}: 0 to {width - 2} are inputs, 1 to {width - 1} are labels; "
        f"token 0 is never a label."
    ]
    if not (view.rows == end_of_document).any():
        lines.append(
            "No end-of-document token is in these rows (the deduplicated Pile has none): documents join unmarked."
        )
    if view.swapped is not None:
        lines.append(f"Words swapped by {view.intervention} in these rows: {_words(view.swapped)}.")
    marks = "[so], swapped ones [[so]]" if marked else "coloured, swapped ones underlined as well"
    lines.append(f"Pronouns are marked {marks}.")
    return "\n".join(lines)


def _words(swapped: NDArray[np.bool_]) -> int:
    """Runs of swapped tokens."""
    padded = np.pad(swapped, ((0, 0), (1, 0)))
    return int((swapped & ~padded[:, :-1]).sum())
