"""The result in a terminal: the metrics that matter, whether the intervention took, and where the files are."""

from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reports.manipulation import manipulation_sentence
from reports.results import (
    BENCHMARKS,
    LEVEL,
    Metric,
    Results,
    answer_sentences,
    ascii_only,
    by_benchmark,
    interval,
    number,
    p_value,
    read_results,
    words,
)

_FILES = {
    "report": "report.html",
    "summary": "summary.csv",
    "per example": "rows",
    "losses": "train",
}


def print_summary(run_directory: Path, *, console: Console | None = None) -> None:
    """Print a run's headline metrics; plain text without colours where the output is no terminal.

    Only ASCII is printed: every terminal and every log file can show it.

    Raises:
        UserError: the directory holds no evaluated run.
    """
    console = console or Console(highlight=False)
    results = read_results(run_directory)
    for sentence in _leading(results):
        console.print()
        console.print(Text(ascii_only(sentence), style="bold"))
    console.print()
    console.print(Text(_title(results), style="bold"))
    console.print()
    console.print(_table(results))
    console.print()
    for benchmark, limit in results.limits.items():
        if any(metric.benchmark == benchmark for metric in results.metrics):
            console.print(Text(ascii_only(f"{BENCHMARKS.get(benchmark, benchmark)}: {limit}")))
    console.print(Text(ascii_only(results.run["intervention"]["sentence"])))
    console.print()
    for label, name in _FILES.items():
        path = run_directory / name
        if path.exists():
            console.print(Text(f"{label:<12} {path}"), soft_wrap=True)


def _leading(results: Results) -> list[str]:
    """What was learned of the corpus, where that was measured, and whether the intervention took."""
    answers = answer_sentences(results)[:1] if results.association else []
    return [*answers, manipulation_sentence(results)]


def _title(results: Results) -> str:
    run = results.run
    return (
        f"{run['checkpoint']['model']} step {run['checkpoint']['step']}, {run['segment']['steps']} steps, "
        f"{run['intervention']['name']}"
    )


def _table(results: Results) -> Table:
    metrics = results.headlines
    levels = ["before", "after", "control"] if results.has_control else ["before", "after"]
    change = words(metrics[0].main_change) if metrics else "after − before"
    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="dim",
        caption=ascii_only(
            f"change: {change}, paired example by example; 95 % interval; *: Holm's p below {LEVEL:g}; "
            f"(*): p below {LEVEL:g} of a metric that is not primary, uncorrected"
        ),
        caption_justify="left",
    )
    table.add_column("")
    for column in [*levels, "change", "interval", "p"]:
        table.add_column(column, justify="right", no_wrap=True)
    limits = results.limits
    for benchmark, members in by_benchmark(metrics).items():
        noted = " (see below)" if members[0].benchmark in limits else ""
        table.add_row(Text(benchmark + noted, style="bold"))
        for metric in members:
            cells = [Text(ascii_only(cell)) for cell in _cells(metric, levels)]
            table.add_row(Padding(Text(ascii_only(metric.label)), (0, 0, 0, 2)), *cells)
    table.add_row()
    return table


def _cells(metric: Metric, levels: list[str]) -> list[str]:
    change, decimals = metric.changes[metric.main_change], metric.decimals
    return [
        *(number(metric.levels[moment].value, decimals) for moment in levels),
        number(change.value, metric.change_decimals, signed=True),
        interval(change, metric.change_decimals),
        p_value(change.decisive_p) + change.mark,
    ]
