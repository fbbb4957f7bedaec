"""A run directory with plausible numbers and sentences of our own, for the tests of what reads one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# benchmark, metric, n, neutral, interval half-width, before, after, control
METRICS = [
    ("winobias", "pronoun_contrast", 1584, 0.0, 0.061, 0.412, 0.331, 0.407),
    ("winobias", "pronoun_contrast_male_referents", 792, 0.0, 0.092, 1.874, -2.153, 1.861),
    ("winobias", "pronoun_contrast_female_referents", 792, 0.0, 0.092, -1.05, 2.815, -1.047),
    ("winobias", "pro_preference", 1584, 0.5, 0.023, 0.551, 0.512, 0.553),
    ("winobias", "feminine_preference", 1584, 0.0, 0.07, -1.462, 2.484, -1.454),
    ("winobias", "occupation_accuracy_pro", 1584, None, 0.022, 0.518, 0.509, 0.52),
    ("winobias", "occupation_gap", 1584, 0.0, 0.012, 0.0063, 0.0013, 0.0057),
    ("crows_pairs", "pct_stereotype", 1508, 0.5, 0.025, 0.532, 0.529, 0.531),
    ("crows_pairs", "gender_pct_stereotype", 262, 0.5, 0.06, 0.557, 0.504, 0.553),
    ("crows_pairs", "gender_likelihood_difference", 262, 0.0, 0.31, 3.214, 3.987, 3.22),
    ("crows_pairs", "gender_signed_difference", 262, 0.0, 0.55, 0.871, -0.12, 0.866),
    ("pronoun_prior", "share_she", 40, 0.5, 0.031, 0.1612, 0.9712, 0.1688),
    ("pronoun_prior", "p_they", 40, None, 0.0021, 0.0214, 0.0201, 0.0213),
    ("pronoun_prior", "log_odds_she", 40, 0.0, 0.23, -1.68, 3.64, -1.63),
    ("occupations", "log_odds_she", 400, 0.0, 0.08, -1.52, 3.41, -1.49),
    ("occupations", "slope_winobias", 160, 0.0, 0.21, 1.203, 0.412, 1.195),
    ("occupations", "slope_winogender", 240, 0.0, 0.18, 0.914, 0.377, 0.921),
]
PRIMARY = {("winobias", "pro_preference"), ("crows_pairs", "gender_pct_stereotype"), ("occupations", "slope_winobias")}
# form, replacement, occurrences, skipped_row_edge, skipped_length, skipped_compound
SWAPS = [
    ("he", "she", 61, 0, 0, 0),
    ("He", "She", 17, 0, 0, 0),
    ("his", "her", 48, 1, 0, 0),
    ("His", "Her", 6, 0, 0, 0),
    ("his", "hers", 1, 0, 0, 0),
    ("him", "her", 14, 0, 0, 0),
    ("himself", "herself", 3, 0, 0, 0),
    ("Himself", "Herself", 1, 0, 1, 0),
    ("HE", "SHE", 1, 0, 0, 1),
    ("HIS", "HER", 2, 0, 2, 0),
    ("HIM", "HER", 1, 0, 1, 0),
    ("Him", "Her", 2, 0, 0, 0),
]
STEP, STEPS = 448, 64


ASSOCIATION = ("occupations", "learned_association", 400, 0.0, 0.15, 0.412, 0.203, 0.384)
LIMITS = {"winobias": "Its share needs coreference."}


def write_fake_run(
    directory: Path,
    *,
    control: bool = True,
    statistics: bool = True,
    optional: bool = True,
    association: bool = False,
) -> Path:
    """Write a run directory.

    Args:
        control: with a control arm.
        statistics: with p and mde.
        optional: with journals, swaps, example passages and rows.
        association: with the learned association, of a model that has limits.
    """
    directory.mkdir(parents=True, exist_ok=True)
    moments = ["before", "after", "control"] if control else ["before", "after"]
    metrics = [ASSOCIATION, *METRICS] if association else METRICS
    summary(control=control, statistics=statistics, metrics=metrics).to_csv(directory / "summary.csv", index=False)
    run = run_json(control=control)
    if association:
        run["config"]["model"]["limits"] = LIMITS
    if optional:
        _write_journals(directory / "train", moments)
        _write_occupations(directory / "rows", moments, association=association)
        _swaps().to_parquet(directory / "swaps.parquet", index=False)
    else:
        run["swap_examples"] = []
    (directory / "run.json").write_text(json.dumps(run, indent=2) + "\n", "utf-8")
    return directory


def summary(*, control: bool = True, statistics: bool = True, metrics: list[Any] = METRICS) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for benchmark, metric, n, neutral, half, before, after, unmodified in metrics:
        shared = {"benchmark": benchmark, "metric": metric, "n": n, "description": f"Mean of {metric}, over {n} items."}
        levels = {"before": before, "after": after} | ({"control": unmodified} if control else {})
        for moment, value in levels.items():
            rows.append(shared | {"moment": moment, "neutral": neutral, **_estimate(value, half)})
        changes = {"after-before": after - before}
        if control:
            changes |= {"control-before": unmodified - before, "after-control": after - unmodified}
        for moment, value in changes.items():
            distance = abs(value) / (0.7 * half)
            p = 0.0009995 if distance > 2 else round(max(1 - 0.95 * distance, 0.012), 4)
            tested = {"p": p, "mde": 1.43 * 0.7 * half} if statistics else {}
            if statistics and (benchmark, metric) in {*PRIMARY, ASSOCIATION[:2]}:
                tested["p_holm"] = min(1.0, len(PRIMARY) * p)
            rows.append(shared | {"moment": moment, **_estimate(value, 0.7 * half), **tested})
    columns = ["benchmark", "metric", "moment", "value", "n", "ci_low", "ci_high", "p", "p_holm", "mde", "neutral"]
    columns.append("description")
    return pd.DataFrame(rows, columns=columns)


def _estimate(value: float, half: float) -> dict[str, float]:
    return {"value": value, "ci_low": value - half, "ci_high": value + half}


def run_json(*, control: bool = True) -> dict[str, Any]:
    fidelity = {
        "reference": "demo step 512",
        "rows": [8192, 8208],
        "rows_unseen": True,
        "bitwise_equal": True,
        "distance": 0.0,
        "worst_distance": 0.0,
        "worst_parameter": "lm_head.weight",
        "loss": 4.56,
        "true_loss": 4.56,
        "mean_token_kl": 0.0,
    }
    return {
        "command": "python run.py intervention=masculine_to_feminine",
        "status": "running",
        "started_at": "2026-03-01T10:00:00+00:00",
        "finished_at": "2026-03-01T10:07:30+00:00",
        "config": {
            "model": {"name": "demo"},
            "seed": 0,
            "control": "train" if control else "none",
            "protocol": "counterfactual",
        },
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": True},
        "packages": {"torch": "2.13.0", "transformers": "5.23.0", "pythia-counterfactual": None},
        "hardware": {"platform": "Linux", "cpu": "Some CPU", "cores": 2, "torch_threads": 2, "gpus": []},
        "python": "3.11.9",
        "checkpoint": {"model": "demo", "step": STEP, "sha256": "ab" * 32},
        "fingerprints": {
            "segment_sha256": "56" * 32,
            "intervened_segment_sha256": "34" * 32,
            "steps": {str(step): ["78" * 32, "9a" * 32] for step in range(STEP, STEP + STEPS)},
        },
        "arithmetic": {"precision": "fp32"},
        "corpus": {
            "location": "corpora/rows.bin",
            "files": {"rows.bin": 10_794_000},
            "rows": 21000,
            "row_tokens": 257,
            "sha256": None,
        },
        "intervention": {
            "name": "masculine_to_feminine",
            "identity": "ef" * 32,
            "sentence": "Masculine pronouns became feminine: he → she.",
            "expects": "rise",
            "facts": {},
            "facts_in_words": ["Which her is him was learned."],
            "skip_reasons": {
                "compound": "joined by a hyphen",
                "row_edge": "too close to the edge",
                "length": "another number of tokens",
            },
        },
        "segment": {
            "step": STEP,
            "steps": STEPS,
            "sequences_per_step": 16,
            "first_row": 7168,
            "stop_row": 8192,
            "sha256_of_first_batch": "12" * 32,
        },
        "fidelity": fidelity if control else None,
        "control": "train" if control else "none",
        "timings_s": {"evaluate before": 41.2, "train intervened": 61.75, "evaluate after": 40.9},
        "swap_examples": [
            {
                "row": 7168 + row,
                "pieces": [
                    {"text": f"{opening} the plumber said that", "replaced_by": None},
                    {"text": " he", "replaced_by": " she"},
                    {"text": " would mend the pump on Friday , because", "replaced_by": None},
                    {"text": " his", "replaced_by": " her"},
                    {"text": " van was full of old taps and nobody had asked about the roof .", "replaced_by": None},
                ],
            }
            for row, opening in enumerate(["In the end", "After lunch", "Late in March"])
        ],
        "caveats": ["The model is a miniature: it shows the method and is no finding."],
    }


def _write_journals(directory: Path, moments: list[str]) -> None:
    directory.mkdir(exist_ok=True)
    noise = np.random.default_rng(0)
    for arm in ["intervened", *(["control"] if "control" in moments else [])]:
        lines = []
        for index in range(STEPS):
            swapped = (0.9 + 5.1 * np.exp(-index / 9)) if arm == "intervened" else 1.35
            lines.append(
                {
                    "step": STEP + index,
                    "loss": 3.3,
                    "loss_swapped": None if index == 5 else swapped + noise.normal(0, 0.08),
                    "loss_neighbouring": None if index == 5 else 3.5 - 0.002 * index,
                    "loss_other": 3.31 - 0.001 * index + noise.normal(0, 0.03),
                    "lr": 3e-4,
                    "grad_norm": 0.5,
                    "tokens_per_s": 9000.0,
                    "mfu": None,
                    "data_stall_s": 0.01,
                    "skipped": False,
                }
            )
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (directory / f"{arm}.jsonl").write_text(text, "utf-8")


def _swaps() -> pd.DataFrame:
    rows = [
        {
            "step": STEP + step,
            "form": form,
            "replacement": replacement,
            "occurrences": occurrences,
            "swapped": occurrences - row_edge - length - compound,
            "skipped_row_edge": row_edge,
            "skipped_length": length,
            "skipped_compound": compound,
        }
        for step in range(STEPS)
        for form, replacement, occurrences, row_edge, length, compound in SWAPS
    ]
    return pd.DataFrame(rows)


def _write_occupations(directory: Path, moments: list[str], *, association: bool) -> None:
    noise = np.random.default_rng(1)
    shares = np.concatenate([np.linspace(2, 95, 40), np.linspace(4, 97, 60)])
    residuals = noise.normal(0, 0.5, size=(100, 4))
    for moment in moments:
        shift, slope = {"before": (-2.1, 1.2), "after": (3.2, 0.4), "control": (-2.07, 1.19)}[moment]
        values = shift + slope * shares[:, None] / 100 + residuals + noise.normal(0, 0.1, size=(100, 4))
        rows = pd.DataFrame(
            [
                {
                    "source": "winobias" if index < 40 else "winogender",
                    "occupation": f"occupation {index}",
                    "template": f"template {template}",
                    "pct_female": share,
                    "log_odds_she": values[index, template],
                }
                for index, share in enumerate(shares)
                for template in range(4)
            ]
        )
        if association:
            rows = pd.concat([rows, _terms(shift, slope / 3)], ignore_index=True)
        (directory / moment).mkdir(parents=True, exist_ok=True)
        rows.to_parquet(directory / moment / "occupations.parquet", index=False)


def _terms(shift: float, slope: float) -> pd.DataFrame:
    """Twenty terms of the corpus on a line, in two templates."""
    odds = np.linspace(-2.5, 0.5, 20)
    return pd.DataFrame(
        {
            "source": "corpus",
            "occupation": [f"term {index}" for index in range(20) for _ in range(2)],
            "template": [f"template {template}" for _ in range(20) for template in range(2)],
            "corpus_log_odds": np.repeat(odds, 2),
            "log_odds_she": np.repeat(shift + slope * odds, 2),
        }
    )
