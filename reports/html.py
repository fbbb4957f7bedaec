"""report.html: one file that needs nothing but itself, for reading, printing and sending on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from foundation import write_text
from foundation.pages import page_environment
from reports import figures, results
from reports.course_figures import course_of, trajectory_figure
from reports.manipulation import manipulation_rule, manipulation_sentence
from reports.record import machine_caveats
from reports.results import Metric, Results, number, percent
from reports.runs import cost

_HERE = Path(__file__).parent

_HARDWARE = {"platform": "Platform", "cpu": "CPU", "cores": "Cores", "torch_threads": "Threads of torch"}
_IDENTITIES = ("checkpoint", "corpus", "segment", "fingerprints", "intervention", "arithmetic")


def write_report(run_directory: Path) -> Path:
    """Render report.html from the files of a run directory; the same files give the same bytes.

    Raises:
        UserError: the directory holds no evaluated run.
    """
    path = run_directory / "report.html"
    write_text(path, render(results.read_results(run_directory)))
    return path


def render(found: Results) -> str:
    """The page as text."""
    environment = page_environment(_HERE)
    environment.filters |= {"number": number, "interval": results.interval, "p_value": results.p_value}
    environment.filters |= {"words": results.words}
    checked = found.checked
    return environment.get_template("report.html.jinja").render(
        css=Markup((_HERE / "report.css").read_text("utf-8")),
        run=found.run,
        results=found,
        answers=results.answer_sentences(found),
        manipulation=manipulation_sentence(found),
        rule=manipulation_rule(checked, found.run["intervention"]["expects"]) if checked else None,
        checked=checked,
        facts=found.run["intervention"]["facts_in_words"],
        leads=found.association is not None,
        limits={results.BENCHMARKS.get(name, name): limit for name, limit in found.limits.items()},
        headlines=results.by_benchmark(metric for metric in found.headlines if metric is not checked),
        all_metrics=results.by_benchmark(found.metrics),
        metric_svg=_metric_figures(found),
        svg=_figures(found),
        levels=[level for level in results.LEVELS if any(level in metric.levels for metric in found.metrics)],
        changes=[change for change in results.CHANGES if any(change in metric.changes for metric in found.metrics)],
        steps_per_point=max((figures.steps_per_point(journal) for journal in found.journals.values()), default=1),
        swaps=_swaps(found.swaps, found.run["intervention"]["skip_reasons"]),
        examples=[_example(example) for example in found.run["swap_examples"]],
        fidelity=_fidelity(found.run["fidelity"]),
        caveats=_caveats(found),
        identities=_identities(found.run),
        hardware=[*_hardware(found.run["hardware"]), *_speed(found)],
        config=json.dumps(found.run["config"], indent=2, ensure_ascii=False),
    )


def _metric_figures(found: Results) -> dict[str, list[Markup]]:
    """A panel for each headline metric, by benchmark."""
    return {
        benchmark: [
            _svg(figures.interval_figure([metric]), f"{metric.benchmark}-{metric.name}", _describe(metric))
            for metric in metrics
        ]
        for benchmark, metrics in results.by_benchmark(found.headlines).items()
    }


def _figures(found: Results) -> dict[str, list[Markup]]:
    """The other figures by their place, each a list of panels, empty where there is nothing to show."""
    panels: dict[str, list[Markup]] = {}
    if found.checked:
        figure = figures.interval_figure([found.checked], limits=(0, 1))
        panels["manipulation"] = [_svg(figure, "manipulation", _describe(found.checked))]
    columns = [
        column
        for column in figures.LOSSES
        if any(column in journal and journal[column].notna().any() for journal in found.journals.values())
    ]
    panels["loss"] = [
        _svg(figures.loss_figure(found.journals, columns=[column]), column, _describe_losses(found, column))
        for column in columns
    ]
    totals = results.swaps_by_form(found.swaps)
    panels["swaps"] = (
        [] if totals.empty else [_svg(figures.swaps_figure(totals), "swaps", "Bars: occurrences of the table’s forms.")]
    )
    panels["along"] = _along(found)
    panels["association"] = _association(found)
    panels["occupations"] = [
        _svg(
            figures.occupations_figure(found.occupations, later=later),
            f"occupations-{later}",
            f"Scatter of occupations: log-odds of she to he over the share of women, before and {later}.",
        )
        for later in ("after", "control")
        if {"before", later} <= found.occupations.keys()
    ]
    return panels


def _association(found: Results) -> list[Markup]:
    """The slope with its intervals, and the terms that it is fitted through."""
    if found.association is None:
        return []
    drawn = [_svg(figures.interval_figure([found.association]), "association", _describe(found.association))]
    if found.occupations:
        label = "Scatter of terms: log-odds of she to he in the model over those of feminine pronouns in the corpus."
        drawn.append(_svg(figures.association_figure(found.occupations), "association-terms", label))
    return drawn


def _along(found: Results) -> list[Markup]:
    """The checked share and the primary metrics over the steps, where they were measured along the way."""
    drawn, summary = [], found.summary
    chosen, segment = found.run["config"].get("intervention"), found.run["segment"]
    for metric in [*([found.checked] if found.checked else []), *found.primary]:
        course = course_of(summary[(summary["benchmark"] == metric.benchmark) & (summary["metric"] == metric.name)])
        if course.empty:
            continue
        first = segment["step"] + chosen["start"]
        last = segment["step"] + (segment["steps"] if chosen["stop"] is None else chosen["stop"])
        figure = trajectory_figure(course, title=metric.label, window=(first, last))
        drawn.append(_svg(figure, f"along-{metric.benchmark}-{metric.name}", f"{metric.label} over the steps."))
    return drawn


def _svg(figure: Any, prefix: str, label: str) -> Markup:
    return Markup(figures.to_svg(figure, prefix=prefix, label=label))


def _describe(metric: Metric) -> str:
    levels = [
        f"{moment} {number(level.value, metric.decimals)} (95 % interval {results.interval(level, metric.decimals)})"
        for moment, level in metric.levels.items()
    ]
    return f"{metric.label}: {', '.join(levels)}"


def _describe_losses(found: Results, column: str) -> str:
    ends = []
    for arm, journal in found.journals.items():
        losses = journal[column].astype("float64").dropna()
        if len(losses):
            ends.append(f"{arm} arm from {number(losses.iloc[0], 2)} to {number(losses.iloc[-1], 2)}")
    return f"{figures.LOSSES[column]}: {', '.join(ends)}"


def _swaps(swaps: pd.DataFrame, words: Mapping[str, str]) -> dict[str, Any] | None:
    """The table of forms, its last line, and the reasons that occurred, in `words`."""
    totals = results.swaps_by_form(swaps)
    if totals.empty:
        return None
    reasons = [column for column in results.skip_columns(totals) if totals[column].sum() > 0]
    return {
        "rows": totals.to_dict("records"),
        "total": totals.sum(numeric_only=True).to_dict(),
        "reasons": {column: _reason(column.removeprefix("skipped_"), words) for column in reasons},
        "shown": min(len(totals), figures.MOST_FORMS),
    }


def _reason(name: str, words: Mapping[str, str]) -> dict[str, str]:
    return {"short": name.replace("_", " "), "words": words[name]}


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    """A passage whose marks hold words only: the space that a token begins with stands before the mark."""
    pieces = []
    for piece in example["pieces"]:
        text, new = piece["text"], piece["replaced_by"]
        space = text[: len(text) - len(text.lstrip())] if new is not None else ""
        pieces.append({"space": space, "text": text[len(space) :], "new": None if new is None else new.strip()})
    return {"row": example["row"], "pieces": pieces}


def _fidelity(fidelity: Mapping[str, Any] | None) -> str:
    if fidelity is None:
        return (
            "Not measured: the control arm was not trained, or there is no true checkpoint at the step where it ends. "
            "So nothing here shows that resuming by itself changes nothing."
        )
    if fidelity["bitwise_equal"]:
        return (
            f"Resuming by itself changed nothing: the control arm, trained on the unmodified segment, ends with "
            f"exactly the weights of {fidelity['reference']}, bit for bit."
        )
    if fidelity["distance"] is None:
        return f"Not measured: {fidelity['reference']} has the weights that the segment began with."
    rows = (
        "the rows after the segment"
        if fidelity["rows_unseen"]
        else "the segment's last rows, which both were trained on,"
    )
    return (
        f"The control arm, trained on the unmodified segment, ends at a distance of {fidelity['distance']:.3g} from "
        f"{fidelity['reference']}: the L2 distance of the weights as a share of how far the true model moved over the "
        f"segment. 0 would be exact replay. The worst tensor, {fidelity['worst_parameter']}, is at "
        f"{fidelity['worst_distance']:.3g}. On {rows} the loss differs by "
        f"{fidelity['loss'] - fidelity['true_loss']:+.2g} nats, and the predictions by a mean KL divergence of "
        f"{fidelity['mean_token_kl']:.2g} nats a token."
    )


def _caveats(found: Results) -> list[str]:
    no_control = "There is no control arm: a change from before to after also holds what further training on "
    no_control += "unmodified text would have done."
    made_otherwise = (found.run["fidelity"] or {}).get("made_otherwise")  # a caveat too, but for earlier runs
    own = dict.fromkeys([*found.run["caveats"], *filter(None, [made_otherwise])])
    return [*own, *machine_caveats(found.run), *([] if found.has_control else [no_control])]


def _identities(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"{part} {key.replace('_', ' ')}", f"{len(value)}, in run.json" if isinstance(value, Mapping) else f"{value}")
        for part in _IDENTITIES
        for key, value in run[part].items()
        if value is not None
    ]


def _hardware(hardware: Mapping[str, Any]) -> list[tuple[str, str]]:
    gpus = ", ".join(f"{gpu['name']}, {gpu['memory_gib']} GiB" for gpu in hardware["gpus"])
    rest = [(_HARDWARE.get(key, key), f"{value}") for key, value in hardware.items() if key != "gpus"]
    return [*rest, ("GPU", gpus or "none")]


def _speed(found: Results) -> list[tuple[str, str]]:
    spent = cost(found)
    if spent["tokens_per_s"] is None:
        return []
    shown = [f"{number(spent['tokens_per_s'], 0)} tokens/s (median of the steps)"]
    shown += [f"MFU {percent(spent['mfu'], 0)}"] if spent["mfu"] is not None else []
    return [("Training", ", ".join([*shown, f"data stall {percent(spent['data_stall'], 1)}"]))]
