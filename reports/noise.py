"""Noise floors: how much a metric moves when nothing that matters has changed.

An interval in summary.csv says what other examples could have shown of these two models. It does not say what the next
checkpoint would have shown of the same examples. This does; what another suite would have shown is in
`reports.over_suites`. An effect is worth a claim when it is large against all of them.
"""

import numpy as np
import pandas as pd

FEWEST_CHECKPOINTS = 3


def noise_between_checkpoints(values: "pd.Series[float]") -> float:
    """Standard deviation of a metric at one checkpoint about its course, in the metric's unit.

    Each checkpoint is compared with the straight line between its two neighbours, so that a steady trend is no noise.
    With weights w and 1 - w of the neighbours, the variance of that residual is 1 + w^2 + (1 - w)^2 times a single
    checkpoint's; it is 1.5 times where steps are evenly spaced (von Neumann 1941 has it for first differences).

    Args:
        values: indexed by step, in any order.

    Returns:
        Missing where there are fewer than three checkpoints.
    """
    ordered = values.sort_index()
    if len(ordered) < FEWEST_CHECKPOINTS:
        return float("nan")
    step, value = ordered.index.to_numpy(np.float64), ordered.to_numpy(np.float64)
    share = (step[1:-1] - step[:-2]) / (step[2:] - step[:-2])
    residual = value[1:-1] - (1 - share) * value[:-2] - share * value[2:]
    return float(np.sqrt(np.mean(residual**2 / (1 + share**2 + (1 - share) ** 2))))
