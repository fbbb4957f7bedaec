"""Many tests at once."""

import numpy as np
import pandas as pd


def holm(p: "pd.Series[float]") -> "pd.Series[float]":
    """Holm's adjusted p-values of one family of tests; missing ones are no part of it (Holm 1979)."""
    ordered = p.dropna().sort_values()
    adjusted = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1.0)
    return adjusted.reindex(p.index)
