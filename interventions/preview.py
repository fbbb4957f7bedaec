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
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray
from rich.console import Console
from rich.padding import Padding
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
    ELSEWHERE: "tokens that changed in rows where no word was found",
}

_HERE = Path(__file__).parent
_LONGEST_CHANGE = 8
_ASCII = str.maketrans(
    {"→": "->", "’": "'", "“": '"', "”": '"', "…": "...", "–": "-", "−": "-", "\u00a0": " "}  # noqa: RUF001
)


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
        short, words: its name, and what it means.
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
        changed_rows, changed_tokens: how many are others now.
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
        return {"occurrences": "found", OUTCOMES[SWAPPED]: treated(self.intervention), **reasons}


def main(arguments: list[str]) -> None:
    """Preview what the arguments say. Like run.py this command connects the parts; it is no part of them."""
    split = [argument.partition("=") for argument in arguments]
    own = {name: value for name, _, value in split if name in OWN}
    for name, *_ in split:
        _check_name(name)
    page = _page_path(own.get("html", "intervention_preview.html"))
    positions = _positions_path(own["positions"]) if "positions" in own else None
    count = _count(own.get("samples", "3"))
    given = ["".join(parts) for parts in split if parts[0] not in own]
    config = configure(given if "steps" in {name for name, *_ in split} else [*given, "steps=1"])
    if config.intervention.her is HerChoice.language_model:
        raise UserError(
            "intervention.her=language_model asks the weights of the start, which a preview does not load; leave it "
            "out to see what intervention.her=corpus does"
        )
    corpus = find_corpus(config.corpus)
    segment = find_segment(config, corpus)
    batch = range(segment.first_row(config.step), segment.first_row(config.step + 1))
    sequences = parse_sequences(own.get("rows", f"0:{len(batch)}"), len(batch))
    first_row, stop_row = batch[sequences.start], batch[sequences.stop - 1] + 1
    tokenizer = open_tokenizer(own.get("tokenizer") or str(corpus.tokenizer or PYTHIA_TOKENIZER))
    intervention = find_intervention(config, segment, tokenizer)
    rows = corpus.rows(first_row, stop_row)
    changed, ledger = intervention(rows, first_row=first_row)
    samples = draw_samples(rows, changed, ledger, decoder(tokenizer), first_row=first_row, count=count)
    different = changed != rows
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
        changed_rows=int(different.any(axis=1).sum()),
        changed_tokens=int(different.sum()),
        unlearned_tokens=0 if ledger.unlearned is None else int(ledger.unlearned.sum()),
        counts=ledger.counts.sort_values("occurrences", ascending=False, kind="stable", ignore_index=True),
        kinds=tuple(_kinds(intervention.name, rows, changed, ledger, samples)),
    )
    console = Console(highlight=False)
    show(preview, console=console)
    if positions is not None:
        with atomic_file(positions) as aside:
            ledger.occurrences(first_row=first_row).to_parquet(aside, index=False)
        console.print(Text(f"positions {positions}"), soft_wrap=True)
    if page is not None:
        write_text(page, render(preview))
        console.print(Text(f"page      {page}"), soft_wrap=True)


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
    width = rows.shape[1]
    moved = rows_that_moved(rows, intervened, ledger)
    order = np.random.default_rng(0).permutation(len(ledger.position))
    samples = []
    for outcome, name in enumerate(OUTCOMES):
        here = order[ledger.outcome[order] == outcome]
        label = pd.Series(ledger.label[here])
        turn = label.groupby(label).cumcount().to_numpy()
        for word in np.sort(here[np.argsort(turn, kind="stable")[:count]]).tolist():
            row, token = divmod(int(ledger.position[word]), width)
            cuts = (
                _moved_cuts(rows[row], intervened[row], token, token + int(ledger.length[word]))
                if moved[row]
                else _cuts(ledger, row, width, word)
            )
            samples.append(
                _sample(
                    name, rows[row], intervened[row], cuts, decode, at=(first_row + row, token), context=context,
                    words=ledger.words[int(ledger.label[word])], moved=bool(moved[row]),
                    unlearned=ledger.unlearned is not None,
                )
            )  # fmt: skip
    for row in _unexplained(moved, ledger, width)[:count].tolist():
        token = int(np.argmax(rows[row] != intervened[row]))
        cuts = _moved_cuts(rows[row], intervened[row], token, token)
        samples.append(
            _sample(
                ELSEWHERE, rows[row], intervened[row], cuts, decode, at=(first_row + row, token), context=context,
                words=("", ""), moved=True, unlearned=False,
            )
        )  # fmt: skip
    return samples
