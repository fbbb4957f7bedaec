"""Passages that show what became of words, drawn from the rows of an intervention.

Legend: S rows, W tokens in a row.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interventions.ledger import OUTCOMES, SKIP_REASONS, SWAPPED, Ledger

CONTEXT = 20
TREATED = {"drop": "not learned"}


@dataclass(frozen=True)
class Piece:
    """A run of text in a passage.

    Attributes:
        text: of the corpus, as `draw_samples` is given it.
        new: what stands in its place; None: it stays.
        chosen: whether it is the word that the passage shows.
        learned: whether it is learned as a label.
    """

    text: str
    new: str | None = None
    chosen: bool = False
    learned: bool = True


@dataclass(frozen=True)
class Sample:
    """A word, what became of it, and the text around it.

    Attributes:
        outcome: one of `OUTCOMES`.
        row: of the corpus.
        token: its first token in the row.
        form, replacement: the ledger's.
        passage: the text around it.
        opens, closes: whether the passage begins, ends with the row.
    """

    outcome: str
    row: int
    token: int
    form: str
    replacement: str
    passage: tuple[Piece, ...]
    opens: bool
    closes: bool


@dataclass(frozen=True)
class Kind:
    """An outcome that occurred.

    Attributes:
        outcome: one of `OUTCOMES`.
        short, words: its name, and what it means, if that needs to be said.
        count: words that had it.
        samples: some of them, in the order of the text.
    """

    outcome: str
    short: str
    words: str
    count: int
    samples: tuple[Sample, ...]


def draw_samples(
    rows: NDArray[np.integer[Any]],
    intervened: NDArray[np.integer[Any]],
    ledger: Ledger,
    decode: Callable[[list[int]], str],
    *,
    first_row: int,
    count: int,
    context: int = CONTEXT,
) -> list[Sample]:
    """Passages for every outcome that occurs, by outcome and then in the order of the text.

    They are drawn at random, words that differ first; the same rows give the same ones.

    Args:
        rows: (S, W) token ids before the intervention.
        intervened: the same rows after it.
        decode: turns ids into text, without characters that a terminal would obey.
        first_row: corpus row of `rows[0]`.
        count: at most so many of each outcome.
        context: tokens shown on either side.
    """
    passages = _Passages(rows, intervened, ledger, decode, first_row=first_row, context=context)
    order = np.random.default_rng(0).permutation(len(ledger.position))
    samples = []
    for outcome in range(len(OUTCOMES)):
        here = order[ledger.outcome[order] == outcome]
        label = pd.Series(ledger.label[here])
        turn = label.groupby(label).cumcount().to_numpy()
        chosen = np.sort(here[np.argsort(turn, kind="stable")[:count]])
        samples += [passages.of_word(word) for word in chosen.tolist()]
    return samples


@dataclass(frozen=True)
class _Cut:
    """Tokens of a row that are shown as one; what is `plain` stayed and may be cut further."""

    place: slice
    plain: bool = True
    chosen: bool = False
    learned: bool = True


class _Passages:
    """Cuts passages out of rows."""

    def __init__(
        self,
        rows: NDArray[np.integer[Any]],
        intervened: NDArray[np.integer[Any]],
        ledger: Ledger,
        decode: Callable[[list[int]], str],
        *,
        first_row: int,
        context: int,
    ) -> None:
        self._rows, self._intervened, self._ledger = rows, intervened, ledger
        self._decode = decode
        self._first_row, self._context = first_row, context
        self._width = rows.shape[1]

    def of_word(self, word: int) -> Sample:
        ledger = self._ledger
        row, start = divmod(int(ledger.position[word]), self._width)
        first, last = start - self._context, start + int(ledger.length[word]) + self._context
        form, replacement = ledger.words[int(ledger.label[word])]
        return Sample(
            outcome=OUTCOMES[ledger.outcome[word]],
            row=self._first_row + row,
            token=start,
            form=form,
            replacement=replacement,
            passage=self._pieces(row, self._cuts(row, word), slice(first, last)),
            opens=first <= 0,
            closes=last >= self._width,
        )

    def _cuts(self, row: int, chosen: int) -> list[_Cut]:
        """The row by its swapped words and the chosen one."""
        ledger = self._ledger
        here = np.arange(*np.searchsorted(ledger.position, [row * self._width, (row + 1) * self._width]))
        cuts, done = [], 0
        for word in here[(ledger.outcome[here] == SWAPPED) | (here == chosen)].tolist():
            start = int(ledger.position[word]) - row * self._width
            place = slice(start, start + int(ledger.length[word]))
            learned = ledger.unlearned is None or bool(ledger.outcome[word] != SWAPPED)
            cuts += [_Cut(slice(done, start)), _Cut(place, plain=False, chosen=word == chosen, learned=learned)]
            done = place.stop
        return [*cuts, _Cut(slice(done, self._width))]

    def _pieces(self, row: int, cuts: Sequence[_Cut], window: slice) -> tuple[Piece, ...]:
        pieces: list[Piece] = []
        for cut in cuts:
            first, last = max(cut.place.start, window.start), min(cut.place.stop, window.stop)
            if first < last:
                pieces += [Piece(self._text(self._rows[row, first:last]))] if cut.plain else self._word(row, cut)
        return _trimmed(pieces)

    def _word(self, row: int, cut: _Cut) -> Iterator[Piece]:
        """The pieces of a word; the space that its token begins with stands before the mark."""
        old, new = self._rows[row, cut.place], self._intervened[row, cut.place]
        text = self._text(old)
        replacement = None if np.array_equal(old, new) else self._text(new)
        space = text[: len(text) - len(text.lstrip(" "))]
        if space and (replacement is None or replacement.startswith(space)):
            yield Piece(space)
            text, replacement = text[len(space) :], None if replacement is None else replacement[len(space) :]
        yield Piece(text, replacement, chosen=cut.chosen, learned=cut.learned)

    def _text(self, ids: NDArray[np.integer[Any]]) -> str:
        return self._decode(ids.tolist())


def _trimmed(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The pieces without blanks at both ends and what is left of a character that the window cuts in two."""
    trimmed = list(pieces)
    if trimmed and trimmed[0].new is None:
        trimmed[0] = replace(trimmed[0], text=trimmed[0].text.lstrip("\ufffd \n"))
    if trimmed and trimmed[-1].new is None:
        trimmed[-1] = replace(trimmed[-1], text=trimmed[-1].text.rstrip("\ufffd \n"))
    return tuple(trimmed)


def kinds_of(intervention: str, counts: pd.DataFrame, samples: Sequence[Sample]) -> Iterator[Kind]:
    """The outcomes that occurred, in the order of `OUTCOMES`.

    Args:
        intervention: its name.
        counts: `Ledger.counts`.
        samples: of all outcomes.
    """
    for outcome in OUTCOMES:
        if count := int(counts[outcome].sum()):
            reason = outcome.removeprefix("skipped_")
            short = treated(intervention) if outcome == OUTCOMES[SWAPPED] else reason.replace("_", " ")
            shown = tuple(sample for sample in samples if sample.outcome == outcome)
            yield Kind(outcome, short, SKIP_REASONS.get(reason, ""), count, shown)


def treated(intervention: str) -> str:
    """What `swapped` means in the ledger of an intervention."""
    return TREATED.get(intervention, "swapped")
