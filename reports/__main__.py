"""Make again what a run leaves for its readers: python -m reports DIR [DIR ...] [-o OUT]"""

import argparse
from pathlib import Path
from typing import NoReturn

from foundation import UserError, mistakes_in_one_line
from reports.fidelity import fidelity_tables, print_fidelity, write_fidelity
from reports.html import write_report
from reports.record import read_run
from reports.results import read_results
from reports.terminal import print_summary
from reports.trajectory import print_trajectory, write_trajectory


class _Parser(argparse.ArgumentParser):
    """Tells a mistake as every command of the kit does."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def main() -> None:
    parser = _Parser(
        prog="python -m reports",
        description="Make the report of a run again, or one table and figure of all fidelity runs below DIR.",
    )
    parser.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="a run directory, or a sweep's")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="where the table of fidelity runs goes; the first DIR if not set",
    )
    with mistakes_in_one_line():
        arguments = parser.parse_args()
        make_again(arguments.directories, arguments.output or arguments.directories[0])


def make_again(directories: list[Path], output: Path) -> None:
    runs = sorted({path.parent for directory in directories for path in directory.rglob("run.json")})
    if not runs:
        raise UserError(
            f"there is no run.json in or below {', '.join(map(str, directories))}; name the directory of a run"
        )
    protocols = {read_run(run / "run.json")["config"]["protocol"] for run in runs}
    if protocols == {"fidelity"}:
        output.mkdir(parents=True, exist_ok=True)
        write_fidelity(output, fidelity_tables([read_results(run) for run in runs]))
        print_fidelity(output)
    elif len(runs) == 1 and protocols == {"trajectory"}:
        write_trajectory(runs[0])
        print_trajectory(runs[0])
    elif len(runs) == 1:
        write_report(runs[0])
        print_summary(runs[0])
    else:
        raise UserError(f"a report is of one run, but {len(runs)} were found; name one, or fidelity runs only")


if __name__ == "__main__":
    main()
