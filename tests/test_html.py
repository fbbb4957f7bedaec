"""The report: its numbers, its safety, and that it fits a phone."""

import html
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from fake_run import LIMITS, run_json, write_fake_run
from reports.html import write_report
from reports.manipulation import manipulation_sentence
from reports.results import read_results

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
VOID = {"meta", "link", "br", "img", "input", "hr", "use", "path"}


class Page(HTMLParser):
    """What the tests ask of a page: elements, their text, and the rows of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.unclosed: list[str] = []
        self.text = ""
        self.rows: dict[tuple[str, str, str], list[str]] = {}
        self._table, self._row, self._cell = "", None, False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.unclosed.append(tag)
        if tag == "table":
            self._table = attributes.get("class") or ""
        if tag == "tr" and "data-metric" in attributes:
            self._row = self.rows[self._table, attributes["data-benchmark"], attributes["data-metric"]] = []
        elif tag == "tr":
            self._row = None
        self._cell = tag == "td" or (self._cell and tag not in ("th", "tr"))
        if tag == "td" and self._row is not None:
            self._row.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag
        if tag == "td":
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self.unclosed and self.unclosed[-1] not in ("style", "script"):
            self.text += data
        if self._cell and self._row:
            self._row[-1] += data

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def numbers(cell: str) -> list[float]:
    return [float(found) for found in re.findall(r"[-+]?\d+(?:\.\d+)?", cell.replace("−", "-").replace(",", ""))]


def half_a_digit(cell: str) -> float:
    decimals = max((len(found) for found in re.findall(r"\.(\d+)", cell)), default=0)
    return 0.500001 * 10**-decimals


def render(directory: Path) -> tuple[str, Page]:
    text = write_report(directory).read_text("utf-8")
    return text, Page(text)


def test_every_number_of_the_summary_stands_in_the_full_tables(tmp_path: Path) -> None:
    directory = write_fake_run(tmp_path)
    _, page = render(directory)
    table = pd.read_csv(directory / "summary.csv")
    for (benchmark, metric), rows in table.groupby(["benchmark", "metric"]):
        by_moment = rows.set_index("moment")
        expected = [[by_moment["n"].iloc[0]], [by_moment["neutral"].iloc[0]]]
        for moment in ("before", "after", "control"):
            row = by_moment.loc[moment]
            expected += [[row["value"]], [row["ci_low"], row["ci_high"]]]
        for moment in ("after-control", "after-before", "control-before"):
            row = by_moment.loc[moment]
            p = 0.001 if row["p"] < 0.001 else row["p"]
            corrected = max(row["p_holm"], 0.001)
            expected += [[row["value"]], [row["ci_low"], row["ci_high"]], [p], [corrected], [row["mde"]]]
        cells = page.rows["full", str(benchmark), str(metric)]
        assert len(cells) == len(expected)
        for cell, values in zip(cells, expected, strict=True):
            present = [value for value in values if not pd.isna(value)]
            assert numbers(cell) == pytest.approx(present, abs=half_a_digit(cell))
    assert len([key for key in page.rows if key[0] == "full"]) == table.groupby(["benchmark", "metric"]).ngroups


def test_the_main_table_shows_the_change_against_the_control_arm(tmp_path: Path) -> None:
    _, page = render(write_fake_run(tmp_path))
    cells = page.rows["main", "crows_pairs", "gender_pct_stereotype"]
    assert cells == ["262", "0.557", "0.504", "0.553", "−0.049*", "−0.091 to −0.007", "0.012", "0.036", "0.060"]


def test_the_page_leads_with_the_learned_association_and_says_what_a_benchmark_cannot_show(tmp_path: Path) -> None:
    text, page = render(write_fake_run(tmp_path, association=True))
    assert page.text.index("The learned association (") < page.text.index("Manipulation check: taken.")
    assert 'aria-label="Scatter of terms' in text
    assert text.index("<h3>WinoBias</h3>") < text.index(LIMITS["winobias"]) < text.index("<h3>CrowS-Pairs</h3>")
    text, page = render(write_fake_run(tmp_path / "without"))
    assert "earned association" not in page.text


def test_the_page_is_the_same_to_the_byte(tmp_path: Path) -> None:
    one, other = (write_report(write_fake_run(tmp_path / name)) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_hostile_text_is_shown_and_not_run(tmp_path: Path) -> None:
    directory = write_fake_run(tmp_path)
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    run = run_json()
    run["swap_examples"][0]["pieces"] = [
        {"text": hostile, "replaced_by": None},
        {"text": " <b>he", "replaced_by": " <i>she"},
    ]
    run["command"] = run["caveats"][0] = run["config"]["model"]["name"] = run["checkpoint"]["model"] = hostile
    (directory / "run.json").write_text(json.dumps(run))
    _, page = render(directory)
    assert page.text.count(hostile) >= 4
    assert "<i>she" in page.text
    assert not page.tags("script")
    assert not page.tags("img")


@pytest.mark.parametrize("options", [{}, {"control": False, "statistics": False, "optional": False}])
def test_nothing_is_loaded_from_elsewhere(tmp_path: Path, options: dict[str, bool]) -> None:
    text, page = render(write_fake_run(tmp_path, **options))
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "data", "poster", "srcset", "action"):
            assert name not in attributes or tag == "a" or (attributes[name] or "").startswith("#"), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not {"script", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    assert not re.search(r"@import|url\((?!#)", text)
    policies = [meta["content"] for meta in page.tags("meta") if "http-equiv" in meta]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_ids_are_unique_and_links_within_the_page_lead_somewhere(tmp_path: Path) -> None:
    _, page = render(write_fake_run(tmp_path))
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert set(ids.values()) == {1}
    links = [link["href"] or "" for link in page.tags("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= ids.keys()


def test_elements_close_in_order_and_figures_and_tables_are_labelled(tmp_path: Path) -> None:
    _, page = render(write_fake_run(tmp_path))
    assert page.unclosed == []
    svgs = page.tags("svg")
    assert len(svgs) == 18
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in svgs)
    assert len(page.tags("table")) == len(page.tags("caption")) == 6
    assert len(page.tags("h1")) == 1


def test_marks_of_a_swap_hold_the_words_alone(tmp_path: Path) -> None:
    text, _ = render(write_fake_run(tmp_path))
    assert "plumber said that <del>he</del> <ins>she</ins> would mend" in text


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("optional", [True, False])
def test_without_a_control_arm_after_is_compared_with_before(tmp_path: Path, statistics: bool, optional: bool) -> None:
    directory = write_fake_run(tmp_path, control=False, statistics=statistics, optional=optional)
    _, page = render(directory)
    tested = ["0.012", "0.036", "0.060"] if statistics else ["–"] * 3
    cells = page.rows["main", "crows_pairs", "gender_pct_stereotype"]
    assert cells == ["262", "0.557", "0.504", f"−0.053{'*' if statistics else ''}", "−0.095 to −0.011", *tested]
    assert "There is no control arm" in page.text
    assert "Not measured" in page.text
    assert ("No word was swapped." in page.text) is not optional
    assert manipulation_sentence(read_results(directory)) in page.text


def test_long_lists_of_run_json_are_counted_and_not_shown(tmp_path: Path) -> None:
    directory = write_fake_run(tmp_path)
    text, page = render(directory)
    fingerprints = json.loads((directory / "run.json").read_text())["fingerprints"]
    assert fingerprints["segment_sha256"] in page.text
    assert fingerprints["steps"]
    assert not any(sha256 in text for step in fingerprints["steps"].values() for sha256 in step)
    assert f"{len(fingerprints['steps'])}, in run.json" in page.text


def test_an_inexact_replay_gives_its_distance(tmp_path: Path) -> None:
    directory = write_fake_run(tmp_path)
    fidelity = run_json()["fidelity"] | {
        "bitwise_equal": False,
        "distance": 0.012345,
        "worst_distance": 0.5,
        "loss": 4.5,
        "mean_token_kl": 0.00123,
    }
    (directory / "run.json").write_text(json.dumps(run_json() | {"fidelity": fidelity}))
    _, page = render(directory)
    assert "ends at a distance of 0.0123 from demo step 512" in page.text
    assert "The worst tensor, lm_head.weight, is at 0.5. On the rows after the segment the loss differs" in page.text
    assert "by -0.06 nats" in page.text
    assert "0.0012 nats a token" in page.text


def test_the_command_line_renders_a_run_again(tmp_path: Path) -> None:
    directory = write_fake_run(tmp_path)
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "reports", str(directory)], cwd=root, capture_output=True, text=True, check=True
    )
    assert "Manipulation check: taken." in " ".join(done.stdout.split())
    assert done.stderr == ""
    assert (directory / "report.html").exists()


def widths_measured(page: Path, workshop: Path) -> list[tuple[int, int]]:
    """How wide a page is with everything open, and the window it is in, for a small phone, a phone and a screen."""
    assert CHROMIUM is not None
    text = html.escape(page.read_text("utf-8")).replace("&lt;details&gt;", "&lt;details open&gt;")
    frames = "".join(
        f'<iframe style="width:{width}px;border:0" srcdoc="{text}"></iframe>' for width in (360, 390, 1280)
    )
    script = (
        "onload = () => document.title = [...document.querySelectorAll('iframe')].map(frame => "
        "`${frame.contentDocument.documentElement.scrollWidth}/${frame.contentWindow.innerWidth}`)"
    )
    (workshop / "frames.html").write_text(f"<!DOCTYPE html><title></title>{frames}<script>{script}</script>", "utf-8")
    quiet = ["no-first-run", "disable-gpu", "disable-quic", "disable-background-networking", "disable-sync"]
    flags = [f"--{flag}" for flag in ["headless", "no-sandbox", "disable-component-update", "dump-dom", *quiet]]
    done = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={workshop / 'profile'}", (workshop / "frames.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    pairs = [each.split("/") for each in title[1].split(",")]
    return [(int(scroll), int(inner)) for scroll, inner in pairs]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")
@pytest.mark.parametrize("control", [True, False])
def test_the_page_never_scrolls_sideways(tmp_path: Path, control: bool) -> None:
    page = write_report(write_fake_run(tmp_path / "run", control=control))
    measured = widths_measured(page, tmp_path)
    assert [inner for _, inner in measured] == [360, 390, 1280]
    assert all(scroll <= inner for scroll, inner in measured), measured


def test_several_runs_of_the_experiment_make_no_one_report(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_fake_run(tmp_path / name)
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-m", "reports", str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: a report is of one run, but 2 were found; name one, or fidelity runs only\n"
