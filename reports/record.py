"""The run directory: run.json, opened before anything is done and closed when all is, and stages kept between."""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow

from foundation import (
    LockHeldError,
    UserError,
    atomic_directory,
    atomic_file,
    exclusive,
    exclusive_files,
    remove_leftovers,
    without_secrets,
    write_text,
)
from reports.identity import ELSEWHERE, flat, refuse, refuse_other_run

_LOCK = ".lock"
_GONE_ON_WITH = ("rows", "checkpoints", "train")  # what a run that was killed is gone on with
_ELSEWHERE = "start the run again, in another hydra.run.dir"


class RunRecord:
    """run.json of one run directory: first written when a run has been found possible, then at every change.

    Attributes:
        directory: the run's.
        machine: what this process computes on, as in the entry `machines`.
        study: directory of the study that the run belongs to; None for one by itself.
    """

    def __init__(
        self, directory: Path, content: dict[str, Any], *, machine: Mapping[str, Any], study: Path | None = None
    ) -> None:
        self.directory = directory
        self.machine = machine
        self.study = study
        self._content = content
        self._inner_s = 0.0

    def known(self, name: str) -> Any:
        """An entry of run.json that an earlier, killed process set; None where there is none."""
        return self._content.get(name)

    def update(self, **entries: Any) -> None:
        """Set entries of run.json."""
        self._content.update(entries)
        self._write()

    def identify(self, **entries: Mapping[str, Any]) -> None:
        """Set entries that say what a run is made of; one that is resumed must be made of the same.

        Raises:
            UserError: an entry is there with another value.
        """
        known = [name for name in entries if name in self._content]
        old, new = (flat({name: each[name] for name in known}) for each in (self._content, entries))
        differing = {
            name: (old.get(name), new.get(name))
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name) and not name.endswith(".location")  # what lies there is what counts
        }
        refuse(self.directory, differing, remedy="go on with what it began with")
        self.update(**entries)

    def add_machines(self, machines: Iterable[Mapping[str, Any]]) -> None:
        """Name also the machines on which others made what this run takes from them."""
        known = self._content["machines"]
        for machine in machines:
            known = with_machine(known, machine)
        self.update(machines=known)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's seconds to the stage's timing, without those of stages within it."""
        started, outer = time.perf_counter(), self._inner_s
        self._inner_s = 0.0
        yield
        seconds, timings = time.perf_counter() - started, self._content["timings_s"]
        timings[name] = timings.get(name, 0.0) + seconds - self._inner_s
        self._inner_s = outer + seconds
        self._write()

    def rows(self, moment: str, evaluate: Callable[[], Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
        """The rows of a moment: those that an earlier, killed process saved, else those of `evaluate`, saved now."""

        def evaluate_in_time() -> Mapping[str, pd.DataFrame]:
            with self.stage(f"evaluate {moment}"):
                return evaluate()

        return kept_rows(self.directory / "rows" / moment, evaluate_in_time)

    def finish(self, write_report: Callable[[Path], Path]) -> None:
        """Write the report, then mark the run as finished: from here on its directory is never written to again."""
        self.update(finished_at=_now())
        write_report(self.directory)
        self.update(status="finished")

    def _write(self) -> None:
        text = json.dumps(self._content, indent=2, allow_nan=False)
        write_text(self.directory / "run.json", without_secrets(text) + "\n")


def kept_rows(directory: Path, evaluate: Callable[[], Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """The rows of each benchmark that `directory` holds, else those of `evaluate`, saved there.

    All benchmarks of a moment are saved together, because they are scored in one pass: scoring the missing ones alone
    would batch them otherwise and could change their last bits.
    """
    if not directory.exists():
        tables = evaluate()
        with atomic_directory(directory) as aside:
            for benchmark, table in tables.items():
                table.to_parquet(aside / f"{benchmark}.parquet", index=False)
    return {path.stem: read_table(path) for path in sorted(directory.glob("*.parquet"))}


def read_table(path: Path) -> pd.DataFrame:
    """A `.parquet` that the kit wrote.

    Raises:
        UserError: it is damaged.
    """
    try:
        return pd.read_parquet(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); {_ELSEWHERE}") from error


def read_run(path: Path) -> dict[str, Any]:
    """What a run.json holds.

    Raises:
        UserError: it is damaged, or no run's.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {_ELSEWHERE}") from error
    if not (isinstance(content, dict) and {"status", "config"} <= content.keys()):
        raise UserError(f"{path} is not that of a run of this kit; {_ELSEWHERE}")
    return content


def is_finished(directory: Path, *, config: Mapping[str, Any], identity: Mapping[str, Any]) -> bool:
    """Whether a directory holds the finished run of this configuration and identity.

    Raises:
        UserError: it holds another finished run.
    """
    path = directory / "run.json"
    if not path.exists():
        return False
    content = read_run(path)
    if content["status"] != "finished":
        return False
    refuse_other_run(directory, content, config=config, identity=identity)
    return True


@contextlib.contextmanager
def open_record(
    directory: Path,
    *,
    config: Mapping[str, Any],
    identity: Mapping[str, Any],
    command: str,
    provenance: Mapping[str, Any],
    study: Path | None = None,
) -> Iterator[RunRecord]:
    """Open a run directory, new or left by the same run when it was killed, and hold it for the block.

    Args:
        identity: of what the run is made, as `make_identity` gives it.
        study: directory of the study that the run belongs to.

    Raises:
        UserError: it holds a finished run or another run, or another process works in it.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive(directory / _LOCK, wait=False))
        except LockHeldError as error:
            raise UserError(
                f"another process is working in {directory} ({error}); wait for it or set hydra.run.dir"
            ) from None
        remove_leftovers(directory)
        content = _open(
            directory / "run.json", config=config, identity=identity, command=command, provenance=provenance
        )
        machine = {"since": _now(), **provenance["hardware"]}
        content["machines"] = with_machine(content["machines"], machine)
        try:
            yield RunRecord(directory, content, machine=machine, study=study)
        finally:
            if set(directory.iterdir()) <= set(exclusive_files(directory / _LOCK)):  # nothing came of it
                (directory / _LOCK).unlink(missing_ok=True)


def _open(
    path: Path,
    *,
    config: Mapping[str, Any],
    identity: Mapping[str, Any],
    command: str,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    content = read_run(path) if path.exists() else {"status": "gone"}
    if content["status"] == "finished":
        raise UserError(f"{path.parent} holds a finished run, which is never overwritten; {ELSEWHERE}")
    kept = [f"{name}/" for name in _GONE_ON_WITH if any((path.parent / name).glob("*"))]
    if not kept:  # nothing yet that could be mixed
        return {
            "command": command,
            "status": "running",
            "started_at": _now(),
            "finished_at": None,
            "config": dict(config),
            "identity": dict(identity),
            "timings_s": {},
            **provenance,
            "machines": [],
        }
    if content["status"] == "gone":
        raise UserError(f"{path.parent} holds {' and '.join(kept)} of a run whose run.json is gone; {ELSEWHERE}")
    refuse_other_run(path.parent, content, config=config, identity=identity)
    return content


def with_machine(machines: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The machines with another one, unless the like is among them. Since when they were used makes none another."""

    def without_time(each: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in each.items() if name != "since"}

    is_known = any(without_time(each) == without_time(machine) for each in machines)
    return [*machines, *([] if is_known else [machine])]


def machine_caveats(run: Mapping[str, Any]) -> list[str]:
    """What to know where a run was computed on more than one machine, from its run.json."""
    first, *others = run.get("machines") or [{}]
    differing = {name: [first[name]] for name in first if any(each.get(name) != first[name] for each in others)}
    for name, values in differing.items():
        values += [each.get(name) for each in others if each.get(name) not in values]
    differing.pop("since", None)
    if not differing:
        return []
    told = "; ".join(f"{name.replace('_', ' ')} {', then '.join(map(str, each))}" for name, each in differing.items())
    return [f"Not all of it was computed in one place ({told}), so it may not be repeated to the last bit elsewhere."]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_swaps(directory: Path, steps: list[dict[str, Any]]) -> None:
    """Write swaps.parquet from the lines of an arm's journal, each with the counts of its step under `swaps`."""
    counts = pd.DataFrame([{"step": line["step"], **count} for line in steps for count in line["swaps"]])
    with atomic_file(directory / "swaps.parquet") as aside:
        counts.to_parquet(aside, index=False)
