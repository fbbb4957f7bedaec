"""If the pronouns in the last part of a model's pre-training had been different, would the model be less biased?

python run.py                                       the demo: the whole method, on a CPU, in minutes
python run.py step=384 steps=128                    another checkpoint, a longer segment
python run.py model=1.4b step=133000 plan=true      what its data would take; fetches none of them, trains nothing
python run.py -m step=384,448 intervention=none,masculine_to_feminine
"""

import contextlib
import difflib
import errno
import io
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast, get_type_hints

import hydra
import numpy as np
import pandas as pd
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from transformers.utils.logging import disable_progress_bar

from conf.schema import Control, OptimizerStateSource, RunConfig
from corpus import Corpus, Segment, combined_fingerprint, data_plan, fingerprint, plan_text
from eval import evaluate, load_benchmark, summarize
from foundation import UserError, sha256_of_file, write_text
from interventions import Intervention, load_intervention, swap_examples
from reports import RunRecord, open_record, print_summary, provenance, write_report, write_swaps
from training import (
    Batch,
    Checkpoint,
    check_step,
    checkpoint_steps,
    choose_device,
    choose_precision,
    fidelity,
    load_checkpoint,
    pretrained_suite,
    read_journal,
    saved_steps,
    train,
)

CONF = Path(__file__).parent / "conf"

ConfigStore.instance().store("schema", RunConfig)


def run(config: RunConfig, record: RunRecord) -> None:
    """The experiment, in order. What a stage has left in the run directory is not done again after an interruption."""
    device = choose_device(config.device)
    precision = choose_precision(config.training.precision.value, device)
    benchmarks = {name: load_benchmark(name, **options) for name, options in config.benchmarks.items()}
    began_with = record.known("corpus") or {}
    corpus = find_corpus(config.corpus, revision=began_with.get("revision"))
    segment = find_segment(config, corpus)
    suite = find_suite(config, corpus, device)
    start = load_checkpoint(suite, step=config.step)
    corpus.expect(segment.first_row(config.step), segment.stop_row)
    intervention = load_intervention(**config.intervention, tokenizer=start.tokenizer, seed=config.seed)
    parts = describe_parts(config, start, segment, intervention, precision)
    record.identify(**parts)
    record.update(**describe_reading(config, start, segment, intervention, precision))

    def measure(checkpoint: Checkpoint) -> dict[str, pd.DataFrame]:
        return evaluate(checkpoint.on(device), checkpoint.tokenizer, benchmarks=list(benchmarks.values()))

    def continue_arm(arm: str) -> Checkpoint:
        with record.stage(f"train {arm}"):
            return train(
                starting_point(suite, config),
                stop=segment.stop,
                batch_at=lambda step: arm_batch(arm, segment, intervention, step),
                recipe=config.training,
                precision=precision,
                micro_batch=config.training.micro_batch,
                device=device,
                checkpoints=record.directory / "checkpoints" / arm,
                save_at=range(config.step, segment.stop, config.training.save_every)[1:],
                keep=2,
                journal=record.directory / "train" / f"{arm}.jsonl",
                description=f"training, {arm} arm",
            )

    arms = ["intervened", "control"] if config.control is Control.train else ["intervened"]
    rows = {"before": record.rows("before", lambda: measure(start))}
    intervened = continue_arm("intervened")
    rows["after"] = record.rows("after", lambda: measure(intervened))
    if "control" in arms:
        control = continue_arm("control")
        rows["control"] = record.rows("control", lambda: measure(control))
        same_batches = segment.sequences_per_step == config.model.recipe.sequences_per_step
        if same_batches and segment.stop in saved_steps(suite):
            truth = load_checkpoint(suite, step=segment.stop)
            found = fidelity(start.model, control.model, truth.model)
            record.update(fidelity={"reference": f"{config.model.name} step {segment.stop}", **asdict(found)})

    metrics = {moment: {name: benchmarks[name].metrics(rows[moment][name]) for name in benchmarks} for moment in rows}
    write_text(record.directory / "summary.csv", summarize(metrics, seed=config.seed).to_csv(index=False))
    journals = {arm: read_journal(record.directory / "train" / f"{arm}.jsonl") for arm in arms}
    write_swaps(record.directory, journals["intervened"])
    record.update(fingerprints=segment_fingerprints(journals))
    record.finish(write_report)


def arm_batch(arm: str, segment: Segment, intervention: Intervention, step: int) -> Batch:
    """One step's rows as an arm sees them. Both arms tell apart the loss on the words that the intervention swaps."""
    rows = segment.batch(step)
    intervened, ledger = intervention(rows, first_row=segment.first_row(step))
    tokens = intervened if arm == "intervened" else rows
    swaps = ledger.counts.to_dict("records") if arm == "intervened" else []
    evidence = {"source_sha256": fingerprint(rows), "sha256": fingerprint(tokens), "swaps": swaps}
    return Batch(tokens, marked=ledger.swapped, record=evidence)


def find_corpus(config: dict[str, Any], *, revision: str | None = None) -> Corpus:
    """The corpus that `_target_` opens or builds. Called as it is: hydra's `instantiate` would hide what it raises.

    Args:
        revision: that a killed run began with: it goes on with that one where the configuration names none.
    """
    options = dict(config)
    open_or_build = get_method(options.pop("_target_"))
    types = get_type_hints(open_or_build)
    for name, value in options.items():
        if name not in types:
            raise UserError(
                f"corpus.{name} is no option of this corpus; known are {', '.join(options)}: see conf/corpus"
            )
        if not isinstance(value, types[name]):
            expected = getattr(types[name], "__name__", str(types[name]))
            raise UserError(f"corpus.{name}={value} is no {expected}; see conf/corpus")
    if revision is not None and options["revision"] is None:
        options["revision"] = revision
    corpus: Corpus = open_or_build(**options)
    return corpus


def find_segment(config: RunConfig, corpus: Corpus) -> Segment:
    """The batches that follow those which the checkpoint was trained on."""
    seen = config.step * config.model.recipe.sequences_per_step
    return Segment(corpus, config.step, config.steps, config.training.sequences_per_step, rows_before=seen)


def find_suite(config: RunConfig, corpus: Corpus, device: torch.device) -> Path:
    """Directory of the model's checkpoints, pre-trained on the corpus first where that is how they come to be."""
    model = config.model
    check_start(config)
    if model.checkpoints is not None:
        return Path(model.checkpoints)
    if model.pretraining is None or corpus.tokenizer is None or corpus.sha256 is None:
        raise UserError(f"model={model.name} cannot be pre-trained on {corpus.location}; set model.checkpoints")
    whole = Segment(corpus, 0, model.pretraining.train_iters, model.recipe.sequences_per_step, rows_before=0)

    def batch_at(step: int) -> Batch:
        rows = whole.batch(step)
        return Batch(rows, marked=np.zeros(rows.shape, bool), record={"sha256": fingerprint(rows)})

    return pretrained_suite(
        model.pretraining,
        recipe=model.recipe,
        micro_batch=model.micro_batch,
        tokenizer_file=corpus.tokenizer,
        seq_length=corpus.row_tokens - 1,
        corpus_sha256=corpus.sha256,
        batch_at=batch_at,
        device=device,
    )


def check_start(config: RunConfig) -> None:
    """Raise UserError where the model has no checkpoint at the step."""
    model = config.model
    if model.checkpoints is not None:
        check_step(config.step, saved_steps(Path(model.checkpoints)), where=model.checkpoints)
    elif model.pretraining is None:
        raise UserError(f"model={model.name} names no checkpoints; set model.checkpoints to a directory of step<N>")
    else:
        steps = checkpoint_steps(model.pretraining.train_iters, model.pretraining.checkpoint_every)
        check_step(config.step, steps, where=f"model={model.name}")


def starting_point(suite: Path, config: RunConfig) -> Checkpoint:
    """The checkpoint that an arm continues, with Adam's moments as `optimizer_state` says."""
    checkpoint = load_checkpoint(suite, step=config.step)
    if config.optimizer_state is OptimizerStateSource.fresh:
        return replace(checkpoint, optimizer_state=None)
    if checkpoint.optimizer_state is None:
        raise UserError(f"{checkpoint.path} holds no optimizer state; set optimizer_state=fresh or take another suite")
    return checkpoint


def describe_parts(
    config: RunConfig, start: Checkpoint, segment: Segment, intervention: Intervention, precision: str
) -> dict[str, dict[str, Any]]:
    """What a run is made of; one that is resumed must be made of the same."""
    return {
        "checkpoint": {
            "model": config.model.name,
            "step": config.step,
            "sha256": sha256_of_file(start.path / "model.safetensors"),
        },
        "corpus": segment.corpus.identity(),
        "segment": {
            "step": config.step,
            "steps": config.steps,
            "sequences_per_step": segment.sequences_per_step,
            "first_row": segment.first_row(config.step),
            "stop_row": segment.stop_row,
            "sha256_of_first_batch": fingerprint(segment.batch(config.step)),
        },
        "intervention": {"name": intervention.name, "identity": intervention.identity},
        "arithmetic": {"precision": precision},
    }


def describe_reading(
    config: RunConfig, start: Checkpoint, segment: Segment, intervention: Intervention, precision: str
) -> dict[str, Any]:
    """What a reader of the result needs to know and see."""
    first_row = segment.first_row(config.step)
    first_batch = segment.batch(config.step)
    intervened, ledger = intervention(first_batch, first_row=first_row)
    caveats = [
        f"The arms were trained with {key}={getattr(config.training, key)}, the suite with {value}."
        for key, value in asdict(config.model.recipe).items()
        if getattr(config.training, key) != value
    ]
    if config.model.pretraining is not None and precision != "fp32":
        caveats.append(f"The arms were trained in {precision}, the suite in fp32.")
    if config.optimizer_state is OptimizerStateSource.fresh:
        caveats.append("Adam's moments were not restored: training resumed with empty ones.")
    return {
        "swap_examples": swap_examples(
            first_batch, intervened, ledger.swapped, start.tokenizer, first_row=first_row, count=3
        ),
        "fidelity": None,
        "caveats": [*config.model.caveats, *caveats],
    }


def segment_fingerprints(journals: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Fingerprints of the segment and of each step, before and after the intervention.

    All arms must have read the same rows.
    """
    sources = {arm: combined_fingerprint(line["source_sha256"] for line in lines) for arm, lines in journals.items()}
    if len(set(sources.values())) > 1:
        raise RuntimeError(f"the arms did not read the same rows: {sources}")
    lines = journals["intervened"]
    return {
        "segment_sha256": sources["intervened"],
        "intervened_segment_sha256": combined_fingerprint(line["sha256"] for line in lines),
        "steps": {line["step"]: [line["source_sha256"], line["sha256"]] for line in lines},
    }


def print_plan(config: RunConfig) -> None:
    """What the run would take, and what it still lacks. Nothing of the segment is fetched."""
    lines = data_plan(find_segment(config, find_corpus(config.corpus)))
    try:
        check_start(config)
    except UserError as error:
        lines.append(("lacking", str(error)))
    print(plan_text(lines), end="")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> None:
    disable_progress_bar()  # transformers' bar for loading weights, which takes a blink
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would tell of every request to the hub
    directory = Path(config.output_dir)
    in_sweep = HydraConfig.get().mode is RunMode.MULTIRUN
    arguments = list(HydraConfig.get().overrides.task) if in_sweep else sys.argv[1:]
    command = shlex.join(["python", "run.py", *arguments])
    try:
        typed = typed_config(config)
        if typed.plan:
            return print_plan(typed)
        values = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, enum_to_str=True))
        del values["output_dir"]
        with open_record(directory, config=values, command=command, provenance=provenance()) as record:
            run(typed, record)
    except UserError as error:
        if in_sweep:
            print(one_line(error), file=sys.stderr)
            raise  # the other jobs of the sweep go on
        sys.exit(one_line(error))
    finally:
        if not any(directory.iterdir()):
            directory.rmdir()  # hydra made it, and nothing came of it
    print_summary(directory)


def configure(overrides: list[str]) -> RunConfig:
    """The configuration that a command line means, for the commands beside this one."""
    check_choices(overrides)
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return typed_config(hydra.compose("config", overrides=[*overrides, "output_dir=''"]))


def typed_config(config: DictConfig) -> RunConfig:
    """The composed configuration as objects.

    Raises:
        UserError: a value that must be set is not, or one is out of range.
    """
    if missing := OmegaConf.missing_keys(config):
        raise UserError(f"{', '.join(sorted(missing))} must be set")
    return cast(RunConfig, OmegaConf.to_object(config))


def check_choices(arguments: list[str]) -> None:
    """Name the choices of a group in one line where Hydra would print its search path."""
    for argument in arguments:
        if "(" in argument or argument.startswith("--config-dir"):
            return  # Hydra's own syntax for many choices, or choices that lie elsewhere
        group, _, choice = argument.partition("=")
        known = sorted(path.stem for path in (CONF / group).glob("*.yaml")) if group.isidentifier() else []
        for name in choice.strip("[]").replace(" ", "").split(",") if known else []:
            if name not in {*known, "null", ""}:
                nearest = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {nearest[0]}?" if nearest else "choose one of them"
                raise UserError(f"{group}={name} is unknown; known are {', '.join(known)}: {hint}")


@contextlib.contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """End the program with one line where the block meets a mistake that the user can mend."""
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException, FileExistsError, PermissionError) as error:
        sys.exit(one_line(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        sys.exit(one_line(error))
    except KeyboardInterrupt:
        print("interrupted: the same command (a run: with the same hydra.run.dir) goes on from here", file=sys.stderr)
        sys.exit(130)


def run_command(main: Callable[[list[str]], None], usage: str | None) -> None:
    """Run one of the commands beside this one, on the arguments of the program."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print((usage or "").strip())
        return
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    cast(io.TextIOWrapper, sys.stdout).reconfigure(errors="replace")
    with mistakes_in_one_line():
        main(arguments)


def command_line() -> None:
    """Run what sys.argv says."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # lets errors through to here, where Hydra would print its own text
    with mistakes_in_one_line():
        check_choices(sys.argv[1:])
        main()


def one_line(error: Exception) -> str:
    """The message, and for Hydra's errors the reason that it keeps apart."""
    reason = f": {error.__cause__}" if isinstance(error, HydraException) and error.__cause__ else ""
    return "error: " + " ".join(f"{error}{reason}".split())


if __name__ == "__main__":
    command_line()
