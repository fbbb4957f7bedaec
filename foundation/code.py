"""The source of the kit as this process computes by it, whatever becomes of the files meanwhile."""

import ast
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
# The packages that can decide a number. What `reports` makes of a run's files can be made again.
DECIDING = ("conf", "corpus", "eval", "foundation", "interventions", "training")


def read_sources(root: Path, packages: Iterable[str] = DECIDING) -> dict[str, bytes]:
    """Each source file of some packages, and run.py, by its path below `root`."""
    places = [root / "run.py", *(path for package in packages for path in (root / package).rglob("*.py"))]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(places) if path.is_file()}


SOURCES = read_sources(ROOT)  # read once, as the process begins


def source_hashes(
    sources: Mapping[str, bytes], *, modules: Iterable[str], packages: Collection[str], parents: bool = True
) -> dict[str, str]:
    """SHA-256 of each source file that `modules` import, directly or not, themselves included, by path.

    Imports are read in the text, those within functions too; nothing is imported.

    Args:
        sources: source files by path.
        modules: dotted names; one that has no file is left out.
        packages: those that are followed.
        parents: follow also the `__init__.py` of the packages that a module lies in, as Python does.
    """
    found: dict[str, str] = {}
    waiting = [path for module in modules for path in _files_of(sources, module, parents)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found[path] = hashlib.sha256(sources[path]).hexdigest()
        for module in _imported(sources[path], PurePosixPath(path).parent.parts):
            if module.partition(".")[0] in packages:
                waiting += _files_of(sources, module, parents)
    return dict(sorted(found.items()))


@cache
def hash_of_source(module: str, *packages: str) -> str:
    """SHA-256 of the source of a module and of what it imports of some packages, as this process began with it."""
    found = source_hashes(SOURCES, modules=[module], packages=packages, parents=False)
    assert found, f"{ROOT} is not where the code is"
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _files_of(sources: Mapping[str, bytes], module: str, parents: bool) -> list[str]:
    """What Python would read for a module: its own file, and the `__init__.py` of each package above it."""
    parts = module.split(".")
    places = ["/".join(parts[: count + 1]) for count in range(0 if parents else len(parts) - 1, len(parts))]
    return [file for place in places for file in (f"{place}/__init__.py", f"{place}.py") if file in sources]


@cache
def _imported(source: bytes, package: tuple[str, ...]) -> list[str]:
    """Every name that may be an imported module's."""
    return list(_names_imported(source, package))


def _names_imported(source: bytes, package: tuple[str, ...]) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
