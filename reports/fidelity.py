"""How near resuming came to the true checkpoint: a table and a figure, of one run or of many."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foundation import write_text
from reports.arms import copies
from reports.comparison import SEEDS, labels, settings
from reports.figures import fidelity_figure, save_figure
from reports.results import Results, read_protocol

_HEADINGS = {
    "step": "step",
    "arm": "optimizer state",
    "distance": "distance",
    "worst_distance": "worst",
    "loss_difference": "loss",
    "mean_token_kl": "token KL",
    "largest_shift": "metrics",
}


def fidelity_table(run_directory: Path) -> pd.DataFrame:
    """One row for each optimizer state of a fidelity run.

    Columns beside those of `training.Fidelity`: model, seed (of the suite's weights, where the kit made them), step,
    steps, optimizer_state, and arm, the same in words; `loss_difference`, that of the mean loss on held-out rows from
    the true model's; `metrics_shifted`, for how many of `metrics` the 95 % interval of the difference from the true
    model excludes 0; `largest_shift`, the largest of these differences, each in its metric's own unit.

    Raises:
        UserError: the directory holds no finished fidelity run.
    """
    run, summary = read_protocol(run_directory, "fidelity", what="finished fidelity run")
    pretraining = run["config"]["model"]["pretraining"]
    rows: list[dict[str, Any]] = []
    for source, found in run["fidelity"].items():
        changes = summary[summary["moment"] == f"{source}-true"]
        rows.append(
            {
                "model": run["checkpoint"]["model"],
                "seed": pretraining["seed"] if pretraining else run["config"]["model"]["seed"],
                "step": run["segment"]["step"],
                "steps": run["segment"]["steps"],
                "optimizer_state": source,
                "arm": source.replace("_", " "),
                **{name: value for name, value in found.items() if name not in ("reference", "made_otherwise")},
                "loss_difference": found["loss"] - found["true_loss"],
                "metrics_shifted": int(((changes["ci_low"] > 0) | (changes["ci_high"] < 0)).sum()),
                "metrics": len(changes),
                "largest_shift": float(changes["value"].abs().max()),
            }
        )
    return pd.DataFrame(rows)


def fidelity_tables(runs: Sequence[Results]) -> pd.DataFrame:
    """The tables of several runs together, copies of a run left out.

    Where more than the suite and the step tells runs apart, `arm` names it: they are no range of one another's.
    """
    kept = [group[0] for group in copies(runs)]
    names = labels([settings(each.run) | dict.fromkeys((*SEEDS, "step")) for each in kept])
    tables = [fidelity_table(each.directory) for each in kept]
    return pd.concat(
        [
            table.assign(arm=[", ".join(filter(None, [arm, name])) for arm in table["arm"]])
            for table, name in zip(tables, names, strict=True)
        ],
        ignore_index=True,
    )


def write_fidelity(directory: Path, table: pd.DataFrame | None = None) -> Path:
    """Write fidelity.csv and fidelity.svg; the table is that of the run in `directory` unless another is given."""
    table = fidelity_table(directory) if table is None else table
    write_text(directory / "fidelity.csv", table.to_csv(index=False))
    save_figure(fidelity_figure(table), directory / "fidelity.svg")
    return directory / "fidelity.svg"


def print_fidelity(directory: Path, *, console: Console | None = None) -> None:
    """Print the table of a directory that `write_fidelity` wrote to."""
    console = console or Console(highlight=False)
    table = pd.read_csv(directory / "fidelity.csv")
    printed = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(_HEADINGS.values()):
        printed.add_column(heading, justify="left" if number == 1 else "right", no_wrap=number == 1)
    for (step, arm), rows in table.sort_values("step", kind="stable").groupby(["step", "arm"], sort=False):
        largest = f" to {rows['distance'].max():.4f}" if len(rows) > 1 else ""
        printed.add_row(
            str(step),
            str(arm),
            "bitwise equal" if rows["bitwise_equal"].all() else f"{rows['distance'].min():.4f}{largest}",
            f"{rows['worst_distance'].max():.4f}",
            f"{max(rows['loss_difference'], key=abs):+.4f}",
            f"{rows['mean_token_kl'].max():.2e}",
            f"{rows['largest_shift'].max():.4f}",
        )
    console.print()
    console.print(Text("Distance of the weights from the true later checkpoint,", style="bold"))
    console.print(Text("as a share of how far that one moved", style="bold"))
    console.print()
    console.print(printed)
    console.print()
    console.print("worst: of a single tensor; loss and KL in nats, on held-out rows;")
    console.print("metrics: the largest difference of a benchmark's metric, in its own unit")
    if table.duplicated(["step", "arm"]).any():
        console.print("of several suites: the range of distances, otherwise the worst")
    console.print()
    for name in ("fidelity.csv", "fidelity.svg", "summary.csv"):
        if (directory / name).exists():
            console.print(Text(f"{directory / name}"), soft_wrap=True)
