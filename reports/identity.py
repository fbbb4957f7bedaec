"""What a run is, by content: the code, the local files, the packages and the arithmetic that its numbers come from.

Where two starts agree in identity and configuration they compute the same numbers, so one may go on with what the other
left, take what it shares, or skip what it finished. Git is not asked: a commit says nothing of files that were edited,
and a clean clone nothing of the text beside it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from foundation import UserError

ELSEWHERE = "set another hydra.run.dir (for a study another hydra.sweep.dir)"

AS_READ = " as read"  # behind the path of a source file: what came of it, which may depend on other files

OF_A_CPU = ("threads", "cpu_capability")  # None where a GPU computes

_WHOLE_BYTES = 4 * 2**30
_BLOCK_BYTES, _BLOCKS = 2**20, 256
_NAMED = 4  # differences that a refusal spells out


def content_hash(files: Mapping[str, Path]) -> str:
    """SHA-256 of files and of the names that they are given: not of where they lie.

    Up to 4 GiB in all every byte counts. Of more, the sizes do, and some 256 blocks of 1 MiB that are spread evenly:
    another corpus or checkpoint is noticed, an edit of single bytes between the blocks is not.
    """
    sizes = {name: path.stat().st_size for name, path in files.items()}
    total = sum(sizes.values())
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        blocks = None if total <= _WHOLE_BYTES else max(2, _BLOCKS * sizes[name] // total)
        stat = path.stat()
        found = _file_hash(path.resolve(), blocks, stat.st_size, stat.st_mtime_ns, stat.st_ino)
        digest.update(f"{name}\0{sizes[name]}\0{found}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=4096)
def _file_hash(path: Path, blocks: int | None, size: int, mtime_ns: int, inode: int) -> str:
    """SHA-256 of a file, or of so many blocks of it; the other arguments tell whether it is still the same.

    The jobs of a study that run in one process read it once.
    """
    with path.open("rb") as file:
        if blocks is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        for block in range(blocks):
            file.seek(max(0, size - _BLOCK_BYTES) * block // (blocks - 1))
            digest.update(file.read(_BLOCK_BYTES))
        return digest.hexdigest()


def make_identity(
    *,
    config: Mapping[str, Any],
    code: Mapping[str, str],
    inputs: Mapping[str, str],
    packages: Mapping[str, str | None],
    python: str,
    device: str,
    threads: int | None,
    cpu_capability: str | None = None,
) -> dict[str, Any]:
    """The entry `identity` of run.json.

    Args:
        config: the configuration. Settings that are `inputs` count by their content.
        code: SHA-256 of source files by path, and of what came of one, by its path and `AS_READ`.
        inputs: SHA-256 of what the settings that name something on this machine stand for, by setting.
        packages: versions of those that compute; None is not installed.
        python: its version, without the last number.
        device: cpu or cuda.
        threads: of PyTorch, on a CPU, where they change the last bits; else None.
        cpu_capability: which of PyTorch's kernels compute, on a CPU, where they do too; else None.
    """
    identity = {
        **{"code": dict(code), "inputs": dict(inputs), "packages": dict(packages)},
        **{"python": python, "device": device, "threads": threads, "cpu_capability": cpu_capability},
    }
    settings = {name: value for name, value in flat(config).items() if name not in inputs}
    return {"sha256": hash_of([identity, settings]), **identity}


def hash_of(content: Any) -> str:
    """SHA-256 of what JSON can hold; the order of keys does not count."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def refuse_other_run(
    directory: Path, known: Mapping[str, Any], *, config: Mapping[str, Any], identity: Mapping[str, Any]
) -> None:
    """Hold a run against one that is about to start.

    Args:
        known: run.json of the run in `directory`.
        config, identity: of the one that starts.

    Raises:
        UserError: they are not the same run. The line says in what they differ, and what would make them agree.
    """
    if "identity" not in known:
        raise UserError(
            f"{directory} holds a run of an earlier version of the kit, whose run.json does not say of what code and "
            f"content it was made (it has no entry identity); {ELSEWHERE}"
        )
    before = known["identity"]
    by_content = before["inputs"].keys() & identity["inputs"].keys()
    old, new = (
        {name: value for name, value in flat(each).items() if name not in by_content}
        for each in (known["config"], config)
    )
    differing = {name: (old.get(name), new.get(name)) for name in _unequal(old, new)}
    remedies = ["go on with what it began with"] if differing else []
    for part, remedy in _REMEDIES.items():
        if part in OF_A_CPU and before["device"] != identity["device"]:
            continue
        if part not in before:  # of an earlier version of the kit, whose code differs
            continue
        old, new = (_by_name(part, each[part]) for each in (before, identity))
        if names := _unequal(old, new):
            differing |= {_LABELS.get(part, "{}").format(name): (old.get(name), new.get(name)) for name in names}
            remedies.append(remedy(names, old))
    refuse(directory, differing, remedy=" and ".join(remedies))


def mixture_caveats(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """What to know of runs that are read together and were not made alike, from each's run.json.

    Their settings may differ, as may what they read, and interventions of one's own: that is what is compared.
    """
    identities = [run["identity"] for run in runs if "identity" in run]
    differing = []
    for part in _REMEDIES.keys() - {"inputs"}:
        values = [_by_name(part, each[part]) for each in identities if part in each]
        names = {name for each in values for name in each if not name.startswith("interventions/own/")}
        differing += [name for name in names if len({each.get(name) for each in values}) > 1]
    if not differing:
        return []
    named = ", ".join(sorted(differing)[:_NAMED]) + (", ..." if len(differing) > _NAMED else "")
    return [f"The runs were not all made alike ({named} differ), so a difference between two may come from that."]


def _by_name(part: str, value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {part: value}


def refuse(directory: Path, differing: Mapping[str, tuple[Any, Any]], *, remedy: str) -> None:
    """Raise UserError where something differs.

    Args:
        differing: what it was in the run in `directory`, and what it is now, by name.
        remedy: what would make them agree.
    """
    if not differing:
        return
    first = list(differing.items())[:_NAMED]
    more = f" ({len(differing) - _NAMED} more differ)" if len(differing) > _NAMED else ""
    old, new = (" ".join(f"{name}={_short(pair[index])}" for name, pair in first) for index in (0, 1))
    raise UserError(f"{directory} holds a run with {old}, this one has {new}{more}; {remedy}, or {ELSEWHERE}")


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def _short(value: Any) -> Any:
    """Of a hash its first characters: what a reader can compare."""
    return value[:12] if isinstance(value, str) and len(value) == 64 and value.isalnum() else value


def _undo(names: list[str], _: Mapping[str, Any]) -> str:
    edited = [name for name in names if not name.endswith(AS_READ)]
    read = [path for name in names if (path := name.removesuffix(AS_READ)) not in edited]
    named = ", ".join(edited[:_NAMED]) + (f" and {len(edited) - _NAMED} other files" if len(edited) > _NAMED else "")
    remedies = [f"undo the edit of {named}"] if edited else []
    return " and ".join([*remedies, *(f"put back what {path} reads" for path in read)])


def _put_back(names: list[str], _: Mapping[str, Any]) -> str:
    return f"put back what {', '.join(names)} held"


def _install(names: list[str], were: Mapping[str, Any]) -> str:
    return " and ".join(f"install {name} {were[name]}" if were.get(name) else f"remove {name}" for name in names)


def _set_device(_: list[str], were: Mapping[str, Any]) -> str:
    return "hide the GPU (CUDA_VISIBLE_DEVICES=)" if were["device"] == "cpu" else "start it where there is a GPU"


def _set_threads(_: list[str], were: Mapping[str, Any]) -> str:
    number = were["threads"]
    return (
        f"start it with {number} thread{'' if number == 1 else 's'} (OMP_NUM_THREADS={number}, and no other "
        f"MKL_NUM_THREADS)"
    )


def _set_capability(_: list[str], were: Mapping[str, Any]) -> str:
    name = {"AVX2": "avx2", "AVX512": "avx512"}.get(were["cpu_capability"], "default")
    return f"start it with ATEN_CPU_CAPABILITY={name}, on a machine that has {were['cpu_capability']}"


# what to do where a part of the identity differs, by the names of what does and the values that there were
_REMEDIES: dict[str, Callable[[list[str], Mapping[str, Any]], str]] = {
    "code": _undo,
    "inputs": _put_back,
    "packages": _install,
    "python": lambda _, were: f"start it with Python {were['python']}",
    "device": _set_device,
    "threads": _set_threads,
    "cpu_capability": _set_capability,
}
_LABELS = {"inputs": "content of {}"}
