"""Look at the batch of a step.

python -m corpus.show step=133000 model=1.4b                       its first two rows
python -m corpus.show step=133000 model=1.4b rows=10:14            sequences 10, 11, 12, 13 (14 is not included)
python -m corpus.show step=448 intervention=masculine_to_feminine  side by side with what the intervention makes of them
python -m corpus.show step=448 out=batch.npy                       the whole batch as the arm would see it, (1024, 2049)
python -m corpus.show step=448 out=batch.parquet                   a row a sequence: tokens and text, before and after

rows=A:B are sequences A to B - 1 of the step's batch, as slices are in Python: B is not included.
tokenizer=PLACE is a tokenizer.json, a directory or a name on the hub; other arguments are those of run.py.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from corpus.view import Decode, View, parse_sequences, show
from foundation import UserError, atomic_file
from interventions import load_intervention
from interventions.vocabulary import read_vocabulary
from run import configure, find_corpus, find_segment, mistakes_in_one_line

PYTHIA_TOKENIZER = "EleutherAI/pythia-70m-deduped"
END_OF_DOCUMENT = "<|endoftext|>"
SHOWN = "0:2"


def main(arguments: list[str]) -> None:
    """Show, or write, what the arguments say. Like run.py this command connects the parts; it is no part of them."""
    own = {"rows": "", "out": "", "tokenizer": ""}
    overrides = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in own:
            own[name] = value
        else:
            overrides.append(argument)
    if not any(override.startswith("step=") for override in overrides):
        raise UserError("step=... says which batch; without more arguments it is the demo's")
    config = configure([*overrides, "steps=1"])
    corpus = find_corpus(config.corpus)
    batch_rows = config.training.sequences_per_step
    segment = find_segment(config, corpus)
    sequences = _sequences(own["rows"] or (f"0:{batch_rows}" if own["out"] else SHOWN), batch_rows)
    first_row = segment.first_row(config.step) + sequences.start
    tokenizer = _tokenizer(own["tokenizer"] or str(corpus.tokenizer or PYTHIA_TOKENIZER))
    rows = corpus.rows(first_row, first_row + len(sequences))
    read_vocabulary(tokenizer).check(rows)
    view = View(config.step, sequences, first_row, batch_rows, rows)
    if any(override.startswith("intervention") for override in overrides):
        intervention = load_intervention(**config.intervention, tokenizer=tokenizer, seed=config.seed)
        intervened, ledger = intervention(rows, first_row=first_row)
        view = View(config.step, sequences, first_row, batch_rows, rows, intervention.name, intervened, ledger.swapped)
    if own["out"]:
        _write(view, tokenizer, Path(own["out"]))
    else:
        show(view, decoder(tokenizer), end_of_document=tokenizer.get_vocab()[END_OF_DOCUMENT], console=Console())


def decoder(tokenizer: PreTrainedTokenizerBase) -> Decode:
    """Ids to text as it stands, without the tidying that some tokenizers do."""
    return lambda ids: str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def _sequences(text: str, batch_rows: int) -> range:
    try:
        return parse_sequences(text, batch_rows)
    except ValueError as error:
        raise UserError(str(error)) from None


def _tokenizer(place: str) -> PreTrainedTokenizerBase:
    if place.endswith(".json"):
        if not Path(place).is_file():
            raise UserError(f"tokenizer={place}: there is no such file")
        return PreTrainedTokenizerFast(tokenizer_file=place)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the tokenizer {place} cannot be loaded ({type(error).__name__}); set tokenizer=FILE to a tokenizer.json, "
            f"or to the directory of a checkpoint"
        ) from error
    return tokenizer


def _write(view: View, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Write a view as `.npy` (tokens as the arm would see them) or `.parquet` (both versions, with text)."""
    tokens = view.rows if view.intervened is None else view.intervened
    with atomic_file(path) as aside:
        if path.suffix == ".npy":
            with aside.open("wb") as file:
                np.save(file, tokens, allow_pickle=False)
            what = f"{tokens.shape[0]} rows of {tokens.shape[1]} tokens, {tokens.dtype}"
        elif path.suffix == ".parquet":
            table = _frame(view, tokenizer)
            table.to_parquet(aside, index=False)
            what = f"{len(table)} rows: {', '.join(table.columns)}"
        else:
            raise UserError(f"out={path}: take a name that ends in .npy or .parquet")
    after = "" if view.intervention is None else f", after {view.intervention}"
    sys.stdout.write(f"{path}: {what}{after if path.suffix == '.npy' else ''}\n")


def _frame(view: View, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    decode = decoder(tokenizer)
    table = pd.DataFrame({"row": view.first_row + np.arange(len(view.rows))})
    table["step"] = view.step
    table["sequence"] = list(view.sequences)
    table["tokens"] = list(view.rows)
    table["text"] = [decode(row.tolist()) for row in view.rows]
    if view.intervened is not None and view.swapped is not None:
        table["intervention"] = view.intervention
        table["intervened_tokens"] = list(view.intervened)
        table["intervened_text"] = [decode(row.tolist()) for row in view.intervened]
        table["swapped_tokens"] = view.swapped.sum(axis=1)
    return table


if __name__ == "__main__":
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        sys.stdout.write(__doc__ or "")
        sys.exit()
    with mistakes_in_one_line():
        main(sys.argv[1:])
