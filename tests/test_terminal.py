"""The summary in a terminal and in a log file."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from fake_run import LIMITS, write_fake_run
from reports.manipulation import manipulation_sentence
from reports.results import ascii_only, read_results
from reports.terminal import print_summary


def printed(directory: Path, *, width: int, terminal: bool = False) -> str:
    file = io.StringIO()
    print_summary(directory, console=Console(file=file, width=width, force_terminal=terminal, highlight=False))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("control", [True, False])
def test_no_column_is_cut(tmp_path: Path, width: int, control: bool) -> None:
    text = printed(write_fake_run(tmp_path / "run", control=control), width=width)
    table = text[text.index("demo step") : text.index("\nsummary ")]
    assert all(len(line) <= width for line in table.splitlines())
    assert "…" not in text
    row = next(line for line in table.splitlines() if "Log-odds of she" in line)
    levels = ["-1.520", "3.410", "-1.490"] if control else ["-1.520", "3.410"]
    change = ["+4.900", "4.844", "to", "4.956"] if control else ["+4.930", "4.874", "to", "4.986"]
    assert row.split()[-len(levels) - 6 :] == [*levels, *change, "<", "0.001(*)"]


def test_at_140_columns_every_metric_has_one_line(tmp_path: Path) -> None:
    directory = write_fake_run(tmp_path)
    lines = printed(directory, width=140).splitlines()
    first, last = (next(i for i, line in enumerate(lines) if line.startswith(s)) for s in ("WinoBias", "change:"))
    benchmarks = 4
    assert last - first - 1 == len(read_results(directory).headlines) + benchmarks


def test_the_learned_association_leads_with_its_intervals_and_limits_stand_below_the_table(tmp_path: Path) -> None:
    text = printed(write_fake_run(tmp_path, association=True), width=400)
    first, second = text.strip().split("\n\n")[:2]
    assert first.startswith("The learned association (")
    levels = "0.41 (95 % interval 0.26 to 0.56) to 0.20 (0.05 to 0.35), against 0.38 (0.23 to 0.53) in the control arm"
    assert levels in first
    assert second.startswith("Manipulation check: taken.")
    assert "WinoBias (see below)" in text
    assert f"\nWinoBias: {LIMITS['winobias']}\n" in text


def test_output_that_is_no_terminal_is_plain_ascii(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(write_fake_run(tmp_path))
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text


def test_a_terminal_gets_emphasis(tmp_path: Path) -> None:
    assert "\x1b[1m" in printed(write_fake_run(tmp_path), width=80, terminal=True)


def test_the_verdict_comes_first_and_the_paths_last(tmp_path: Path) -> None:
    directory = write_fake_run(tmp_path / ("a-long-name-" * 8))
    (directory / "report.html").write_text("")
    text = printed(directory, width=80)
    assert text.lstrip().startswith("Manipulation check: taken.")
    assert " ".join(text.split()).count(ascii_only(manipulation_sentence(read_results(directory)))) == 1
    assert text.rstrip().splitlines()[-4:] == [
        f"report       {directory / 'report.html'}",
        f"summary      {directory / 'summary.csv'}",
        f"per example  {directory / 'rows'}",
        f"losses       {directory / 'train'}",
    ]
