"""What tells runs apart, and what their control differs in, from run.json alone."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pandas as pd

from reports.identity import hash_of

# What is said of every run, in this order in tables and labels.
DESIGN = (
    "protocol",
    "model",
    "deduped",
    "model_seed",
    "step",
    "steps",
    "sequences_per_step",
    "intervention",
    "fraction",
    "unit",
    "start",
    "stop",
    "seed",
    "control",
    "precision",
    "optimizer_state",
)
# `model_seed` tells suites apart, `seed` the draws of one.
SEEDS = ("model_seed", "seed")
ANY = "any"  # the value of a seed that has no effect

_IN_DESIGN = (
    "protocol",
    "model.name",
    "model.deduped",
    "model.seed",
    "model.pretraining.seed",
    "step",
    "steps",
    "training.sequences_per_step",
    "intervention.name",
    "intervention.fraction",
    "intervention.unit",
    "intervention.start",
    "intervention.stop",
    "seed",
    "control",
    "training.precision",
    "optimizer_state",
)
_DECIDES_NO_NUMBER = (
    "corpus.cache_gib",
    "model.caveats",
    "model.limits",
    "output_dir",
    "plan",
    "tracker",
    "training.save_every",
    "training.save_minutes",
)
# The setting that an entry of `arithmetic` is the outcome of: what auto and null came to.
_OUTCOMES = {
    "micro_batch": "training.micro_batch",
    "compiled": "training.compile",
    "activation_checkpointing": "training.activation_checkpointing",
    "activation": "training.numerics.activation",
    "rope": "training.numerics.rope",
}
# What of the configuration is for one protocol alone, and for which it is read.
_OF_PROTOCOLS = {
    "audit.": ("audit",),
    "fidelity.": ("counterfactual", "fidelity"),
    "fidelity.optimizer_states": ("fidelity",),
    "trajectory.": ("counterfactual", "trajectory"),
}
# What an intervention is set by; `intervention.` are its details.
OF_INTERVENTION = ("intervention", "fraction", "unit", "start", "stop", "intervention.")
_NOT_REPLAYED = ("exact", "neox", "fresh")
# Sections in which the choice of a model sets something.
_OF_A_MODEL = ("model.", "corpus.", "training.", "fidelity.")
_OWN = "interventions/own/"
_SHORT = 7


class Content(str):
    """SHA-256 of what a setting names on the machine, which is what counts of it; `name` is that of the file."""

    name: str

    def __new__(cls, sha256: str, place: Any) -> "Content":
        content = super().__new__(cls, sha256)
        content.name = PurePath(str(place)).name
        return content


def with_file_names(compared: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings, with the file's name for a content where that tells the contents of a setting apart as well."""
    named: dict[str, dict[str, str]] = {}
    for each in compared:
        for key, value in each.items():
            if isinstance(value, Content):
                named.setdefault(key, {}).setdefault(str(value), value.name)
    telling = {key for key, names in named.items() if 1 < len(names) == len(set(names.values()))}
    return [
        {k: named[k][v] if k in telling and isinstance(v, Content) else v for k, v in each.items()} for each in compared
    ]


def settings(run: Mapping[str, Any]) -> dict[str, Any]:
    """All that can decide a number of a run: two runs with the same are alike, up to what differs by the suite.

    They are the keys of `DESIGN`, then every other key of the configuration by its name, with what `auto` and `null`
    came to and the content of what is named on the machine, then the kind of device, the code and the versions of
    packages. Left out are settings that decide no number, those that are not read (see `idle`), those of an
    intervention that does nothing, and the number of threads, which changes last digits alone.

    Args:
        run: a run.json; its entry `identity` may be missing.
    """
    config, identity = _flat(run["config"]), run.get("identity") or {}
    name = run["intervention"]["name"] if "intervention" in run else None
    left_out = {*_IN_DESIGN, *_DECIDES_NO_NUMBER, "device", *idle(run)}
    own = {key: value for key, value in config.items() if key not in left_out}
    own |= {key: Content(value, own[key]) for key, value in identity.get("inputs", {}).items() if key in own}
    made = _made_by(run, identity)
    if name in (None, "none", "audited"):
        own, made = ({k: v for k, v in each.items() if not k.startswith("intervention.")} for each in (own, made))
    if _follows_the_suite(config):
        own.pop("corpus.seed", None)
    own |= {key: run["arithmetic"][entry] for entry, key in _OUTCOMES.items() if entry in run["arithmetic"]}
    return {**design(run), **own, **made}


def idle(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the run does not read: those of other protocols, and of replay where nothing is replayed."""
    config = run["config"]
    protocol = config["protocol"]
    sections = tuple(section for section, protocols in _OF_PROTOCOLS.items() if protocol not in protocols)
    sources = [config.get("optimizer_state")]
    if protocol == "fidelity":
        sources = (config.get("fidelity") or {}).get("optimizer_states") or ["unknown"]
    if protocol in ("audit", "trajectory") or all(source in _NOT_REPLAYED for source in sources):
        sections += ("replay.",)
    return {key: value for key, value in _flat(config).items() if key.startswith(sections)}


def in_configuration(name: str) -> str:
    """What a key of `settings` is called in the configuration."""
    spelled = [each for each in _IN_DESIGN if each != "model.seed"]  # model_seed is either
    return dict(zip(DESIGN, spelled, strict=True)).get(name, name)


def _follows_the_suite(config: Mapping[str, Any]) -> bool:
    """Whether the order of the corpus is that of the suite's seed, as of PolyPythias."""
    made_by_kit = any(key.startswith("model.pretraining.") for key in config)
    return not made_by_kit and config.get("corpus.seed") == config.get("model.seed")


def _made_by(run: Mapping[str, Any], identity: Mapping[str, Any]) -> dict[str, Any]:
    """Kind of device, code, packages; code that is the intervention's own apart, as other interventions have none."""
    device = run["config"].get("device", "auto")
    kind = ("cuda" if run["hardware"]["gpus"] else "cpu") if device == "auto" else device.partition(":")[0]
    code, own = identity.get("code", run["git"]["commit"]), {}
    if isinstance(code, Mapping):
        own = {
            file: value for file, value in code.items() if file.startswith(_OWN) and not file.endswith("__init__.py")
        }
        code = hash_of({file: value for file, value in code.items() if file not in own})
    made = {
        "device": identity.get("device", kind),
        "code": code,
        "packages": identity.get("packages", run["packages"]),
        "python": identity.get("python", ".".join(run["python"].split(".")[:2])),
    }
    return _flat(made) | ({"intervention.code": hash_of(own)} if own else {})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves by their dotted names; a list is its text, and a section without settings is there."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, Mapping | list) else value
    return flat


def design(run: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of every run, from its run.json; the keys are `DESIGN`."""
    config, segment = run["config"], run["segment"]
    model, chosen = config["model"], config.get("intervention") or {}
    name = run["intervention"]["name"] if "intervention" in run else None
    dosed = name not in (None, "none", "audited")
    pretraining = model.get("pretraining")
    return {
        "protocol": config["protocol"],
        "model": run["checkpoint"]["model"],
        "deduped": model.get("deduped"),
        "model_seed": pretraining["seed"] if pretraining else model.get("seed"),
        "step": segment["step"],
        "steps": segment["steps"],
        "sequences_per_step": segment["sequences_per_step"],
        "intervention": name,
        "fraction": chosen.get("fraction") if dosed else 0.0 if name == "none" else None,
        "unit": chosen.get("unit") if dosed else None,
        "start": chosen.get("start") if dosed else None,
        "stop": chosen.get("stop") if dosed else None,
        "seed": config["seed"],
        "control": run.get("control"),
        "precision": run["arithmetic"]["precision"],
        "optimizer_state": config.get("optimizer_state"),
    }


def without(of: Mapping[str, Any], *names: str) -> str:
    """Settings but for some, as a key of what they have in common; a name that ends in a dot stands for its section."""
    sections = tuple(name for name in names if name.endswith("."))
    return repr(sorted((k, repr(v)) for k, v in of.items() if k not in names and not k.startswith(sections)))


def told_apart_by(compared: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings that differ among runs, those of `DESIGN` first.

    Left out, since others that are shown decide them: what the choice of a model or of an intervention brings with it,
    and settings that only repeat another's value under another section, as `training.lr` repeats `model.recipe.lr`.
    """
    others = sorted({key for each in compared for key in each} - set(DESIGN))
    columns = {name: tuple(repr(each.get(name)) for each in compared) for name in (*DESIGN, *others)}
    models = list(zip(columns["model"], columns["deduped"], strict=True))
    shown: list[str] = []
    for name, column in columns.items():
        repeats = any(name.rpartition(".")[2] == s.rpartition(".")[2] and column == columns[s] for s in shown)
        brought = (name.startswith(_OF_A_MODEL) and _decides(models, column)) or (
            name.startswith("intervention.") and _decides(columns["intervention"], column)
        )
        if len(set(column)) > 1 and (name in DESIGN or not (repeats or brought)):
            shown.append(name)
    return shown


def _decides(known: Sequence[Any], column: Sequence[Any]) -> bool:
    """Whether each known value goes with one value of the column."""
    return len(set(zip(known, column, strict=True))) == len(set(known))


def labels(compared: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each of several runs is called beside the others: by what tells them apart; alike ones are called alike.

    Args:
        compared: settings of each, all of them or some.
    """
    compared = with_file_names(compared)
    shown = [name for name in told_apart_by(compared) if name != "intervention"]
    named = any(each.get("intervention") is not None for each in compared)
    return [
        ", ".join(
            [
                *([word("intervention", each["intervention"])] if named else []),
                *(word(name, each.get(name)) for name in shown),
            ]
        )
        for each in compared
    ]


def word(name: str, value: Any) -> str:
    """A setting and its value in a label."""
    spelled = name if "." in name else name.replace("_", " ")
    if pd.isna(value):
        return f"no {spelled}"
    if value == ANY:
        return f"any {spelled}"
    if name in ("intervention", "model", "protocol", "precision"):
        return str(value).replace("_", " ")
    return f"{spelled} {in_print(value)}"


def in_print(value: Any) -> str:
    """A setting's value as tables and labels show it; a hash by its first digits."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text[:_SHORT] if re.fullmatch(r"[0-9a-f]{16,}", text) else text


def other_differences(run: Mapping[str, Any]) -> list[str]:
    """What the control differs in besides the text, each as "training.lr 0.01, the suite's 0.0003".

    Where there is any, a difference between the intervened arm and the control says nothing about its cause.
    """
    return list(run.get("control_differs") or [])


def no_verdict(differences: Sequence[str]) -> str:
    """Why there is no verdict, in words."""
    return f"no verdict, as {_also(differences)}"


def no_cause(differences: Sequence[str]) -> str:
    """Why a difference from the control is no effect of the text, in words."""
    return f"what made the difference is not known, as {_also(differences)}"


def _also(differences: Sequence[str]) -> str:
    return f"the control also differs in {' and in '.join(differences)}"
