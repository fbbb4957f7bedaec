"""What the stored numbers of Pythia's case study show, in tables: docs/method.md quotes them.

python -m reports.published_evidence
"""

import sys

import pandas as pd

from reports.published_results import net_bias, published_results

_LAST = 10
_BASELINE, _SHORT = "baseline", "intervene_7"


def evidence() -> str:
    """The tables as text, from `published_results` alone."""
    stored = published_results()
    crows = stored[stored["benchmark"] == "crows_pairs"]
    tables = {
        "1. One model (v0, 1.4b baseline), two codes: mean distance of pairs, nats": evaluation_codes(crows),
        "2. CrowS-Pairs, gender, share of stereotypes (v1), and the mean change over the checkpoints that\n"
        f"   both have among the last {_LAST} (7 %) or since the swap began (21 %)": crows_pairs(crows),
        "3. Net bias of WinoBias, pro minus anti of exact matches (v1, step 143000), and by template": winobias(stored),
    }
    return "\n\n".join(f"{title}\n\n{_text(table)}" for title, table in tables.items()) + "\n"


def evaluation_codes(crows: pd.DataFrame) -> pd.DataFrame:
    """Distances at neighbouring checkpoints: those of step 66,500 went through the code that swapped pronouns."""
    rows = crows[(crows["family"] == "v0") & (crows["model"] == "1.4b-deduped") & (crows["variant"] == _BASELINE)]
    rows = rows[rows["metric"] == "likelihood_difference"]
    wide = rows.pivot_table(index="subset", columns="step", values="value")
    table = pd.DataFrame({"step 66500": wide[66_500], "step 67000": wide[67_000]})
    table["ratio"] = table["step 66500"] / table["step 67000"]
    return table.loc[["gender", "race-color", "age", "all"]].round(2).reset_index(names="pairs")


def crows_pairs(crows: pd.DataFrame) -> pd.DataFrame:
    """Baseline and intervened at the last step, and the mean difference over many."""
    rows = crows[(crows["family"] == "v1") & (crows["subset"] == "gender") & (crows["metric"] == "pct_stereotype")]
    lines = []
    for (model, variant), own in rows[rows["variant"].str.startswith("intervene")].groupby(["model", "variant"]):
        share = str(variant).removeprefix("intervene_")
        baseline = rows[(rows["model"] == model) & (rows["variant"] == _BASELINE)]
        both = baseline.merge(own, on="step", suffixes=("", "_own"), validate="1:1").sort_values("step")
        last, many = both.iloc[-1], both.tail(_LAST) if variant == _SHORT else both
        lines.append(
            {
                "model": f"{model} {share} %",
                "baseline": round(last["value"], 4),
                "intervened": round(last["value_own"], 4),
                "standard error": round(last["stderr"], 3),
                "checkpoints": len(many),
                "mean change": round((many["value_own"] - many["value"]).mean(), 3),
                "sd of baseline": round(many["value"].std(), 3),
            }
        )
    return pd.DataFrame(lines)


def winobias(stored: pd.DataFrame) -> pd.DataFrame:
    """Net bias at the last step, over both templates and in each."""
    rows = stored[(stored["benchmark"] == "winobias") & (stored["family"] == "v1") & (stored["step"] == 143_000)]
    parts = {"net bias": rows} | {str(template): part for template, part in rows.groupby("template")}
    tables = [net_bias(part).set_index(["model", "variant"])["net_bias"].rename(name) for name, part in parts.items()]
    return pd.concat(tables, axis=1).round(3).reset_index()


def _text(table: pd.DataFrame) -> str:
    return str(table.to_string(index=False))


if __name__ == "__main__":
    sys.stdout.write(evidence())
