"""Render a run's report again: python -m reports DIR"""

import argparse
import sys
from pathlib import Path

from foundation import UserError
from reports.html import write_report
from reports.terminal import print_summary


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m reports", description="Render report.html of a run again.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="a run directory: it holds run.json, summary.csv")
    directory = parser.parse_args().directory
    try:
        write_report(directory)
    except UserError as error:
        sys.exit(f"error: {error}")
    print_summary(directory)


if __name__ == "__main__":
    main()
