"""Print the reference of all settings, from the schema and the YAML files: docs/configuration.md.

python -m conf.reference > docs/configuration.md
"""

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import hydra
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from conf.arguments import CONF
from conf.schema import RunConfig

_OPENING = """\
# Settings

Every value that a run depends on has a key here: `step=2560` after `python run.py` sets one. Others are refused.
`python run.py --cfg job --resolve` prints the values of a run, and `run.json` keeps them.

This page is made by `python -m conf.reference` from `conf/schema.py` and the YAML files beside it; a test holds it
against them. A default is the demo's; one of Pythia's own follows it. `= key` means that the value follows that key.
"""
_FILES = """\
`name=choice` takes `conf/<name>/<choice>.yaml`. What all of Pythia's sizes share is in `conf/model/suite/pythia.yaml`.
"""
_HYDRA = """\
## Where things go

| key | default | meaning |
|---|---|---|
| `hydra.run.dir` | `runs/<date>/<time>` | directory of a single run; the same one goes on with a killed run |
| `hydra.sweep.dir` | `studies/<name>` | directory of a study, found again by the same command |
| `hydra/launcher` | `basic` | where the jobs of a study run: `joblib`, `submitit_slurm` with their extras |
| `XDG_CACHE_HOME` | `~/.cache` | environment: its `pythia-counterfactual` keeps what was fetched and what was built |
| `HF_HOME` | `~/.cache/huggingface` | environment: Pythia's weights, in the hub's own cache |
"""


def reference() -> str:
    """The page."""
    demo, pythia = _composed("model=demo"), _composed("model=1.4b")
    others = [_composed(f"model={size}") for size in ("70m", "6.9b")]
    defaults = _Defaults(demo, pythia, others)
    parts = [_OPENING, "## The run\n", _table(RunConfig, "", defaults)]
    for name, kind in get_type_hints(RunConfig).items():
        if dataclasses.is_dataclass(kind):
            parts += [f"## `{name}`\n", f"{_first_line(kind)}\n", _table(kind, f"{name}.", defaults)]
    parts += ["## `corpus`\n", "Each choice of `corpus=` has settings of its own.\n", *_corpora()]
    parts += ["## `benchmarks`\n", "`benchmark=[a,b]` chooses; `benchmarks.<name>.<key>` sets.\n", _benchmarks()]
    parts += [_HYDRA, "## The groups and their files\n", _FILES, *_groups()]
    return "\n".join(parts)


@dataclasses.dataclass(frozen=True)
class _Defaults:
    """Composed configurations: the demo's, a Pythia's, and those of other sizes, to tell what is each size's own."""

    demo: DictConfig
    pythia: DictConfig
    others: list[DictConfig]

    def of(self, key: str) -> str:
        demo, pythia, *others = (_value(config, key) for config in (self.demo, self.pythia, *self.others))
        if any(other != pythia for other in others):
            pythia = "by size"
        if demo in (pythia, "", None):
            return f"{pythia}"
        return f"{demo}; Pythia: {pythia}" if pythia else demo


def _value(config: DictConfig, key: str) -> str:
    """A value as it stands in the YAML; empty where the key has none, as below a null."""
    node: Any = config
    for part in key.split("."):
        if node is not None and OmegaConf.is_missing(node, part):
            return "must be set"
        if node is None or part not in node:
            return ""
        if OmegaConf.is_interpolation(node, part):
            target = re.fullmatch(r"\$\{([\w.:]+)\}", OmegaConf.to_container(node, resolve=False)[part])  # type: ignore[call-overload, index]
            return f"= `{target[1]}`" if target else "set by Hydra"
        node = node[part]
    if node is None:
        return "`null`"
    if isinstance(node, Enum):
        return f"`{node.name}`"
    if OmegaConf.is_config(node):
        return "a list" if any(len(str(item)) > 30 for item in node) else f"`[{', '.join(map(str, node))}]`"
    return f"`{str(node).lower() if isinstance(node, bool) else node}`"


def _composed(choice: str) -> DictConfig:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return hydra.compose("config", overrides=[choice])


def _table(kind: Any, prefix: str, defaults: _Defaults) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, type_, meaning in _leaves(kind, prefix):
        lines.append(f"| `{key}` | {_type(type_)} | {defaults.of(key)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _leaves(kind: Any, prefix: str) -> Iterator[tuple[str, Any, str]]:
    """Key, type and meaning of what can be set in a dataclass and in those within it; the run's own only, at the top.

    Raises:
        ValueError: a field is described nowhere.
    """
    told = described(kind, "Attributes")
    for name, type_ in get_type_hints(kind).items():
        inner = next((each for each in (type_, *get_args(type_)) if dataclasses.is_dataclass(each)), None)
        if inner is not None:
            if prefix:
                yield from _leaves(inner, f"{prefix}{name}.")
            continue
        if get_origin(type_) is dict:
            continue
        meaning = _choices(_enum(type_)) or told.get(name)
        if meaning is None:
            raise ValueError(f"{kind.__name__}.{name} has no meaning: tell it under Attributes of the docstring")
        yield f"{prefix}{name}", type_, _cell(meaning)


def described(thing: Any, section: str) -> dict[str, str]:
    """What a docstring's section says of each name, those of a class's ancestors included."""
    found: dict[str, str] = {}
    for kind in reversed(inspect.getmro(thing)) if inspect.isclass(thing) else [thing]:
        _, _, text = inspect.cleandoc(kind.__doc__ or "").partition(f"{section}:\n")
        entry = ""
        for line in text.split("\n\n")[0].splitlines():
            names, colon, meaning = line.strip().partition(": ")
            if colon and re.fullmatch(r" {4}\w+(, \w+)*: .*", line):
                entry = names
                found |= dict.fromkeys(names.split(", "), meaning)
            elif entry:
                found |= {name: f"{found[name]} {line.strip()}" for name in entry.split(", ")}
    return found


def _enum(type_: Any) -> type[Enum] | None:
    return type_ if inspect.isclass(type_) and issubclass(type_, Enum) else None


def _choices(choices: type[Enum] | None) -> str:
    """An Enum's docstring, which says what each choice is; empty for one that has none of its own."""
    text = " ".join((choices.__doc__ or "").split()) if choices else ""
    return "" if text == " ".join((Enum.__doc__ or "").split()) else text


def _first_line(kind: Any) -> str:
    return inspect.cleandoc(kind.__doc__).splitlines()[0]


def _type(type_: Any) -> str:
    if choices := _enum(type_):
        return " ".join(f"`{each.name}`" for each in choices)
    if get_origin(type_) in (Union, UnionType):
        return " or ".join(dict.fromkeys("null" if each is type(None) else _type(each) for each in get_args(type_)))
    if get_origin(type_) is list:
        return f"list of {_type(get_args(type_)[0])}"
    if inspect.isclass(type_) and issubclass(type_, Path):
        return "path"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true, false"}[type_.__name__]


def _cell(text: str) -> str:
    return re.sub(r"\bNone\b", "null", text.replace("|", "\\|"))


def _corpora() -> Iterator[str]:
    for path in sorted((CONF / "corpus").glob("*.yaml")):
        values = cast(DictConfig, OmegaConf.load(path))
        if "_target_" not in values:
            continue
        opened = get_method(values["_target_"])
        told, types = described(opened, "Args"), get_type_hints(opened)
        yield f"`corpus={path.stem}`: {_comment(path)}\n"
        lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
        for name in map(str, values):
            if name != "_target_":
                lines.append(
                    f"| `corpus.{name}` | {_type(types[name])} | {_value(values, name)} | {_cell(told[name])} |"
                )
        yield "\n".join(lines) + "\n"


def _benchmarks() -> str:
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for path in sorted((CONF / "benchmark").glob("*.yaml")):
        for match in re.finditer(r"^(\w+): (.*?)(?: # (.*))?$", path.read_text("utf-8"), re.MULTILINE):
            default = "must be set" if match[2] == "???" else f"`{match[2]}`"
            lines.append(f"| `benchmarks.{path.stem}.{match[1]}` | {default} | {_cell(match[3] or _comment(path))} |")
    return "\n".join(lines) + "\n"


def _groups() -> Iterator[str]:
    for group in ("model", "corpus", "intervention", "training", "benchmark", "experiment"):
        lines = [f"| `{group}=` | |", "|---|---|"]
        for path in sorted((CONF / group).glob("*.yaml"), key=lambda path: _natural(path.stem)):
            lines.append(f"| `{path.stem}` | {_cell(_comment(path) or _size(path))} |")
        yield "\n".join(lines) + "\n"


def _natural(name: str) -> tuple[float, str]:
    """Sizes of models by what they mean: 14m before 1b."""
    match = re.fullmatch(r"([\d.]+)([mb])", name)
    return (float(match[1]) * (1000 if match[2] == "b" else 1) if match else 0, name)


def _comment(path: Path) -> str:
    """The lines of comment that a file begins with, but for package and command."""
    lines = []
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ")
        if not text.startswith(("@package", "python run.py")):
            lines.append(text)
    return " ".join(lines)


def _size(path: Path) -> str:
    shape = cast(DictConfig, OmegaConf.load(path))["model"]["architecture"]
    return (
        f"Pythia: {shape['num_hidden_layers']} layers of width {shape['hidden_size']} with "
        f"{shape['num_attention_heads']} heads."
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
