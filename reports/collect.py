"""Gather the numbers of finished runs in one tidy table; nothing is evaluated again.

python -m reports.collect DIR [DIR ...] [out=DIR]

One row for each run, benchmark, metric, and moment or change, as runs.parquet and
runs.csv in out=, the first DIR if not set. Directories without a finished run are
named. From a notebook: `from reports.runs import collect`; collect([DIR, ...])
returns the table, and its docstring says what the columns are.
"""

import sys
from pathlib import Path

from foundation import UserError, run_command
from reports.results import read_results
from reports.runs import find_runs, tidy, write_table


def main(arguments: list[str]) -> None:
    """Gather the runs of the directories named.

    Raises:
        UserError: an option is unknown, no directory is named, or there is no finished run.
    """
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument and not Path(argument).is_dir())
    paths = [Path(argument) for argument in arguments if "=" not in argument or Path(argument).is_dir()]
    if not paths or options.keys() - {"out"}:
        raise UserError(f"expected DIR [DIR ...] [out=DIR], found {' '.join(arguments)}")
    found = find_runs(paths)
    for path, reason in found.left_out.items():
        sys.stderr.write(f"left out {path}: {reason}\n")
    table = tidy([read_results(directory) for directory in found.finished])
    written = write_table(table, Path(options.get("out", paths[0])))
    sys.stdout.write(f"{len(found.finished)} runs, {len(table):,} rows\n")
    sys.stdout.writelines(f"{path}\n" for path in written)


if __name__ == "__main__":
    run_command(main, __doc__)
