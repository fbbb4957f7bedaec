"""What a configuration names: its corpus, segment, suite, control, benchmarks, and the rows that it reads."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_type_hints

import torch
from hydra.utils import get_method
from transformers import PreTrainedTokenizerBase

from conf.identity import made_with
from conf.schema import AdamStepChoice, Control, HerChoice, OptimizerStateSource, Protocol, RunConfig
from corpus import Corpus, Segment, fingerprint
from corpus.build import BUG, bug_professions
from eval import Benchmark, load_benchmark
from eval.occupations import read_terms
from foundation import UserError
from interventions import INTERVENTIONS, HerReader, Intervention, load_intervention
from training import (
    Batch,
    ModelShape,
    Precision,
    ReplayMethod,
    ReplayPlan,
    Suite,
    check_same_model,
    check_step,
    check_trained_precision,
    checkpoint_steps,
    choose_device,
    choose_precision,
    fitting_micro_batch,
    open_suite,
    plan_replay,
    pretrained_suite,
    published_repository,
)

_SHOWN = 12  # steps that a line names one by one


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


def find_shape(config: RunConfig) -> ModelShape | None:
    """What decides the cost of training the model; None where only its checkpoints know."""
    model = config.model
    if (architecture := model.architecture) is not None:
        return ModelShape(
            layers=architecture.num_hidden_layers,
            hidden=architecture.hidden_size,
            heads=architecture.num_attention_heads,
            vocab=architecture.vocab_size,
        )
    if model.pretraining is None or "vocab_size" not in config.corpus:
        return None
    return ModelShape(
        layers=model.pretraining.num_layers,
        hidden=model.pretraining.hidden_size,
        heads=model.pretraining.num_attention_heads,
        vocab=config.corpus["vocab_size"],
    )


def find_micro_batch(
    config: RunConfig, segment: Segment, *, room: int | None, precision: Precision, processes: int = 1
) -> int:
    """Sequences per forward pass of the arms.

    Args:
        room: bytes that a step may take on each device; None: nothing is asked of it.
    """
    chosen = config.training
    if chosen.micro_batch is not None:
        return chosen.micro_batch
    most = config.model.micro_batch
    if room is None:
        return most
    if (shape := find_shape(config)) is None:
        raise UserError(
            f"training.micro_batch=null needs the shape of model={config.model.name}, which only its checkpoints know; "
            f"set a number, such as {most}"
        )
    return fitting_micro_batch(
        shape,
        most=most,
        room=room,
        seq_length=segment.corpus.row_tokens - 1,
        precision=precision,
        activation_checkpointing=chosen.activation_checkpointing.value,
        sharding=chosen.sharding,
        processes=processes,
    )


def unmodified_batch(segment: Segment, step: int) -> Batch:
    """The rows of a step as the suite read them."""
    rows = segment.batch(step)
    return Batch(rows, {"sha256": fingerprint(rows)})


def find_suite(config: RunConfig, corpus: Corpus, device: torch.device) -> Suite:
    """The model's checkpoints, pre-trained on the corpus first where that is how they come to be."""
    model = config.model
    if (suite := given_suite(config)) is not None:
        return suite
    assert model.pretraining is not None
    if corpus.tokenizer is None or corpus.sha256 is None:
        raise UserError(f"model={model.name} cannot be pre-trained on {corpus.location}; set model.checkpoints")
    whole = Segment(corpus, 0, model.pretraining.train_iters, model.recipe.sequences_per_step, rows_before=0)
    directory = pretrained_suite(
        model.pretraining,
        recipe=model.recipe,
        numerics=model.numerics,
        micro_batch=model.micro_batch,
        tokenizer_file=corpus.tokenizer,
        seq_length=corpus.row_tokens - 1,
        corpus_sha256=corpus.sha256,
        batch_at=partial(unmodified_batch, whole),
        device=device,
        made_with=made_with(device),
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


def find_steps(config: RunConfig) -> tuple[list[int], str]:
    """The steps that the model has, or will have, a checkpoint of, and where. Nothing is fetched."""
    suite, pretraining = given_suite(config), config.model.pretraining
    if suite is not None:
        return suite.steps(), suite.location
    assert pretraining is not None
    return checkpoint_steps(pretraining.train_iters, pretraining.checkpoint_every), f"model={config.model.name}"


def find_trajectory(config: RunConfig) -> list[int]:
    """The steps of the checkpoints that protocol=trajectory measures, in order.

    Raises:
        UserError: there is none.
    """
    spanned, where = _spanned(config)
    skipped = find_skipped(config)
    found = [step for step in spanned if step not in skipped]
    if not found:
        chosen, every = range(config.step, config.step + config.steps + 1), config.trajectory.every or 1
        raise UserError(
            f"no checkpoint of {where} lies between step={config.step} and step + steps={chosen[-1]} at a multiple of "
            f"trajectory.every={every}; set them to a span that holds some"
        )
    return found


def find_skipped(config: RunConfig) -> dict[int, str]:
    """The checkpoints that protocol=trajectory steps over, each with why.

    Raises:
        UserError: trajectory.skip names one that the span has not.
    """
    spanned, where = _spanned(config)
    if unknown := sorted(set(config.trajectory.skip) - set(spanned)):
        raise UserError(
            f"trajectory.skip names step {unknown[0]}, which is none of the checkpoints of {where} that "
            f"protocol=trajectory would measure; leave it out"
        )
    suite = given_suite(config)
    faults = {step: None if suite is None else suite.fault(step) for step in spanned}
    named = {step: "left out by trajectory.skip" for step in config.trajectory.skip}
    return {step: fault for step, fault in faults.items() if fault is not None} | named


def skipped_texts(skipped: Mapping[int, str]) -> list[str]:
    """The checkpoints that are stepped over, in a sentence for each reason."""
    by_reason: dict[str, list[int]] = {}
    for step, why in skipped.items():
        by_reason.setdefault(why.replace(f"step{step}", "step"), []).append(step)
    return [f"{steps_text(steps)}: {skipped[steps[0]]}" for steps in by_reason.values()]


def steps_text(steps: Sequence[int]) -> str:
    """Steps in words; of many, the first and the last."""
    names = [f"{step:,}" for step in steps]
    if len(names) > _SHOWN:
        names = [*names[:3], "...", names[-1]]
    return f"step{'' if len(steps) == 1 else 's'} {', '.join(names)}"


def _spanned(config: RunConfig) -> tuple[list[int], str]:
    """The steps of the suite's checkpoints in the span that protocol=trajectory measures, and where they are."""
    steps, where = find_steps(config)
    chosen = range(config.step, config.step + config.steps + 1)
    return [step for step in steps if step in chosen and step % (config.trajectory.every or 1) == 0], where


def find_steps_along(config: RunConfig) -> list[int]:
    """The steps within the segment at which the arms are measured, in order; those before and after are no part.

    Raises:
        UserError: steps are asked for and there is none.
    """
    if config.trajectory.every is None:
        return []
    within = range(config.step + 1, config.step + config.steps)
    found = [step for step in within if step % config.trajectory.every == 0]
    if not found:
        raise UserError(
            f"no multiple of trajectory.every={config.trajectory.every} lies between step={config.step} and "
            f"step + steps={config.step + config.steps}; set a smaller one, or leave it out"
        )
    return found


def find_moments_along(config: RunConfig, moment: str) -> list[str]:
    """What the moments are called at which the arm that ends at `moment` is measured on the way."""
    return [f"{moment}_step{step}" for step in find_steps_along(config)]


def check_start(config: RunConfig) -> None:
    """Raise UserError where the model has no checkpoint that the run begins or must end at, or a setting of
    `occupations` is invalid. Nothing is fetched.
    """
    _check_sample(config)
    if config.protocol is Protocol.trajectory:
        find_trajectory(config)
        return
    find_steps_along(config)
    steps, where = find_steps(config)
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


OTHER_ROWS = "the suite was trained on another corpus than this one, so that its checkpoints read other rows"
UNKNOWN_ROWS = "its corpus, which is not known to be this one"


def has_true_end(config: RunConfig, segment: Segment, suite: Suite) -> bool:
    """Whether the suite has a checkpoint at the end of the segment, reached by the same batches as far as is known."""
    whole = segment.sequences_per_step == config.model.recipe.sequences_per_step
    if not (whole and segment.stop in suite.steps()):
        return False
    return config.protocol is Protocol.audit or read_these_rows(config, segment, suite) is not False


def read_these_rows(config: RunConfig, segment: Segment, suite: Suite) -> bool | None:
    """Whether the suite was trained on the rows of the corpus in its order; None where that is not known.

    A suite that the kit made says of which corpus it is. Pythia's is the Pile, in the order of the model's seed.
    """
    model = config.model
    if model.pretraining is not None and model.checkpoints is None:
        return True
    plan = Path(suite.location) / "plan.json"
    made_of = json.loads(plan.read_text("utf-8")).get("corpus_sha256") if plan.is_file() else None
    if made_of is not None:
        own = segment.corpus.sha256
        return None if own is None else bool(own == made_of)
    if model.pretraining is None and config.corpus["_target_"] == "corpus.open_pile":
        order = (bool(config.corpus["deduped"]), config.corpus.get("seed", 0))
        return order == (bool(model.deduped), model.seed)
    return None


def find_precision(config: RunConfig, device: torch.device) -> Precision:
    """The precision of the arithmetic on a device."""
    return choose_precision(config.training.precision.value, device, trained_in=config.model.precision)


def planned_device(config: RunConfig) -> torch.device:
    """Where the run would go from here: a GPU that is named is one, though this machine has none."""
    return torch.device("cuda") if config.device.startswith("cuda") else choose_device(config.device)


def differences_from_suite(config: RunConfig, precision: Precision, *, same_rows: bool | None = True) -> list[str]:
    """What an arm that is trained on unmodified rows does otherwise than the suite did, besides how it is batched.

    Each as "training.lr 0.01, the suite's 0.0003". With none the suite's own later checkpoint is that arm.

    Args:
        same_rows: whether the suite read them too; None: it is not known, which is a difference to be named.
    """
    found = recipe_differences(config, precision)
    if config.adam_step is AdamStepChoice.neox_resume:
        found.append("Adam's bias correction, which was restarted")
    if config.optimizer_state is OptimizerStateSource.replay:
        found.append("Adam's moments, which were rebuilt")
    if config.optimizer_state is OptimizerStateSource.fresh:
        found.append("Adam's moments, which began at zero")
    if not same_rows:
        found.append(UNKNOWN_ROWS if same_rows is None else "its corpus")
    return found


def recipe_differences(config: RunConfig, precision: Precision) -> list[str]:
    """Settings, arithmetic and its precision in which the arms' training differs from the suite's, as above."""
    model, training = config.model, config.training
    pairs = {f"training.{key}": (getattr(training, key), value) for key, value in asdict(model.recipe).items()}
    pairs |= {
        f"training.numerics.{key}": (getattr(training.numerics, key), value)
        for key, value in asdict(model.numerics).items()
    }
    pairs["precision"] = (precision, model.precision)
    return [f"{name} {_plain(own)}, the suite's {_plain(its)}" for name, (own, its) in pairs.items() if own != its]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def choose_control(config: RunConfig, segment: Segment, suite: Suite, precision: Precision) -> Control:
    """What the intervened arm is compared with.

    auto takes the suite's own later checkpoint only where the arm continues the suite's training exactly, so that this
    checkpoint is what the arm would have become on unmodified text; and trains a control of a suite that the kit made,
    which is as cheap as the arm. protocol=audit trains nothing.

    Args:
        precision: of the arms' arithmetic.

    Raises:
        UserError: the published checkpoint is asked for where there is none at the end of the segment, or where it
            is known that it was trained on other rows.
    """
    there = has_true_end(config, segment, suite)
    chosen = Control.published if config.protocol is Protocol.audit else config.control
    if chosen is Control.auto:
        if not there or config.model.pretraining is not None:
            return Control.train
        same_rows = read_these_rows(config, segment, suite)
        continues = not differences_from_suite(config, precision, same_rows=same_rows)
        return Control.published if continues else Control.train
    if chosen is Control.published and not there:
        if segment.stop in suite.steps() and read_these_rows(config, segment, suite) is False:
            raise UserError(f"control=published: {OTHER_ROWS}; take the corpus of the suite, or set control=train")
        raise UserError(
            f"control=published needs a checkpoint of {suite.location} at step {segment.stop}, reached by its own "
            f"batches; set control=train"
        )
    return chosen


def find_rows(config: RunConfig, segment: Segment, suite: Suite | None, precision: Precision) -> tuple[int, int]:
    """First row that the run reads, and the one behind its last: those that the intervention learns from, replayed,
    trained on, and held out for comparison. Where nothing is trained, those held out.

    Args:
        suite: None before the kit has made it: the segment's rows are all that is known then.
        precision: of the arms' arithmetic.

    Raises:
        UserError: the corpus does not hold all of them.
    """
    if not config.protocol.trains:
        first, _ = segment.held_out_rows(held_out_count(config))
        return _with_sample(config, segment, (first, first + held_out_count(config)))
    learned_first, learned_stop = _with_sample(config, segment, (segment.first_row(config.step), segment.stop_row))
    if config.protocol is Protocol.counterfactual and INTERVENTIONS[config.intervention.name].learns:
        sample_first, sample_stop = segment.sample_rows(config.intervention.sample_rows)
        learned_first, learned_stop = min(learned_first, sample_first), max(learned_stop, sample_stop)
    if suite is None:
        return learned_first, learned_stop
    first = segment.first_row(min([config.step, *(plan.first_step for plan in find_replays(config, suite))]))
    if first < 0:
        raise UserError(
            f"Adam's moments cannot be rebuilt on batches of training.sequences_per_step={segment.sequences_per_step}: "
            f"the checkpoint has seen {segment.rows_before} rows; set a smaller replay.frozen_steps (and, with "
            f"replay.method=live, replay.live_steps), or optimizer_state=fresh"
        )
    if config.protocol is Protocol.fidelity and read_these_rows(config, segment, suite) is False:
        raise UserError(f"protocol=fidelity compares with the suite's checkpoint, but {OTHER_ROWS}; take its corpus")
    trained = config.protocol is Protocol.fidelity or choose_control(config, segment, suite, precision) is Control.train
    first, stop = min(first, learned_first), learned_stop
    counts = [held_out_count(config), config.fidelity.rows if trained and has_true_end(config, segment, suite) else 0]
    for count in filter(None, counts):
        held_out, _ = segment.held_out_rows(count)
        first, stop = min(first, held_out), max(stop, held_out + count)
    return first, stop


def _with_sample(config: RunConfig, segment: Segment, rows: tuple[int, int]) -> tuple[int, int]:
    """`rows`, with those that the benchmark `occupations` counts in."""
    if not sampled_count(config):
        return rows
    first, stop, _ = sampled_rows(config, segment)
    return (min(first, rows[0]), max(stop, rows[1])) if rows[0] < rows[1] else (first, stop)


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
    if not config.protocol.trains:
        return []
    fidelity = config.protocol is Protocol.fidelity
    sources = config.fidelity.optimizer_states if fidelity else [config.optimizer_state.value]
    return [find_replay(config, suite, source) for source in sources if source not in ("exact", "neox", "fresh")]


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


def find_benchmarks(config: RunConfig, segment: Segment) -> dict[str, Benchmark]:
    """The benchmarks by name; that of held-out rows is given its rows, and what they are."""
    options = {name: dict(given) for name, given in config.benchmarks.items()}
    if "held_out" in options:
        count = held_out_count(config)
        first, _ = segment.held_out_rows(count)
        options["held_out"] = {
            "token_rows": segment.corpus.rows(first, first + count),
            "where": held_out_place(config, segment),
        }
    if "occupations" in options:
        options["occupations"] = _with_associations(config, segment, options["occupations"])
    return {name: load_benchmark(name, **given) for name, given in options.items()}


def _with_associations(config: RunConfig, segment: Segment, options: dict[str, Any]) -> dict[str, Any]:
    """The options of `occupations`, its rows and its file of terms read."""
    count, file = sampled_count(config), options.pop("terms")
    options.pop("rows")
    if not count:
        return options
    terms = () if file is None else read_terms(Path(file))
    if file is None and config.corpus.get("text") == BUG:
        terms = bug_professions()
    first, stop, place = sampled_rows(config, segment)
    return {
        **options,
        "terms": terms,
        "token_rows": segment.corpus.rows(first, stop),
        "where": f"the {stop - first} rows {place}",
    }


def sampled_rows(config: RunConfig, segment: Segment) -> tuple[int, int, str]:
    """First row that the benchmark `occupations` counts in, the one behind its last, and where they are, in words.

    They are rows that the model has read: those before the segment, as many as there are, or before the last
    checkpoint of a trajectory. At step 0, where none have been read, they are those from there on.
    """
    count = sampled_count(config)
    if config.protocol is Protocol.trajectory:
        stop, place = segment.stop_row, "before the last checkpoint"
    elif config.step:
        stop, place = segment.first_row(config.step), "before the segment"
    else:
        return 0, min(count, segment.corpus.num_rows), "from step 0 on"
    return max(0, stop - count), stop, place


def sampled_count(config: RunConfig) -> int:
    """Rows that the benchmark `occupations` counts in, 0 without it."""
    if "occupations" not in config.benchmarks:
        return 0
    count = config.benchmarks["occupations"]["rows"]
    if type(count) is not int or count < 0:
        raise UserError(f"benchmarks.occupations.rows={count} is no number of rows; set 0, for none, or more")
    return count


def _check_sample(config: RunConfig) -> None:
    """Raise UserError where the terms or the minimum of `occupations` are invalid, before a suite is pre-trained."""
    if not sampled_count(config):
        return
    file, minimum = (config.benchmarks["occupations"][option] for option in ("terms", "minimum"))
    if type(minimum) is not int or minimum < 1:
        raise UserError(f"benchmarks.occupations.minimum={minimum} is no number of sentences; set 1 or more")
    if file is None:
        return
    if not isinstance(file, str):
        raise UserError(f"benchmarks.occupations.terms={file} is no path; name a text file with one term a line")
    read_terms(Path(file))


def held_out_place(config: RunConfig, segment: Segment) -> str:
    """What the rows of `held_out` are: after the segment, or its last ones, and what of them had been read before."""
    count, layouts = held_out_count(config), segment.corpus.layouts
    if not segment.held_out_rows(count)[1]:
        following = segment.corpus.num_rows - segment.stop_row
        if following:
            return (
                f"the {count} rows up to the end of the segment, as fewer than {count} rows follow it: training read "
                f"them; benchmarks.held_out.rows={following} would be rows that training did not read"
            )
        return f"the {count} rows up to the end of the segment, where the corpus ends: training read them"
    if layouts == 1:
        return f"the {count} rows after the segment, which no arm has read"
    if layouts is None:
        return f"the {count} rows after the segment; whether their text had been read in earlier rows is not known"
    return (
        f"the {count} rows after the segment; the corpus holds each document {layouts} times, so much of their text "
        f"may have been read before, in another copy"
    )


def held_out_count(config: RunConfig) -> int:
    """Rows that the benchmark `held_out` asks for, 0 without it."""
    if "held_out" not in config.benchmarks:
        return 0
    count = config.benchmarks["held_out"]["rows"]
    if not (isinstance(count, int) and count > 0):
        raise UserError(f"benchmarks.held_out.rows={count} is no number of rows; set 1 or more")
    return count
