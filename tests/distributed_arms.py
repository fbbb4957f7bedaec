"""Arms of the tests' tiny model, trained by as many processes as torchrun starts.

`torchrun ... distributed_arms.py DIRECTORY ARM ...` trains each of `ARMS` in `DIRECTORY/ARM`, and keeps in
`DIRECTORY/ARM.json` the position and the scaler it ended with, or what it raised.
"""

import copy
import dataclasses
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from conftest import tiny_model, tiny_tokenizer
from foundation import Interrupted, UserError, mistakes_in_one_line
from test_loop import POISON, RECIPE, batch_at, run
from training import Batch, Checkpoint, Sharding, choose_device, processes
from training.distributed import _SharedTrainer

MODEL, TOKENIZER = tiny_model.__wrapped__(), tiny_tokenizer.__wrapped__()

ARMS = {
    "step": {"sharding": Sharding()},
    "layer": {"sharding": Sharding(gather="layer")},
    "offload": {"sharding": Sharding(gather="layer", offload=True)},
    "split": {"recipe": dataclasses.replace(RECIPE, model_parallel_size=2)},
    "fp16": {"precision": "fp16"},
    "overflow": {"precision": "fp16", "stop": 6},
    "resumed_here": {},
    "first_part": {"stop": 8},
    "stopped": {},
    "raises": {},
    "diverged": {},
}


MARKS = {"diverged": POISON, "stopped": 402, "raises": 403}


def unlearned_too(step):
    """Half of the groups' tokens are not learned; they are dealt unevenly to the rows."""
    batch = batch_at(step)
    return dataclasses.replace(batch, unlearned=(batch.groups == 1) & (np.arange(len(batch.tokens)) < 5)[:, None])


def marked_at_6(step, mark):
    """Batches of which that of step 6 holds one token alone."""
    return Batch(np.full_like(unlearned_too(step).tokens, mark), {}) if step == 6 else unlearned_too(step)


def train(arm, directory, **changes):
    """Train an arm, with the processes that there are, and tell how it ended."""
    start = Checkpoint(copy.deepcopy(MODEL), TOKENIZER, None, {}, 3, directory)
    if arm == "overflow":
        start.scaler_state.update(scale=2.0**40, iteration=0, last_overflow=-1, hysteresis=2)
    if arm == "diverged":
        with torch.no_grad():
            start.model.gpt_neox.embed_in.weight[POISON] = float("nan")
    batches = partial(marked_at_6, mark=MARKS[arm]) if arm in MARKS else unlearned_too
    device = choose_device("auto" if torch.distributed.is_initialized() else "cpu")
    options = {"micro_batch": 2, "batch_at": batches, "device": device, **ARMS[arm], **changes}
    return run(start, directory / arm, **options)


def disturbed_backward(trainer, batch, undisturbed=_SharedTrainer.backward, **options):
    """What rank 1 does at a marked batch."""
    mark = batch.tokens[0, 0]
    if os.environ["RANK"] == "1" and mark == MARKS["stopped"]:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    if os.environ["RANK"] == "1" and mark == MARKS["raises"]:
        raise ZeroDivisionError("as an error of one process alone")
    return undisturbed(trainer, batch, **options)


def main(directory, arms):
    _SharedTrainer.backward = disturbed_backward
    with mistakes_in_one_line(), processes() as is_the_run:
        for arm in arms if is_the_run else []:
            try:
                ended = train(arm, directory)
                found = {"updates": ended.updates, "adam_step": ended.optimizer_state.adam_step}
                found["scaler"] = ended.scaler_state
            except Interrupted as interruption:
                found = {"signal": interruption.signal}
            except UserError as error:
                if arm != "diverged":
                    raise
                found = {"error": str(error)}
            (directory / f"{arm}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
