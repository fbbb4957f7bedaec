"""Bias benchmarks for causal language models: likelihood scores, one row for each example, paired statistics."""

from eval.evaluation import BENCHMARKS, Benchmark, evaluate, load_benchmark, load_items
from eval.statistics import CHANGES, Metric, summarize

__all__ = ["BENCHMARKS", "CHANGES", "Benchmark", "Metric", "evaluate", "load_benchmark", "load_items", "summarize"]
