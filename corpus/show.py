"""Look at the batch of a step.

python -m corpus.show step=133000 model=1.4b             its first two rows
python -m corpus.show step=133000 model=1.4b rows=10:14  sequences 10 to 13
python -m corpus.show step=2880                          the demo's
python -m corpus.show step=2880 intervention=masculine_to_feminine
                                     beside what the intervention makes of them
python -m corpus.show step=2880 out=batch.npy      all tokens of the batch
python -m corpus.show step=2880 out=batch.parquet  tokens and text, a row each

rows=A:B are sequences A to B - 1 of the batch, as slices are in Python: B is
not included. No intervention is applied unless it is named; with one, .npy
holds what the arm would see, .parquet both versions.

tokenizer=PLACE is a tokenizer.json, a directory, or a name on the hub. Other
arguments are those of run.py.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from conf.compose import configure
from conf.finding import find_corpus, find_intervention, find_segment
from corpus.documents import END_OF_DOCUMENT
from corpus.tokenizer import PYTHIA_TOKENIZER, decoder, open_tokenizer
from corpus.view import Decode, Intervened, View, parse_sequences, show
from foundation import UserError, atomic_file, run_command
from interventions.vocabulary import read_vocabulary


def main(arguments: list[str]) -> None:
    """Show, or write, what the arguments say. Like run.py this command connects the parts; it is no part of them."""
    split = [argument.partition("=") for argument in arguments]
    own = {name: value for name, _, value in split if name in ("rows", "out", "tokenizer")}
    overrides = ["".join(parts) for parts in split if parts[0] not in own]
    if "step" not in {name for name, *_ in split}:
        raise UserError("step=... must say which batch; add step=N, the number of updates made before it")
    out = _checked_path(own["out"]) if "out" in own else None
    config = configure([*overrides, "steps=1"])
    corpus = find_corpus(config.corpus)
    segment = find_segment(config, corpus)
    batch = range(segment.first_row(config.step), segment.stop_row)
    sequences = parse_sequences(own.get("rows", "0:2" if out is None else f"0:{len(batch)}"), len(batch))
    tokenizer = open_tokenizer(own.get("tokenizer") or str(corpus.tokenizer or PYTHIA_TOKENIZER))
    rows = corpus.rows(batch[sequences.start], batch[sequences.stop - 1] + 1)
    read_vocabulary(tokenizer).check(rows)
    intervened = None
    if "intervention" in {name.partition(".")[0] for name, *_ in split}:
        intervention = find_intervention(config, segment, tokenizer)
        changed, ledger = intervention(rows, first_row=batch[sequences.start])
        intervened = Intervened(intervention.name, changed, ledger.swapped, int(ledger.counts["swapped"].sum()))
    view = View(config.step, batch, sequences, rows, intervened)
    if out is None:
        show(view, decoder(tokenizer), end_of_document=tokenizer.get_vocab()[END_OF_DOCUMENT], console=Console())
    else:
        _write(view, decoder(tokenizer), out)


def _checked_path(out: str) -> Path:
    path = Path(out)
    if path.suffix not in (".npy", ".parquet"):
        raise UserError(f"out={path}: take a name that ends in .npy or .parquet")
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"out={path}: take the name of a file in a directory that exists")
    return path


def _write(view: View, decode: Decode, path: Path) -> None:
    """Write a view as `.npy` (tokens as the arm would see them) or `.parquet` (both versions, with text)."""
    with atomic_file(path) as aside:
        if path.suffix == ".npy":
            tokens = view.rows if view.intervened is None else view.intervened.rows
            with aside.open("wb") as file:
                np.save(file, tokens, allow_pickle=False)
            after = "" if view.intervened is None else f", after {view.intervened.intervention}"
            what = f"{tokens.shape[0]} rows of {tokens.shape[1]} tokens, {tokens.dtype}{after}"
        else:
            table = _frame(view, decode)
            table.to_parquet(aside, index=False)
            what = f"{len(table)} rows: {', '.join(table.columns)}"
    sys.stdout.write(f"{path}: {what}\n")


def _frame(view: View, decode: Decode) -> pd.DataFrame:
    table = pd.DataFrame({"row": [view.batch[sequence] for sequence in view.sequences]})
    table["step"] = view.step
    table["sequence"] = list(view.sequences)
    table["tokens"] = list(view.rows)
    table["text"] = [decode(row.tolist()) for row in view.rows]
    if view.intervened is not None:
        table["intervention"] = view.intervened.intervention
        table["intervened_tokens"] = list(view.intervened.rows)
        table["intervened_text"] = [decode(row.tolist()) for row in view.intervened.rows]
        table["swapped_tokens"] = view.intervened.swapped.sum(axis=1)
    return table


if __name__ == "__main__":
    run_command(main, __doc__)
