"""Draw what Pythia's authors stored for their case study on gender bias, from the kit's own table of it.

python -m reports.published_figure out=DIR

For each family of the suite, v0 and v1, two figures, as SVG and PDF: net bias of WinoBias
(the paper's case study: pro minus anti of exact matches, case-studies/winobias.ipynb), and
the share of stereotypes of CrowS-Pairs about gender. Shaded: where the text was swapped.
Hollow marks are values whose evaluation is known to be faulty: all are CrowS-Pairs of v0.
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from foundation import UserError, run_command
from reports.course_figures import published_figure
from reports.figures import save_figure
from reports.published_results import published_series

_SERIES = {
    "net_bias": ("winobias_generation", "compat_net_bias", "Net bias"),
    "crows_pairs_gender": ("crows_pairs_revised", "gender_pct_stereotype", "Stereotypes, gender"),
}


def main(arguments: list[str]) -> None:
    """Write the figures.

    Raises:
        UserError: the arguments are others than out=DIR.
    """
    option, _, directory = arguments[0].partition("=")
    if len(arguments) > 1 or option != "out" or not directory:
        raise UserError(f"expected out=DIR alone, found {' '.join(arguments)}")
    for name, figure in published_figures().items():
        for suffix in ("svg", "pdf"):
            path = Path(directory) / f"published_{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_figure(figure, path)
            sys.stdout.write(f"{path}\n")


def published_figures() -> dict[str, Figure]:
    """The figures by their names, which end in the family of the suite."""
    figures = {}
    for name, (benchmark, metric, label) in _SERIES.items():
        series = published_series(benchmark, metric)
        studied = series[series["variant"] != "zero_shot_suite"]
        for family in ("v0", "v1"):
            figures[f"{name}_{family}"] = published_figure(studied[studied["family"] == family], label=label)
    return figures


if __name__ == "__main__":
    run_command(main, __doc__)
