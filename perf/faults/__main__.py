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
import itertools
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perf.faults.kinds import KINDS, find_libfaketime
from perf.faults.server import SHARD_BYTES, FailingHandler, Server
from perf.faults.trial import Bench, Job, Lost, TooLate, Trial
from perf.record import keep, origin

SMOKE = [
    *("run.py", "experiment=smoke", "step=8", "steps=24", "training.save_every=2"),
    *("model.pretraining.train_iters=32", "model.pretraining.checkpoint_every=8", "model.recipe.lr_decay_iters=32"),
    "benchmark=[pronoun_prior,held_out]",
]
FETCH = [
    *("-m", "corpus.fetch", "model=demo", "corpus=local", "corpus.row_tokens=2049", "step=0", "steps=14"),
    "benchmark=[pronoun_prior]",
    "model.recipe.sequences_per_step=1024",
]
SHARDS = 5


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


if __name__ == "__main__":
    main()
