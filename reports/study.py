"""Write the report of a study: python -m reports.study DIR

DIR is the directory of the study's runs. study.html is the report, one file that needs
nothing but itself; tables/ holds its tables as Markdown and LaTeX, figures/ its figures as
SVG and PDF. Nothing is evaluated again. From a notebook: `from reports import write_study`.
"""

import sys
from pathlib import Path

from foundation import UserError, run_command
from reports.study_page import write_study


def main(arguments: list[str]) -> None:
    """Write the report of the directory named.

    Raises:
        UserError: not one directory is named, or it holds no finished run.
    """
    if len(arguments) != 1:
        raise UserError(f"expected the one directory of a study, found {' '.join(arguments)}")
    path = write_study(Path(arguments[0]))
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    run_command(main, __doc__)
