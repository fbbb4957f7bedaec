"""The kinds of faults. Each does a trial and says whether it was survived, or refused and mended."""

import contextlib
import errno
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from perf.faults.server import SHARD_BYTES, FailingHandler
from perf.faults.trial import Lost, TooLate, Trial

INTERRUPTED = {128 + signal.SIGTERM, -signal.SIGTERM}


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
                try:
                    os.posix_fallocate(file.fileno(), 0, ballast.stat().st_size + free - left)
                except OSError as error:
                    if error.errno != errno.ENOSPC:  # that is where the job has written since
                        raise
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
