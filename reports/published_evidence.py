"""What the stored numbers of Pythia's case study show, and what its pushed code does, in tables: docs/method.md quotes
them.

python -m reports.published_evidence
"""

import sys

import numpy as np
import pandas as pd
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from reports.as_released import END_OF_DOCUMENT, PADDING, as_released
from reports.published_results import net_bias, published_results

_LAST = 10
_BASELINE, _SHORT = "baseline", "intervene_7"
_TEXTS = {
    "a masculine pronoun, two documents": f"The cook said that he slept.{END_OF_DOCUMENT}It rained.",
    "a masculine pronoun, one document": "The cook said that he slept. It rained.",
    "no masculine pronoun, two documents": f"The cook said that she slept.{END_OF_DOCUMENT}It rained.",
}


def evidence() -> str:
    """The tables as text, from `published_results` and invented rows."""
    stored = published_results()
    crows = stored[stored["benchmark"] == "crows_pairs"]
    tables = {
        "1. One model (v0, 1.4b baseline), two codes: mean distance of pairs, nats": evaluation_codes(crows),
        "2. CrowS-Pairs, gender, share of stereotypes (v1), and the mean change over the checkpoints that\n"
        f"   both have among the last {_LAST} (7 %) or since the swap began (21 %)": crows_pairs(crows),
        "3. Net bias of WinoBias, pro minus anti of exact matches (v1, step 143000), and by template": winobias(stored),
        "4. What the pushed code makes of rows, in tokens": pushed_code(),
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


def pushed_code() -> pd.DataFrame:
    """What changes in three invented rows, a token a byte: pronouns, ends of documents, padding."""
    tokenizer = _bytes_tokenizer()
    end, padding = (tokenizer.convert_tokens_to_ids(token) for token in (END_OF_DOCUMENT, PADDING))
    lines = []
    for name, text in _TEXTS.items():
        row = np.array([tokenizer.encode(text)], np.int64)
        changed = as_released(row, tokenizer)
        pronouns = [tokenizer.decode(ids[0]).count(" he ") for ids in (row, changed)]
        lines.append(
            {
                "row with": name,
                "pronouns swapped": pronouns[0] - pronouns[1],
                "ends before": int((row == end).sum()),
                "ends after": int((changed == end).sum()),
                "padding after": int((changed == padding).sum()),
            }
        )
    return pd.DataFrame(lines)


def _bytes_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, additional_special_tokens=[END_OF_DOCUMENT, PADDING], clean_up_tokenization_spaces=False
    )


def _text(table: pd.DataFrame) -> str:
    return str(table.to_string(index=False))


if __name__ == "__main__":
    sys.stdout.write(evidence())
