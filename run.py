"""If the pronouns in the last part of a model's pre-training had been different, would the model be less biased?

python run.py                                       the demo: the whole method, on a CPU, in minutes
python run.py step=384 steps=128                    another checkpoint, a longer segment
python run.py model=1.4b step=133000 plan=true      what its data would take; fetches none of them, trains nothing
python run.py -m step=384,448 intervention=none,masculine_to_feminine
python run.py experiment=fidelity                   how near resuming comes to the true later checkpoint
python run.py experiment=audit_published            whether the published intervention took; trains nothing
"""

import contextlib
import difflib
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_type_hints

import hydra
import pandas as pd
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from conf.schema import Control, HerChoice, OptimizerStateSource, Protocol, RunConfig
from corpus import Corpus, Segment, combined_fingerprint, data_plan, fingerprint, plan_text
from eval import CHANGES, Benchmark, evaluate, load_benchmark, summarize
from foundation import UserError, mistakes_in_one_line, one_line, quiet_libraries, write_text
from interventions import (
    INTERVENTIONS,
    SKIP_REASONS,
    HerReader,
    Intervention,
    LanguageModelReader,
    fact_sentences,
    load_intervention,
    swap_examples,
)
from reports import (
    RunRecord,
    open_record,
    print_fidelity,
    print_summary,
    provenance,
    write_fidelity,
    write_report,
    write_swaps,
)
from training import (
    AdamStep,
    Batch,
    Checkpoint,
    Numerics,
    Precision,
    Recipe,
    ReplayMethod,
    ReplayPlan,
    Suite,
    check_architecture,
    check_not_v0,
    check_same_model,
    check_step,
    check_stored,
    check_trained_precision,
    checkpoint_steps,
    choose_device,
    choose_precision,
    fidelity,
    numerics_of,
    open_suite,
    plan_replay,
    pretrained_suite,
    published_repository,
    read_journal,
    replay,
    save_checkpoint,
    saved_steps,
    set_numerics,
    train,
    weights_sha256,
    with_adam_step,
    without_moments,
)

log = logging.getLogger(__name__)

CONF = Path(__file__).parent / "conf"

ConfigStore.instance().store("schema", RunConfig)


def run(config: RunConfig, record: RunRecord) -> None:
    """The experiment, in order. What a stage has left in the run directory is not done again after an interruption."""
    parts = assemble(config, record)
    start = parts.load(config.step)
    check_stored(start, config.optimizer_state.value)
    intervention = parts.intervention(start)
    record.identify(**describe_parts(parts, start, intervention))
    without_true_end = find_fault_of_true_end(parts)
    record.update(**describe_reading(parts, start, intervention, without_true_end))

    rows = {"before": record.rows("before", lambda: parts.measure(start))}
    resumed = resume_from(parts, config.optimizer_state.value)
    control = choose_control(config, parts.segment, parts.suite)
    arms = ["intervened", "control"] if control is Control.train else ["intervened"]
    for arm, moment in zip(arms, ["after", "control"], strict=False):
        ended = parts.train(arm, resumed(), batch_at=partial(arm_batch, arm, parts.segment, intervention))
        rows[moment] = record.rows(moment, partial(parts.measure, ended))
        if arm == "control" and without_true_end is None:
            record.update(fidelity=parts.fidelity_of(ended, begun_at=start))
        del ended  # the next arm needs its memory
    if control is Control.published:
        rows["control"] = record.rows("control", lambda: parts.measure(parts.load(parts.segment.stop)))

    parts.write_summary(rows)
    journals = {arm: read_journal(record.directory / "train" / f"{arm}.jsonl") for arm in arms}
    write_swaps(record.directory, journals["intervened"])
    record.update(fingerprints=segment_fingerprints(journals))
    record.finish(write_report)


def run_fidelity(config: RunConfig, record: RunRecord) -> None:
    """How near each way to get Adam's moments comes to the true checkpoint at step + steps, on unmodified data."""
    parts = assemble(config, record)
    start = parts.load(config.step)
    find_fault_of_true_end(parts)
    for source in config.fidelity.optimizer_states:
        check_stored(start, source)
    record.identify(**describe_parts(parts, start, None))
    rows = {"before": record.rows("before", lambda: parts.measure(start))}
    rows["true"] = record.rows("true", lambda: parts.measure(parts.load(parts.segment.stop)))
    found = {}
    for source in config.fidelity.optimizer_states:
        ended = parts.train(source, resume_from(parts, source)(), batch_at=parts.unmodified)
        rows[source] = record.rows(source, partial(parts.measure, ended))
        found[source] = parts.fidelity_of(ended, begun_at=start)
        del ended  # the next arm needs its memory

    parts.write_summary(rows, changes=[(moment, "true") for moment in ["before", *found]])
    record.update(fidelity=found)
    record.finish(write_fidelity)


def run_audit(config: RunConfig, record: RunRecord) -> None:
    """What an intervention changed that others trained: their checkpoint at step + steps against the suite's own."""
    parts = assemble(config, record)
    assert config.audit.checkpoints is not None
    audited = open_suite(config.audit.checkpoints, tokenizer=config.model.tokenizer)
    check_step(parts.segment.stop, audited.steps(), where=audited.location)
    find_fault_of_true_end(parts)
    start, ended = parts.load(config.step), parts.load(parts.segment.stop, suite=audited)
    record.identify(**describe_parts(parts, start, None), intervention=describe_audited(config, audited, ended))
    record.update(
        **{"swap_examples": [], "fidelity": None, "control": Control.published.value, "fingerprints": {}},
        caveats=[
            *config.model.caveats,
            "Both checkpoints were trained by others: whether they differ in the text alone is not recorded.",
        ],
    )
    rows = {"before": record.rows("before", lambda: parts.measure(start))}
    rows["after"] = record.rows("after", lambda: parts.measure(ended))
    rows["control"] = record.rows("control", lambda: parts.measure(parts.load(parts.segment.stop)))

    parts.write_summary(rows)
    record.finish(write_report)


@dataclass(frozen=True)
class Parts:
    """What a run is made of, and what its stages do with it."""

    config: RunConfig
    record: RunRecord
    device: torch.device
    precision: Precision
    benchmarks: dict[str, Benchmark]
    segment: Segment
    suite: Suite

    def load(self, step: int, *, suite: Suite | None = None, numerics: Numerics | None = None) -> Checkpoint:
        """A new copy of the suite's checkpoint, or another's, that computes as `numerics` or the configuration says."""
        checkpoint = (suite or self.suite).load(step)
        model = self.config.model
        if model.architecture is not None:
            check_architecture(checkpoint.model, model.architecture, name=model.name, where=str(checkpoint.path))
        set_numerics(checkpoint.model, **asdict(numerics or self.config.training.numerics))
        return checkpoint

    def intervention(self, start: Checkpoint) -> Intervention:
        """What is done to the segment. Where the start's model tells her = him from her = his, it is a copy."""
        reads_her = None
        chosen = self.config.intervention
        if chosen.her is HerChoice.language_model and INTERVENTIONS[chosen.name].learns == "her":
            model = self.load(start.step).on(self.device)
            reads_her = LanguageModelReader(model, model_sha256=weights_sha256(model), tokenizer=start.tokenizer)
        return find_intervention(self.config, self.segment, start.tokenizer, reads_her=reads_her)

    def measure(self, checkpoint: Checkpoint) -> dict[str, pd.DataFrame]:
        """The rows of all benchmarks, scored in one pass."""
        benchmarks = list(self.benchmarks.values())
        rows = evaluate(checkpoint.on(self.device), checkpoint.tokenizer, benchmarks=benchmarks)
        checkpoint.on(torch.device("cpu"))
        return rows

    def write_summary(
        self, rows: dict[str, dict[str, pd.DataFrame]], *, changes: Sequence[tuple[str, str]] = CHANGES
    ) -> None:
        """Write summary.csv of the rows of each moment, with these changes between moments."""
        metrics = {
            moment: {name: benchmark.metrics(tables[name]) for name, benchmark in self.benchmarks.items()}
            for moment, tables in rows.items()
        }
        summary = summarize(metrics, seed=self.config.seed, changes=changes)
        write_text(self.record.directory / "summary.csv", summary.to_csv(index=False))

    def unmodified(self, step: int) -> Batch:
        """The rows of a step as the suite read them."""
        rows = self.segment.batch(step)
        return Batch(rows, {"sha256": fingerprint(rows)})

    def train(
        self,
        name: str,
        start: Checkpoint,
        *,
        batch_at: Callable[[int], Batch],
        stop: int | None = None,
        recipe: Recipe | None = None,
    ) -> Checkpoint:
        """Train an arm, or go on with it where it was when it was killed.

        Args:
            recipe: another than that of the arms.
        """
        options, directory = self.config.training, self.record.directory
        stop = self.segment.stop if stop is None else stop
        with self.record.stage(f"train {name}"):
            return train(
                start,
                stop=stop,
                batch_at=batch_at,
                recipe=recipe or options,
                precision=self.precision,
                micro_batch=options.micro_batch,
                device=self.device,
                checkpoints=directory / "checkpoints" / name,
                save_at=range(start.step, stop, options.save_every)[1:],
                save_minutes=options.save_minutes,
                keep=2,
                journal=directory / "train" / f"{name}.jsonl",
                description=f"training, {name}",
            )

    def fidelity_of(self, ended: Checkpoint, *, begun_at: Checkpoint) -> dict[str, Any] | None:
        """How near an arm on unmodified data came to the suite's own checkpoint; None where there is none."""
        segment = self.segment
        if not has_true_end(self.config, segment, self.suite):
            return None
        first, unseen = segment.held_out_rows(self.config.fidelity.rows)
        rows = segment.corpus.rows(first, first + self.config.fidelity.rows)
        found = fidelity(begun_at.model, ended.on(self.device), self.load(segment.stop).model, rows=rows)
        reference = f"{self.config.model.name} step {segment.stop}"
        return {"reference": reference, "rows": [first, first + len(rows)], "rows_unseen": unseen, **asdict(found)}


def assemble(config: RunConfig, record: RunRecord) -> Parts:
    """Find the parts of a run. A suite that the kit makes itself is pre-trained here."""
    device = choose_device(config.device)
    precision = choose_precision(config.training.precision.value, device, trained_in=config.model.precision)
    check_start(config)
    began_with = record.known("corpus") or {}
    segment = find_segment(config, find_corpus(config.corpus, revision=began_with.get("revision")))
    suite = find_suite(config, segment.corpus, device)
    segment.corpus.expect(*find_rows(config, segment, suite))
    benchmarks = find_benchmarks(config, segment)
    return Parts(config, record, device, precision, benchmarks, segment, suite)


def resume_from(parts: Parts, source: str) -> Callable[[], Checkpoint]:
    """The checkpoint that an arm continues, a new copy at each call, with Adam's moments from `source`.

    Args:
        source: exact, neox, fresh, replay, or one of the methods of replay.
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
    checkpoints = parts.record.directory / "checkpoints"
    kept = checkpoints / f"{plan.method}_moments"

    def train_on(start: Checkpoint, *, stop: int, leg: int) -> Checkpoint:
        name = f"{plan.method}_replay_{leg}"
        return parts.train(name, start, batch_at=parts.unmodified, stop=stop, recipe=recipe if leg else still)

    if step not in saved_steps(kept):
        log.info("rebuilding Adam's moments: %s", plan)
        as_trained = partial(parts.load, numerics=config.model.numerics)
        save_checkpoint(kept, replay(plan, load=as_trained, train_on=train_on))
    for replayed in checkpoints.glob(f"{plan.method}_replay_*"):
        shutil.rmtree(replayed)
    return lambda: with_adam_step(parts.load(step, suite=open_suite(kept)), adam_step)


def has_true_end(config: RunConfig, segment: Segment, suite: Suite) -> bool:
    """Whether the suite has a checkpoint at the end of the segment, reached by the same batches."""
    return segment.stop in suite.steps() and segment.sequences_per_step == config.model.recipe.sequences_per_step


def choose_control(config: RunConfig, segment: Segment, suite: Suite) -> Control:
    """What the intervened arm is compared with.

    Raises:
        UserError: the published checkpoint is asked for where there is none at the end of the segment.
    """
    there = has_true_end(config, segment, suite)
    if config.control is Control.auto:
        return Control.published if there and config.model.pretraining is None else Control.train
    if config.control is Control.published and not there:
        raise UserError(
            f"control=published needs a checkpoint of {suite.location} at step {segment.stop}, reached by its own "
            f"batches; set control=train"
        )
    return config.control


def find_fault_of_true_end(parts: Parts) -> str | None:
    """Why a trained control cannot be compared with the suite's checkpoint at the end; None where it can, or none is.

    Raises:
        UserError: the same, where the run needs that checkpoint. Better now than after training.
    """
    config, segment = parts.config, parts.segment
    control = choose_control(config, segment, parts.suite)
    cannot_do_without = config.protocol is Protocol.fidelity or control is Control.published
    compares = cannot_do_without or control is Control.train
    if not (compares and has_true_end(config, segment, parts.suite)):
        return None
    try:
        parts.load(segment.stop)
    except UserError as error:
        if cannot_do_without:
            raise
        return f"The control arm could not be compared with the suite's own checkpoint: {error}."
    return None


def find_rows(config: RunConfig, segment: Segment, suite: Suite | None) -> tuple[int, int]:
    """First row that the run reads, and the one behind its last: those that the intervention learns from, replayed,
    trained on, and held out for comparison.

    Args:
        suite: None before the kit has made it: the segment's rows are all that is known then.

    Raises:
        UserError: the corpus does not hold all of them.
    """
    learned_first, learned_stop = segment.first_row(config.step), segment.stop_row
    if config.protocol is Protocol.counterfactual and INTERVENTIONS[config.intervention.name].learns:
        sample_first, sample_stop = segment.sample_rows(config.intervention.sample_rows)
        learned_first, learned_stop = min(learned_first, sample_first), max(learned_stop, sample_stop)
    if suite is None:
        return learned_first, learned_stop
    first = segment.first_row(min([config.step, *(plan.first_step for plan in find_replays(config, suite))]))
    if first < 0:
        raise UserError(
            f"Adam's moments cannot be rebuilt on batches of training.sequences_per_step={segment.sequences_per_step}: "
            f"the checkpoint has seen {segment.rows_before} rows; set replay.frozen_steps and replay.live_steps"
        )
    trained = config.protocol is Protocol.fidelity or choose_control(config, segment, suite) is Control.train
    first, stop = min(first, learned_first), learned_stop
    counts = [held_out_count(config), config.fidelity.rows if trained and has_true_end(config, segment, suite) else 0]
    for count in filter(None, counts):
        held_out, _ = segment.held_out_rows(count)
        first, stop = min(first, held_out), max(stop, held_out + count)
    return first, stop


def find_replay(config: RunConfig, suite: Suite, source: str) -> ReplayPlan:
    """The batches that moments are rebuilt from; `source` is replay, or a method of it."""
    return plan_replay(
        config.step,
        method=cast(ReplayMethod | Literal["auto"], config.replay.method.value if source == "replay" else source),
        checkpoints=suite.steps(),
        frozen_steps=config.replay.frozen_steps,
        live_steps=config.replay.live_steps,
        arm_steps=config.steps,
        whole_batches=config.training.sequences_per_step == config.model.recipe.sequences_per_step,
    )


def find_replays(config: RunConfig, suite: Suite) -> list[ReplayPlan]:
    """All that the run will replay."""
    sources = {
        Protocol.counterfactual: [config.optimizer_state.value],
        Protocol.fidelity: config.fidelity.optimizer_states,
        Protocol.audit: [],
    }[config.protocol]
    return [find_replay(config, suite, source) for source in sources if source not in ("exact", "neox", "fresh")]


def arm_batch(arm: str, segment: Segment, intervention: Intervention, step: int) -> Batch:
    """One step's rows as an arm sees them. Both arms tell apart the loss on the words that the intervention swaps."""
    rows = segment.batch(step)
    intervened, ledger = intervention(rows, first_row=segment.first_row(step))
    evidence: dict[str, Any] = {"source_sha256": fingerprint(rows)}
    if arm == "control":
        return Batch(rows, evidence | {"sha256": fingerprint(rows), "swaps": []}, groups=ledger.groups())
    evidence |= {"sha256": fingerprint(intervened), "swapped_sha256": ledger.fingerprint()}
    evidence["swaps"] = ledger.counts.to_dict("records")
    return Batch(intervened, evidence, groups=ledger.groups(), unlearned=ledger.unlearned)


def find_intervention(
    config: RunConfig,
    segment: Segment,
    tokenizer: PreTrainedTokenizerBase,
    *,
    reads_her: HerReader | None = None,
) -> Intervention:
    """The intervention, its bounds in steps of the segment as rows of the corpus."""
    chosen = config.intervention
    if chosen.her is HerChoice.language_model and reads_her is None and INTERVENTIONS[chosen.name].learns == "her":
        raise UserError(
            "intervention.her=language_model needs the weights of the start, which only a run loads; leave it out here"
        )
    first_row = segment.first_row(config.step + chosen.start) if chosen.start else None
    stop_row = None if chosen.stop is None else segment.first_row(config.step + chosen.stop)
    return load_intervention(
        chosen.name,
        tokenizer=tokenizer,
        seed=config.seed,
        fraction=chosen.fraction,
        unit=chosen.unit.value,
        first_row=first_row,
        stop_row=stop_row,
        english_only=chosen.english_only,
        sample=lambda: segment.corpus.rows(*segment.sample_rows(chosen.sample_rows)),
        reads_her=reads_her,
    )


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


def find_benchmarks(config: RunConfig, segment: Segment) -> dict[str, Benchmark]:
    """The benchmarks by name; that of held-out rows is given its rows."""
    options = {name: dict(given) for name, given in config.benchmarks.items()}
    if "held_out" in options:
        count = held_out_count(config)
        first, _ = segment.held_out_rows(count)
        options["held_out"] = {"token_rows": segment.corpus.rows(first, first + count)}
    return {name: load_benchmark(name, **given) for name, given in options.items()}


def held_out_count(config: RunConfig) -> int:
    """Rows that the benchmark `held_out` asks for, 0 without it."""
    if "held_out" not in config.benchmarks:
        return 0
    count = config.benchmarks["held_out"]["rows"]
    if not (isinstance(count, int) and count > 0):
        raise UserError(f"benchmarks.held_out.rows={count} is no number of rows; set 1 or more")
    return count


def find_segment(config: RunConfig, corpus: Corpus) -> Segment:
    """The batches that follow those which the checkpoint was trained on."""
    seen = config.step * config.model.recipe.sequences_per_step
    return Segment(corpus, config.step, config.steps, config.training.sequences_per_step, rows_before=seen)


def find_suite(config: RunConfig, corpus: Corpus, device: torch.device) -> Suite:
    """The model's checkpoints, pre-trained on the corpus first where that is how they come to be."""
    model = config.model
    if (suite := given_suite(config)) is not None:
        return suite
    assert model.pretraining is not None
    if corpus.tokenizer is None or corpus.sha256 is None:
        raise UserError(f"model={model.name} cannot be pre-trained on {corpus.location}; set model.checkpoints")
    whole = Segment(corpus, 0, model.pretraining.train_iters, model.recipe.sequences_per_step, rows_before=0)

    def batch_at(step: int) -> Batch:
        rows = whole.batch(step)
        return Batch(rows, {"sha256": fingerprint(rows)})

    directory = pretrained_suite(
        model.pretraining,
        recipe=model.recipe,
        numerics=model.numerics,
        micro_batch=model.micro_batch,
        tokenizer_file=corpus.tokenizer,
        seq_length=corpus.row_tokens - 1,
        corpus_sha256=corpus.sha256,
        batch_at=batch_at,
        device=device,
    )
    return open_suite(directory)


def given_suite(config: RunConfig) -> Suite | None:
    """The checkpoints that are named, else those that are published of the model; None where the kit makes them."""
    model = config.model
    if model.pretraining is not None:
        return None if model.checkpoints is None else open_suite(model.checkpoints, tokenizer=model.tokenizer)
    deduped, size = bool(model.deduped), model.name.removeprefix("pythia-")
    check_trained_precision(size, deduped=deduped, precision=model.precision, rope=model.numerics.rope)
    repository = published_repository(size, deduped=deduped, seed=model.seed)
    suite = open_suite(model.checkpoints or f"hf://{repository}", tokenizer=model.tokenizer)
    check_same_model(suite.location, size=size, deduped=deduped, seed=model.seed)
    return suite


def check_start(config: RunConfig) -> None:
    """Raise UserError where the model has no checkpoint that the run begins or must end at. Nothing is fetched."""
    suite, pretraining = given_suite(config), config.model.pretraining
    if suite is not None:
        steps, where = suite.steps(), suite.location
    else:
        assert pretraining is not None
        steps = checkpoint_steps(pretraining.train_iters, pretraining.checkpoint_every)
        where = f"model={config.model.name}"
    check_step(config.step, steps, where=where)
    if config.protocol is not Protocol.fidelity:
        return
    if config.training.sequences_per_step != config.model.recipe.sequences_per_step:
        raise UserError("protocol=fidelity needs the suite's own batches: leave training.sequences_per_step as it is")
    try:
        check_step(config.step + config.steps, steps, where=where)
    except UserError as error:
        raise UserError(
            f"protocol=fidelity compares with the checkpoint at step + steps, but {error}; set steps"
        ) from None


def describe_parts(parts: Parts, start: Checkpoint, intervention: Intervention | None) -> dict[str, dict[str, Any]]:
    """What a run is made of; one that is resumed must be made of the same."""
    config, segment = parts.config, parts.segment
    described: dict[str, dict[str, Any]] = {
        "checkpoint": {
            "model": config.model.name,
            "step": config.step,
            "updates": start.updates,
            "location": parts.suite.location,
            "stored_as": start.stored_as,
            "sha256": weights_sha256(start.model),
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
        "optimizer": {
            "state": config.optimizer_state.value,
            "adam_step": config.adam_step.name,
            "replays": {plan.method: str(plan) for plan in find_replays(config, parts.suite)},
        },
        "arithmetic": {"precision": parts.precision, **asdict(numerics_of(start.model))},
    }
    if intervention is not None:
        described["intervention"] = {
            "name": intervention.name,
            "identity": intervention.identity,
            "sentence": " ".join([INTERVENTIONS[intervention.name].sentence, *describe_dose(config)]),
            "expects": INTERVENTIONS[intervention.name].expects,
            "facts": intervention.facts,
            "facts_in_words": fact_sentences(intervention.facts),
            "skip_reasons": SKIP_REASONS,
        }
    return described


def describe_audited(config: RunConfig, audited: Suite, ended: Checkpoint) -> dict[str, Any]:
    """The entry of run.json that says what the intervention was, where others made it."""
    return {
        "name": "audited",
        "identity": weights_sha256(ended.model),
        "sentence": f"The intervened checkpoint is that of {audited.location}, as it was found there.",
        "expects": config.audit.expects,
        "facts": {},
        "facts_in_words": [],
        "skip_reasons": {},
    }


def describe_dose(config: RunConfig) -> list[str]:
    """What of the segment was left as it is, in sentences."""
    chosen = config.intervention
    sentences = []
    if chosen.fraction < 1:
        sentences.append(f"So it was for {chosen.fraction:.4g} of the {chosen.unit.value}s, drawn at random.")
    if chosen.start or chosen.stop is not None:
        number = (config.steps if chosen.stop is None else chosen.stop) - chosen.start
        sentences.append(f"So it was in {number} of the {config.steps} steps, from {config.step + chosen.start} on.")
    return sentences


def describe_reading(
    parts: Parts, start: Checkpoint, intervention: Intervention, without_true_end: str | None
) -> dict[str, Any]:
    """What a reader of the result needs to know and see."""
    config, segment = parts.config, parts.segment
    first_row = segment.first_row(config.step)
    first_batch = segment.batch(config.step)
    intervened, ledger = intervention(first_batch, first_row=first_row)
    return {
        "swap_examples": swap_examples(
            first_batch, intervened, ledger.swapped, start.tokenizer, first_row=first_row, count=3
        ),
        "fidelity": None,
        "control": choose_control(config, segment, parts.suite).value,
        "caveats": [
            *config.model.caveats,
            *parts.suite.caveats(config.step),
            *INTERVENTIONS[intervention.name].caveats,
            *find_caveats(parts),
            *([without_true_end] if without_true_end else []),
        ],
    }


def find_caveats(parts: Parts) -> list[str]:
    """Where the arms are trained otherwise than the suite was."""
    config, model = parts.config, parts.config.model
    differing = [
        f"The arms were trained with {key}={getattr(config.training, key)}, the suite with {value}."
        for key, value in asdict(model.recipe).items()
        if getattr(config.training, key) != value
    ]
    if parts.precision != model.precision:
        differing.append(f"The arms were trained in {parts.precision}, the suite in {model.precision}.")
    for key, value in asdict(model.numerics).items():
        if (chosen := getattr(config.training.numerics, key)) != value:
            differing.append(f"The arms were trained with {key} {chosen}, the suite with {value}.")
    if config.optimizer_state is OptimizerStateSource.fresh:
        differing.append("Adam's moments were not restored: training resumed with empty ones.")
    differing += [
        f"Adam's moments are not those of the suite, which are not published: they were rebuilt ({plan})."
        for plan in find_replays(config, parts.suite)
    ]
    if choose_control(config, parts.segment, parts.suite) is Control.published:
        differing.append(
            f"The control is the suite's own checkpoint at step {parts.segment.stop}, no arm of this run: a difference "
            f"from it also holds what the arithmetic and Adam's moments of this run changed."
        )
    if model.seed > 0:
        differing.append(
            "Whether PolyPythias were trained with the schedule of gpt-neox v1.0 or with that of gpt-neox #1008 is not "
            "documented; training.lr_schedule=neox_1008 is the other."
        )
    if (count := held_out_count(config)) and not parts.segment.held_out_rows(count)[1]:
        differing.append(
            "The corpus ends with the segment: the loss on held-out rows is that on its last rows, which the arms were "
            "trained on."
        )
    if config.adam_step.name == "neox_resume":
        differing.append("Adam's bias correction was restarted, as it was whenever GPT-NeoX resumed.")
    return differing


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
    """What the run would take. Nothing of the segment is fetched."""
    check_start(config)
    segment, suite = find_segment(config, find_corpus(config.corpus)), given_suite(config)
    lines = data_plan(segment, find_rows(config, segment, suite))
    if suite is not None:
        lines.append(("weights", f"step {config.step:,} of {suite.location}"))
        lines += [("moments", f"rebuilt, {plan}") for plan in find_replays(config, suite)]
    print(plan_text(lines), end="")


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> None:
    disable_progress_bar()  # transformers' bar for loading weights, which takes a blink
    quiet_libraries()
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
            protocols = {Protocol.counterfactual: run, Protocol.fidelity: run_fidelity, Protocol.audit: run_audit}
            protocols[typed.protocol](typed, record)
    except UserError as error:
        if in_sweep:
            print(one_line(error), file=sys.stderr)
            raise  # the other jobs of the sweep go on
        sys.exit(one_line(error))
    finally:
        if not any(directory.iterdir()):
            directory.rmdir()  # hydra made it, and nothing came of it
    if typed.protocol is Protocol.fidelity:
        print_fidelity(directory)
    else:
        print_summary(directory)


def configure(overrides: list[str]) -> RunConfig:
    """The configuration that a command line means, for the commands beside this one."""
    check_choices(overrides)
    with config_errors_for_users(), hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return typed_config(hydra.compose("config", overrides=[*overrides, "output_dir=''"]))


def typed_config(config: DictConfig) -> RunConfig:
    """The composed configuration as objects.

    Raises:
        UserError: a value that must be set is not, one is out of range, or `+key=value` names no key.
    """
    if missing := OmegaConf.missing_keys(config):
        raise UserError(f"{', '.join(sorted(missing))} must be set")
    try:
        known = OmegaConf.merge(OmegaConf.structured(RunConfig), OmegaConf.to_container(config, resolve=True))
    except ConfigKeyError as error:
        raise UserError(f"{error.full_key} is no setting; see python run.py --cfg job") from error
    return cast(RunConfig, OmegaConf.to_object(known))


def check_choices(arguments: list[str]) -> None:
    """Name the choices of a group in one line where Hydra would print its search path."""
    for argument in arguments:
        if "(" in argument or argument.startswith("--config-dir"):
            return  # Hydra's own syntax for many choices, or choices that lie elsewhere
        group, _, choice = argument.partition("=")
        known = sorted(path.stem for path in (CONF / group).glob("*.yaml")) if group.isidentifier() else []
        for name in choice.strip("[]").replace(" ", "").split(",") if known else []:
            if group == "model":
                check_not_v0(name)
            if name not in {*known, "null", ""}:
                nearest = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {nearest[0]}?" if nearest else "choose one of them"
                raise UserError(f"{group}={name} is unknown; known are {', '.join(known)}: {hint}")


@contextlib.contextmanager
def config_errors_for_users() -> Iterator[None]:
    """Raise UserError for what Hydra and OmegaConf find wrong with the configuration."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        reason = f": {error.__cause__}" if isinstance(error, HydraException) and error.__cause__ else ""
        raise UserError(f"{error}{reason}") from error


def command_line() -> None:
    """Run what sys.argv says."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # lets errors through to here, where Hydra would print its own text
    with mistakes_in_one_line(), config_errors_for_users():
        check_choices(sys.argv[1:])
        main()


if __name__ == "__main__":
    command_line()
