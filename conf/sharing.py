"""What the arms of a study have in common, made once: rebuilt moments, the rows before, and the control.

The control depends neither on the intervention nor on the seed, which draws doses and resamples. So all runs of a study
that agree in everything else take it from `<study>/controls/<key>/`; the key is a hash of that everything. A run's
journal tells the control's losses apart by where its intervention would have swapped a word: they are made from the
losses of single tokens, which are kept beside the control.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from conf.finding import find_moments_along
from conf.parts import Parts
from foundation import exclusive, remove_leftovers, write_text
from interventions import Intervention
from reports import kept_rows
from training import Batch, Checkpoint, TokenLosses, read_journal, spread

log = logging.getLogger(__name__)

_LIMIT = 8 * 2**30  # bytes of token losses: those of every step of the demo, of one step in ten of the paper's 10,000

# what changes how a run goes, but no number of it
_NO_MATTER = ("save_every", "save_minutes")


class Common:
    """What a run takes from its study, or puts there for the others.

    Args:
        described: what the run is made of, as in run.json.
    """

    def __init__(self, parts: Parts, described: Mapping[str, Any]) -> None:
        self._parts = parts
        record = parts.record
        config = record.known("config")
        self.identity = {
            **{name: entry for name, entry in described.items() if name != "intervention"},
            "training": {name: value for name, value in config["training"].items() if name not in _NO_MATTER},
            "benchmarks": config["benchmarks"],
            "fidelity_rows": config["fidelity"]["rows"],
            "trajectory": config["trajectory"],
            "device": parts.device.type,
            **{name: record.known(name) for name in ("git", "packages")},
        }
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:12]
        model, step, steps = parts.config.model.name, parts.config.step, parts.config.steps
        self.directory = (
            None if record.study is None else record.study / "controls" / f"{model}-step{step}-steps{steps}-{key}"
        )

    @contextlib.contextmanager
    def exclusively(self, what: str) -> Iterator[Path]:
        """Yield the directory, the run's own where there is no study, while no other run of the study makes `what`."""
        if self.directory is None:
            yield self._parts.record.directory
            return
        with exclusive(self.directory / f"{what}.lock", wait=True):
            yield self.directory

    def rows(self, moment: str, evaluate: Callable[[], Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
        """The rows of a moment, which are kept in the run's directory, and evaluated only where the study has none."""

        def take() -> Mapping[str, pd.DataFrame]:
            with self.exclusively(moment) as directory:
                return evaluate() if self.directory is None else kept_rows(directory / "rows" / moment, evaluate)

        return self._parts.record.rows(moment, take)

    def control(
        self, resumed: Callable[[], Checkpoint], intervention: Intervention, *, compared_with: Checkpoint | None
    ) -> dict[str, dict[str, pd.DataFrame]]:
        """The rows of the study's control arm by moment; journal and fidelity are put into the run's directory.

        Args:
            resumed: the checkpoint that it continues.
            compared_with: where the arms began, if the control is to be compared with the suite's own checkpoint.
        """
        parts, record = self._parts, self._parts.record
        with self.exclusively("control") as directory:
            done = directory / "control.json"
            losses = self._token_losses(directory)
            if done.exists():
                log.info("control arm: taken from %s", directory)
            else:
                for part in ("checkpoints/control", "token_losses", "train"):
                    remove_leftovers(directory / part)
                log.info("control arm: trained in %s, for all arms of the study", directory)
                ended, _ = parts.train_and_measure(
                    "control",
                    "control",
                    resumed(),
                    batch_at=self._unmodified,
                    kept=lambda moment, evaluate: kept_rows(directory / "rows" / moment, evaluate),
                    directory=directory,
                    token_losses=losses,
                )
                fidelity = parts.fidelity_of(ended, begun_at=compared_with) if compared_with else None
                content = {"trained_by": record.directory.name, "fidelity": fidelity, "identity": self.identity}
                write_text(done, json.dumps(content, indent=2, allow_nan=False) + "\n")
        content = json.loads(done.read_text("utf-8"))
        lines = read_journal(directory / "train" / "control.jsonl")
        journal = [json.dumps(line | self._losses_of(intervention, line["step"], losses)) + "\n" for line in lines]
        write_text(record.directory / "train" / "control.jsonl", "".join(journal))
        record.update(
            fidelity=content["fidelity"],
            shared_control={
                "directory": os.path.relpath(directory, record.directory),
                "trained_by": content["trained_by"],
                "losses_by_group_every": losses.every,
            },
        )
        moments = [*find_moments_along(parts.config, "control"), "control"]
        return {moment: self.rows(moment, dict) for moment in moments}  # they are there

    def _token_losses(self, directory: Path) -> TokenLosses:
        segment, steps = self._parts.segment, self._parts.config.steps
        bytes_per_step = 4 * segment.sequences_per_step * (segment.corpus.row_tokens - 1)
        every = spread(bytes_per_step=bytes_per_step, steps=steps, limit=_LIMIT)
        return TokenLosses(directory / "token_losses", start=self._parts.config.step, every=every)

    def _unmodified(self, step: int) -> Batch:
        batch = self._parts.unmodified(step)
        return replace(batch, record={"source_sha256": batch.record["sha256"], **batch.record, "swaps": []})

    def _losses_of(self, intervention: Intervention, step: int, losses: TokenLosses) -> dict[str, float | None]:
        """The control's losses in a step, told apart by what the intervention would have done there."""
        segment = self._parts.segment
        _, ledger = intervention(segment.batch(step), first_row=segment.first_row(step))
        return {f"loss_{group}": loss for group, loss in losses.by_group(step, ledger.groups()).items()}
