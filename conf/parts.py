"""What a run is made of, and what its stages do with it."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

import pandas as pd
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from conf.finding import (
    OTHER_ROWS,
    check_start,
    choose_control,
    find_benchmarks,
    find_corpus,
    find_intervention,
    find_micro_batch,
    find_moments_along,
    find_precision,
    find_replay,
    find_rows,
    find_segment,
    find_steps_along,
    find_suite,
    given_suite,
    has_true_end,
    read_these_rows,
    unmodified_batch,
)
from conf.identity import made_otherwise
from conf.schema import Control, HerChoice, Protocol, RunConfig
from corpus import Corpus, Segment
from eval import CHANGES, Benchmark, evaluate, summarize
from foundation import UserError, size_text, write_text
from interventions import INTERVENTIONS, Intervention, LanguageModelReader
from reports import RunRecord
from training import (
    AdamStep,
    Batch,
    Checkpoint,
    Numerics,
    Precision,
    Recipe,
    Suite,
    TokenLosses,
    autocast,
    check_architecture,
    check_finite,
    check_processes,
    check_same_tokens,
    check_tokenizer,
    check_tracker,
    choose_compile,
    choose_device,
    fidelity,
    memory_for_users,
    number_of_processes,
    open_suite,
    replay,
    room_on,
    save_checkpoint,
    saved_steps,
    set_numerics,
    suite_made_with,
    train,
    weights_sha256,
    with_adam_step,
    without_moments,
)

log = logging.getLogger(__name__)

Kept = Callable[[str, Callable[[], Mapping[str, pd.DataFrame]]], dict[str, pd.DataFrame]]

_ROOM = "free what other processes hold, or take a device with more (device=cpu has the machine's memory)"


@dataclass(frozen=True)
class Parts:
    """What a run is made of, and what its stages do with it."""

    config: RunConfig
    record: RunRecord
    device: torch.device
    precision: Precision
    compile: bool
    micro_batch: int
    benchmarks: dict[str, Benchmark]
    segment: Segment
    suite: Suite

    def load(self, step: int, *, suite: Suite | None = None, numerics: Numerics | None = None) -> Checkpoint:
        """A new copy of the suite's checkpoint, or another's, that computes as `numerics` or the configuration says."""
        return load_checked(self.config, suite or self.suite, step, corpus=self.segment.corpus, numerics=numerics)

    def intervention(self, start: Checkpoint) -> Intervention:
        """What is done to the segment. Where the start's model tells her = him from her = his, it is a copy."""
        reads_her = None
        chosen = self.config.intervention
        if chosen.her is HerChoice.language_model and INTERVENTIONS[chosen.name].learns == "her":
            model = self.load(start.step).on(self.device)
            reads_her = LanguageModelReader(model, model_sha256=weights_sha256(model), tokenizer=start.tokenizer)
        return find_intervention(self.config, self.segment, start.tokenizer, reads_her=reads_her)

    def measure(self, checkpoint: Checkpoint, *, precision: Precision = "fp32") -> dict[str, pd.DataFrame]:
        """The rows of all benchmarks, scored in one pass. The model is where it was again afterwards."""
        came_from = checkpoint.model.device
        benchmarks = list(self.benchmarks.values())
        with memory_for_users(f"evaluating step {checkpoint.step}", remedy=_ROOM), autocast(precision, self.device):
            rows = evaluate(
                checkpoint.on(self.device),
                checkpoint.tokenizer,
                benchmarks=benchmarks,
                model_name=f"the model at step {checkpoint.step}",
            )
            checkpoint.on(came_from)
        return rows

    def measure_along(
        self, checkpoint: Checkpoint, steps: Sequence[int], *, prefix: str = ""
    ) -> dict[str, dict[str, pd.DataFrame]]:
        """The rows of all benchmarks at each of the suite's `steps`, by moment; `checkpoint` ends as the last of them.

        Its model stays where it is, and takes the weights of one step after the other.

        Args:
            prefix: of the moments' names, before step<N>.
        """
        with memory_for_users(f"evaluating {len(steps)} checkpoints", remedy=_ROOM):
            model = checkpoint.on(self.device)

        def measure(step: int) -> dict[str, pd.DataFrame]:
            self.suite.load_into(model, step)
            check_finite(model, where=f"step {step} of {self.suite.location}")
            known = self.record.known("weights_sha256") or {}
            self.record.update(weights_sha256={**known, f"step{step}": weights_sha256(model)})
            with memory_for_users(f"evaluating step {step}", remedy=_ROOM):
                return evaluate(
                    model,
                    checkpoint.tokenizer,
                    benchmarks=list(self.benchmarks.values()),
                    model_name=f"step {step} of {self.suite.location}",
                )

        bar = tqdm(steps, "checkpoints", unit="checkpoint", disable=None)
        return {f"{prefix}step{step}": self.record.rows(f"{prefix}step{step}", partial(measure, step)) for step in bar}

    def measure_published(self) -> dict[str, dict[str, pd.DataFrame]]:
        """The rows of the suite's own checkpoints, as the control: at the end, and on the way where there are some."""
        along = [step for step in find_steps_along(self.config) if step in self.suite.steps()]
        rows = self.measure_along(self.load(along[0]), along, prefix="control_") if along else {}
        return rows | {"control": self.record.rows("control", lambda: self.measure(self.load(self.segment.stop)))}

    def write_summary(
        self, rows: dict[str, dict[str, pd.DataFrame]], *, changes: Sequence[tuple[str, str]] = CHANGES
    ) -> None:
        """Write summary.csv of the rows of each moment, with these changes between moments."""
        metrics = {
            moment: {name: benchmark.metrics(tables[name]) for name, benchmark in self.benchmarks.items()}
            for moment, tables in rows.items()
        }
        summary = summarize(metrics, changes=changes)
        write_text(self.record.directory / "summary.csv", summary.to_csv(index=False))

    def unmodified(self, step: int) -> Batch:
        """The rows of a step as the suite read them."""
        return unmodified_batch(self.segment, step)

    def train(
        self,
        name: str,
        start: Checkpoint,
        *,
        batch_at: Callable[[int], Batch],
        stop: int | None = None,
        recipe: Recipe | None = None,
        measure: Callable[[Checkpoint], object] | None = None,
        directory: Path | None = None,
        token_losses: TokenLosses | None = None,
    ) -> Checkpoint:
        """Train an arm, or go on with it where it was when it was killed.

        Args:
            recipe: another than that of the arms.
            measure: what is done at the steps along the way.
            directory: another than the run's for checkpoints and journal.
            token_losses: where to keep the losses of single predictions.
        """
        options = self.config.training
        directory = directory or self.record.directory
        stop = self.segment.stop if stop is None else stop
        with self.record.stage(f"train {name}"):
            return train(
                start,
                stop=stop,
                batch_at=batch_at,
                recipe=recipe or options,
                precision=self.precision,
                compile=self.compile,
                activation_checkpointing=options.activation_checkpointing.value,
                micro_batch=self.micro_batch,
                device=self.device,
                checkpoints=directory / "checkpoints" / name,
                save_at=range(start.step, stop, options.save_every)[1:],
                save_minutes=options.save_minutes,
                measure_at=find_steps_along(self.config),
                measure=measure,
                keep=2,
                journal=directory / "train" / f"{name}.jsonl",
                token_losses=token_losses,
                tracker=self.config.tracker.value,
                description=f"training, {name}",
                sharding=options.sharding,
            )

    def train_and_measure(
        self,
        name: str,
        moment: str,
        start: Checkpoint,
        *,
        batch_at: Callable[[int], Batch],
        kept: Kept | None = None,
        directory: Path | None = None,
        token_losses: TokenLosses | None = None,
    ) -> tuple[Checkpoint, dict[str, dict[str, pd.DataFrame]]]:
        """Train an arm, as `train`; also the rows of all benchmarks along the way and at its end, by moment.

        Args:
            moment: the name of the end; a step along the way is `<moment>_step<N>`.
            kept: the rows of a moment that were kept, else those that it evaluates and keeps; None: the run's own.
        """
        kept = kept or self.record.rows

        def measure(checkpoint: Checkpoint) -> None:
            kept(f"{moment}_step{checkpoint.step}", partial(self.measure, checkpoint))

        ended = self.train(
            name, start, batch_at=batch_at, measure=measure, directory=directory, token_losses=token_losses
        )
        rows = {on_way: kept(on_way, partial(_gone, on_way)) for on_way in find_moments_along(self.config, moment)}
        return ended, rows | {moment: kept(moment, partial(self.measure, ended))}

    def fidelity_of(self, ended: Checkpoint, *, begun_at: Checkpoint) -> dict[str, Any] | None:
        """How near an arm on unmodified data came to the suite's own checkpoint; None where there is none."""
        segment = self.segment
        if not has_true_end(self.config, segment, self.suite):
            return None
        first, unseen = segment.held_out_rows(self.config.fidelity.rows)
        rows = segment.corpus.rows(first, first + self.config.fidelity.rows)
        found = fidelity(begun_at.model, ended.on(self.device), self.load(segment.stop).model, rows=rows)
        reference = f"{self.config.model.name} step {segment.stop}"
        told = {"reference": reference, "rows": [first, first + len(rows)], "rows_unseen": unseen, **asdict(found)}
        return {**told, "made_otherwise": None if found.bitwise_equal else self.made_otherwise()}

    def made_otherwise(self) -> str | None:
        """In words, how the suite was made otherwise than this run computes; None of one that the kit did not make."""
        if given_suite(self.config) is not None:
            return None
        return made_otherwise(suite_made_with(Path(self.suite.location)), self.device)


def load_checked(
    config: RunConfig, suite: Suite, step: int, *, corpus: Corpus, numerics: Numerics | None = None
) -> Checkpoint:
    """A new copy of a suite's checkpoint, that computes as `numerics` or the configuration says.

    Raises:
        UserError: it is of another architecture, or its tokenizer is not that of the corpus, or a weight is not finite.
    """
    checkpoint = suite.load(step)
    if config.model.architecture is not None:
        where = str(checkpoint.path)
        check_architecture(checkpoint.model, config.model.architecture, name=config.model.name, where=where)
    check_tokenizer(checkpoint)
    check_same_tokenizer(checkpoint, corpus)
    check_finite(checkpoint.model, where=str(checkpoint.path))
    set_numerics(checkpoint.model, **asdict(numerics or config.training.numerics))
    return checkpoint


def check_same_tokenizer(checkpoint: Checkpoint, corpus: Corpus) -> None:
    """Raise UserError where it is known that the corpus was made with another tokenizer than the checkpoint has.

    Of a corpus that comes without one it is not known: see `foreign_rows`.
    """
    if corpus.tokenizer is None:
        return
    where, made_rows = str(checkpoint.path), Tokenizer.from_file(str(corpus.tokenizer))
    theirs, own = made_rows.get_vocab(), checkpoint.tokenizer.get_vocab()
    if theirs != own:
        differing = min(theirs.items() ^ own.items(), key=lambda pair: pair[1])[1]
        raise UserError(
            f"the tokenizer of {where} is not that of the corpus {corpus.location}: they differ from token id "
            f"{differing} on; take the corpus of this model, or, if it was made with the corpus's tokenizer, set "
            f"model.tokenizer={corpus.tokenizer}"
        )
    check_same_tokens(checkpoint.tokenizer, made_rows, where=where, corpus=corpus.location)


def assemble(config: RunConfig, record: RunRecord) -> Parts:
    """Find the parts of a run. A suite that the kit makes itself is pre-trained here."""
    device = choose_device(config.device)
    precision = find_precision(config, device)
    compile_layers = choose_compile(config.training.compile.value, device)
    check_start(config)
    check_tracker(config.tracker.value)
    check_processes(config.training, config.training.sharding)
    began_with = record.known("corpus") or {}
    segment = find_segment(config, find_corpus(config.corpus, revision=began_with.get("revision")))
    suite = find_suite(config, segment.corpus, device)
    rows = find_rows(config, segment, suite, precision)
    cost = segment.corpus.cost(*rows)
    if cost.cache is not None and cost.fetch_bytes:
        told = (size_text(cost.fetch_bytes), segment.corpus.location, cost.cache.directory)
        log.info("fetching %s of %s, under the terms stated there, while the run goes on; kept in %s", *told)
    segment.corpus.expect(*rows)
    benchmarks = find_benchmarks(config, segment)
    began_at = (record.known("arithmetic") or {}).get("micro_batch")  # a killed run goes on with its own
    micro_batch = began_at or find_micro_batch(
        config, segment, room=room_on(device), precision=precision, processes=number_of_processes()
    )
    return Parts(config, record, device, precision, compile_layers, micro_batch, benchmarks, segment, suite)


def resume_from(parts: Parts, source: str, *, directory: Path | None = None) -> Callable[[], Checkpoint]:
    """The checkpoint that an arm continues, a new copy at each call, with Adam's moments from `source`.

    Args:
        source: exact, neox, fresh, replay, or one of the methods of replay.
        directory: another than the run's, where moments that are rebuilt are kept.
    """
    config, step = parts.config, parts.config.step
    adam_step = cast(AdamStep, config.adam_step.name)
    if source == "fresh":
        return lambda: without_moments(parts.load(step))
    if source in ("exact", "neox"):
        return lambda: with_adam_step(parts.load(step), adam_step)
    plan = find_replay(config, parts.suite, source)
    recipe = replace(config.model.recipe, sequences_per_step=parts.segment.sequences_per_step)
    still = replace(recipe, lr=0.0, min_lr=0.0)
    checkpoints = (directory or parts.record.directory) / "checkpoints"
    kept = checkpoints / f"{plan.method}_moments"

    def train_on(start: Checkpoint, *, stop: int, leg: int) -> Checkpoint:
        name = f"{plan.method}_replay_{leg}"
        return parts.train(
            name, start, batch_at=parts.unmodified, stop=stop, recipe=recipe if leg else still, directory=directory
        )

    if step not in saved_steps(kept):
        log.info("rebuilding Adam's moments: %s", plan)
        as_trained = partial(parts.load, numerics=config.model.numerics)
        save_checkpoint(kept, replay(plan, load=as_trained, train_on=train_on))
    for replayed in checkpoints.glob(f"{plan.method}_replay_*"):
        shutil.rmtree(replayed)
    return lambda: with_adam_step(parts.load(step, suite=open_suite(kept)), adam_step)


def _gone(moment: str) -> NoReturn:
    raise UserError(
        f"the rows of {moment} are gone, and its checkpoint with them; begin again with another hydra.run.dir"
    )


def find_fault_of_true_end(parts: Parts) -> str | None:
    """Why a trained control cannot be compared with the suite's checkpoint at the end; None where it can, or none is.

    Raises:
        UserError: the same, where the run needs that checkpoint. Better now than after training.
    """
    config, segment = parts.config, parts.segment
    control = choose_control(config, segment, parts.suite, parts.precision)
    cannot_do_without = config.protocol is Protocol.fidelity or control is Control.published
    compares = cannot_do_without or control is Control.train
    ends_there = control is Control.train and not cannot_do_without and segment.stop in parts.suite.steps()
    if ends_there and read_these_rows(config, segment, parts.suite) is False:
        return f"The control arm was not compared with the suite's own checkpoint: {OTHER_ROWS}."
    if not (compares and has_true_end(config, segment, parts.suite)):
        return None
    try:
        parts.load(segment.stop)
    except UserError as error:
        if cannot_do_without:
            raise
        return f"The control arm could not be compared with the suite's own checkpoint: {error}."
    return None
