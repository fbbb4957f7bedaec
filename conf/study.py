"""Studies: many runs from one command, in one directory that the same command finds again.

Hydra runs a study's jobs, here or on other machines. A job that fails tells so in a file, and the process that launched
them tells of all that did when the last has ended.
"""

import contextlib
import hashlib
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from foundation import (
    LockHeldError,
    UserError,
    exclusive,
    file_errors_for_users,
    one_line,
    temporary_directory,
    without_secrets,
    write_text,
)
from reports import write_study
from reports.runs import has_finished_run

log = logging.getLogger(__name__)

_LONGEST = 120
_FAILURES = "failures"


def study_name(arguments: Sequence[str]) -> str:
    """The name of the study that a command runs: its experiment's, with a hash of all else that it sets.

    Options and settings of Hydra's own do not count: where a study runs does not change what it is.
    """
    settings = sorted(argument for argument in arguments if not argument.startswith(("-", "hydra.", "hydra/")))
    experiments = [setting.removeprefix("experiment=") for setting in settings if setting.startswith("experiment=")]
    name = experiments[0] if experiments and experiments[0].isidentifier() else "sweep"
    return name if settings == [f"experiment={name}"] else f"{name}-{_hash(settings)}"


def job_name(overrides: Sequence[str]) -> str:
    """The name of a job's directory: what it sets, as intervention-swap+seed-1.

    Two jobs never have the same one: keys hold no hyphen and values that are spelled out no plus. A name that would be
    long, or whose characters mean something to a shell or to Hydra, ends in a hash of the overrides.
    """
    name = "+".join(override.replace("=", "-", 1) for override in overrides) or "default"
    plain = all(re.fullmatch(r"[A-Za-z_][\w.]*=[\w.-]+", override) for override in overrides)
    if plain and len(name) <= _LONGEST:
        return name
    short = "+".join(re.sub(r"=.*/", "-", override).replace("=", "-", 1) for override in overrides)
    return f"{re.sub(r'[^A-Za-z0-9_.+-]+', '_', short).strip('._+-')[: _LONGEST - 9]}-{_hash(overrides)}"


def _hash(settings: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(settings).encode()).hexdigest()[:8]


# The first is kept in OmegaConf's cache, which goes with the configuration to the workers of any launcher.
OmegaConf.register_new_resolver("study", lambda: study_name(sys.argv[1:]), use_cache=True, replace=True)
OmegaConf.register_new_resolver("job", lambda overrides: job_name(list(overrides)), replace=True)


_taken: list[contextlib.ExitStack] = []  # locks, for as long as the process lives


def take_gpu(launcher: str) -> None:
    """Give this process a GPU of its own where joblib, whose workers would all take the first, runs a study on several.

    A worker keeps its GPU for all jobs that it is given, since `CUDA_VISIBLE_DEVICES` counts only before CUDA is used.

    Args:
        launcher: Hydra's name of it.

    Raises:
        UserError: there are more jobs at once than GPUs.
    """
    number = torch.cuda.device_count()
    if "joblib" not in launcher or number < 2 or _taken:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    for gpu in visible.split(",") if visible else map(str, range(number)):
        lock, held = temporary_directory() / "gpus" / f"{gpu}.lock", contextlib.ExitStack()
        with contextlib.suppress(LockHeldError):
            held.enter_context(exclusive(lock, wait=False))
            _taken.append(held)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return
    raise UserError(f"all {number} GPUs are taken by other jobs; set hydra.launcher.n_jobs={number} or less")


def _refuse_home(section: DictConfig, name: str) -> None:
    """End where Hydra would make a directory that is called ~. On a command line it has its meaning already."""
    directory = str(section.dir)
    if directory.partition("/")[0] == "~":
        sys.exit(
            f"error: {name}={directory} stands in a configuration file; write ${{oc.env:HOME}}{directory[1:]} there"
        )


class StudyCallback(Callback):
    """Goes on with the other jobs when one fails, and names all that failed when the study ends, with exit status 1."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a ~ that a configuration file has in the run's directory."""
        _refuse_home(config.hydra.run, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """The same for a study's; and forget the failures of an earlier start: the same jobs are tried again."""
        _refuse_home(config.hydra.sweep, "hydra.sweep.dir")
        for told in (Path(config.hydra.sweep.dir) / _FAILURES).glob("*.txt"):
            told.unlink()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Write down why a job of a study failed. To Hydra, which would stop at the first, it has ended."""
        if job_return.status is not JobStatus.FAILED or config.hydra.mode.name != "MULTIRUN":
            return
        error = job_return._return_value
        directory = Path(config.hydra.runtime.output_dir)
        reason = one_line(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, UserError):
            log.error("%s failed", directory, exc_info=error)
        told = Path(config.hydra.sweep.dir) / _FAILURES / f"{directory.name}.txt"
        write_text(told, f"{directory}: {without_secrets(' '.join(reason.split()))}\n")
        job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the study's report, and end with the failures, if there were any."""
        study = Path(config.hydra.sweep.dir)
        try:
            with file_errors_for_users():
                if has_finished_run(study):
                    log.info("report of the study: %s", write_study(study))
        except UserError as error:  # Hydra would make a warning of it, and exit with 0
            sys.exit(one_line(error))
        if failures := [told.read_text("utf-8") for told in sorted((study / _FAILURES).glob("*.txt"))]:
            jobs = "1 job" if len(failures) == 1 else f"{len(failures)} jobs"
            sys.exit(
                f"{jobs} of {study} failed; the same command tries them again and skips what is finished\n"
                + "".join(failures).rstrip()
            )
        log.info("all jobs of %s are finished", study)
