"""Losses of single predictions, kept for an arm that many share: whose words count is not known when it is trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from foundation import atomic_file
from training.trainer import TOKEN_GROUPS


@dataclass(frozen=True)
class TokenLosses:
    """A directory with a file for every so many steps: (S, L) cross entropies in nats, fp32.

    Attributes:
        directory: where the files are.
        start: the first step, which is kept.
        every: steps from one that is kept to the next.
    """

    directory: Path
    start: int
    every: int

    def keeps(self, step: int) -> bool:
        """Whether the losses of a step are kept."""
        return (step - self.start) % self.every == 0

    def write(self, step: int, losses: Tensor) -> None:
        """Keep the losses of a step, if it is one that is kept."""
        if not self.keeps(step):
            return
        with atomic_file(self._path(step)) as aside, aside.open("wb") as file:
            np.save(file, losses.float().cpu().numpy())

    def by_group(self, step: int, groups: NDArray[np.uint8]) -> dict[str, float | None]:
        """The mean loss of each of `TOKEN_GROUPS`; None where it has no predictions, or the step is not kept.

        Args:
            groups: (S, L + 1) index in `TOKEN_GROUPS` of each token; the first of a row is no prediction.
        """
        if not self.keeps(step):
            return dict.fromkeys(TOKEN_GROUPS)
        losses = cast(NDArray[np.floating[Any]], np.load(self._path(step), allow_pickle=False)).astype(np.float64)
        found = {group: losses[groups[:, 1:] == index] for index, group in enumerate(TOKEN_GROUPS)}
        return {group: float(chosen.mean()) if chosen.size else None for group, chosen in found.items()}

    def _path(self, step: int) -> Path:
        return self.directory / f"step{step}.npy"


def spread(*, bytes_per_step: int, steps: int, limit: int) -> int:
    """How many steps apart those are to be whose losses are kept, so that all take at most `limit` bytes."""
    return max(1, -(-steps // max(1, limit // bytes_per_step)))
