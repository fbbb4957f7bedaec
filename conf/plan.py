"""What a run would take, before anything starts."""

import torch

from conf.finding import (
    check_start,
    choose_control,
    differences_from_suite,
    find_corpus,
    find_micro_batch,
    find_precision,
    find_replays,
    find_rows,
    find_segment,
    find_shape,
    find_steps,
    find_steps_along,
    find_trajectory,
    given_suite,
    planned_device,
    read_these_rows,
)
from conf.schema import Control, Protocol, RunConfig
from corpus import Segment, data_plan
from foundation import UserError
from training import H100_BYTES, ROOM, Suite, cost_lines

_GPU = torch.device("cuda")


def plan_lines(config: RunConfig) -> list[tuple[str, str]]:
    """Lines (what, how much); nothing of the segment is fetched and nothing is computed."""
    check_start(config)
    if config.protocol is Protocol.trajectory:
        steps, (_, where) = find_trajectory(config), find_steps(config)
        return [("weights", f"{len(steps)} checkpoints of {where}: steps {', '.join(f'{step:,}' for step in steps)}")]
    segment, suite = find_segment(config, find_corpus(config.corpus)), given_suite(config)
    device = planned_device(config)
    lines = data_plan(segment, find_rows(config, segment, suite, find_precision(config, device)))
    if suite is not None:
        lines.append(("weights", f"step {config.step:,} of {suite.location}"))
        lines += [("moments", f"rebuilt, {plan}") for plan in find_replays(config, suite)]
    if config.protocol is Protocol.counterfactual:
        lines += _control_lines(config, segment, suite, device)
    if steps := find_steps_along(config):
        lines.append(("measured", f"also at steps {', '.join(f'{step:,}' for step in steps)}"))
    shape = find_shape(config)
    if shape is None or not config.protocol.trains:
        return lines
    chosen = config.training
    precision = find_precision(config, _GPU)
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


def _control_lines(
    config: RunConfig, segment: Segment, suite: Suite | None, device: torch.device
) -> list[tuple[str, str]]:
    """What the intervened arm is compared with, here, and on a GPU where that is another answer."""
    here, on_gpu = (_control_text(config, segment, suite, each) for each in (device, _GPU))
    return [("control", here)] + ([("on a GPU", f"the control is {on_gpu}")] if here != on_gpu else [])


def _control_text(config: RunConfig, segment: Segment, suite: Suite | None, device: torch.device) -> str:
    precision = find_precision(config, device)
    control = config.control
    if suite is not None:
        control = choose_control(config, segment, suite, precision)
    same_rows = True if suite is None else read_these_rows(config, segment, suite)
    differences = "; ".join(differences_from_suite(config, precision, same_rows=same_rows))
    if control is Control.none:
        return "none"
    if control is not Control.published:
        return "an arm of its own, on the unmodified segment: as many tokens and hours again"
    text = f"the suite's checkpoint at step {segment.stop:,}, which costs nothing"
    return f"{text}; no causal statement, as it also differs in {differences}" if differences else text
