"""How long benchmarks take here and in lm-evaluation-harness: the same requests, the same checkpoint, fp32.

python -m perf.evaluation [--record] [--checkpoint DIR] [--tokenizer FILE] [--turns N] [--batch-size N]

Needs the extra parity. A few minutes for a small model. CrowS-Pairs runs as the harness's own task on the original
pairs, WinoBias as a multiple-choice task with the contexts and continuations that this kit asks for; both sides read
local files. Each side runs in fresh processes of its own, in turns, and a time is that of the median turn. The harness
is called through `lm_eval.evaluate`, that is without the description of the machine that its command line adds.

Without --checkpoint a random model of the width and depth of pythia-14m is made for the demo's tokenizer or the one
named; the vocabulary decides how long it takes (with Pythia's, ten minutes a turn on two cores).
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Each side is timed with its own imports alone; so they stand in the functions.

BENCHMARKS = ("crows_pairs", "winobias")
SIDES = ("ours", "harness")
END_OF_TEXT = "<|endoftext|>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the figures to perf/record.jsonl")
    parser.add_argument("--checkpoint", type=Path, help="a directory that transformers can load")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json for the random model")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch-size", default="64", help="of the harness; a number, or auto")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--tasks", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side == "ours":
        tell(ours, arguments.checkpoint)
    elif arguments.side == "harness":
        tell(harness, arguments.checkpoint, arguments.tasks, arguments.batch_size)
    else:
        compare(arguments)


def tell(side: Any, *arguments: Any) -> None:
    """Run one side; the last line on stdout is what it found."""
    with contextlib.redirect_stdout(sys.stderr):
        found = side(*arguments)
    sys.stdout.write(json.dumps(found) + "\n")


def ours(checkpoint: Path) -> dict[str, float]:
    """Seconds until the imports, the model and each benchmark were done."""
    started = time.perf_counter()
    from transformers import AutoTokenizer, GPTNeoXForCausalLM

    from eval import evaluate

    seconds = {"imports": time.perf_counter() - started}
    started = time.perf_counter()
    model = GPTNeoXForCausalLM.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
    seconds["model"] = time.perf_counter() - started
    for benchmark in BENCHMARKS:
        started = time.perf_counter()
        evaluate(model, tokenizer, benchmarks=[benchmark], progress=False)
        seconds[benchmark] = time.perf_counter() - started
    return seconds


def harness(checkpoint: Path, tasks: Path, batch_size: str) -> dict[str, float]:
    """The same of lm-evaluation-harness; `tasks` holds what `write_tasks` wrote."""
    started = time.perf_counter()
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    seconds = {"imports": time.perf_counter() - started}
    started = time.perf_counter()
    model = HFLM(
        pretrained=str(checkpoint),
        device="cpu",
        dtype="float32",
        batch_size=int(batch_size) if batch_size.isdigit() else batch_size,
    )
    seconds["model"] = time.perf_counter() - started
    for benchmark in BENCHMARKS:
        started = time.perf_counter()
        manager = TaskManager(include_path=str(tasks), include_defaults=False)
        loaded = manager.load([benchmark])
        lm_eval.evaluate(lm=model, task_dict=loaded, bootstrap_iters=0, log_samples=False)
        seconds[benchmark] = time.perf_counter() - started
    return seconds


def write_tasks(checkpoint: Path, directory: Path) -> dict[str, int]:
    """The benchmarks as tasks of the harness, from local files; returns how many requests each one has."""
    import lm_eval
    from transformers import AutoTokenizer

    from eval.items import read_records
    from eval.winobias import WinoBias
    from foundation import fetch

    pairs = read_records(fetch("crows_pairs"))[["sent_more", "sent_less", "bias_type"]]
    installed = Path(lm_eval.__file__).parent / "tasks" / "crows_pairs" / "crows_pairs_english.yaml"
    _write_task(directory, "crows_pairs", pairs.to_dict("records"), include=str(installed), dataset_name=None)

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
    requests = WinoBias().requests(tokenizer)
    choices: dict[str, list[str]] = {}
    texts = []
    for request in requests:
        context, continuation = tokenizer.batch_decode([list(request.context), list(request.continuation)])
        if context == END_OF_TEXT:  # which the harness puts before an empty context
            texts.append({"context": "", "choices": [continuation]})
        else:
            choices.setdefault(context, []).append(continuation)
    _write_task(
        directory,
        "winobias",
        texts + [{"context": context, "choices": own} for context, own in choices.items()],
        output_type="multiple_choice",
        doc_to_text="{{context}}",
        doc_to_choice="{{choices}}",
        doc_to_target=0,
        target_delimiter="",
        metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    )
    return {"crows_pairs": 2 * len(pairs), "winobias": len(requests)}


def _write_task(directory: Path, name: str, records: list[dict[Any, Any]], **fields: Any) -> None:
    data = directory / f"{name}.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    where = {"data_files": {"test": str(data)}, "cache_dir": str(directory / "cache")}
    task = {**fields, "task": name, "dataset_path": "json", "dataset_kwargs": where, "test_split": "test"}
    (directory / f"{name}.yaml").write_text(json.dumps(task), encoding="utf-8")


def write_random_checkpoint(directory: Path, tokenizer_file: Path | None) -> None:
    """A model of the shape of pythia-14m that nothing was taught."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

    from conf.compose import configure
    from conf.finding import find_corpus

    file = tokenizer_file or find_corpus(configure(["model=demo"]).corpus).tokenizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), bos_token=END_OF_TEXT, eos_token=END_OF_TEXT)
    config = GPTNeoXConfig(
        vocab_size=-(-len(tokenizer) // 128) * 128,  # 50304 for Pythia's
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    GPTNeoXForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def compare(arguments: argparse.Namespace) -> None:
    """Both sides in turns, and the figures on stdout."""
    import torch
    from transformers import AutoConfig

    from perf.record import keep, origin

    found = origin()
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint, tasks = arguments.checkpoint or Path(scratch) / "checkpoint", Path(scratch) / "tasks"
        tasks.mkdir()
        if arguments.checkpoint is None:
            write_random_checkpoint(checkpoint, arguments.tokenizer)
        requests = write_tasks(checkpoint, tasks)
        command = [sys.executable, "-m", "perf.evaluation", "--checkpoint", str(checkpoint), "--tasks", str(tasks)]
        command += ["--batch-size", arguments.batch_size, "--side"]
        turns: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for turn in range(arguments.turns + 1):
            for side in SIDES if turn % 2 else SIDES[::-1]:
                timed = in_a_fresh_process([*command, side])
                if turn:  # the first turn reads everything from the disk
                    turns[side].append(timed)
        config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    figures: dict[str, Any] = {
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "vocabulary": config.vocab_size,
        "threads": torch.get_num_threads(),
        "turns": arguments.turns,
        "harness's batch size": arguments.batch_size,
        **{f"{name}, requests": number for name, number in requests.items()},
    }
    for what in ("process", "processor", "imports", "model", *BENCHMARKS):
        seconds = {side: [turn[what] for turn in turns[side]] for side in SIDES}
        ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds["harness"], strict=True))
        figures |= {f"{what}, {side}, s": round(statistics.median(seconds[side]), 2) for side in SIDES}
        figures[f"{what}, times as fast"] = round(ratio, 2)
    sys.stdout.write("evaluation\n" + "".join(f"  {key:42}{value}\n" for key, value in figures.items()))
    if arguments.record:
        keep("evaluation", figures, origin=found)


def in_a_fresh_process(command: list[str]) -> dict[str, float]:
    """What `tell` wrote, and the seconds of the whole process, on the clock and of processor time."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    started, used = time.perf_counter(), _processor_seconds()
    finished = subprocess.run(command, capture_output=True, text=True, env=environment)
    seconds, used = time.perf_counter() - started, _processor_seconds() - used
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{finished.stderr}")
    told: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return {"process": seconds, "processor": used, **told}


def _processor_seconds() -> float:
    """Of all processes waited for so far, on all cores: what a busy machine changes least."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
