"""How fast interventions rewrite rows: tokens a second of one core, beside numpy.take over the same array.

python -m perf.interventions [--record] [--tokenizer=FILE] [NAME ...]

About three minutes; all arms, or those named.

The rows are the demo's text, in rows of 2,049 tokens, as one batch of Pythia has them. Every sentence of it has a
pronoun; so each arm is also timed on the same rows with three quarters of the pronouns overwritten by the token before
them, which is nearer to mixed text. numpy.take is the plainest rewriting of tokens there is: a table look-up, which
knows nothing of words. The two take turns, and a speed is that of the median turn.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from conf.compose import configure
from conf.finding import find_corpus
from interventions import INTERVENTIONS, load_intervention
from perf.record import keep, origin

ROWS, ROW_TOKENS = 1024, 2049
TURNS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the figures to perf/record.jsonl")
    parser.add_argument("--tokenizer", help="a tokenizer.json to encode the text with; the demo's where none is named")
    parser.add_argument("names", nargs="*", metavar="NAME", help="interventions to time")
    arguments = parser.parse_args()
    found = origin()
    corpus = find_corpus(configure(["model=demo"]).corpus)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(corpus.tokenizer))
    sample = corpus.rows(0, corpus.num_rows)
    if arguments.tokenizer:
        texts = tokenizer.batch_decode(sample.tolist(), clean_up_tokenization_spaces=False)
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=arguments.tokenizer)
        ids = np.concatenate(tokenizer(texts)["input_ids"]).astype(np.uint16)
        sample = ids[: len(ids) // ROW_TOKENS * ROW_TOKENS].reshape(-1, ROW_TOKENS)
    dense = np.resize(sample, (ROWS, ROW_TOKENS))
    arrays = {"dense": dense, "thinned": thinned(dense, tokenizer)}
    for name in arguments.names or INTERVENTIONS:
        arm = load_intervention(name, tokenizer=tokenizer, sample=sample)
        figures: dict[str, Any] = {"tokens in the vocabulary": len(tokenizer)}
        for density, rows in arrays.items():
            _, ledger = arm(rows, first_row=0)
            figures[f"{density}, words found, share of tokens"] = round(len(ledger.position) / rows.size, 4)
            raced = race(partial(arm, rows, first_row=0), rows)
            figures |= {f"{density}, {key}": value for key, value in raced.items()}
        sys.stdout.write(f"{name}\n" + "".join(f"  {key:42}{value}\n" for key, value in figures.items()))
        sys.stdout.flush()
        if arguments.record:
            keep(f"intervention {name}", figures, origin=found)


def thinned(rows: NDArray[np.uint16], tokenizer: PreTrainedTokenizerFast) -> NDArray[np.uint16]:
    """The rows with three of four pronouns overwritten by the token before them."""
    _, ledger = load_intervention("drop", tokenizer=tokenizer)(rows, first_row=0)
    gone = np.random.default_rng(0).random(rows.shape) < 0.75
    gone &= ledger.swapped
    return np.where(gone, np.roll(rows, 1, axis=1), rows)


def race(rewrite: Callable[[], Any], rows: NDArray[np.uint16]) -> dict[str, float]:
    """Tokens a second of `rewrite` and of numpy.take, in turns."""
    table = np.arange(1 << 16, dtype=np.uint16)
    seconds: dict[str, list[float]] = {"rewrite": [], "take": []}
    for _ in range(TURNS):
        for name, call in (("rewrite", rewrite), ("take", partial(np.take, table, rows))):
            call()  # whatever the other has left in the processor's caches
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    speed = {name: rows.size / statistics.median(times) / 1e9 for name, times in seconds.items()}
    ratio = statistics.median(take / own for own, take in zip(seconds["rewrite"], seconds["take"], strict=True))
    return {
        "G tokens/s": round(speed["rewrite"], 3),
        "numpy.take, G tokens/s": round(speed["take"], 3),
        "times numpy.take": round(ratio, 2),
    }


if __name__ == "__main__":
    main()
