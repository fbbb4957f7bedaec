"""Small real runs meet faults at random moments, and must end as undisturbed ones do, to the byte.

python -m perf.faults [--minutes 60] [--seed 0] [--rounds N] [--kinds kill,drops] [--record]
python -m perf.faults --seed 0 --trial 17      the fault of one trial again

A trial does a job (a run of the smoke experiment, the same run on rows that lie on a server of this machine, or a
fetch of 60 MB from there), injects one fault, gives the same command again where it ended early, and compares rows,
summary, swaps, losses, weights, moments and fingerprints with those of the undisturbed job. A fault is survived, or
refused in one line and mended by removing its cause; anything else is lost, and this program then exits with 1.
The moments are drawn from the seed, but what a job does then depends on the machine. Linux; `disk_full` needs root
(it mounts a tmpfs), `clock` the package libfaketime; where they cannot be had they are left out, and named.
"""

import argparse
import collections
import contextlib
import functools
import hashlib
import http.server
import importlib.util
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from perf.data_path import RangeHandler
from perf.record import keep, origin

ROOT = Path(__file__).parent.parent
SMOKE = [
    *("run.py", "experiment=smoke", "step=8", "steps=24", "training.save_every=2"),
    *("model.pretraining.train_iters=32", "model.pretraining.checkpoint_every=8", "model.recipe.lr_decay_iters=32"),
    "benchmark=[pronoun_prior,held_out]",
]
FETCH = [
    *("-m", "corpus.fetch", "model=demo", "corpus=local", "corpus.row_tokens=2049", "step=0", "steps=14"),
    "model.recipe.sequences_per_step=1024",
]
SHARDS, SHARD_BYTES = 5, 12 << 20
LINK_BYTES_PER_S = 8e6  # of one connection: a fetch takes long enough to be disturbed
TIMEOUT_S = 1200.0  # a machine with other work may need minutes for what takes seconds
INTERRUPTED = {128 + signal.SIGTERM, -signal.SIGTERM}
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


class Server(http.server.ThreadingHTTPServer):
    """A server that clients may leave at any moment."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class FailingHandler(RangeHandler):
    """Hangs up after as many bytes as `drops` says next, answer by answer; at once, while `away` is set.

    Sets `asked` when it is asked for something.
    """

    counts = multiprocessing.Array("q", 2)
    bytes_per_s = LINK_BYTES_PER_S
    drops: ClassVar[collections.deque[int]] = collections.deque()
    away = threading.Event()
    asked = threading.Event()

    def do_HEAD(self) -> None:
        self.asked.set()
        if self.away.is_set():
            return self.hang_up()
        super().do_HEAD()

    def do_GET(self) -> None:
        if self.away.is_set():
            return self.hang_up()
        if not self.drops:
            return super().do_GET()
        sent = self.drops.popleft()
        path, first, last = self.announce()
        self.wfile.write(path.read_bytes()[first : min(first + sent, last + 1)])
        self.hang_up()

    def hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


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


def kill(trial: Trial) -> str:
    """kill -9, up to three times."""
    trial.fill_cache()
    interrupt(trial, signal.SIGKILL, {-signal.SIGKILL})
    for _ in range(trial.rng.integers(0, 3)):
        try:
            interrupt(trial, signal.SIGKILL, {-signal.SIGKILL})
        except TooLate:
            return "survived"  # and looked at
    trial.finish()
    return "survived"


def sigterm(trial: Trial) -> str:
    """SIGTERM, which saves in the middle of training and ends at once elsewhere."""
    trial.fill_cache()
    interrupt(trial, signal.SIGTERM, INTERRUPTED)
    trial.finish()
    return "survived"


def interrupt(trial: Trial, signum: signal.Signals, statuses: set[int]) -> None:
    process = trial.start()
    trial.wait_for_moment(process)
    try:
        process.send(signum)
    except TooLate:
        if process.end_in_one_line():
            trial.check(process)
        raise
    status = process.wait()
    told = process.errors.read_text(errors="replace")
    if status == 0:  # it was at its last breath
        trial.check(process)
        raise TooLate
    if status not in statuses or "Traceback" in told:
        raise Lost(f"ended with {status} on {signum.name}:\n{told}")


def drops(trial: Trial) -> str:
    """Connections that break after random bytes, or a server that is away for a while, or from the beginning."""
    trial.cold = True
    way = trial.rng.choice(["drops", "away later", "away first"])
    if way == "drops":
        sizes = trial.rng.integers(0, SHARD_BYTES, size=trial.rng.integers(1, 6))
        short = trial.rng.random(len(sizes)) < 0.5
        FailingHandler.drops.extend(int(size) >> (10 if few else 0) for size, few in zip(sizes, short, strict=True))
        process = trial.start()
    elif way == "away first":
        FailingHandler.away.set()
        process = trial.start()
    else:
        process = trial.start()
        trial.wait_for_moment(process)
        if process.running.poll() is not None:
            raise TooLate
        FailingHandler.away.set()
        time.sleep(trial.rng.uniform(0.5, 6))
        FailingHandler.away.clear()
    try:
        return trial.end(process, FailingHandler.away.clear)
    finally:
        FailingHandler.drops.clear()
        FailingHandler.away.clear()


def disk_full(trial: Trial) -> str:
    """A disk of its own that something else fills, and later leaves."""
    with contextlib.ExitStack() as disk:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", trial.place], check=True)
        disk.callback(lambda: subprocess.run(["umount", "-l", trial.place], check=True))
        trial.fill_cache()
        process = trial.start()
        trial.wait_for_moment(process)
        if process.running.poll() is not None:
            raise TooLate
        ballast = trial.place / "ballast"
        left = int(trial.rng.choice([0, 1 << 12, 1 << 16, 1 << 20]))
        with ballast.open("wb") as file:
            while (free := _free_bytes(trial.place)) > left:
                with contextlib.suppress(OSError):  # the job has written since
                    os.posix_fallocate(file.fileno(), 0, ballast.stat().st_size + free - left)
        return trial.end(process, ballast.unlink)


def _free_bytes(place: Path) -> int:
    state = os.statvfs(place)
    return state.f_bavail * state.f_frsize


def clock(trial: Trial) -> str:
    """The time of day jumps by up to ten years, forwards or back; files keep the times that they were given."""
    trial.fill_cache()
    said = trial.place / "clock"
    said.write_text("+0")
    faked = {
        "LD_PRELOAD": str(find_libfaketime()),
        "FAKETIME_TIMESTAMP_FILE": str(said),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    process = trial.start(**faked)
    trial.wait_for_moment(process)
    if process.running.poll() is not None:
        raise TooLate
    seconds = int(10 ** trial.rng.uniform(0, 8.5)) * int(trial.rng.choice([-1, 1]))
    said.with_suffix(".new").write_text(f"{seconds:+d}")
    said.with_suffix(".new").replace(said)
    return trial.end(process, lambda: None)


def find_libfaketime() -> Path | None:
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        return None
    library = Path(found.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    return library if library.exists() else None


def blocks(trial: Trial) -> str:
    """Blocks of a remote corpus are damaged in the cache, before they are read or while they are."""
    trial.cold = False
    trial.fill_cache()
    process = None
    if trial.rng.random() < 0.5:
        process = trial.start()
        trial.wait_for_moment(process)
        if process.running.poll() is not None:
            raise TooLate
    stored = sorted(trial.cache.rglob("*.block"))
    for path in trial.rng.choice(np.array(stored, dtype=object), size=min(len(stored), int(trial.rng.integers(1, 4)))):
        damage(path, trial.rng)
    return trial.end(process or trial.start(), lambda: None)


def cache(trial: Trial) -> str:
    """A file of the cache is damaged: of the corpus, of a checkpoint, a listing. The remedy is to remove the cache."""
    trial.cold = False
    trial.fill_cache()
    stored = sorted(path for path in trial.cache.rglob("*") if path.is_file() and "matplotlib" not in path.parts)
    damage(stored[trial.rng.integers(len(stored))], trial.rng)
    return trial.end(trial.start(), functools.partial(shutil.rmtree, trial.cache))


def damage(path: Path, rng: np.random.Generator) -> None:
    """Flip a byte, cut the end off, or empty a file, in place."""
    size = path.stat().st_size
    way = rng.choice(["flip", "cut", "empty"])
    with path.open("r+b") as file:
        if way == "flip" and size:
            offset = int(rng.integers(size))
            file.seek(offset)
            flipped = bytes([file.read(1)[0] ^ int(rng.integers(1, 256))])
            file.seek(offset)
            file.write(flipped)
        elif way == "cut" and size:
            file.truncate(int(rng.integers(size)))
        else:
            file.truncate(0)


def two_on_a_cache(trial: Trial) -> str:
    """Two processes want the same of an empty cache; in one trial of two the first is killed meanwhile."""
    trial.cold = True
    first = trial.start("run")
    time.sleep(trial.rng.uniform(0, 1))
    second = trial.start("other")
    dies = trial.rng.random() < 0.5
    if dies:
        trial.wait_for_moment(first)
        with contextlib.suppress(TooLate):
            first.send(signal.SIGKILL)
    for name, process in [("run", first), ("other", second)]:
        if process is first and dies and process.wait() == -signal.SIGKILL:
            continue
        if not process.end_in_one_line():
            raise Lost(f"was refused: {process.errors.read_text().strip()}")
        trial.check(process, name)
    if first.running.returncode:
        trial.finish()
    return "survived"


def two_on_a_run(trial: Trial) -> str:
    """Two processes on one run directory: one is refused, and the other ends as if it were alone."""
    trial.fill_cache()
    first = trial.start()
    trial.wait_for_moment(first)
    second = trial.start()
    ended = {process.end_in_one_line(): process for process in (first, second)}
    if len(ended) != 2:
        raise Lost(f"both ended {'well' if True in ended else 'with an error'}: {first.errors.read_text().strip()}")
    told = ended[False].errors.read_text()
    if "another process is working in" not in told and "holds a finished run" not in told:
        raise Lost(f"was refused for another reason: {told}")
    trial.check(ended[True])
    return "refused"


KINDS: dict[str, tuple[Callable[[Trial], str], tuple[str, ...]]] = {
    "kill": (kill, ("run", "remote_run", "fetch")),
    "sigterm": (sigterm, ("run", "remote_run", "fetch")),
    "drops": (drops, ("remote_run", "fetch")),
    "disk_full": (disk_full, ("run", "remote_run", "fetch")),
    "clock": (clock, ("run", "remote_run", "fetch")),
    "blocks": (blocks, ("remote_run", "fetch")),
    "cache": (cache, ("run", "remote_run")),
    "two_on_a_cache": (two_on_a_cache, ("run", "remote_run", "fetch")),
    "two_on_a_run": (two_on_a_run, ("run", "remote_run")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the figures to perf/record.jsonl")
    parser.add_argument("--minutes", type=float, default=60, help="after which no more faults are injected")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, help="faults of each kind; else as many as there is time for")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"with commas between: {', '.join(KINDS)}")
    parser.add_argument("--trial", type=int, help="do this one alone")
    arguments = parser.parse_args()
    found, kinds = origin(), available(arguments.kinds.split(","))
    with prepared() as bench:
        figures = inject(bench, kinds, arguments)
    sys.stdout.write("faults\n" + "".join(f"  {key:42}{value}\n" for key, value in figures.items()))
    if arguments.record:
        keep("faults", figures, origin=found)
    if figures["lost"]:
        sys.exit(1)


def available(kinds: list[str]) -> list[str]:
    """Those kinds that can be injected here."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        sys.exit(f"error: --kinds {unknown[0]} is none of {', '.join(KINDS)}")
    lacking = {}
    if os.geteuid():
        lacking["disk_full"] = "only root can mount a tmpfs"
    if find_libfaketime() is None:
        lacking["clock"] = "the package libfaketime is not installed"
    for kind in lacking.keys() & set(kinds):
        sys.stdout.write(f"{kind} is left out: {lacking[kind]}\n")
    return [kind for kind in kinds if kind not in lacking]


@contextlib.contextmanager
def prepared() -> Iterator[Bench]:
    """Invented text, a server of random rows, and each job done undisturbed."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        served = scratch / "served"
        served.mkdir()
        (scratch / "text.txt").write_text("\n".join(invented_documents()) + "\n")
        content = np.random.default_rng(0).integers(0, 2048, SHARDS * SHARD_BYTES // 4098 * 2049, np.uint16).tobytes()
        for shard in range(SHARDS):
            part = content[shard * SHARD_BYTES : (shard + 1) * SHARD_BYTES]
            (served / f"document-{shard:05d}-of-{SHARDS - 1:05d}.bin").write_bytes(part)
        handler = functools.partial(FailingHandler, directory=served)
        with Server(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_address[1]}"
            bench = Bench(scratch, served)
            bench.add(Job("run", [*SMOKE, f"corpus.text={scratch / 'text.txt'}"], True))
            kept = bench.warm(bench.jobs["run"]) / "pythia-counterfactual"
            (rows,), (suite,) = kept.glob("corpora/*/rows.bin"), kept.glob("suites/*/")
            shutil.copy(rows, served)
            shutil.copytree(suite, scratch / "suite")
            remote = ["corpus=local", f"corpus.location={url}/rows.bin", f"model.checkpoints={scratch / 'suite'}"]
            bench.add(Job("remote_run", [*SMOKE, *remote, "~corpus.vocab_size"], True))
            bench.add(Job("fetch", [*FETCH, f"corpus.location={url}/document-00000-of-{SHARDS - 1:05d}.bin"], False))
            yield bench
            server.shutdown()


def invented_documents() -> Iterator[str]:
    people = ["baker", "sailor", "gardener", "painter", "nurse", "driver", "teacher", "cook", "clerk", "pilot"]
    things = ["boat", "ladder", "letter", "kettle", "garden"]
    for (person, friend), thing, (subject, possessive, reflexive) in itertools.product(
        itertools.permutations(people, 2),
        things,
        [("he", "his", "himself"), ("she", "her", "herself"), ("they", "their", "themselves")],
    ):
        yield f"The {person} told the {friend} that {subject} had mended {possessive} {thing} by {reflexive} ."
        yield f"{subject.capitalize()} left {possessive} {thing} with the {friend}, and the {person} laughed ."


def inject(bench: Bench, kinds: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Trial after trial until the time is over; what became of the faults."""
    verdicts: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in kinds}
    started, lost = time.monotonic(), list[int]()
    for number in itertools.count() if arguments.trial is None else [arguments.trial]:
        round_, place_in_round = divmod(number, len(kinds))
        over = time.monotonic() - started > 60 * arguments.minutes
        if arguments.trial is None and (over or (arguments.rounds is not None and round_ >= arguments.rounds)):
            break
        kind = kinds[np.random.default_rng([arguments.seed, round_]).permutation(len(kinds))[place_in_round]]
        act, jobs = KINDS[kind]
        rng = np.random.default_rng([arguments.seed, round_, place_in_round])
        job, cold = bench.jobs[str(rng.choice(jobs))], bool(rng.random() < 0.5)
        trial = Trial(bench, job, rng, bench.scratch / f"trial_{number}", cold=cold)
        began = time.monotonic()
        try:
            verdict = act(trial)
        except TooLate:
            verdict = "too late"
        except Lost as error:
            verdict, again = "lost", f"--seed {arguments.seed} --trial {number} --kinds {','.join(kinds)}"
            lost.append(number)
            sys.stdout.write(f"LOST: {kind} of {job.name} {error}\nagain: python -m perf.faults {again}\n")
        trial.clear()
        verdicts[kind][verdict] += 1
        sys.stdout.write(
            f"{number:4} {kind} of {job.name}, cache {'empty' if trial.cold else 'filled'}: {verdict} "
            f"({time.monotonic() - began:.0f} s)\n"
        )
        sys.stdout.flush()
    return summed(verdicts, seed=arguments.seed, lost=lost, minutes=(time.monotonic() - started) / 60)


def summed(
    verdicts: Mapping[str, collections.Counter[str]], *, seed: int, lost: list[int], minutes: float
) -> dict[str, Any]:
    total = sum(verdicts.values(), collections.Counter[str]())
    return {
        "seed": seed,
        "minutes": round(minutes, 1),
        "injected": total["survived"] + total["refused"] + total["lost"],
        **{verdict: total[verdict] for verdict in ("survived", "refused", "lost")},
        "ended_before_its_fault": total["too late"],
        "lost_trials": lost,
        **{kind: dict(found) for kind, found in verdicts.items()},
    }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    main()
