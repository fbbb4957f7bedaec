"""The loss of one batch under every combination of numerics: which one were these weights trained with?

python -m training.conformance model=410m step=133000               the first 32 rows after the checkpoint
python -m training.conformance model=demo step=2880 sequences=16

Weights fit the arithmetic that they were trained with, so the loss should be lowest there. For Pythia that is tanh with
neox_fp16, in fp16. Any setting of run.py may be given too.
"""

import itertools
from dataclasses import asdict
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch.nn.functional import cross_entropy
from transformers import GPTNeoXForCausalLM
from transformers.utils.logging import disable_progress_bar

from conf.compose import configure
from conf.finding import find_corpus, find_segment, find_suite
from foundation import UserError, run_command
from training.numerics import Activation, Numerics, Rope, numerics_of, set_numerics
from training.precision import Precision, autocast, choose_device

_OWN = ("sequences",)


@torch.inference_mode()
def mean_loss(model: GPTNeoXForCausalLM, rows: NDArray[np.integer], *, precision: Precision) -> float:
    """Mean cross entropy of the rows in nats, (S, L + 1) tokens, one row at a time."""
    total = 0.0
    for row in torch.from_numpy(rows.astype(np.int64)).to(model.device):
        with autocast(precision, model.device):
            logits = model(row[None, :-1], use_cache=False).logits[0]
        total += cross_entropy(logits.float(), row[1:], reduction="sum").item()
    return total / rows[:, 1:].size


def losses_by_numerics(
    model: GPTNeoXForCausalLM, rows: NDArray[np.integer]
) -> dict[tuple[Activation, Rope, Precision], float]:
    """`mean_loss` under every activation, rope and precision. The model computes in the end as it did before."""
    before = numerics_of(model)
    losses: dict[tuple[Activation, Rope, Precision], float] = {}
    for activation, rope in itertools.product(get_args(Activation), get_args(Rope)):
        set_numerics(model, activation=activation, rope=rope)
        for precision in get_args(Precision):
            losses[activation, rope, precision] = mean_loss(model, rows, precision=precision)
    set_numerics(model, **asdict(before))
    return losses


def main(arguments: list[str]) -> None:
    """Print the losses of the rows after a checkpoint. Like run.py this command connects the parts."""
    own = {name: value for name, _, value in (argument.partition("=") for argument in arguments) if name in _OWN}
    overrides = [argument for argument in arguments if argument.partition("=")[0] not in _OWN]
    sequences = own.get("sequences", "32")
    if not sequences.isdecimal() or int(sequences) < 1:
        raise UserError(f"sequences={sequences} must be a number of rows, 1 or more")
    config = configure([*overrides, "steps=1", f"training.sequences_per_step={sequences}"])
    device = choose_device(config.device)
    corpus = find_corpus(config.corpus)
    rows = find_segment(config, corpus).batch(config.step)
    disable_progress_bar()
    checkpoint = find_suite(config, corpus, device).load(config.step)
    losses = losses_by_numerics(checkpoint.on(device), rows)
    best = min(losses.values())
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("activation", "rope", "precision", "loss", "above lowest", ""):
        table.add_column(heading, justify="right" if heading in ("loss", "above lowest") else "left")
    for (activation, rope, precision), loss in sorted(losses.items(), key=lambda item: item[1]):
        mine = Numerics(activation, rope) == config.model.numerics and precision == config.model.precision
        note = "how it was trained" if mine else ""
        table.add_row(activation, rope, precision, f"{loss:.6f}", f"{loss - best:.6f}", note)
    console = Console(highlight=False)
    console.print(
        f"{config.model.name} step {config.step}, {len(rows)} rows that follow it, nats per token, on {device}"
    )
    console.print(table)


if __name__ == "__main__":
    run_command(main, __doc__)
