"""All numbers of finished runs as one table: what is in it, and what is named as left out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fake_run import write_fake_run
from foundation import UserError
from reports.collect import main
from reports.comparison import labels
from reports.runs import collect


def finished(directory: Path, *, changes: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """A finished fake run; options change its seed and intervention. The seed draws what a fraction below 1 changes.

    Args:
        changes: entries of run.json by their dotted names, as config.training.lr.
    """
    write_fake_run(directory, optional=options.pop("optional", False))
    content = json.loads((directory / "run.json").read_text("utf-8")) | {"status": "finished"}
    content["config"]["seed"] = seed = options.pop("seed", 0)
    chosen = content["config"]["intervention"] = {"fraction": 1.0, "unit": "occurrence", "start": 0, "stop": None}
    chosen |= options
    for name, value in (changes or {}).items():
        *sections, last = name.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    if "fingerprints.intervened_segment_sha256" not in (changes or {}):
        content["fingerprints"]["intervened_segment_sha256"] = _text(content["intervention"]["name"], chosen, seed)
    (directory / "run.json").write_text(json.dumps(content), "utf-8")
    return directory


def _text(name: str, chosen: Mapping[str, Any], seed: int) -> str:
    """A name for what the text became: it follows unit and seed only where something is drawn."""
    if name == "none" or chosen["fraction"] == 0:
        return "unmodified"
    drawn = f"{chosen['unit']} {seed}" if chosen["fraction"] < 1 else ""
    return f"{name} {chosen['fraction']} {drawn}"


def test_a_row_for_each_run_benchmark_metric_and_moment_with_the_summarys_numbers(tmp_path: Path) -> None:
    for seed in (0, 1):
        finished(tmp_path / f"seed={seed}", seed=seed, fraction=0.5)
    table = collect([tmp_path])
    summary = pd.read_csv(tmp_path / "seed=0" / "summary.csv")
    assert len(table) == 2 * len(summary)
    assert not table.duplicated(["run", "benchmark", "metric", "moment"]).any()
    own = table[table["seed"] == 1].reset_index(drop=True)
    for column in ("benchmark", "metric", "moment", "value", "n", "ci_low", "ci_high", "p", "p_holm", "mde", "neutral"):
        assert own[column].fillna(-1).tolist() == summary[column].fillna(-1).tolist()
    assert own.loc[0, ["model", "step", "steps", "intervention", "fraction", "control", "precision"]].tolist() == [
        *("demo", 448, 64, "masculine_to_feminine", 0.5, "train", "fp32")
    ]
    assert set(own["verdict"]) == {"taken"}


def test_levels_carry_the_step_of_their_model_and_changes_none(tmp_path: Path) -> None:
    table = collect([finished(tmp_path / "run")])
    steps = table.drop_duplicates("moment").set_index("moment")["moment_step"]
    assert steps.dropna().to_dict() == {"before": 448, "after": 512, "control": 512}
    assert set(table[table["kind"] == "change"]["moment"]) == {"after-before", "after-control", "control-before"}


def test_the_dose_of_no_intervention_is_zero(tmp_path: Path) -> None:
    directory = finished(tmp_path / "run", fraction=1.0)
    content = json.loads((directory / "run.json").read_text("utf-8"))
    content["intervention"]["name"] = "none"
    (directory / "run.json").write_text(json.dumps(content), "utf-8")
    assert set(collect([directory])["fraction"]) == {0.0}


def test_tokens_are_counted_where_they_were_read(tmp_path: Path) -> None:
    row = collect([finished(tmp_path / "run", optional=True)]).iloc[0]
    assert row["tokens"] == 64 * 16 * 256  # the fake run has timings of its intervened arm alone
    assert row["train_s"] == 61.75
    assert row["tokens_per_s"] == 9000
    assert row["data_stall"] == pytest.approx(0.01 / (16 * 256 / 9000))
    assert pd.isna(row["mfu"])


def test_unfinished_and_foreign_directories_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished(tmp_path / "good")
    write_fake_run(tmp_path / "killed")
    (tmp_path / "photographs").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text("[1]")
    (tmp_path / "controls" / "ab").mkdir(parents=True)
    main([str(tmp_path)])
    printed = capsys.readouterr()
    left_out = {Path(line.split(":")[0].removeprefix("left out ")).name for line in printed.err.splitlines()}
    assert left_out == {"killed", "photographs", "foreign"}
    assert printed.out.splitlines()[0].startswith("1 runs, ")


def test_both_files_hold_the_same_table(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    main([str(tmp_path / "run"), f"out={tmp_path / 'out'}"])
    parquet, csv = pd.read_parquet(tmp_path / "out" / "runs.parquet"), pd.read_csv(tmp_path / "out" / "runs.csv")
    assert list(parquet.columns) == list(csv.columns)
    for column in parquet.columns:
        one, other = (table[column].astype("object").where(table[column].notna(), None) for table in (parquet, csv))
        assert one.tolist() == other.tolist(), column


def test_no_finished_run_is_refused_in_one_line_with_the_reason(tmp_path: Path) -> None:
    write_fake_run(tmp_path / "killed")
    with pytest.raises(UserError, match=r"no finished run to read, found .*killed: it is running, not finished;"):
        main([str(tmp_path)])
    with pytest.raises(UserError, match=r"no directory .*missing"):
        main([str(tmp_path / "missing")])


def test_labels_say_what_tells_runs_apart() -> None:
    runs = [{"intervention": "swap", "fraction": dose, "seed": 0, "step": 448} for dose in (0.25, 1.0)]
    assert labels(runs) == ["swap, fraction 0.25", "swap, fraction 1"]
