"""See what an intervention does to the batch of a step, before training on it.

python -m interventions.preview intervention=masculine_to_feminine
                                     on the demo's batch
python -m interventions.preview model=1.4b step=133000 intervention=neutral
python -m interventions.preview step=448 intervention=swap rows=0:4 samples=10
python -m interventions.preview step=448 intervention=drop html=drop.html
python -m interventions.preview step=448 positions=words.parquet

Prints how many words were found, what became of them and why, and passages
before and after; writes the same, and all forms, as a page.

rows=A:B          sequences A to B - 1 of the batch; without it, all of them
samples=N         passages for each outcome, drawn from the rows: 3
html=PATH         the page: intervention_preview.html; html=none writes none
positions=PATH    a .parquet with a row for each word that was found in these
                  sequences: where, which, and what became of it
tokenizer=PLACE   as in corpus.show

Other arguments are those of run.py. step= is that at which the run begins:
what an intervention learns, it learns from the rows before that step.
"""

import difflib
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conf.schema import HerChoice, RunConfig
from corpus import fingerprint
from corpus.show import PYTHIA_TOKENIZER, decoder
from corpus.show import _tokenizer as open_tokenizer
from corpus.view import parse_sequences, visible
from foundation import UserError, atomic_file, run_command, write_text
from interventions import INTERVENTIONS, OUTCOMES, Ledger
from interventions.ledger import SWAPPED
from run import configure, find_corpus, find_intervention, find_segment

OWN = ("rows", "samples", "html", "positions", "tokenizer")
CONTEXT = 20
TERMINAL_FORMS = 16
TREATED = {"drop": "not learned", "as_released": "removed"}
ELSEWHERE = "elsewhere"
WORDS = {
    "skipped_compound": "joined by a hyphen to another word",
    "skipped_row_edge": "too close to the edge of a row: what would decide lies outside it",
    "skipped_coordination": "both genders are named, as in “he or she”, “his/her”, “s/he”",
    "skipped_fixed_expression": "part of a title, as in “Her Majesty”",
    "skipped_acronym": "in capitals where no word beside it is, as in “the HIS”",
    "skipped_language": "the words around it are not English",
    "skipped_length": "form and replacement have different numbers of tokens, and a row must keep its length",
    "skipped_not_drawn": "the dose, a coin or the shuffle did not choose it",
}

_HERE = Path(__file__).parent
_LONGEST_CHANGE = 8
_ASCII = str.maketrans({"→": "->", "’": "'", "“": '"', "”": '"', "…": "...", "–": "-", "−": "-", "\u00a0": " "})


@dataclass(frozen=True)
class Piece:
    """A run of text in a passage.

    Attributes:
        text: as the corpus has it.
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


@dataclass(frozen=True)
class Preview:
    """All that is shown.

    Attributes:
        command: that shows it again.
        model, step: whose batch it is.
        corpus: where it lies.
        first_row, stop_row: of the corpus, that were read; the last is not included.
        sha256: of these rows.
        intervention, sentence, identity: its name, what it does, and the hash of all that decides.
        facts: what it measured of itself, in sentences.
        rows, tokens: how many were read.
        changed_rows, changed_tokens: how many are others now, place by place.
        moved_rows: in how many of them one place no longer answers to one place.
        unlearned_tokens: how many are no labels now.
        counts: `Ledger.counts`, the most frequent forms first.
        kinds: the outcomes that occurred, in the order of `OUTCOMES`.
    """

    command: str
    model: str
    step: int
    corpus: str
    first_row: int
    stop_row: int
    sha256: str
    intervention: str
    sentence: str
    identity: str
    facts: tuple[str, ...]
    rows: int
    tokens: int
    changed_rows: int
    changed_tokens: int
    moved_rows: int
    unlearned_tokens: int
    counts: pd.DataFrame
    kinds: tuple[Kind, ...]

    @property
    def found(self) -> int:
        """Words that were found."""
        return int(self.counts["occurrences"].sum())

    @property
    def columns(self) -> dict[str, str]:
        """The columns of `counts` that are shown, and what they are called."""
        reasons = {kind.outcome: kind.short for kind in self.kinds if kind.outcome in OUTCOMES[1:]}
        return {"occurrences": "found", OUTCOMES[SWAPPED]: _treated(self.intervention), **reasons}


def main(arguments: list[str]) -> None:
    """Preview what the arguments say. Like run.py this command connects the parts; it is no part of them."""
    own = _own_options(arguments)
    page = _page_path(own.get("html", "intervention_preview.html"))
    positions = _positions_path(own["positions"]) if "positions" in own else None
    count = _count(own.get("samples", "3"))
    config = configure(_run_arguments([argument for argument in arguments if argument.partition("=")[0] not in own]))
    if config.intervention.her is HerChoice.language_model:
        raise UserError(
            "intervention.her=language_model asks the model that the run begins with, which a preview does not load; "
            "leave it out to see what intervention.her=corpus does"
        )
    corpus = find_corpus(config.corpus)
    segment = find_segment(config, corpus)
    batch = range(segment.first_row(config.step), segment.first_row(config.step + 1))
    sequences = parse_sequences(own.get("rows", f"0:{len(batch)}"), len(batch))
    first_row, stop_row = batch[sequences.start], batch[sequences.stop - 1] + 1
    tokenizer = open_tokenizer(own.get("tokenizer") or str(corpus.tokenizer or PYTHIA_TOKENIZER))
    intervention = find_intervention(config, segment, tokenizer)
    rows = corpus.rows(first_row, stop_row)
    intervened, ledger = intervention(rows, first_row=first_row)
    samples = draw_samples(rows, intervened, ledger, decoder(tokenizer), first_row=first_row, count=count)
    changed = intervened != rows
    counts = ledger.counts.sort_values("occurrences", ascending=False, kind="stable", ignore_index=True)
    elsewhere = len(rows_without_a_word(rows, intervened, ledger))
    preview = Preview(
        command=shlex.join(["python", "-m", "interventions.preview", *arguments]),
        model=config.model.name,
        step=config.step,
        corpus=corpus.location,
        first_row=first_row,
        stop_row=stop_row,
        sha256=fingerprint(rows),
        intervention=intervention.name,
        sentence=INTERVENTIONS[intervention.name].sentence,
        identity=intervention.identity,
        facts=tuple(fact_sentences(intervention.facts)),
        rows=len(rows),
        tokens=rows.size,
        changed_rows=int(changed.any(axis=1).sum()),
        changed_tokens=int(changed.sum()),
        moved_rows=int(rows_that_moved(rows, intervened, ledger).sum()),
        unlearned_tokens=0 if ledger.unlearned is None else int(ledger.unlearned.sum()),
        counts=counts,
        kinds=tuple(kinds_of(intervention.name, counts, samples, rows_elsewhere=elsewhere)),
    )
    console = Console(highlight=False)
    show(preview, console=console)
    if positions is not None:
        with atomic_file(positions) as aside:
            ledger.occurrences(first_row=first_row).to_parquet(aside, index=False)
        console.print(Text(f"positions  {positions}"), soft_wrap=True)
    if page is not None:
        write_text(page, render(preview))
        console.print(Text(f"page       {page}"), soft_wrap=True)


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
        decode: turns ids into text.
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
        return visible(self._decode(ids.tolist()))


def _trimmed(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The pieces without blanks at both ends and what is left of a character that the window cuts in two."""
    trimmed = list(pieces)
    if trimmed and trimmed[0].new is None:
        trimmed[0] = replace(trimmed[0], text=trimmed[0].text.lstrip("\ufffd \n"))
    if trimmed and trimmed[-1].new is None:
        trimmed[-1] = replace(trimmed[-1], text=trimmed[-1].text.rstrip("\ufffd \n"))
    return tuple(trimmed)


def fact_sentences(facts: Mapping[str, Any]) -> Iterator[str]:
    """What an intervention measured of itself (`Intervention.facts`), in sentences."""
    her = facts.get("her", {})
    if "accuracy" in her:
        yield (
            f"Which her is him and which is his was learned from {her['examples']:,} pronouns of the corpus. Of "
            f"{her['n']:,} hidden his and him in rows set aside {_percent(her['accuracy'])} were told right (95\u00a0% "
            f"interval {100 * her['ci_low']:.1f} to {100 * her['ci_high']:.1f}; always his: "
            f"{_percent(her['always_his'])})."
        )
    elif her:
        yield "Which her is him and which is his was learned from the corpus; how often that is right is not measured."
    if "rate" in facts:
        yield f"Of the words that could be exchanged, {_percent(facts['rate'])} were drawn."
        if facts["rate"] == 1:
            yield "They are fewer than masculine_to_feminine would swap."
    if "coverage" in facts:
        yield (
            f"Of the published list’s words, in three cases each, {100 * facts['coverage']:.0f}\u00a0% have a "
            f"replacement of as many tokens."
        )
    if "padding" in facts:
        yield f"The tails of rows are filled with {facts['padding']}."
    for name, value in facts.items():
        if name not in ("her", "rate", "coverage", "padding"):
            yield f"{name.replace('_', ' ').capitalize()}: {value}."


def result_sentences(preview: Preview) -> list[str]:
    """How many words were found, and how much of the text is another now."""
    if not preview.found and not preview.changed_tokens:
        looked = "No word was looked for" if preview.intervention == "none" else "No word was found"
        return [f"{looked}; all {preview.tokens:,} tokens are as before."]
    sentences = []
    if preview.found:
        treated = int(preview.counts[OUTCOMES[SWAPPED]].sum())
        sentences.append(
            f"{_number(preview.found, 'word')} found, {treated:,} {_treated(preview.intervention)} "
            f"({_percent(treated / preview.found)})."
        )
    if preview.unlearned_tokens:
        share = _percent(preview.unlearned_tokens / preview.tokens)
        sentences.append(f"{_number(preview.unlearned_tokens, 'token')} of {preview.tokens:,} not learned ({share}).")
    if not preview.changed_tokens:
        return [*sentences, "No token is another than before."]
    share = _percent(preview.changed_tokens / preview.tokens)
    sentences.append(
        f"{_number(preview.changed_tokens, 'token')} of {preview.tokens:,} changed ({share}), in "
        f"{preview.changed_rows:,} of {_number(preview.rows, 'row')}."
    )
    if preview.moved_rows:
        sentences.append(
            f"In {_number(preview.moved_rows, 'row')} words vanished, or were cut into other tokens, so that what is "
            f"behind them moved and counts as changed."
        )
    return sentences


def kinds_of(
    intervention: str, counts: pd.DataFrame, samples: Sequence[Sample], *, rows_elsewhere: int
) -> Iterator[Kind]:
    """The outcomes that occurred."""
    occurred = {outcome: int(counts[outcome].sum()) for outcome in OUTCOMES} | {ELSEWHERE: rows_elsewhere}
    for outcome, count in occurred.items():
        if count:
            name = outcome.removeprefix("skipped_").replace("_", " ")
            short = _treated(intervention) if outcome == OUTCOMES[SWAPPED] else name
            shown = tuple(sample for sample in samples if sample.outcome == outcome)
            yield Kind(outcome, short, WORDS.get(outcome, ""), count, shown)


def show(preview: Preview, *, console: Console) -> None:
    """Print a preview; a console without colours gets marks in their place, and ASCII but for the corpus's own text."""
    marked = console.color_system is None

    def say(text: str, style: str = "") -> None:
        console.print(Text(text.translate(_ASCII) if marked else text, style=style))

    say(_title(preview), "bold")
    say(preview.sentence)
    for fact in preview.facts:
        say(fact)
    console.print()
    for sentence in result_sentences(preview):
        say(sentence)
    if preview.found:
        console.print()
        console.print(_table(preview))
    for kind in preview.kinds:
        console.print()
        say(f"{_heading(kind)}: {kind.words}" if kind.words else _heading(kind), "bold")
        for sample in kind.samples:
            for line in _passage(sample, marked=marked).wrap(console, console.width - 2):
                line.rstrip()
                console.print(Text.assemble("  ", line))
    console.print()
    if marked and preview.kinds:
        say("[-old-]{+new+}; [[a word that is left]]; __not learned__; \\n is the end of a line.")


def _title(preview: Preview) -> str:
    return (
        f"{preview.intervention}, step {preview.step} of {preview.model}: rows {preview.first_row} to "
        f"{preview.stop_row - 1} of the corpus"
    )


def _heading(kind: Kind) -> str:
    if kind.outcome == ELSEWHERE:
        return f"{_number(kind.count, 'row')} changed in which no word was found"
    if kind.outcome == OUTCOMES[SWAPPED]:
        return f"{kind.count:,} {kind.short}"
    return f"{kind.count:,} left, {kind.short}"


def _table(preview: Preview) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("form")
    table.add_column("replacement")
    for name in preview.columns.values():
        table.add_column(name, justify="right")
    for line in preview.counts.head(TERMINAL_FORMS).to_dict("records"):
        cells = [f"{line[column]:,}" for column in preview.columns]
        table.add_row(Text(line["form"]), Text(line["replacement"]), *cells)
    if (rest := preview.counts.iloc[TERMINAL_FORMS:])["occurrences"].any():
        table.add_row(f"{len(rest)} others", "", *(f"{rest[column].sum():,}" for column in preview.columns))
    table.add_row("all", "", *(f"{preview.counts[column].sum():,}" for column in preview.columns), style="bold")
    return table


def _passage(sample: Sample, *, marked: bool) -> Text:
    place = _place(sample)
    text = Text.assemble(place.translate(_ASCII) if marked else (place, "dim"), "\n")
    text.append("[row begins] " if sample.opens else "... ")
    text.append_text(_line(sample.passage, marked=marked))
    text.append(" [row ends]" if sample.closes else " ...")
    if sample.end:
        text.append("\nend of the row  ... ")
        text.append_text(_line(sample.end, marked=marked))
        text.append(" [row ends]")
    return text


def _place(sample: Sample) -> str:
    """Where a passage is, and what it shows."""
    what = f", {sample.form}" if sample.form else ""
    if sample.outcome == OUTCOMES[SWAPPED] and sample.form != sample.replacement:
        what += f" → {sample.replacement}"
    return f"row {sample.row}, token {sample.token}{what}"


def _line(pieces: Sequence[Piece], *, marked: bool) -> Text:
    """Pieces on one line, with marks or colours."""
    line = Text()
    for piece in pieces:
        old, new = (part.replace("\n", "\\n" if marked else "↵ ") for part in (piece.text, piece.new or ""))
        if piece.new is not None:
            if old:
                line.append(f"[-{old}-]" if marked else old, style="" if marked else "red strike")
            if new:
                line.append(f"{{+{new}+}}" if marked else f" {new}", style="" if marked else "bold green")
        elif not piece.learned:
            line.append(f"__{old}__" if marked else old, style="" if marked else "bold underline magenta")
        elif piece.chosen:
            line.append(f"[[{old}]]" if marked else old, style="" if marked else "bold reverse")
        else:
            line.append(old)
    return line


def render(preview: Preview) -> str:
    """The page as text; the same preview gives the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("preview.html.jinja").render(
        css=Markup((_HERE / "preview.css").read_text("utf-8")),
        preview=preview,
        results=result_sentences(preview),
        counts=preview.counts.to_dict("records"),
        total=preview.counts.sum(numeric_only=True).to_dict(),
        swapped=OUTCOMES[SWAPPED],
        heading=_heading,
        place=_place,
    )


def _treated(intervention: str) -> str:
    """What `swapped` means of it."""
    return TREATED.get(intervention, "swapped")


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"


def _own_options(arguments: Sequence[str]) -> dict[str, str]:
    """Those of `OWN` that are given.

    Raises:
        UserError: one is misspelt.
    """
    settings = {field.name for field in fields(RunConfig)}
    found = {}
    for name, _, value in (argument.partition("=") for argument in arguments):
        if name in OWN:
            found[name] = value
        elif name not in settings and (nearest := difflib.get_close_matches(name, OWN, n=1, cutoff=0.75)):
            raise UserError(f"{name}= is unknown; did you mean {nearest[0]}=?")
    return found


def _run_arguments(given: list[str]) -> list[str]:
    """What is run.py's, with a number of steps: a preview needs one.

    Raises:
        UserError: an intervention begins or ends within a run whose length is not given.
    """
    names = {argument.partition("=")[0] for argument in given}
    if "steps" in names:
        return given
    for bound in ("intervention.start", "intervention.stop"):
        if bound in names:
            raise UserError(f"{bound} is a step of the run, whose length a preview does not know; give its steps= too")
    return [*given, "steps=1"]


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise UserError(f"samples={text} is no number of passages; take 1 or more")
    return int(text)


def _page_path(text: str) -> Path | None:
    return None if text == "none" else _writable("html", text, otherwise=", or html=none")


def _positions_path(text: str) -> Path:
    if Path(text).suffix != ".parquet":
        raise UserError(f"positions={text}: take a name that ends in .parquet")
    return _writable("positions", text)


def _writable(option: str, text: str, *, otherwise: str = "") -> Path:
    path = Path(text)
    if not text or path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(
            f"{option}={text} cannot be written; take the name of a file in a directory that exists and can be "
            f"written{otherwise}"
        )
    return path


if __name__ == "__main__":
    run_command(main, __doc__)
