"""Do the benchmarks respond to what they claim to measure?

python -m tools.responders                            the demo's model, the benchmarks of a run
python -m tools.responders 'benchmark=[winobias]'     of one benchmark
python -m tools.responders model=70m step=133000 corpus=pile 'benchmark=[winobias,crows_pairs]'

Known biases are planted in the logits of the model at that step, one after the other; every metric must move as was
planted. Prints a table for each benchmark, in Markdown: the model's own value, and under each responder what was
measured, with what was planted in brackets. `=` and `≈` stand before a value that must result, else it is the change:
up or down (and found, p < .05), the same, or by so much (within 10 %). Nothing is claimed where there are no brackets.
✗ is what did not respond as planted; the exit status is then 1. The arguments are those of run.py.
"""

import logging
import sys

from transformers.utils.logging import disable_progress_bar

from conf.compose import configure
from conf.finding import find_benchmarks, find_corpus, find_segment, find_suite
from conf.parts import load_checked
from foundation import run_command
from tools.responders.catalogue import PLANTS
from tools.responders.planted import find, without_response
from tools.responders.table import table_of
from training import choose_device

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> None:
    """Print the tables of the benchmarks that the arguments name; exit with 1 where one does not respond as planted."""
    disable_progress_bar()
    config = configure(arguments)
    device = choose_device(config.device)
    corpus = find_corpus(config.corpus)
    segment = find_segment(config, corpus)
    checkpoint = load_checked(config, find_suite(config, corpus, device), config.step, corpus=corpus)
    model = checkpoint.on(device)
    findings = []
    for name, benchmark in find_benchmarks(config, segment).items():
        own = find(model, checkpoint.tokenizer, benchmark, PLANTS[name])
        print(f"\n**{name}**, {config.model.name} at step {config.step}\n\n{table_of(own)}", flush=True)
        findings += own
    wrong = [f"{each.benchmark}.{each.metric} under {each.responder!r}" for each in findings if each.fails]
    unmoved = without_response(findings)
    if wrong:
        log.error("not as planted: %s", "; ".join(wrong))
    if unmoved:
        log.error("no responder moves %s", ", ".join(unmoved))
    if wrong or unmoved:
        sys.exit(1)
    claims = sum(each.expected is not None for each in findings)
    metrics = len({(each.benchmark, each.metric) for each in findings})
    print(f"\n{claims} expectations of {metrics} metrics, all met")


if __name__ == "__main__":
    run_command(main, __doc__, needs_arguments=False)
