"""What the runs of a study have in common, made once: rebuilt moments, the rows before, the control, and equal arms.

The control depends neither on the intervention nor on the seed, which draws doses. So all runs of a study
that agree in everything else take it from `<study>/controls/<key>/`; the key is a hash of that everything. A run's
journal tells the control's losses apart by where its intervention would have swapped a word: they are made from the
losses of single tokens, which are kept beside the control.

An intervened arm depends on its intervention too, and on the seed only where something is drawn at random: then the
seed is in the intervention's identity. Runs that agree in that as well take the arm from
`<key>/arms/<intervention>-<hash>/`.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from conf.finding import find_moments_along
from conf.identity import OWN_INTERVENTIONS
from conf.parts import Parts
from foundation import UserError, exclusive, remove_leftovers, write_text
from interventions import Intervention
from reports import flat, hash_of, kept_rows, with_machine
from training import Batch, Checkpoint, TokenLosses, read_journal, spread

log = logging.getLogger(__name__)

_LIMIT = 8 * 2**30  # bytes of token losses: those of every step of the demo, of one step in ten of the paper's 10,000

# The settings that change no number of what is shared, or that the arm's own identity stands for. `device` does by its
# kind, which is in the identity of the run.
_NO_MATTER = (
    "audit",
    "control",
    "device",
    "fidelity.optimizer_states",
    "intervention",
    "seed",
    "training.save_every",
    "training.save_minutes",
)
_NOT_REPLAYED = ("exact", "neox", "fresh")  # optimizer states with which nothing is read of how moments are rebuilt


def shared_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, by dotted names, that must agree where runs share: all but those that cannot matter."""
    no_matter = _NO_MATTER if config.get("optimizer_state") not in _NOT_REPLAYED else (*_NO_MATTER, "replay")
    return {
        name: value
        for name, value in flat(config).items()
        if not any(name == other or name.startswith(f"{other}.") for other in no_matter)
    }


class Common:
    """What a run takes from its study, or puts there for the others.

    Args:
        described: what the run is made of, as in run.json.

    Attributes:
        identity: of what does not depend on the intervention.
        arm: SHA-256 of what the intervened arm is: where it agrees, so do all numbers of the arm.
        directory: where it is shared; None where there is no study.
    """

    def __init__(self, parts: Parts, described: Mapping[str, Any], intervention: Intervention) -> None:
        self._parts = parts
        self._intervention = intervention
        record = parts.record
        own = record.known("identity")
        settings = shared_settings(record.known("config"))
        self.identity = {
            "settings": {name: value for name, value in settings.items() if name not in own["inputs"]},
            **{name: own[name] for name in ("packages", "python", "device", "threads", "cpu_capability")},
            "inputs": {name: value for name, value in own["inputs"].items() if name in settings},
            **{name: _without_place(entry) for name, entry in described.items() if name != "intervention"},
        }
        of_intervention = {name for name in own["code"] if name.startswith(OWN_INTERVENTIONS)}
        self.identity["code"] = {name: own["code"][name] for name in own["code"].keys() - of_intervention}
        of_arm = {name: own["code"][name] for name in of_intervention}
        self.arm = hash_of([self.identity, intervention.identity, of_arm])
        config = parts.config
        key = f"{config.model.name}-step{config.step}-steps{config.steps}-{hash_of(self.identity)[:12]}"
        self.directory = None if record.study is None else record.study / "controls" / key

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
        self, resumed: Callable[[], Checkpoint], *, compared_with: Checkpoint | None
    ) -> dict[str, dict[str, pd.DataFrame]]:
        """The rows of the study's control arm by moment; journal and fidelity are put into the run's directory.

        Args:
            resumed: the checkpoint that it continues.
            compared_with: where the arms began, if the control is to be compared with the suite's own checkpoint.
        """
        assert self.directory is not None
        losses = self._token_losses(self.directory)
        content = self._trained_or_taken(
            *("control", "control", self.directory, resumed),
            batch_at=self._unmodified,
            token_losses=losses,
            compared_with=compared_with,
        )
        lines = read_journal(self.directory / "train" / "control.jsonl")
        self._put_journal("control", [line | self._losses_of(line["step"], losses) for line in lines])
        told = self._told(self.directory, content) | {"losses_by_group_every": losses.every}
        self._parts.record.update(fidelity=content["fidelity"], shared_control=told)
        return self._rows_of("control", self.directory)

    def intervened(
        self, resumed: Callable[[], Checkpoint], *, batch_at: Callable[[int], Batch]
    ) -> dict[str, dict[str, pd.DataFrame]]:
        """The rows of the intervened arm by moment; its journal is put into the run's directory.

        Args:
            resumed: the checkpoint that it continues.
            batch_at: the rows of a step as the arm sees them.
        """
        assert self.directory is not None
        directory = self.directory / "arms" / f"{self._intervention.name}-{self.arm[:12]}"
        content = self._trained_or_taken("intervened", "after", directory, resumed, batch_at=batch_at)
        self._put_journal("intervened", read_journal(directory / "train" / "intervened.jsonl"))
        self._parts.record.update(shared_arm=self._told(directory, content))
        return self._rows_of("after", directory)

    def _trained_or_taken(
        self,
        arm: str,
        moment: str,
        directory: Path,
        resumed: Callable[[], Checkpoint],
        *,
        batch_at: Callable[[int], Batch],
        token_losses: TokenLosses | None = None,
        compared_with: Checkpoint | None = None,
    ) -> dict[str, Any]:
        """What `directory`/<arm>.json says, where the arm is trained unless another run of the study has done so.

        One makes it while the others wait; what a killed one left is gone on with.
        """
        parts, record, told = self._parts, self._parts.record, directory / f"{arm}.json"
        with exclusive(directory / f"{arm}.lock", wait=True):
            content = json.loads(told.read_text("utf-8")) if told.exists() else {"machines": []}
            if content.get("status") == "finished":
                record.add_machines(content["machines"])
                why = "the seed has no effect on this arm; " if content["seed"] not in (None, parts.config.seed) else ""
                log.info("%s arm: %staken from %s", arm, why, directory)
                return dict(content)
            for part in (
                f"checkpoints/{arm}",
                "token_losses",
                "train",
                *([] if directory == self.directory else ["rows"]),
            ):
                remove_leftovers(directory / part)
            content = {"status": "running", "machines": with_machine(content["machines"], record.machine)}
            _write(told, content)
            log.info("%s arm: trained in %s, for all runs of the study that have the same", arm, directory)

            def kept(name: str, evaluate: Callable[[], Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
                with record.stage(f"evaluate {name}"):
                    return kept_rows(directory / "rows" / name, evaluate)

            ended, _ = parts.train_and_measure(
                arm, moment, resumed(), batch_at=batch_at, kept=kept, directory=directory, token_losses=token_losses
            )
            record.add_machines(content["machines"])
            content |= {
                "status": "finished",
                "trained_by": record.directory.name,
                "seed": parts.config.seed if arm == "intervened" else None,
                "fidelity": parts.fidelity_of(ended, begun_at=compared_with) if compared_with else None,
                "identity": self.identity,
            }
            _write(told, content)
            return content

    def _told(self, directory: Path, content: Mapping[str, Any]) -> dict[str, Any]:
        """What run.json says of where an arm is."""
        where = os.path.relpath(directory, self._parts.record.directory)
        return {"directory": where, "trained_by": content["trained_by"]}

    def _put_journal(self, arm: str, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        write_text(self._parts.record.directory / "train" / f"{arm}.jsonl", text)

    def _rows_of(self, moment: str, directory: Path) -> dict[str, dict[str, pd.DataFrame]]:
        """The rows of an arm by moment, copied to the run's directory from where it was trained."""
        moments = [*find_moments_along(self._parts.config, moment), moment]
        return {name: self._parts.record.rows(name, partial(_kept_rows, directory, name)) for name in moments}

    def _token_losses(self, directory: Path) -> TokenLosses:
        segment, steps = self._parts.segment, self._parts.config.steps
        bytes_per_step = 4 * segment.sequences_per_step * (segment.corpus.row_tokens - 1)
        every = spread(bytes_per_step=bytes_per_step, steps=steps, limit=_LIMIT)
        return TokenLosses(directory / "token_losses", start=self._parts.config.step, every=every)

    def _unmodified(self, step: int) -> Batch:
        batch = self._parts.unmodified(step)
        return replace(batch, record={"source_sha256": batch.record["sha256"], **batch.record, "swaps": []})

    def _losses_of(self, step: int, losses: TokenLosses) -> dict[str, float | None]:
        """The control's losses in a step, told apart by what the intervention would have done there."""
        segment = self._parts.segment
        _, ledger = self._intervention(segment.batch(step), first_row=segment.first_row(step))
        return {f"loss_{group}": loss for group, loss in losses.by_group(step, ledger.groups()).items()}


def _kept_rows(directory: Path, moment: str) -> dict[str, pd.DataFrame]:
    """The rows of a moment of an arm that is finished."""
    if not any((directory / "rows" / moment).glob("*.parquet")):
        raise UserError(f"the rows of {moment} are gone from {directory}; remove it, so that the arm is trained again")
    return kept_rows(directory / "rows" / moment, dict)


def _without_place(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of run.json without where things lie: what lies there is in it."""
    return {name: value for name, value in entry.items() if name != "location"}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
