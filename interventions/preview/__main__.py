"""See what an intervention does to the batch of a step, before training on it.

python -m interventions.preview intervention=masculine_to_feminine
                                     on the demo's batch
python -m interventions.preview model=1.4b step=133000 intervention=neutral
python -m interventions.preview step=2880 intervention=swap rows=0:4 samples=10
python -m interventions.preview step=2880 intervention=drop html=drop.html
python -m interventions.preview step=2880 positions=words.parquet

Prints how many words were found, what became of them and why, and passages
before and after; writes the same, and all forms, as a page.

rows=A:B          sequences A to B - 1 of the batch; without it, all of them
samples=N         passages for each outcome, drawn from the rows: 3
html=PATH         the page: intervention_preview.html; html=none writes none
positions=PATH    a .parquet with a row for each word that was found in these
                  sequences: where, which, and what became of it
tokenizer=PLACE   a tokenizer.json, a directory, or a name on the hub

Other arguments are those of run.py. step= is that at which the run begins:
what an intervention learns, it learns from the rows before that step.
"""

import difflib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from rich.text import Text

from conf.compose import configure
from conf.finding import find_corpus, find_intervention, find_segment
from conf.schema import RunConfig
from corpus import fingerprint
from corpus.tokenizer import PYTHIA_TOKENIZER, decoder, open_tokenizer
from corpus.view import parse_sequences, visible
from foundation import UserError, atomic_file, run_command, write_text
from interventions import INTERVENTIONS, fact_sentences
from interventions.preview.page import render
from interventions.preview.samples import draw_samples, kinds_of
from interventions.preview.text import Preview, show

OWN = ("rows", "samples", "html", "positions", "tokenizer")


def main(arguments: list[str]) -> None:
    """Preview what the arguments say. Like run.py this command connects the parts; it is no part of them."""
    own = _own_options(arguments)
    page = _page_path(own.get("html", "intervention_preview.html"))
    positions = _positions_path(own["positions"]) if "positions" in own else None
    count = _count(own.get("samples", "3"))
    config = configure(_run_arguments([argument for argument in arguments if argument.partition("=")[0] not in own]))
    corpus = find_corpus(config.corpus)
    segment = find_segment(config, corpus)
    batch = range(segment.first_row(config.step), segment.first_row(config.step + 1))
    sequences = parse_sequences(own.get("rows", f"0:{len(batch)}"), len(batch))
    first_row, stop_row = batch[sequences.start], batch[sequences.stop - 1] + 1
    tokenizer = open_tokenizer(own.get("tokenizer") or str(corpus.tokenizer or PYTHIA_TOKENIZER))
    intervention = find_intervention(config, segment, tokenizer)
    rows = corpus.rows(first_row, stop_row)
    intervened, ledger = intervention(rows, first_row=first_row)
    decode = decoder(tokenizer)
    samples = draw_samples(rows, intervened, ledger, lambda ids: visible(decode(ids)), first_row=first_row, count=count)
    changed = intervened != rows
    counts = ledger.counts.sort_values("occurrences", ascending=False, kind="stable", ignore_index=True)
    preview = Preview(
        command=f"python -m interventions.preview {shlex.join(arguments)}".rstrip(),
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
        unlearned_tokens=0 if ledger.unlearned is None else int(ledger.unlearned.sum()),
        counts=counts,
        kinds=tuple(kinds_of(intervention.name, counts, samples)),
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
