"""Passages that show what became of words, drawn from the rows of an intervention.

Legend: S rows, W tokens in a row.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interventions.ledger import OUTCOMES, SKIP_REASONS, SWAPPED, Ledger

CONTEXT = 20
ELSEWHERE = "elsewhere"
TREATED = {"drop": "not learned"}

_LONGEST_CHANGE = 8


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
        outcome: one of `OUTCOMES`, or `ELSEWHERE`.
        row: of the corpus.
        token: its first token in the row; of `ELSEWHERE`, the first that changed.
        form, replacement: the ledger's; empty for `ELSEWHERE`.
        passage: the text around it.
        opens, closes: whether the passage begins, ends with the row.
        end: the end of the row, where its tokens moved; else empty.
    """

    outcome: str
    row: int
    token: int
    form: str
    replacement: str
    passage: tuple[Piece, ...]
    opens: bool
    closes: bool
    end: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Kind:
    """An outcome that occurred.

    Attributes:
        outcome: one of `OUTCOMES`, or `ELSEWHERE`.
        short, words: its name, and what it means, if that needs to be said.
        count: words; of `ELSEWHERE`, rows.
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
    return samples + [passages.of_row(row) for row in rows_without_a_word(rows, intervened, ledger)[:count].tolist()]


def rows_that_moved(
    rows: NDArray[np.integer[Any]], intervened: NDArray[np.integer[Any]], ledger: Ledger
) -> NDArray[np.bool_]:
    """(S,) whether tokens changed outside of the ledger's swapped words: one place no longer answers to one place."""
    explained = np.zeros(rows.size, np.bool_)
    swapped = ledger.outcome == SWAPPED
    position, length = ledger.position[swapped], ledger.length[swapped]
    for offset in range(int(length.max(initial=0))):
        explained[position[length > offset] + offset] = True
    moved: NDArray[np.bool_] = ((rows != intervened) & ~explained.reshape(rows.shape)).any(axis=1)
    return moved


def rows_without_a_word(
    rows: NDArray[np.integer[Any]], intervened: NDArray[np.integer[Any]], ledger: Ledger
) -> NDArray[np.intp]:
    """Indices of the rows whose tokens changed although the ledger has no word in them."""
    moved = rows_that_moved(rows, intervened, ledger)
    moved[ledger.position // rows.shape[1]] = False
    return np.flatnonzero(moved)


@dataclass(frozen=True)
class _Cut:
    """Tokens of a row, before and after, that are shown as one; what is `plain` stayed and may be cut further."""

    old: slice
    new: slice
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
        self._moved = rows_that_moved(rows, intervened, ledger)

    def of_word(self, word: int) -> Sample:
        ledger = self._ledger
        row, start = divmod(int(ledger.position[word]), self._width)
        stop = start + int(ledger.length[word])
        cuts = self._cuts_of_moved(row, start, stop) if self._moved[row] else self._cuts(row, word)
        form, replacement = ledger.words[int(ledger.label[word])]
        return self._sample(OUTCOMES[ledger.outcome[word]], row, start, stop, cuts, form, replacement)

    def of_row(self, row: int) -> Sample:
        token = int(np.argmax(self._rows[row] != self._intervened[row]))
        return self._sample(ELSEWHERE, row, token, token + 1, self._cuts_of_moved(row, token, token), "", "")

    def _sample(
        self, outcome: str, row: int, start: int, stop: int, cuts: Sequence[_Cut], form: str, replacement: str
    ) -> Sample:
        first, last = start - self._context, stop + self._context
        tail = slice(self._width - 2 * self._context, self._width)
        return Sample(
            outcome=outcome,
            row=self._first_row + row,
            token=start,
            form=form,
            replacement=replacement,
            passage=self._pieces(row, cuts, slice(first, last)),
            opens=first <= 0,
            closes=last >= self._width,
            end=self._pieces(row, cuts, tail) if self._moved[row] else (),
        )

    def _cuts(self, row: int, chosen: int) -> list[_Cut]:
        """The row by its swapped words and the chosen one."""
        ledger = self._ledger
        here = np.arange(*np.searchsorted(ledger.position, [row * self._width, (row + 1) * self._width]))
        cuts, done = [], 0
        for word in here[(ledger.outcome[here] == SWAPPED) | (here == chosen)].tolist():
            start = int(ledger.position[word]) - row * self._width
            place, between = slice(start, start + int(ledger.length[word])), slice(done, start)
            learned = ledger.unlearned is None or bool(ledger.outcome[word] != SWAPPED)
            cuts += [_Cut(between, between), _Cut(place, place, plain=False, chosen=word == chosen, learned=learned)]
            done = place.stop
        rest = slice(done, self._width)
        return [*cuts, _Cut(rest, rest)]

    def _cuts_of_moved(self, row: int, start: int, stop: int) -> list[_Cut]:
        """The row by what `difflib` finds inserted and deleted, and the tokens from `start` to `stop`.

        A run of one token that fills the new row's end is not compared: it may be that which vanished elsewhere.
        """
        old, new_row = self._rows[row], self._intervened[row]
        others = np.flatnonzero(new_row != new_row[-1])
        filled_from = int(others[-1]) + 1 if len(others) else 0
        if self._width - filled_from == 1:
            filled_from = self._width
        matcher = difflib.SequenceMatcher(None, old.tolist(), new_row[:filled_from].tolist(), autojunk=False)
        cuts = []
        for tag, first, last, new_first, new_last in matcher.get_opcodes():
            if tag == "equal":
                bounds = [first, *(bound for bound in (start, stop) if first < bound < last), last]
                for one, other in pairwise(bounds):
                    new = slice(new_first + one - first, new_first + other - first)
                    chosen = start <= one and other <= stop
                    cuts.append(_Cut(slice(one, other), new, plain=not chosen, chosen=chosen))
            else:
                chosen = first < stop and start < last
                cuts.append(_Cut(slice(first, last), slice(new_first, new_last), plain=False, chosen=chosen))
        if filled_from < self._width:
            end = slice(self._width, self._width)
            cuts.append(_Cut(end, slice(filled_from, self._width), plain=False))
        return cuts

    def _pieces(self, row: int, cuts: Sequence[_Cut], window: slice) -> tuple[Piece, ...]:
        pieces: list[Piece] = []
        for cut in cuts:
            first, last = max(cut.old.start, window.start), min(cut.old.stop, window.stop)
            if cut.plain and first < last:
                pieces.append(Piece(self._text(self._rows[row, first:last])))
            elif not cut.plain and (first < last or first == last == cut.old.start == cut.old.stop):
                pieces += self._changed(row, cut)
        return _trimmed(pieces)

    def _changed(self, row: int, cut: _Cut) -> Iterator[Piece]:
        """The pieces of a word or a change; the space that a token begins with stands before the mark."""
        old, new = self._rows[row, cut.old], self._intervened[row, cut.new]
        text_of = self._shortened if self._moved[row] else self._text
        text = text_of(old)
        replacement = None if np.array_equal(old, new) else text_of(new)
        space = text[: len(text) - len(text.lstrip(" "))]
        if space and (replacement is None or replacement.startswith(space)):
            yield Piece(space)
            text, replacement = text[len(space) :], None if replacement is None else replacement[len(space) :]
        yield Piece(text, replacement, chosen=cut.chosen, learned=cut.learned)

    def _shortened(self, ids: NDArray[np.integer[Any]]) -> str:
        """Text of a change that may be as long as the row."""
        text = self._text(ids[:_LONGEST_CHANGE])
        return text if len(ids) <= _LONGEST_CHANGE else f"{text}… ({len(ids)} tokens)"

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


def kinds_of(
    intervention: str, counts: pd.DataFrame, samples: Sequence[Sample], *, rows_elsewhere: int
) -> Iterator[Kind]:
    """The outcomes that occurred, in the order of `OUTCOMES`.

    Args:
        intervention: its name.
        counts: `Ledger.counts`.
        samples: of all outcomes.
        rows_elsewhere: how many rows changed without a word.
    """
    occurred = {outcome: int(counts[outcome].sum()) for outcome in OUTCOMES} | {ELSEWHERE: rows_elsewhere}
    for outcome, count in occurred.items():
        if count:
            reason = outcome.removeprefix("skipped_")
            short = treated(intervention) if outcome == OUTCOMES[SWAPPED] else reason.replace("_", " ")
            shown = tuple(sample for sample in samples if sample.outcome == outcome)
            yield Kind(outcome, short, SKIP_REASONS.get(reason, ""), count, shown)


def treated(intervention: str) -> str:
    """What `swapped` means in the ledger of an intervention."""
    return TREATED.get(intervention, "swapped")
