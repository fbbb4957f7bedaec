"""What a run loads from elsewhere: which checkpoints, and how large they are."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub import constants

from conf.finding import (
    choose_control,
    find_precision,
    find_replays,
    find_shape,
    find_steps_along,
    find_trajectory,
    given_suite,
    has_true_end,
    planned_device,
    steps_text,
)
from conf.schema import Control, Protocol, RunConfig
from corpus import Segment, times_text
from foundation import UserError, size_text
from foundation.hub import existing_directory
from training import Suite, open_suite, stored_bytes


def checkpoints_read(config: RunConfig, segment: Segment) -> list[tuple[Suite, list[int]]]:
    """The suites that a run loads checkpoints of, with the steps in order; one that the kit makes itself is none."""
    suite = given_suite(config)
    if suite is None:
        return []
    if config.protocol is Protocol.trajectory:
        return [(suite, find_trajectory(config))]
    steps = {config.step}
    for plan in find_replays(config, suite):
        steps |= {plan.origin, plan.step}
        if plan.method == "previous_checkpoint":
            steps |= {leg.start for leg in plan.live}
    controls = _controls(config, segment, suite)
    if controls != {Control.none} and has_true_end(config, segment, suite):
        steps.add(segment.stop)
    if Control.published in controls:
        steps |= {step for step in find_steps_along(config) if step in suite.steps()}
    found: list[tuple[Suite, list[int]]] = [(suite, sorted(steps))]
    if config.protocol is Protocol.audit:
        assert config.audit.checkpoints is not None
        found.append((open_suite(config.audit.checkpoints, tokenizer=config.model.tokenizer), [segment.stop]))
    return found


def _controls(config: RunConfig, segment: Segment, suite: Suite) -> set[Control]:
    """What the arm is compared with, here or on a GPU: what is fetched here may be run there."""
    if config.protocol is Protocol.fidelity:
        return {Control.train}
    devices = (planned_device(config), torch.device("cuda"))
    return {choose_control(config, segment, suite, find_precision(config, device)) for device in devices}


def weights_lines(config: RunConfig, read: Sequence[tuple[Suite, list[int]]]) -> list[tuple[str, str]]:
    """Lines (what, how much) on the checkpoints that a run loads. Nothing is asked for or fetched."""
    shape = find_shape(config)
    each = None if shape is None else stored_bytes(shape)
    lines, remote = [], 0
    for suite, steps in read:
        size = each if suite.location.startswith("hf://") else None
        lines.append(("weights", checkpoints_text(steps, where=suite.location, each=size)))
        remote += suite.location.startswith("hf://")
    if not remote:
        return lines
    lacking = bytes_to_fetch(config, read)
    free = free_bytes()
    if not lacking:
        return [*lines, ("of these", "all are in the hub's cache")]
    place = f"into {constants.HF_HUB_CACHE}, where {size_text(free)} are free; {times_text(lacking)}"
    lines.append(("of these", f"{size_text(lacking)} to fetch, {place}"))
    if lacking > free:
        lines.append(("note", "the disk has too little room for these weights; make room, or set HF_HOME elsewhere"))
    return lines


def bytes_to_fetch(config: RunConfig, read: Sequence[tuple[Suite, list[int]]]) -> int:
    """Bytes of the checkpoints that are not here; as they are published where the hub was not asked for them yet."""
    shape = find_shape(config)
    each = 0 if shape is None else stored_bytes(shape)
    lacking = [suite.lacking_bytes(step) for suite, steps in read for step in steps]
    return sum(each if size is None else size for size in lacking)


def check_room(config: RunConfig, read: Sequence[tuple[Suite, list[int]]]) -> None:
    """Raise UserError where the disk cannot hold the checkpoints that are to be fetched."""
    lacking, free = bytes_to_fetch(config, read), free_bytes()
    if lacking > free:
        raise UserError(
            f"the checkpoints take {size_text(lacking)}, but {size_text(free)} are free in {constants.HF_HUB_CACHE}; "
            f"make room, or set HF_HOME to a place with more"
        )


def free_bytes() -> int:
    """Bytes that are free where the hub's cache is."""
    return shutil.disk_usage(existing_directory(Path(constants.HF_HUB_CACHE))).free


def checkpoints_text(steps: Sequence[int], *, where: str, each: int | None = None) -> str:
    """How many checkpoints, of what, how large and which."""
    one = len(steps) == 1
    size = "" if each is None else f", {size_text(each)}{'' if one else ' each'}"
    return f"{len(steps)} checkpoint{'' if one else 's'} of {where}{size}: {steps_text(steps)}"
