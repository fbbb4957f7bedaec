"""Many tests at once."""

import pandas as pd


def holm(p: "pd.Series[float]") -> "pd.Series[float]":
    """Holm's adjusted p-values of one family of tests; missing ones are no part of it (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests  # whose import takes memory that no other part needs

    adjusted = p.copy()
    if p.notna().any():
        adjusted[p.notna()] = multipletests(p.dropna().to_numpy(), method="holm")[1]
    return adjusted
