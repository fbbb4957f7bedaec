"""Whether `plan=true` tells a training step's memory: what it says beside what a step takes.

python -m perf.memory [--record] [--size demo|70m|160m|410m|1.4b] [--micro-batch N] [--seq-length N]
                      [--activation-checkpointing none|selective|full]

On a GPU what PyTorch's allocator has given out at most; on a CPU how much the process has grown at most, which holds
the scratch space of libraries too. `demo` is in fp32, the others are in bf16 on a GPU and in fp32 on a CPU.
"""

import argparse
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPTNeoXForCausalLM

from conf.compose import configure
from perf.record import keep, origin
from perf.training import SIZES
from training import Batch, Checkpoint, Precision, choose_device
from training.cost import step_memory
from training.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the figures to perf/record.jsonl")
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--seq-length", type=int, help="the size's own if not set")
    parser.add_argument("--activation-checkpointing", choices=["none", "selective", "full"], default="none")
    arguments = parser.parse_args()
    found, figures = origin(), compare(arguments)
    sys.stdout.write("memory\n" + "".join(f"  {key:42}{value}\n" for key, value in figures.items()))
    if arguments.record:
        keep("memory", figures, origin=found)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is told, then what is taken by two steps of two micro-batches each."""
    shape, length, _ = SIZES[arguments.size]
    length = arguments.seq_length or length
    device = choose_device("auto")
    precision: Precision = "fp32" if arguments.size == "demo" or device.type == "cpu" else "bf16"
    told = step_memory(
        shape,
        seq_length=length,
        micro_batch=arguments.micro_batch,
        precision=precision,
        activation_checkpointing=arguments.activation_checkpointing,
        device=device.type,
    ).total
    recipe = configure(["model=demo"]).training
    before = _grown()
    model = GPTNeoXForCausalLM(shape.configuration(length))
    start = Checkpoint(model, None, None, {}, 0, Path())  # type: ignore[arg-type]  # nothing is saved
    trainer = Trainer(
        start,
        recipe=recipe,
        precision=precision,
        micro_batch=arguments.micro_batch,
        device=device,
        activation_checkpointing=arguments.activation_checkpointing,
    )
    rows = np.random.default_rng(0).integers(1, shape.vocab, (2 * arguments.micro_batch, length + 1))
    for _ in range(2):
        trainer.backward(Batch(rows, {}), give_up=lambda: False)
        trainer.unscaled_gradient_norm()
        trainer.update()
    taken = torch.cuda.max_memory_allocated() if device.type == "cuda" else _grown() - before
    return {
        "size": arguments.size,
        "device": device.type,
        "precision": precision,
        "micro-batch": arguments.micro_batch,
        "tokens a row": length,
        "activation checkpointing": arguments.activation_checkpointing,
        "told, MiB": round(told / 2**20),
        "taken, MiB": round(taken / 2**20),
        "told / taken": round(told / taken, 3),
    }


def _grown() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
