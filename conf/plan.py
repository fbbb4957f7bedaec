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
    find_skipped,
    find_steps,
    find_steps_along,
    find_trajectory,
    given_suite,
    planned_device,
    read_these_rows,
    skipped_texts,
)
from conf.needs import checkpoints_read, checkpoints_text, weights_lines
from conf.schema import Control, Protocol, RunConfig
from corpus import Segment, data_plan, lacking_map_bytes
from foundation import UserError, size_text
from training import H100_BYTES, ROOM, ModelShape, Suite, cost_lines

_GPU = torch.device("cuda")


def plan_lines(config: RunConfig) -> list[tuple[str, str]]:
    """Lines (what, how much); nothing of the segment is fetched and nothing is computed."""
    check_start(config)
    if maps := _maps_to_fetch(config):
        return [maps, ("then", "the rest of the plan, which needs these maps; python -m corpus.fetch brings them")]
    suite = given_suite(config)
    if config.protocol is Protocol.trajectory and suite is None:
        return [("weights", checkpoints_text(find_trajectory(config), where=find_steps(config)[1]))]
    segment = find_segment(config, find_corpus(config.corpus))
    lines = fetch_lines(config, segment)
    if suite is not None:
        lines += [("moments", f"rebuilt, {plan}") for plan in find_replays(config, suite)]
    if config.protocol is Protocol.counterfactual:
        lines += _control_lines(config, segment, suite, planned_device(config))
    if config.protocol.trains and (steps := find_steps_along(config)):
        lines.append(("measured", f"also at steps {', '.join(f'{step:,}' for step in steps)}"))
    shape = find_shape(config)
    return lines if shape is None or not config.protocol.trains else lines + _cost_lines(config, segment, shape)


def fetch_lines(config: RunConfig, segment: Segment) -> list[tuple[str, str]]:
    """Lines on what comes from elsewhere: rows and checkpoints, and the checkpoints that are stepped over."""
    rows = find_rows(config, segment, given_suite(config), find_precision(config, planned_device(config)))
    lines = data_plan(segment, rows) + weights_lines(config, checkpoints_read(config, segment))
    if config.protocol is Protocol.trajectory:
        lines += [("skipped", text) for text in skipped_texts(find_skipped(config))]
    return lines


def _cost_lines(config: RunConfig, segment: Segment, shape: ModelShape) -> list[tuple[str, str]]:
    """Lines on arithmetic, memory and hours, on one H100."""
    precision, lines = find_precision(config, _GPU), []
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
        activation_checkpointing=config.training.activation_checkpointing.value,
    )


def _maps_to_fetch(config: RunConfig) -> tuple[str, str] | None:
    """The line on index maps that have to come from the hub before anything is known of the rows."""
    maps, seed = config.corpus.get("maps"), config.corpus.get("seed")
    if not (isinstance(maps, str) and isinstance(seed, int)) or not (size := lacking_map_bytes(maps, seed)):
        return None
    return "maps", f"of seed {seed}, from {maps}: {size_text(size)} to fetch, whole, into the hub's cache"


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
