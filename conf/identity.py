"""What decides a run's numbers beside its settings: see `reports.identity`."""

import importlib.util
import platform
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

import torch

from conf.schema import RunConfig
from foundation import code as code_of_the_kit
from foundation import source_hashes
from interventions import INTERVENTIONS, own
from reports import AS_READ, COMPUTING, OF_A_CPU, cpu_model, hash_of, make_identity, versions
from training import choose_device

OWN_INTERVENTIONS = "interventions/own/"


def run_identity(config: RunConfig, values: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """The entry `identity` of run.json.

    Args:
        values: the configuration as run.json holds it.
        inputs: SHA-256 of what settings name on this machine.
    """
    device = choose_device(config.device)
    opens_corpus, _, _ = config.corpus["_target_"].rpartition(".")
    code = dict(hashes_of_code("run", opens_corpus, f"interventions.own.{config.intervention.name}"))
    code |= _content_of_own(config.intervention.name)
    assert "run.py" in code, f"{code_of_the_kit.ROOT} is not where the code is"
    return make_identity(
        config=values,
        code=code,
        inputs=inputs,
        packages=versions(COMPUTING),
        python=_python(),
        device=device.type,
        threads=_threads(device),
        cpu_capability=_cpu_capability(device),
    )


def _content_of_own(name: str) -> dict[str, str]:
    """SHA-256 of what an intervention of one's own came out as: it may have read other files than the kit's.

    Of the kit's own interventions the code says it all.
    """
    if importlib.util.find_spec(f"{own.__name__}.{name}") is None:
        return {}
    return {f"{OWN_INTERVENTIONS}{name}.py{AS_READ}": hash_of(asdict(INTERVENTIONS[name]))}


@cache
def hashes_of_code(*modules: str) -> dict[str, str]:
    """SHA-256 of each source file of the kit that modules, and what they import, can decide a number by.

    As they were when this process began, since it computes by them, whatever becomes of the files meanwhile.
    """
    return source_hashes(code_of_the_kit.SOURCES, modules=modules, packages=code_of_the_kit.DECIDING)


def made_with(device: torch.device) -> dict[str, Any]:
    """What a suite that the kit pre-trains here is made with: where all of it agrees, so does every bit."""
    return {
        "code": hash_of(hashes_of_code("training.pretraining")),
        "packages": versions(COMPUTING),
        "python": _python(),
        "device": device.type,
        "threads": _threads(device),
        "cpu_capability": _cpu_capability(device),
        "cpu": cpu_model(),
    }


def made_otherwise(suite: list[dict[str, Any]] | None, device: torch.device) -> str | None:
    """In words, how a suite was made otherwise than it would be here; None where it was made alike.

    Args:
        suite: what it was made with, from each start that made a part of it; None: it is not known.
    """
    unknown = "What the suite was made with is not known."
    if not suite:
        return unknown
    now = made_with(device)
    differing: dict[str, tuple[list[str], str]] = {}
    for each in suite:
        comparable = [
            name for name in now if name in each and not (name in OF_A_CPU and None in (each[name], now[name]))
        ]
        for name in comparable:
            if each[name] != now[name]:
                old, new = _in_words(name, each[name], now[name])
                differing.setdefault(name, ([], new))[0].append(old)
    if not differing:
        return unknown if any(now.keys() - each.keys() for each in suite) else None
    were = ", ".join(" and ".join(dict.fromkeys(old)) for old, _ in differing.values())
    return f"The suite was made with {were}; this run with {', '.join(new for _, new in differing.values())}."


def _in_words(name: str, old: Any, new: Any) -> tuple[str, str]:
    match name:
        case "code":
            return "other code", "the present code"
        case "packages":
            names = [package for package in new if old.get(package) != new[package]]
            was, is_ = (", ".join(f"{package} {each.get(package)}" for package in names) for each in (old, new))
            return was, is_
        case "threads":
            was, is_ = (f"{each} thread{'' if each == 1 else 's'}" for each in (old, new))
            return was, is_
        case _:
            called = {"cpu": "processor", "cpu_capability": "kernels for", "python": "Python"}.get(name, name)
            return f"{called} {old}", f"{called} {new}"


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _threads(device: torch.device) -> int | None:
    """PyTorch's on a CPU, where they change the order of sums."""
    return torch.get_num_threads() if device.type == "cpu" else None


def _cpu_capability(device: torch.device) -> str | None:
    """The vector instructions that PyTorch's kernels use on a CPU: others give other last bits."""
    return torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else None
