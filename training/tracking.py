"""Where an arm's losses are shown while it trains. What counts is the journal; a tracker is given the same lines."""

import contextlib
import hashlib
import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from foundation import UserError

Tracker = Literal["none", "tensorboard", "wandb"]
Track = Callable[[Mapping[str, Any]], None]


_MODULES: dict[Tracker, str] = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}


def check_tracker(tracker: Tracker) -> None:
    """Raise UserError where the tracker's package is not installed."""
    if tracker in _MODULES:
        _imported(tracker)


@contextlib.contextmanager
def tracking(tracker: Tracker, directory: Path, *, arm: str, step: int) -> Iterator[Track]:
    """Yield what is called with every line of an arm's journal.

    Numbers are passed on, hashes and counts of words are not. TensorBoard's files lie in `<directory>/tracker/<arm>`;
    what a killed process had shown from `step` on is hidden. Weights & Biases has a run for every arm and is set up by
    its own environment variables (WANDB_MODE=offline keeps it on the disk, in the same place); steps that a killed arm
    repeats are there twice.

    Args:
        directory: the run's.
        step: that training begins at, or goes on from.

    Raises:
        UserError: the tracker's package is not installed.
    """
    place = directory / "tracker" / arm
    match tracker:
        case "none":
            yield lambda line: None
        case "tensorboard":
            writer = _imported("tensorboard").SummaryWriter(str(place), purge_step=step)

            def write(line: Mapping[str, Any]) -> None:
                for name, value in _numbers(line).items():
                    writer.add_scalar(name, value, line["step"])
                writer.flush()

            with contextlib.closing(writer):
                yield write
        case "wandb":
            wandb = _imported("wandb")
            place.mkdir(parents=True, exist_ok=True)
            run = wandb.init(
                project="pythia-counterfactual",
                dir=place,
                id=hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:16],
                name=f"{directory.name} {arm}",
                resume="allow",
            )
            with run:
                run.define_metric("*", step_metric="step")
                yield lambda line: run.log({"step": line["step"], **_numbers(line)})


def _numbers(line: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in line.items() if name != "step" and isinstance(value, int | float)}


def _imported(tracker: Tracker) -> Any:
    try:
        return importlib.import_module(_MODULES[tracker])
    except ModuleNotFoundError as error:
        raise UserError(f"tracker={tracker} needs a package that is not installed: pip install {tracker}") from error
