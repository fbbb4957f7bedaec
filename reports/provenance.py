"""Which commit, which packages and which machine: the part of run.json that says where numbers come from."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

# those that compute or read what is computed with: other versions may give other numbers
COMPUTING = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "datasets",
    "numpy",
    "scipy",
    "statsmodels",
    "pandas",
    "pyarrow",
)
PACKAGES = ("pythia-counterfactual", *COMPUTING, "hydra-core")

_ROOT = Path(__file__).resolve().parents[1]
_CPU_INFO = Path("/proc/cpuinfo")


def provenance() -> dict[str, Any]:
    """Entries `git`, `packages`, `hardware` and `python` of run.json.

    `commit` and `dirty` are null where the code is not in a clone of its own; a package that is not installed is null.
    """
    return {
        "git": git_state(_ROOT),
        "packages": versions(PACKAGES),
        "hardware": {
            "platform": platform.platform(),
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "torch_threads": torch.get_num_threads(),
            "gpus": _gpus(),
            "processes": torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1,
        },
        "python": platform.python_version(),
    }


def git_state(root: Path) -> dict[str, Any]:
    """Commit of the clone whose top is `root`, and whether files in it differ from that commit or are not in it."""
    top = _git(root, "rev-parse", "--show-toplevel")
    # An installed copy may lie inside somebody else's repository, whose commit says nothing of this code.
    if top is None or Path(top).resolve() != root.resolve():
        return {"commit": None, "dirty": None}
    commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where there is no git, no repository or no commit."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The version of each package, None of one that is not installed."""
    return {name: _version(name) for name in packages}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's name; Linux tells it only here."""
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpus() -> list[dict[str, Any]]:
    properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [{"name": gpu.name, "memory_gib": round(gpu.total_memory / 2**30, 1)} for gpu in properties]
