"""What run.json says of a run: what it is made of, and what a reader of its result must know."""

import logging
from dataclasses import asdict
from typing import Any

from conf.finding import (
    choose_control,
    differences_from_suite,
    find_replays,
    has_true_end,
    held_out_count,
    held_out_place,
    read_these_rows,
    recipe_differences,
)
from conf.parts import Parts
from conf.schema import Control, OptimizerStateSource, RunConfig
from corpus import fingerprint
from interventions import INTERVENTIONS, SKIP_REASONS, Intervention, fact_sentences, swap_examples
from training import Checkpoint, Suite, foreign_rows, numerics_of, weights_sha256

log = logging.getLogger(__name__)

_ROWS_LOOKED_AT = 16


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
        },
        "optimizer": {
            "state": config.optimizer_state.value,
            "adam_step": config.adam_step.name,
            "replays": {plan.method: str(plan) for plan in find_replays(config, parts.suite)},
        },
        "arithmetic": {
            "precision": parts.precision,
            "micro_batch": parts.micro_batch,
            **asdict(numerics_of(start.model)),
            "compiled": parts.compile,
            "activation_checkpointing": config.training.activation_checkpointing.value,
        },
    }
    if config.protocol.trains:  # others read no row of the segment
        described["segment"]["sha256_of_first_batch"] = fingerprint(segment.batch(config.step))
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
    control = choose_control(config, segment, parts.suite, parts.precision)
    same_rows = read_these_rows(config, segment, parts.suite)
    first_row = segment.first_row(config.step)
    first_batch = segment.batch(config.step)
    intervened, ledger = intervention(first_batch, first_row=first_row)
    return {
        "swap_examples": swap_examples(
            first_batch, intervened, ledger.swapped, start.tokenizer, first_row=first_row, count=3
        ),
        "fidelity": None,
        "control": control.value,
        "control_differs": differences_from_suite(config, parts.precision, same_rows=same_rows)
        if control is Control.published
        else [],
        "caveats": [
            *config.model.caveats,
            *parts.suite.caveats(config.step),
            *INTERVENTIONS[intervention.name].caveats,
            *find_caveats(parts),
            *filter(None, [foreign_rows_of(parts, start)]),
            *filter(None, [parts.made_otherwise()]),
            *([without_true_end] if without_true_end else []),
        ],
    }


def foreign_rows_of(parts: Parts, start: Checkpoint) -> str | None:
    """What to say where the segment's first rows are not what the start's tokenizer makes; a warning says it too."""
    segment = parts.segment
    first = segment.first_row(segment.step)
    rows = segment.corpus.rows(first, min(first + _ROWS_LOOKED_AT, segment.stop_row))
    told = foreign_rows(start.tokenizer, rows, corpus=segment.corpus.location)
    if told is not None:
        log.warning("%s", told)
    return told


def find_caveats(parts: Parts) -> list[str]:
    """Where the arms are trained otherwise than the suite was."""
    config, model = parts.config, parts.config.model
    own = "; ".join(recipe_differences(config, parts.precision))
    differing = [f"The arms were trained otherwise than the suite: {own}."] if own else []
    if config.optimizer_state is OptimizerStateSource.fresh:
        differing.append("Adam's moments were not restored: training resumed with empty ones.")
    differing += [
        f"Adam's moments are not those of the suite, which are not published: they were rebuilt ({plan})."
        for plan in find_replays(config, parts.suite)
    ]
    if choose_control(config, parts.segment, parts.suite, parts.precision) is Control.published:
        differing.append(
            f"The control is the suite's own checkpoint at step {parts.segment.stop}, no arm of this run: a difference "
            f"from it also holds what the arithmetic and Adam's moments of this run changed."
        )
    elif (
        has_true_end(config, parts.segment, parts.suite) and read_these_rows(config, parts.segment, parts.suite) is None
    ):
        differing.append(
            "It is not known whether the suite read the rows of this corpus: how far the control arm ended from its "
            "checkpoint may also come from other rows."
        )
    if model.seed > 0:
        differing.append(
            "It is not documented whether PolyPythias were trained with the learning-rate schedule of gpt-neox v1.0, "
            "which the kit takes, or with a later one: training.lr_schedule=neox_1008 (gpt-neox #1008) or neox_1011 "
            "(#1011)."
        )
    if held_out_count(config) and (
        parts.segment.corpus.layouts != 1 or not parts.segment.held_out_rows(held_out_count(config))[1]
    ):
        differing.append(f"Held-out text is {held_out_place(config, parts.segment)}.")
    if config.adam_step.name == "neox_resume":
        differing.append("Adam's bias correction was restarted, as it was whenever GPT-NeoX resumed.")
    return differing
