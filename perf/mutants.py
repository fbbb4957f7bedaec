"""Whether the tests notice faults: small changes (mutants) are made to the code, and the tests of its package are run.

python -m perf.mutants [--sample N] [--seed N] [--jobs N] [--record] PACKAGE|MODULE ...

A mutant has one change (DeMillo, Lipton and Sayward 1978, Hints on Test Data Selection): another comparison or
arithmetic, a condition negated, `and` for `or`, a number one off, True for False, min for max, any for all, a slice one
longer, a call or an entry of a table left out, `break` for `continue`. Texts, errors, annotations and decorators stay.

It is killed where a test fails, and timed out where a file of tests takes ten times as much processor time as without
it. Only files that import the package are run, the module's own first, and of those only the ones that run the changed
line and take less than a minute. What tests start as processes of their own runs unchanged code. Every file is run in a
fork of this process, which has imported torch and the others.
"""

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import json
import math
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import hypothesis
import pytest
import torch

from perf.record import keep, origin

ROOT = Path(__file__).resolve().parent.parent
OWN = ("run", "conf", "corpus", "eval", "foundation", "interventions", "reports", "training")
LONGEST_S = 60.0  # of processor time that a file of tests may take without a mutant, to be run at all
TIMES, LEAST_S = 10, 10.0  # what it may take with one: times as much, and seconds
IDLE = 30  # a process that waits for ever is stopped after as many times its processor time
MEMORY = 8 << 30

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd},
    **{ast.LShift: ast.RShift, ast.RShift: ast.LShift},
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
UNCHANGED = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)
TEXT_FIELDS = ("annotation", "returns", "decorator_list", "type_params")


@dataclass(frozen=True, eq=False)
class Mutant:
    """One change of one module.

    Attributes:
        lines: from the beginning of the statement to the change.
        apply: makes the change in `tree`, for good.
    """

    path: Path
    tree: ast.Module
    lines: range
    change: str
    apply: Callable[[], None]


@dataclass(frozen=True)
class Clean:
    """What a file of tests does to unchanged code: how long it takes, and which lines it runs, by path."""

    seconds: float
    lines: Mapping[str, set[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the figures to perf/record.jsonl")
    parser.add_argument("--sample", type=int, default=8, help="mutants of a module, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("names", nargs="+", metavar="PACKAGE|MODULE", help="such as eval, or eval.statistics")
    arguments = parser.parse_args()
    found = origin()
    os.chdir(ROOT)
    prepare()
    for name in arguments.names:
        started = time.monotonic()
        made = {path: mutants_of(path) for path in paths_of(name)}
        if not any(made.values()):
            parser.error(f"{name} has nothing to change; name a package or a module, such as eval or eval.statistics")
        picked = [
            mutant
            for path, mutants in made.items()
            for mutant in random.Random(f"{arguments.seed} {path}").sample(mutants, min(arguments.sample, len(mutants)))
        ]
        outcomes: dict[Path, list[str]] = defaultdict(list)
        for mutant, outcome in zip(picked, judge(picked, tests_of(name), jobs=arguments.jobs), strict=True):
            outcomes[mutant.path].append(outcome)
            sys.stdout.write(f"{outcome:12}{mutant.change}\n")
            sys.stdout.flush()
        figures = {
            "modules": len(made),
            "possible mutants": sum(map(len, made.values())),
            **counted([outcome for some in outcomes.values() for outcome in some]),
            "seconds": round(time.monotonic() - started),
            "by module": {str(path): counted(some) for path, some in outcomes.items()},
        }
        sys.stdout.write(f"{name}\n" + "".join(f"  {key:42}{value}\n" for key, value in figures.items()))
        if arguments.record:
            keep(f"mutants of {name}", figures, origin=found)


def prepare() -> None:
    """What every fork finds: one thread, hypotheses that draw the same each time, and imported packages."""
    sys.dont_write_bytecode = True
    torch.set_num_threads(1)
    hypothesis.settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],  # that it fails counts, not how simply
    )
    hypothesis.settings.load_profile("mutants")
    for name in OWN:
        importlib.import_module(name)


def counted(outcomes: Sequence[str]) -> dict[str, Any]:
    counts = Counter(outcomes)
    noticed = counts["killed"] + counts["timed out"]
    return {"mutants": len(outcomes), **counts, "score": round(noticed / len(outcomes), 3)}


def paths_of(name: str) -> list[Path]:
    """The modules of a package, or the one of this name."""
    path = Path(*name.split("."))
    return [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else sorted(path.rglob("*.py"))


def tests_of(name: str) -> list[Path]:
    """The files of tests that import the package of `name`."""
    imports = re.compile(rf"^(from|import) {name.partition('.')[0]}\b", re.MULTILINE)
    return [path for path in sorted(Path("tests").glob("test_*.py")) if imports.search(path.read_text())]


def mutants_of(path: Path) -> list[Mutant]:
    """All of a module, in the order of its text."""
    tree = ast.parse(path.read_text())
    return list(_within(tree, path=path, tree=tree, first=1))


def _within(parent: ast.AST, *, path: Path, tree: ast.Module, first: int) -> Iterator[Mutant]:
    for field, value in ast.iter_fields(parent):
        if field in TEXT_FIELDS:
            continue
        for index, node in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(node, ast.AST) or isinstance(node, UNCHANGED) or _is_left(node):
                continue
            at = getattr(node, "lineno", first) if isinstance(node, ast.stmt) else first
            for new in _others(node, field):
                if isinstance(value, list):
                    apply = partial(value.__setitem__, index, new)
                else:
                    apply = partial(setattr, parent, field, new)
                lines = range(at, getattr(node, "end_lineno", at) + 1)
                change = f"{path}:{getattr(node, 'lineno', at)}: {_short(node)}  →  {_short(new)}"
                yield Mutant(path, tree, lines, change, apply)
            yield from _within(node, path=path, tree=tree, first=at)


def _others(node: ast.AST, field: str) -> Iterator[ast.AST]:
    """What may stand in the place of a node, the `field` of its parent."""
    if field in ("test", "ifs") and not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), node)  # type: ignore[arg-type]  # a test is an expression
    match node:
        case ast.Compare(left, operators, right):
            for index, operator in enumerate(operators):
                other = [*operators[:index], COMPARISONS[type(operator)](), *operators[index + 1 :]]
                yield ast.Compare(left, other, right)
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS:
            yield ast.BinOp(left, OPERATORS[type(operator)](), right)
        case ast.AugAssign(target, operator, value) if type(operator) in OPERATORS:
            yield ast.AugAssign(target, OPERATORS[type(operator)](), value)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Call(ast.Name(name), given, named) if name in NAMES:
            yield ast.Call(ast.Name(NAMES[name], ast.Load()), given, named)
        case ast.Slice(lower, upper, step):
            if lower is not None and not isinstance(lower, ast.Constant):
                yield ast.Slice(ast.BinOp(lower, ast.Add(), ast.Constant(1)), upper, step)
            if upper is not None and not isinstance(upper, ast.Constant):
                yield ast.Slice(lower, ast.BinOp(upper, ast.Add(), ast.Constant(1)), step)
        case ast.Expr(ast.Call()):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
        case ast.Tuple(elements, ast.Load()) if field != "slice" and _is_table(elements):
            yield ast.Tuple(_without_middle(elements), ast.Load())
        case ast.List(elements, ast.Load()) if _is_table(elements):
            yield ast.List(_without_middle(elements), ast.Load())
        case ast.Set(elements) if _is_table(elements):
            yield ast.Set(_without_middle(elements))
        case ast.Dict(keys, values) if len(keys) > 2:
            yield ast.Dict(_without_middle(keys), _without_middle(values))


def _is_left(node: ast.AST) -> bool:
    """Whether it is a list of public names, or the `strict=True` of a zip: a guard against what cannot happen."""
    match node:
        case ast.Assign([ast.Name("__all__")]) | ast.keyword("strict"):
            return True
    return False


def _is_table(elements: Sequence[ast.expr]) -> bool:
    return len(elements) > 2 and all(isinstance(element, ast.Constant | ast.Tuple | ast.Call) for element in elements)


def _without_middle(elements: list[Any]) -> list[Any]:
    return [*elements[: len(elements) // 2], *elements[len(elements) // 2 + 1 :]]


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
    return text if len(text) <= 70 else f"{text[:35]} … {text[-32:]}"


def judge(mutants: Sequence[Mutant], tests: Sequence[Path], *, jobs: int) -> Iterator[str]:
    """Of each: killed, timed out, survived, or not run, where no test runs the changed line."""
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        done = dict(zip(tests, pool.imap(_clean, tests), strict=True))
    failing = [str(test) for test, (code, _) in done.items() if code]
    if failing:
        raise SystemExit(f"tests fail without any mutant: {', '.join(failing)}; mend them first")
    clean = {test: clean for test, (code, clean) in done.items() if code == 0}
    left = [test.stem for test in tests if test not in clean]
    sys.stdout.write(
        f"tests of {len(clean)} files are run; of these not, for their time: {', '.join(left) or 'none'}\n"
    )
    with multiprocessing.get_context("fork").Pool(jobs, _remember, (mutants, clean)) as pool:
        yield from pool.imap(_judge_one, range(len(mutants)))


_remembered: dict[str, Any] = {}


def _remember(mutants: Sequence[Mutant], clean: Mapping[Path, Clean]) -> None:
    _remembered.update(mutants=mutants, clean=clean)


def _judge_one(index: int) -> str:
    mutant: Mutant = _remembered["mutants"][index]
    clean: Mapping[Path, Clean] = _remembered["clean"]
    running = [
        test for test, done in clean.items() if not done.lines.get(str(mutant.path), set()).isdisjoint(mutant.lines)
    ]
    running.sort(key=lambda test: (test.stem != f"test_{mutant.path.stem}", clean[test].seconds))
    for test in running:
        limit = max(LEAST_S, TIMES * clean[test].seconds)
        code, _ = _forked(partial(_with_mutant, mutant, test), limit=limit)
        if code is None:
            return "timed out"
        if code != 0:
            return "killed"
    return "survived" if running else "not run"


def _clean(test: Path) -> tuple[int | None, Clean]:
    with tempfile.NamedTemporaryFile() as file:
        code, seconds = _forked(partial(_traced, test, Path(file.name)), limit=LONGEST_S)
        lines = {path: set(numbers) for path, numbers in json.load(file).items()} if code == 0 else {}
        return code, Clean(seconds, lines)


def _forked(work: Callable[[], int], *, limit: float) -> tuple[int | None, float]:
    """The exit code of `work` in a fork that prints nothing, and the seconds of processor time that it took.

    The code is None where it takes more than `limit` seconds.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit)))
            for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
                del sys.modules[name]
            code = work()
        finally:
            os._exit(code)
    until = time.monotonic() + IDLE * limit
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            stopped = code in (-signal.SIGKILL, -signal.SIGXCPU)
            return None if stopped else code, used.ru_utime + used.ru_stime
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)


def _tested(test: Path) -> int:
    return int(pytest.main(["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", str(test)]))


def _with_mutant(mutant: Mutant, test: Path) -> int:
    mutant.apply()
    code = compile(ast.fix_missing_locations(mutant.tree), str(ROOT / mutant.path), "exec")
    sys.meta_path.insert(0, _Finder(mutant.path, code))
    return _tested(test)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module, with code of its own."""

    def __init__(self, path: Path, code: CodeType) -> None:
        parts = path.with_suffix("").parts
        self._name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self._loader = _Loader(self._name, str(ROOT / path))
        self._loader.code = code

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._loader.path, loader=self._loader)


class _Loader(SourceFileLoader):
    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


def _traced(test: Path, file: Path) -> int:
    """Run the tests, and write to `file` which lines of our own packages they ran."""
    lines: dict[str, set[int]] = defaultdict(set)
    packages = tuple(str(ROOT / name) for name in OWN)

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        if not path.startswith(packages):
            return None
        ran = lines[str(Path(path).relative_to(ROOT))]

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            ran.add(frame.f_lineno)
            return step

        return step

    threading.settrace(enter)
    sys.settrace(enter)
    code = _tested(test)
    sys.settrace(None)
    file.write_text(json.dumps({path: sorted(numbers) for path, numbers in lines.items()}))
    return code


if __name__ == "__main__":
    main()
