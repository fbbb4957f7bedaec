"""How fast this kit's training step is, beside transformers' Trainer and litgpt: the same model, batch and precision.

python -m perf.training [--record] [--size demo|70m|160m|410m|1.4b] [--steps N] [--turns N] [--micro-batch N,N]
    [--precision fp32|bf16] [--compile auto|always|never]

Needs the extra parity. litgpt takes part where it is installed: its pins do not go with transformers 5, so by pip
install --no-deps litgpt lightning jsonargparse lightning-utilities torchmetrics pytorch-lightning. Random weights and
tokens; the global batch, sdpa, fused AdamW and the clipping are the same, and each side is otherwise as it comes:
transformers' Trainer does not compile, litgpt compiles the whole model. Each side takes the best of the micro-batches
named. They run in turns in this process, one after the other, and a figure is that of the median turn. `demo` runs on
a CPU too, in fp32 unless --precision says otherwise; the other sizes are for a GPU, in bf16, at sequence 2,048.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPTNeoXForCausalLM, TrainerCallback, TrainingArguments
from transformers import Trainer as TransformersTrainer

from conf.compose import configure
from perf.record import keep, origin
from training import Batch, Checkpoint, Precision, Recipe, choose_compile, choose_device
from training.flops import ModelShape, peak_flops_per_s
from training.trainer import Trainer

# shape, tokens a row, rows a step
SIZES = {
    "demo": (ModelShape(hidden=128, layers=3, heads=4, vocab=2048), 256, 16),
    "70m": (ModelShape(hidden=512, layers=6, heads=8, vocab=50304), 2048, 128),
    "160m": (ModelShape(hidden=768, layers=12, heads=12, vocab=50304), 2048, 128),
    "410m": (ModelShape(hidden=1024, layers=24, heads=16, vocab=50304), 2048, 64),
    "1.4b": (ModelShape(hidden=2048, layers=24, heads=16, vocab=50304), 2048, 32),
}
MICRO_BATCHES = {"demo": "4,16", "70m": "16,32", "160m": "16,32", "410m": "8,16", "1.4b": "4,8"}


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Rows of tokens as transformers' Trainer reads them."""

    def __init__(self, tokens: torch.Tensor) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the figures to perf/record.jsonl")
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--steps", type=int, default=5, help="timed in a turn; two more come before them")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--micro-batch", help="candidates of each side, with commas between")
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="fp32 for the demo, else bf16")
    parser.add_argument("--compile", choices=["auto", "always", "never"], default="auto", help="of our side")
    arguments = parser.parse_args()
    found, figures = origin(), compare(arguments)
    sys.stdout.write("training\n" + "".join(f"  {key:42}{value}\n" for key, value in figures.items()))
    if arguments.record:
        keep("training", figures, origin=found)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both sides in turns."""
    device = choose_device("auto")
    shape, length, sequences = SIZES[arguments.size]
    precision: Precision = arguments.precision or ("fp32" if arguments.size == "demo" else "bf16")
    recipe = configure(["model=demo"]).training
    compiled = choose_compile(arguments.compile, device)
    rows = np.random.default_rng(0).integers(1, shape.vocab, (sequences, length + 1))
    candidates = [int(number) for number in (arguments.micro_batch or MICRO_BATCHES[arguments.size]).split(",")]

    def model() -> GPTNeoXForCausalLM:
        torch.manual_seed(0)
        return GPTNeoXForCausalLM(shape.configuration(length))

    sides: dict[str, Callable[[int], float]] = {
        "ours": lambda size: ours(model(), rows, size, arguments.steps, precision, recipe, device, compiled),
        "transformers": lambda size: transformers(model(), rows, size, arguments.steps, precision),
    }
    if find_spec("litgpt"):
        sides["litgpt"] = lambda size: litgpt(shape, rows, size, arguments.steps, precision)
    best, memory = {}, {}
    for side, measure in sides.items():
        tried = {}
        for size in candidates:
            if device.type == "cuda":
                gc.collect()  # the model of the one before is held in cycles
                torch.cuda.reset_peak_memory_stats()
            tried[size] = max(measure(size) for _ in range(2))
            if device.type == "cuda":
                memory[side, size] = torch.cuda.max_memory_allocated() / 2**30
        best[side] = max(tried, key=lambda size: tried[size])
    turns: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(arguments.turns):
        for side in sides if turn % 2 else reversed(sides):
            turns[side].append(sides[side](best[side]))
    peak, in_full = peak_flops_per_s(device), shape.flops_per_token(length)
    causal = (in_full + shape.flops_per_token(0)) / 2  # on average half of the row comes before a token
    figures: dict[str, Any] = {
        "size": arguments.size,
        "device": device.type,
        "precision": precision,
        "compiled": compiled,
        "threads": torch.get_num_threads(),
        "tokens a step": sequences * length,
        "turns": arguments.turns,
    }
    for side, speeds in turns.items():
        speed = statistics.median(speeds)
        figures |= {f"{side}, micro-batch": best[side], f"{side}, tokens/s": round(speed)}
        if peak:
            figures[f"{side}, MFU, attention in full"] = round(speed * in_full / peak, 3)
            figures[f"{side}, MFU, causal attention"] = round(speed * causal / peak, 3)
            figures[f"{side}, peak memory, GiB"] = round(memory[side, best[side]], 1)
    for side in list(sides)[1:]:
        ratio = statistics.median(a / b for a, b in zip(turns["ours"], turns[side], strict=True))
        figures[f"times {side}"] = round(ratio, 2)
    return figures


def ours(
    model: GPTNeoXForCausalLM,
    rows: Any,
    micro_batch: int,
    steps: int,
    precision: Precision,
    recipe: Recipe,
    device: torch.device,
    compiled: bool,
) -> float:
    """Tokens a second of the kit's training step."""
    start = Checkpoint(model, None, None, {}, 0, Path())  # type: ignore[arg-type]  # nothing is saved
    trainer = Trainer(
        start, recipe=recipe, precision=precision, micro_batch=micro_batch, device=device, compile=compiled
    )
    began = 0.0
    for step in range(steps + 2):
        if step == 2:
            began = time.perf_counter()
        trainer.backward(Batch(rows, {}), give_up=lambda: False)
        trainer.unscaled_gradient_norm()
        trainer.update()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return float(steps * rows[:, 1:].size / (time.perf_counter() - began))


class Clock(TrainerCallback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def transformers(model: GPTNeoXForCausalLM, rows: Any, micro_batch: int, steps: int, precision: Precision) -> float:
    """Tokens a second of transformers' Trainer."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        options = TrainingArguments(
            output_dir=scratch,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=len(rows) // micro_batch,
            max_steps=steps + 2,
            optim="adamw_torch_fused",
            max_grad_norm=1.0,
            bf16=precision == "bf16",
            use_cpu=not torch.cuda.is_available(),
            report_to=[],
            dataloader_pin_memory=torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        tokens = torch.from_numpy(np.ascontiguousarray(rows[:, :-1]))
        TransformersTrainer(model=model, args=options, train_dataset=Rows(tokens), callbacks=[clock]).train()
    return steps * tokens.numel() / (clock.ends[-1] - clock.ends[1])


def litgpt(shape: ModelShape, rows: Any, micro_batch: int, steps: int, precision: Precision) -> float:
    """Tokens a second of litgpt's model in the steps of its pre-training (litgpt/pretrain.py: main, fit)."""
    from lightning.fabric import Fabric
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    on_gpu, length = torch.cuda.is_available(), rows.shape[1] - 1
    torch._dynamo.reset()
    torch.manual_seed(0)
    fabric = Fabric(
        accelerator="cuda" if on_gpu else "cpu", devices=1, precision="bf16-mixed" if precision == "bf16" else "32-true"
    )
    model = GPT(
        Config.from_name(
            "pythia-70m",
            **{"block_size": length, "n_layer": shape.layers, "n_embd": shape.hidden, "n_head": shape.heads},
            **{"head_size": None, "n_query_groups": None, "intermediate_size": 4 * shape.hidden},
            **{"vocab_size": shape.vocab, "padded_vocab_size": shape.vocab},
        )
    )
    if sum(parameter.numel() for parameter in model.parameters()) != shape.parameters:
        raise SystemExit("litgpt's model has another number of parameters than ours")
    model = fabric.setup(torch.compile(model))
    optimizer = fabric.setup_optimizers(
        torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, betas=(0.9, 0.95), fused=True)
    )
    tokens = torch.from_numpy(rows).to(fabric.device)
    began, batches = 0.0, len(rows) // micro_batch
    for step in range(steps + 2):
        if step == 2:
            if on_gpu:
                torch.cuda.synchronize()
            began = time.perf_counter()
        for batch in tokens.split(micro_batch):
            logits = model(batch[:, :length].contiguous().long())
            loss = chunked_cross_entropy(logits, batch[:, 1:].contiguous().long())
            fabric.backward(loss / batches)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
    if on_gpu:
        torch.cuda.synchronize()
    return float(steps * rows[:, 1:].size / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
