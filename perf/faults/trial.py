"""A job of the kit, done once undisturbed and then, trial after trial, with a fault: what must be the same."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perf.faults.server import FailingHandler

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 1200.0  # a machine with other work may need minutes for what takes seconds
SPEEDS = ("tokens_per_s", "data_stall_s", "mfu")


class Lost(Exception):
    """Something was lost, or wrong, or not told in one line."""


class TooLate(Exception):
    """The job had ended before its fault came."""


@dataclass(frozen=True)
class Job:
    """A command of the kit.

    Attributes:
        arguments: of Python.
        has_directory: whether it leaves a run directory; its results are the last line of its output where not.
    """

    name: str
    arguments: list[str]
    has_directory: bool

    def command(self, directory: Path) -> list[str]:
        return [sys.executable, *self.arguments, *([f"hydra.run.dir={directory}"] if self.has_directory else [])]


@dataclass
class Process:
    """A job at work, with its output in files."""

    running: subprocess.Popen[bytes]
    errors: Path
    output: Path
    started: float = field(default_factory=time.monotonic)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal.

        Raises:
            TooLate: it has ended.
        """
        if self.running.poll() is not None:
            raise TooLate
        self.running.send_signal(signum)

    def wait(self) -> int:
        try:
            return self.running.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.running.send_signal(signal.SIGABRT)  # where every thread is, it then says
            self.running.wait()
            raise Lost(f"did not end within {TIMEOUT_S:.0f} s:\n{self.errors.read_text(errors='replace')}") from None

    def end_in_one_line(self) -> bool:
        """Wait for the end: whether it ended well. Otherwise it told of a mistake in one line.

        Raises:
            Lost: it ended in another way.
        """
        status = self.wait()
        if status == 0:
            return True
        lines = self.errors.read_text(errors="replace").strip().splitlines() or [""]
        if status != 1 or not lines[-1].startswith("error: ") or any(line.startswith("Traceback") for line in lines):
            raise Lost(f"ended with {status}:\n" + "\n".join(lines[-20:]))
        return False


@dataclass
class Bench:
    """What the trials share: a directory with undisturbed jobs, their results and their times.

    Attributes:
        warm: job: a cache as the job leaves it.
        expected: job: its results.
        seconds: job: until it is at work, and from then on.
    """

    scratch: Path
    served: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    expected: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)

    def warm(self, job: Job) -> Path:
        return self.scratch / "undisturbed" / job.name / "cache"

    def add(self, job: Job) -> None:
        """Do a job undisturbed."""
        trial = Trial(self, job, np.random.default_rng(0), self.scratch / "undisturbed" / job.name, cold=True)
        process = trial.start()
        begun = trial.wait_until_begun(process) - process.started
        if process.wait():
            raise SystemExit(f"{job.name} fails undisturbed:\n{process.errors.read_text()}")
        self.jobs[job.name] = job
        self.seconds[job.name] = (begun, time.monotonic() - process.started - begun)
        self.expected[job.name] = trial.results(process)


@dataclass
class Trial:
    """One job and the directory that it is done in.

    Attributes:
        cold: whether its cache is empty.
        processes: that were started in it.
    """

    bench: Bench
    job: Job
    rng: np.random.Generator
    place: Path
    cold: bool
    processes: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place.mkdir(parents=True)

    @property
    def cache(self) -> Path:
        return self.place / "cache"

    def fill_cache(self) -> None:
        if not self.cold:
            shutil.copytree(self.bench.warm(self.job), self.cache)

    def start(self, name: str = "run", **environment: str) -> Process:
        """Begin the job in the run directory `name`."""
        FailingHandler.asked.clear()
        told = Path(tempfile.mkdtemp(dir=self.bench.scratch))  # not in the trial's directory: its disk may be full
        errors, output = told / "errors", told / "output"
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(self.cache),
            "MPLCONFIGDIR": str(self.bench.scratch / "matplotlib"),
            "OMP_NUM_THREADS": "1",
            "PIP_NO_INDEX": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONFAULTHANDLER": "1",
            **environment,
        }
        with errors.open("wb") as stderr, output.open("wb") as stdout:
            command = self.job.command(self.place / name)
            running = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stdout, stderr=stderr)
        self.processes.append(Process(running, errors, output))
        return self.processes[-1]

    def clear(self) -> None:
        """End what is still running, and remove what there is."""
        for process in self.processes:
            process.running.kill()
            process.running.wait()
        shutil.rmtree(self.place, ignore_errors=True)

    def wait_until_begun(self, process: Process) -> float:
        """When the job's imports were over, on the monotonic clock."""
        record = self.place / "run" / "run.json"
        while process.running.poll() is None:
            if record.exists() if self.job.has_directory else FailingHandler.asked.is_set():
                break
            time.sleep(0.01)
        return time.monotonic()

    def wait_for_moment(self, process: Process) -> None:
        """Wait for a moment drawn from all of the job, one in five among its imports."""
        early, share = self.rng.random() < 0.2, self.rng.random()
        if not early:
            self.wait_until_begun(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.running.wait(share * self.bench.seconds[self.job.name][not early])

    def results(self, process: Process, name: str = "run") -> dict[str, str]:
        """Everything that must be as undisturbed, by a hash or in words."""
        if self.job.has_directory:
            return self.results_of(self.place / name)
        return {"output": process.output.read_text().splitlines()[-1]}

    def results_of(self, directory: Path) -> dict[str, str]:
        leftovers = [str(path) for path in directory.rglob(".aside*")]
        if leftovers:
            raise Lost(f"left {leftovers}")
        patterns = ["rows/**/*.parquet", "*.csv", "*.parquet", "checkpoints/**/*.safetensors"]
        files = [path for pattern in patterns for path in directory.glob(pattern)]
        found = {str(path.relative_to(directory)): sha256(path.read_bytes()) for path in files}
        for path in directory.glob("train/*.jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            kept = [{name: value for name, value in line.items() if name not in SPEEDS} for line in lines]
            found[path.name] = sha256(json.dumps(kept).encode())
        run = json.loads((directory / "run.json").read_text())
        found |= {name: json.dumps(run[name]) for name in ("status", "fingerprints", "fidelity")}
        return found | {"report": str((directory / "report.html").exists())}

    def check(self, process: Process, name: str = "run") -> None:
        """Raise Lost where a job that ended well left anything else than undisturbed."""
        self.compare(self.results(process, name))

    def compare(self, found: dict[str, str]) -> None:
        expected = self.bench.expected[self.job.name]
        different = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
        if different:
            raise Lost(f"ended with other results: {', '.join(different)}")

    def finish(self, name: str = "run") -> None:
        """Do the rest of the job undisturbed.

        Raises:
            Lost: it does not end well, or with other results.
        """
        record = self.place / name / "run.json"
        if record.exists() and json.loads(record.read_text())["status"] == "finished":
            return self.compare(self.results_of(self.place / name))  # the fault came between its end and its exit
        process = self.start(name)
        if not process.end_in_one_line():
            raise Lost(f"does not go on: {process.errors.read_text().strip()}")
        self.check(process, name)

    def end(self, process: Process, remove_cause: Callable[[], object]) -> str:
        """Wait for a job that met a fault. Where it was refused, remove the cause and do the rest."""
        if process.end_in_one_line():
            self.check(process)
            return "survived"
        remove_cause()
        self.finish()
        return "refused"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
