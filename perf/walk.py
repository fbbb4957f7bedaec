"""Give every command of README, docs/ and CONTRIBUTING, as a new user would, in the order of the text.

python -m perf.walk [--jobs 4] [--page README.md] [--table FILE] [--here] [--cache DIR]

The clone is copied, HOME and the caches are empty, and after the installation and the first run no network is left: a
proxy that is not there stands before it. Prints a table as it goes: command, exit status, seconds; then what was not
run, and why: what needs a GPU, Slurm or a file of the reader's (a word in capitals), the tests, and measurements.
A run that needs Pythia's weights from the hub is given with plan=true; other commands that need the hub must end with
one line that says so. Studies of more jobs than --jobs are given with plan=true too. Without --jobs it takes hours.

The installation goes into an environment of its own, next to the copy; --here takes the one that this runs in. --cache
names a cache that is copied, such as ~/.cache/pythia-counterfactual: then the first run fetches and builds nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

from conf.compose import configure, jobs
from foundation import write_text
from perf.documented import ROOT, Documented, as_known, documented_commands, files_of

NO_NETWORK = {
    **{name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")},
    "no_proxy": "127.0.0.1,localhost",
    "PIP_NO_INDEX": "1",
}
ONE_LINE = "error: "


@dataclass
class Walk:
    """What has been done so far.

    Attributes:
        clone: where commands are given.
        environment: theirs.
        lines: the table.
        left_out: commands that were not run, with the reason.
        absent: directories that a planned run would have made.
        failed: how many did not end as they should.
    """

    clone: Path
    environment: dict[str, str]
    lines: list[str] = field(default_factory=lambda: ["| command | exit | seconds | |", "|---|---|---|---|"])
    left_out: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    failed: int = 0

    @property
    def cache(self) -> Path:
        return Path(self.environment["XDG_CACHE_HOME"])

    def give(self, command: Documented, more: tuple[str, ...] = (), *, refused: bool = False, why: str = "") -> None:
        """Run a command, with `more` arguments; `refused`: it must end with one line that says what is missing."""
        program, *arguments = command.arguments
        here = Path(self.environment["BIN"])
        started = time.perf_counter()
        done = subprocess.run(
            [str(here / program), *arguments, *more],
            cwd=self.clone,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
        said = done.stderr.strip().splitlines()
        as_it_should = done.returncode == 0
        if refused:
            as_it_should = done.returncode != 0 and bool(said) and said[-1].startswith(ONE_LINE)
            as_it_should &= "Traceback" not in done.stderr
        told = said[-1] if said and done.returncode else ""
        note = "; ".join(filter(None, [" ".join(more), why, told, "" if as_it_should else "NOT AS IT SHOULD BE"]))
        self.lines.append(f"| `{command}` | {done.returncode} | {seconds:.0f} | {note} |")
        print_line(self.lines[-1])
        if not as_it_should:
            self.failed += 1
            print_line(done.stdout[-2000:] + done.stderr[-4000:])

    def leave_out(self, command: Documented, why: str) -> None:
        self.left_out.append(f"| `{command}` | {command.page}:{command.line} | {why} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000, help="larger studies are planned, not run")
    parser.add_argument("--page", help="of this page alone, after the first run")
    parser.add_argument("--table", type=Path, help="where the table is written, besides the terminal")
    parser.add_argument("--here", action="store_true", help="install nothing")
    parser.add_argument("--cache", type=Path, help="what the cache holds at the beginning; else nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR"), prefix="walk-") as scratch:
        walk = begin(Path(scratch), install=not arguments.here)
        if arguments.cache:
            shutil.copytree(arguments.cache, walk.cache / "pythia-counterfactual")
        given: set[tuple[str, ...]] = set()
        for command in documented_commands():
            first = command.arguments in (("python", "run.py"), ("pip", "install", "-e", "."))
            if command.arguments in given or (arguments.page not in (None, command.page) and not first):
                continue
            given.add(command.arguments)
            write_files(walk, command)
            take(walk, command, longest=arguments.jobs, install=not arguments.here)
            if command.arguments == ("python", "run.py"):
                walk.environment |= NO_NETWORK
    table = "\n".join([*walk.lines, "", "| not run | where | why |", "|---|---|---|", *walk.left_out]) + "\n"
    print_line(table)
    if arguments.table:
        write_text(arguments.table, table)
    if walk.failed:
        sys.exit(f"{walk.failed} commands did not end as they should")


def begin(scratch: Path, *, install: bool) -> Walk:
    """A copy of what git tracks, or would, with an empty home and an environment to install into."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        target = scratch / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    home, programs = scratch / "home", Path(sys.executable).parent
    home.mkdir()
    if install:
        venv.create(scratch / "venv", with_pip=True)
        programs = scratch / "venv" / "bin"
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYTHON", "HF_", "VIRTUAL"))
    }
    environment = kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "BIN": str(programs)}
    environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return Walk(scratch / "clone", environment)


def write_files(walk: Walk, command: Documented) -> None:
    """Write what the page has told to write above the command."""
    for path, (line, content) in files_of((ROOT / command.page).read_text("utf-8")).items():
        if line < command.line:
            write_text(walk.clone / path, content)


def take(walk: Walk, command: Documented, *, longest: int, install: bool) -> None:
    """Run a command as it stands, run what is possible of it, or say why not."""
    program, *words = command.arguments
    if command.placeholders:
        walk.leave_out(command, f"needs {' and '.join(command.placeholders)} of the reader's")
    elif program in ("pytest", "ruff", "mypy", ".ci/run"):
        walk.leave_out(command, "a check of the clone: .ci/run gives it")
    elif program == "srun":
        walk.leave_out(command, "needs Slurm")
    elif program == "torchrun":
        walk.leave_out(command, "needs GPUs; tests/test_distributed.py runs torchrun on a CPU")
    elif program == "pip" and (not install or words != ["install", "-e", "."]):
        walk.leave_out(command, "an installation with more than the first run needs: .ci/run gives it")
    elif program == "pip":
        walk.give(command)
    elif words[0] == "-m" and words[1].startswith("perf."):
        walk.leave_out(command, "a measurement, minutes to an hour; perf/record.jsonl is its record")
    elif made := [word for word in words if word in walk.absent]:
        walk.leave_out(command, f"{made[0]} would be made by a study that was only planned")
    elif words[0] == "run.py":
        take_run(walk, command, words[1:], longest=longest)
    else:
        overrides = [word for word in words[2:] if "=" in word]
        walk.give(command, refused=any(word.startswith("model=") for word in overrides))


def take_run(walk: Walk, command: Documented, words: list[str], *, longest: int) -> None:
    """A run, or what it would take where it needs the hub, Slurm or too long."""
    if any(word.startswith("hydra/launcher=submitit") for word in words):
        walk.leave_out(command, "needs Slurm")
        return
    overrides = [word for word in words if not word.startswith("-") and word != "job"]
    if "plan=true" in words or "--cfg" in words:
        walk.give(command)
        return
    each = jobs(as_known(overrides))
    on_the_hub = any(configure(job).model.pretraining is None for job in each)
    if on_the_hub or len(each) > longest:
        reason = "needs Pythia from the hub" if on_the_hub else f"{len(each)} jobs"
        walk.give(command, ("plan=true",), why=reason)
        walk.absent |= {
            word.partition("=")[2] for word in words if word.startswith(("hydra.run.dir=", "hydra.sweep.dir="))
        }
    else:
        walk.give(command)


def print_line(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
