"""The metrics over the steps of a suite's own checkpoints: a table, a figure, and how much they move by themselves."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foundation import write_text
from reports.noise import noise_between_checkpoints
from reports.results import BENCHMARKS, HEADLINES, ascii_only, number, read_protocol

_COLUMNS = ["benchmark", "metric", "step", "value", "n", "ci_low", "ci_high", "neutral", "primary", "description"]


def trajectory_table(run_directory: Path) -> pd.DataFrame:
    """One row for each metric and checkpoint of a trajectory run.

    Columns: those of summary.csv that belong to a level; step; and two that are the same for all rows of a metric:
    `noise`, see `reports.noise.noise_between_checkpoints`, and `noise_bf16`, how far the last checkpoint's value moves
    when its arithmetic is bf16 instead of fp32; missing where that was not measured.

    Raises:
        UserError: the directory holds no measured trajectory.
    """
    _, summary = read_protocol(run_directory, "trajectory", what="measured trajectory")
    levels = summary[summary["moment"].str.fullmatch(r"step\d+")]
    levels = levels.assign(step=levels["moment"].str.removeprefix("step").astype("int64"))[_COLUMNS]
    noise = levels.set_index("step").groupby(["benchmark", "metric"])["value"].apply(noise_between_checkpoints)
    rounded = summary[summary["moment"].str.fullmatch(r"bf16_step\d+-step\d+")]
    noise_bf16 = rounded.set_index(["benchmark", "metric"])["value"].abs()
    levels = levels.join(noise.rename("noise"), on=["benchmark", "metric"])
    return levels.join(noise_bf16.rename("noise_bf16"), on=["benchmark", "metric"]).reset_index(drop=True)


def write_trajectory(run_directory: Path) -> Path:
    """Write trajectory.csv."""
    path = run_directory / "trajectory.csv"
    write_text(path, trajectory_table(run_directory).to_csv(index=False))
    return path


def print_trajectory(run_directory: Path, *, console: Console | None = None) -> None:
    """Print the headline metrics at the first and the last checkpoint, their change, and what is noise."""
    console = console or Console(highlight=False)
    table = pd.read_csv(run_directory / "trajectory.csv")
    summary = pd.read_csv(run_directory / "summary.csv")
    changes = {
        (row["benchmark"], row["metric"]): row
        for row in summary[summary["moment"].str.fullmatch(r"step\d+-step\d+")].to_dict("records")
    }
    first, last = table["step"].min(), table["step"].max()
    printed = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    printed.add_column("")
    for heading in [f"{first}", f"{last}", "change", "interval", "noise", "bf16"]:
        printed.add_column(heading, justify="right", no_wrap=True)
    shown: set[str] = set()
    for (benchmark, metric), rows in table.groupby(["benchmark", "metric"], sort=False):
        if (benchmark, metric) not in HEADLINES:
            continue
        if benchmark not in shown:
            printed.add_row(Text(BENCHMARKS[str(benchmark)], style="bold"))
            shown.add(str(benchmark))
        values, noises = rows.set_index("step")["value"], rows[["noise", "noise_bf16"]].iloc[0]
        cells = [number(values[first], 3), number(values[last], 3)]
        if change := changes.get((benchmark, metric)):
            cells.append(number(change["value"], 3, signed=True))
            cells.append(f"{number(change['ci_low'], 3)} to {number(change['ci_high'], 3)}")
        else:
            cells += ["–", "–"]
        cells += [number(None if pd.isna(noise) else float(noise), 4) for noise in noises]
        printed.add_row(f"  {metric}", *(ascii_only(cell) for cell in cells))
    console.print()
    console.print(Text(f"{len(table['step'].unique())} checkpoints, steps {first} to {last}", style="bold"))
    console.print()
    console.print(printed)
    console.print()
    console.print("interval: 95 %, over examples; noise: sd of one checkpoint about its neighbours")
    console.print("bf16: how far the last one moves when its arithmetic is bf16 instead of fp32")
    console.print()
    for name in ("trajectory.csv", "summary.csv"):
        console.print(Text(f"{run_directory / name}"), soft_wrap=True)
    console.print(Text(f"figures: python -m reports.study {run_directory}"), soft_wrap=True)
