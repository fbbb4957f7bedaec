"""What a run leaves for its readers: its record, and the tables, figures and report that are made from its files."""

from reports.fidelity import print_fidelity, write_fidelity
from reports.html import write_report
from reports.identity import AS_READ, OF_A_CPU, content_hash, flat, hash_of, make_identity
from reports.model_card import write_model_cards
from reports.provenance import COMPUTING, cpu_model, provenance, versions
from reports.record import RunRecord, is_finished, kept_rows, open_record, with_machine, write_swaps
from reports.study_page import write_study
from reports.terminal import print_summary
from reports.trajectory import print_trajectory, trajectory_table, write_trajectory

__all__ = [
    "AS_READ",
    "COMPUTING",
    "OF_A_CPU",
    "RunRecord",
    "content_hash",
    "cpu_model",
    "flat",
    "hash_of",
    "is_finished",
    "kept_rows",
    "make_identity",
    "open_record",
    "print_fidelity",
    "print_summary",
    "print_trajectory",
    "provenance",
    "trajectory_table",
    "versions",
    "with_machine",
    "write_fidelity",
    "write_model_cards",
    "write_report",
    "write_study",
    "write_swaps",
    "write_trajectory",
]
