"""What a run would take, before anything starts."""

import torch

from conf.finding import (
    check_start,
    find_corpus,
    find_micro_batch,
    find_replays,
    find_rows,
    find_segment,
    find_shape,
    find_steps,
    find_steps_along,
    find_trajectory,
    given_suite,
)
from conf.schema import Protocol, RunConfig
from corpus import data_plan
from foundation import UserError
from training import H100_BYTES, ROOM, choose_precision, cost_lines


def plan_lines(config: RunConfig) -> list[tuple[str, str]]:
    """Lines (what, how much); nothing of the segment is fetched and nothing is computed."""
    check_start(config)
    if config.protocol is Protocol.trajectory:
        steps, (_, where) = find_trajectory(config), find_steps(config)
        return [("weights", f"{len(steps)} checkpoints of {where}: steps {', '.join(f'{step:,}' for step in steps)}")]
    segment, suite = find_segment(config, find_corpus(config.corpus)), given_suite(config)
    lines = data_plan(segment, find_rows(config, segment, suite))
    if suite is not None:
        lines.append(("weights", f"step {config.step:,} of {suite.location}"))
        lines += [("moments", f"rebuilt, {plan}") for plan in find_replays(config, suite)]
    if steps := find_steps_along(config):
        lines.append(("measured", f"also at steps {', '.join(f'{step:,}' for step in steps)}"))
    shape = find_shape(config)
    if shape is None or not config.protocol.trains:
        return lines
    chosen = config.training
    precision = choose_precision(chosen.precision.value, torch.device("cuda"), trained_in=config.model.precision)
    try:
        micro_batch = find_micro_batch(config, segment, room=int(ROOM * H100_BYTES), precision=precision)
    except UserError as error:
        lines.append(("too large", f"for one H100: {error}"))
        micro_batch = 1
    return lines + cost_lines(
        shape,
        seq_length=segment.corpus.row_tokens - 1,
        steps=config.steps,
        sequences_per_step=segment.sequences_per_step,
        micro_batch=micro_batch,
        precision=precision,
        activation_checkpointing=chosen.activation_checkpointing.value,
    )
