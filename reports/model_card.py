"""README.md beside the last checkpoint of an arm: what the model is, from what it was made, how to cite it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foundation import write_text
from reports.record import machine_caveats

_ACTIVATIONS = {"erf": "GELU", "tanh": "GELU, approximated by tanh as GPT-NeoX does"}
_ROTARY_TABLES = {"fp32": "fp32", "neox_fp16": "fp16, as GPT-NeoX has them", "neox_bf16": "bf16, as GPT-NeoX has them"}


def write_model_cards(run_directory: Path) -> list[Path]:
    """Write a model card into checkpoints/<arm>/step<last> of each arm that a run trained, also for its study.

    The card is the README.md that a model hub shows. It gives the base checkpoint, the segment, the intervention, the
    SHA-256 of what both were and the command, all from run.json, so the same run gives the same bytes. Its licence is
    that of Pythia's weights, Apache-2.0, for a model of that suite; for others it must be filled in.
    """
    run = json.loads((run_directory / "run.json").read_text("utf-8"))
    last = run["segment"]["step"] + run["segment"]["steps"]
    cards = []
    for arm in ("intervened", "control"):
        shared = run.get("shared_control" if arm == "control" else "shared_arm")
        place = run_directory / shared["directory"] if shared else run_directory
        directory = place / "checkpoints" / arm / f"step{last}"
        if directory.is_dir() and (shared is None or shared["trained_by"] == run_directory.name):
            cards.append(directory / "README.md")
            write_text(cards[-1], model_card(run, arm=arm))
    return cards


def model_card(run: Mapping[str, Any], *, arm: str) -> str:
    """The card's text.

    Args:
        run: run.json.
        arm: intervened or control.
    """
    checkpoint, segment, intervention = run["checkpoint"], run["segment"], run["intervention"]
    model, start, last = checkpoint["model"], segment["step"], segment["step"] + segment["steps"]
    of_pythia = model.startswith("pythia-")
    changed = arm == "intervened" and intervention["name"] != "none"
    header = ["license: apache-2.0"] if of_pythia else []
    header += ["language: en", "library_name: transformers", "tags: [pythia, counterfactual-pretraining]"]
    what = f"as the intervention {intervention['name']} changed it" if changed else "unmodified: a control"
    fingerprints = run["fingerprints"]
    facts = {
        "Base checkpoint": f"{model}, step {start:,}",
        "SHA-256 of the base checkpoint": checkpoint.get("sha256"),
        "Steps": f"{start:,} to {last:,}, of {segment['sequences_per_step']:,} sequences",
        "SHA-256 of the segment": fingerprints.get("segment_sha256"),
        "Precision": run["arithmetic"]["precision"],
        "Activation": _ACTIVATIONS.get(run["arithmetic"].get("activation")),
        "Rotary tables": _ROTARY_TABLES.get(run["arithmetic"].get("rope")),
        "Optimizer state": run["config"].get("optimizer_state"),
        "Seed": run["config"]["seed"],
        "Commit of the kit": run["git"]["commit"],
    }
    if changed:
        facts |= {
            "SHA-256 of the changed segment": fingerprints.get("intervened_segment_sha256"),
            "Identity of the intervention": intervention["identity"],
            "Share of the occurrences to change": (run["config"].get("intervention") or {}).get("fraction"),
        }
    licence = (
        "Apache-2.0, as Pythia's weights." if of_pythia else "That of the base checkpoint and its text: fill it in."
    )
    lines = [
        *("---", *header, "---", ""),
        f"# {model}, {'counterfactual' if changed else 'control'}, step {last:,}",
        "",
        f"Pre-training of {model} resumed at step {start:,} for {segment['steps']:,} steps on its own text, {what}.",
        *([intervention["sentence"]] if changed else []),
        "Made to measure how pronouns in the pre-training text bear on gender bias. It is for research: whether it is "
        "less biased in use has not been shown, and it should not be deployed.",
        "",
        *("| | |", "| --- | --- |"),
        *(f"| {name} | {value} |" for name, value in facts.items() if value is not None),
        "",
        *_arithmetic(run["arithmetic"]),
        "optimizer.safetensors and training_state.json continue the training; to use the model they are not needed.",
        *("", "## Made by", "", f"    {run['command']}", ""),
        *("## Caveats", "", *(f"- {caveat}" for caveat in [*run["caveats"], *machine_caveats(run)]), ""),
        *("## Licence", "", licence, ""),
        *("## Cite", ""),
        "Biderman et al. (2023), Pythia: A Suite for Analyzing Large Language Models Across Training and Scaling, "
        "https://arxiv.org/abs/2304.01373; and pythia-counterfactual, by its CITATION.cff.",
        "",
    ]
    return "\n".join(lines)


def _arithmetic(arithmetic: Mapping[str, Any]) -> list[str]:
    """What config.json cannot say of how the model was trained and scored; nothing where it says all."""
    rope, activation = arithmetic.get("rope", "fp32"), arithmetic.get("activation")
    if rope == "fp32":
        return []
    call = f'training.numerics.set_numerics(model, activation="{activation}", rope="{rope}")'
    return [
        f"The model was trained and scored with rotary tables in {rope.removeprefix('neox_')}, for which config.json "
        f"has no field: transformers alone computes them in fp32, and gives slightly other numbers. To compute as "
        f"here, call `{call}` of the kit once it is loaded.",
        "",
    ]
