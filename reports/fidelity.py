"""How near resuming came to the true checkpoint: a table and a figure, of one run or of many.

python -m reports.fidelity DIR [DIR ...] [-o OUT]     all fidelity runs below the directories as one table and figure
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foundation import UserError, write_text
from reports.figures import fidelity_figure, save_figure

_HEADINGS = {
    "step": "step",
    "optimizer_state": "optimizer state",
    "distance": "distance",
    "worst_distance": "worst",
    "loss_difference": "loss",
    "mean_token_kl": "token KL",
    "metrics_shifted": "shifted",
}


def fidelity_table(run_directory: Path) -> pd.DataFrame:
    """One row for each optimizer state of a fidelity run.

    Columns beside those of `training.Fidelity`: model, seed (of the suite's weights, where the kit made them), step,
    steps, optimizer_state; `loss_difference`, that of the mean loss on held-out rows from the true model's; and
    `metrics_shifted`, for how many of `metrics` the 95 % interval of the difference from the true model excludes 0.

    Raises:
        UserError: the directory holds no finished fidelity run.
    """
    try:
        run = json.loads((run_directory / "run.json").read_text("utf-8"))
        summary = pd.read_csv(run_directory / "summary.csv")
    except FileNotFoundError as error:
        raise UserError(f"{run_directory} holds no finished fidelity run: there is no {error.filename}") from None
    if run["config"]["protocol"] != "fidelity":
        raise UserError(f"{run_directory} holds a run of protocol={run['config']['protocol']}, not of fidelity")
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
                **{name: value for name, value in found.items() if name != "reference"},
                "loss_difference": found["loss"] - found["true_loss"],
                "metrics_shifted": int(((changes["ci_low"] > 0) | (changes["ci_high"] < 0)).sum()),
                "metrics": len(changes),
            }
        )
    return pd.DataFrame(rows)


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
    for _, row in table.iterrows():
        distance = "bitwise equal" if row["bitwise_equal"] else f"{row['distance']:.4f}"
        printed.add_row(
            str(row["step"]),
            row["optimizer_state"],
            distance,
            f"{row['worst_distance']:.4f}",
            f"{row['loss_difference']:+.4f}",
            f"{row['mean_token_kl']:.2e}",
            f"{row['metrics_shifted']} of {row['metrics']}",
        )
    console.print()
    console.print(
        Text(
            "Distance of the weights from the true later checkpoint, as a share of how far that one moved", style="bold"
        )
    )
    console.print()
    console.print(printed)
    console.print()
    console.print("worst: of a single tensor; loss and KL in nats, on held-out rows; shifted: benchmark metrics")
    console.print("whose difference from the true model has a 95 % interval without 0")
    console.print()
    for name in ("fidelity.csv", "fidelity.svg", "summary.csv"):
        if (directory / name).exists():
            console.print(Text(f"{directory / name}"), soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reports.fidelity", description="One table of many fidelity runs.")
    parser.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="fidelity runs, or sweeps of them")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="directory to write to; the first DIR if not set"
    )
    arguments = parser.parse_args()
    try:
        runs = sorted({path.parent for directory in arguments.directories for path in directory.rglob("run.json")})
        if not runs:
            raise UserError(f"there is no run.json below {', '.join(map(str, arguments.directories))}")
        output = arguments.output or arguments.directories[0]
        output.mkdir(parents=True, exist_ok=True)
        write_fidelity(output, pd.concat([fidelity_table(run) for run in runs], ignore_index=True))
        print_fidelity(output)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
