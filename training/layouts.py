"""Where the checkpoints of a directory lie, and what to write where the directory is another than a suite's."""

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from foundation import UserError

_NAMED = re.compile(r"(global_)?step([0-9]+)")
_NEOX_STATES = "mp_rank_*_model_states.pt"
_OF_A_TRAINER = re.compile(r"checkpoint-([0-9]+)")
_OF_THE_HUB = re.compile(r"models--([\w.-]+?)--([\w.-]+)")
_DEEPEST = 3
_BY_TRAINER = "with more in place of the Trainer's own count of updates if it did not begin at step 0"


def checkpoint_places(directory: Path, *, setting: str = "model.checkpoints") -> dict[int, list[Path]]:
    """The checkpoints of a suite by step, in order: `step<N>` and `global_step<N>`, with or without leading zeros.

    The suite is the directory that holds them; one checkpoint that is named so is a suite of that step alone.

    Args:
        setting: that names the directory.

    Raises:
        UserError: there are none, or two of one format are of the same step.
    """
    directory = Path(os.path.abspath(directory))
    if places := _named_places(directory):
        return places
    match = _NAMED.fullmatch(directory.name)
    if match is None or not _is_checkpoint(directory):
        raise UserError(_what_to_write(directory, setting))
    return {int(match[2]): [directory]}


def _named_places(directory: Path) -> dict[int, list[Path]]:
    found: dict[int, dict[str, Path]] = {}
    for path in sorted(directory.iterdir()):
        match = _NAMED.fullmatch(path.name)
        if match is None or not (path.is_dir() or path.is_symlink()):
            continue
        kind, of_step = match[1] or "", found.setdefault(int(match[2]), {})
        if kind in of_step:
            raise UserError(
                f"{directory} holds both {of_step[kind].name} and {path.name}, which are one step; move away the one "
                f"that is not meant"
            )
        of_step[kind] = path
    return {step: list(of_step.values()) for step, of_step in sorted(found.items())}


def _is_checkpoint(directory: Path) -> bool:
    """Whether a directory itself holds a model, in any format."""
    patterns = ("model*.safetensors", "pytorch_model*.bin", _NEOX_STATES)
    return any(any(directory.glob(pattern)) for pattern in patterns)


def _what_to_write(directory: Path, setting: str) -> str:
    """What a directory without named checkpoints is, and how to name what was meant."""
    for place in (directory, *directory.parents[:2]):
        if match := _OF_THE_HUB.fullmatch(place.name):
            return _of_the_hub(directory, match[1], match[2], setting)
    if _is_checkpoint(directory):
        return _how_to_link(directory, setting)
    if below := next(_suites_below(directory, _DEEPEST), None):
        return f"{directory} holds no step<N> itself, {below.relative_to(directory)} does; write {_set(setting, below)}"
    otherwise_named = [path for path in _visible_directories(directory) if _is_checkpoint(path)]
    if otherwise_named:
        return _how_to_link(min(otherwise_named, key=lambda path: (len(path.name), path.name)), setting)
    if any(_OF_THE_HUB.fullmatch(path.name) for path in directory.iterdir()):
        return f"{directory} is the hub's own cache; write {setting}=hf://OWNER/NAME"
    return f"{directory} holds no checkpoint at all; name a directory that holds step<N> or global_step<N>"


def _of_the_hub(directory: Path, owner: str, name: str, setting: str) -> str:
    """What to write for a directory of the hub's own cache. Of GPT-NeoX's checkpoints only local ones are read."""
    for pattern in (_NEOX_STATES, f"*/{_NEOX_STATES}", f"snapshots/*/{_NEOX_STATES}"):
        if found := next(directory.glob(pattern), None):
            return _how_to_link(found.parent, setting, suite=Path(f"{name}-suite").absolute())
    return f"{directory} is of the hub's own cache; write {setting}=hf://{owner}/{name}"


def _how_to_link(checkpoint: Path, setting: str, *, suite: Path | None = None) -> str:
    """One checkpoint, and the commands that make a suite of it.

    Args:
        suite: where; beside the checkpoint by default.
    """
    step, caution = _likely_step(checkpoint)
    suite = suite or checkpoint.parent / f"{checkpoint.name}-suite"
    kind = "global_step" if any(checkpoint.glob(_NEOX_STATES)) else "step"
    link = shlex.join(["ln", "-s", str(checkpoint), str(suite / f"{kind}{'N' if step is None else step}")])
    return (
        f"{checkpoint} is one checkpoint, and its name does not tell its step; make a suite of it, {caution}: "
        f"{shlex.join(['mkdir', str(suite)])} && {link} and write {_set(setting, suite)}"
    )


def _likely_step(checkpoint: Path) -> tuple[int | None, str]:
    """The step that a checkpoint is probably of, and what to make sure of."""
    if match := _OF_A_TRAINER.fullmatch(checkpoint.name):
        return int(match[1]), _BY_TRAINER
    try:
        saved_at = json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))["global_step"]
        return int(saved_at), _BY_TRAINER
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not a Trainer's
    if match := re.search(r"step[-_]?0*(\d+)", checkpoint.name):
        return int(match[1]), "if that is its step"
    return None, "N being the updates of pre-training that it has made"


def _suites_below(directory: Path, depth: int) -> Iterator[Path]:
    for path in _visible_directories(directory):
        if _named_places(path):
            yield path
        elif depth > 1:
            yield from _suites_below(path, depth - 1)


def _visible_directories(directory: Path) -> list[Path]:
    return [
        path
        for path in sorted(directory.iterdir())
        if not path.name.startswith(".") and path.is_dir() and os.access(path, os.R_OK | os.X_OK)
    ]


def _set(setting: str, directory: Path) -> str:
    return shlex.quote(f"{setting}={directory}")
