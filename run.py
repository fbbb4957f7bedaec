"""If the pronouns in the last part of a model's pre-training had been different, would the model be less biased?

python run.py                                       the demo: the whole method, on a CPU, in minutes
python run.py step=2560 steps=640                   another checkpoint, a longer segment
python run.py model=1.4b step=133000 plan=true      what its data would take; fetches none of them, trains nothing
python run.py -m step=2560,2880 intervention=none,masculine_to_feminine
python run.py experiment=dose_response              a study: many runs in one directory, which share their control
python run.py experiment=fidelity                   how near resuming comes to the true later checkpoint
python run.py experiment=audit_published            whether the published intervention took; trains nothing
python run.py experiment=trajectory                 the benchmarks over the suite's own checkpoints; trains nothing
torchrun --nproc-per-node 8 run.py model=6.9b       one training on several GPUs; see `training.distributed`
"""

import logging
import shlex
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from transformers.utils.logging import disable_progress_bar

from conf.arguments import CONF, check_arguments
from conf.compose import config_errors_for_users, errors_through_hydra, typed_config
from conf.description import describe_audited, describe_parts, describe_reading, foreign_rows_of
from conf.finding import choose_control, find_skipped, find_trajectory, skipped_texts
from conf.identity import run_identity
from conf.inputs import hash_inputs
from conf.parts import assemble, find_fault_of_true_end, resume_from
from conf.paths import quote_paths
from conf.plan import plan_lines
from conf.schema import Control, Protocol, RunConfig
from conf.sharing import Common
from conf.study import take_gpu
from corpus import Segment, combined_fingerprint, fingerprint, plan_text
from eval import CHANGES
from foundation import UserError, file_errors_for_users, mistakes_in_one_line, one_line, quiet_libraries
from interventions import Intervention
from reports import (
    RunRecord,
    is_finished,
    open_record,
    print_fidelity,
    print_summary,
    print_trajectory,
    provenance,
    write_fidelity,
    write_model_cards,
    write_report,
    write_swaps,
    write_trajectory,
)
from training import Batch, check_step, check_stored, launcher, open_suite, processes, read_journal

log = logging.getLogger(__name__)


def run(config: RunConfig, record: RunRecord) -> None:
    """The experiment, in order. What a stage has left in the run directory is not done again after an interruption."""
    parts = assemble(config, record)
    start = parts.load(config.step)
    check_stored(start, config.optimizer_state.value)
    intervention = parts.intervention(start)
    described = describe_parts(parts, start, intervention)
    record.identify(**described)
    common = Common(parts, described, intervention)
    without_true_end = find_fault_of_true_end(parts)
    record.update(arm=common.arm, **describe_reading(parts, start, intervention, without_true_end))

    rows = {"before": common.rows("before", lambda: parts.measure(start))}
    with common.exclusively("moments") as directory:
        resumed = resume_from(parts, config.optimizer_state.value, directory=directory)
    control = choose_control(config, parts.segment, parts.suite, parts.precision)
    arms = ["intervened", "control"] if control is Control.train else ["intervened"]
    for arm, moment in zip(arms, ["after", "control"], strict=False):
        batch_at = partial(arm_batch, arm, parts.segment, intervention)
        if record.study is not None and arm == "control":
            rows |= common.control(resumed, compared_with=start if without_true_end is None else None)
            continue
        if record.study is not None:
            rows |= common.intervened(resumed, batch_at=batch_at)
            continue
        ended, measured = parts.train_and_measure(arm, moment, resumed(), batch_at=batch_at)
        rows |= measured
        if arm == "control" and without_true_end is None:
            record.update(fidelity=parts.fidelity_of(ended, begun_at=start))
        del ended  # the next arm needs its memory
    if control is Control.published:
        rows |= parts.measure_published()

    parts.write_summary(rows, changes=changes_of(rows))
    journals = {arm: read_journal(record.directory / "train" / f"{arm}.jsonl") for arm in arms}
    write_swaps(record.directory, journals["intervened"])
    record.update(fingerprints=segment_fingerprints(journals))
    write_model_cards(record.directory)
    record.finish(write_report)


def run_fidelity(config: RunConfig, record: RunRecord) -> None:
    """How near each way to get Adam's moments comes to the true checkpoint at step + steps, on unmodified data."""
    parts = assemble(config, record)
    start = parts.load(config.step)
    find_fault_of_true_end(parts)
    for source in config.fidelity.optimizer_states:
        check_stored(start, source)
    record.identify(**describe_parts(parts, start, None))
    record.update(caveats=[*filter(None, [foreign_rows_of(parts, start), parts.made_otherwise()])])
    rows = {"before": record.rows("before", lambda: parts.measure(start))}
    rows["true"] = record.rows("true", lambda: parts.measure(parts.load(parts.segment.stop)))
    found = {}
    for source in config.fidelity.optimizer_states:
        ended = parts.train(source, resume_from(parts, source)(), batch_at=parts.unmodified)
        rows[source] = record.rows(source, partial(parts.measure, ended))
        found[source] = parts.fidelity_of(ended, begun_at=start)
        del ended  # the next arm needs its memory

    parts.write_summary(rows, changes=[(moment, "true") for moment in ["before", *found]])
    record.update(fidelity=found)
    record.finish(write_fidelity)


def run_audit(config: RunConfig, record: RunRecord) -> None:
    """What an intervention changed that others trained: their checkpoint at step + steps against the suite's own."""
    parts = assemble(config, record)
    assert config.audit.checkpoints is not None
    audited = open_suite(config.audit.checkpoints, tokenizer=config.model.tokenizer, setting="audit.checkpoints")
    check_step(parts.segment.stop, audited.steps(), where=audited.location)
    find_fault_of_true_end(parts)
    start, ended = parts.load(config.step), parts.load(parts.segment.stop, suite=audited)
    record.identify(**describe_parts(parts, start, None), intervention=describe_audited(config, audited, ended))
    record.update(
        **{"swap_examples": [], "fidelity": None, "control": Control.published.value, "fingerprints": {}},
        caveats=[
            *config.model.caveats,
            *parts.suite.caveats(config.step),
            *parts.suite.caveats(parts.segment.stop),
            *audited.caveats(parts.segment.stop),
            *filter(None, [parts.made_otherwise()]),
            "Both checkpoints were trained by others: whether they differ in the text alone is not recorded.",
        ],
    )
    rows = {"before": record.rows("before", lambda: parts.measure(start))}
    rows["after"] = record.rows("after", lambda: parts.measure(ended))
    rows["control"] = record.rows("control", lambda: parts.measure(parts.load(parts.segment.stop)))

    parts.write_summary(rows)
    record.finish(write_report)


def run_trajectory(config: RunConfig, record: RunRecord) -> None:
    """What the benchmarks say of the suite's own checkpoints, from `step` to `step + steps`; nothing is trained."""
    parts = assemble(config, record)
    steps = find_trajectory(config)
    first = parts.load(steps[0])
    record.identify(**describe_parts(parts, first, None))
    skipped = skipped_texts(find_skipped(config))
    for text in skipped:
        log.warning("not measured: %s", text)
    record.update(
        caveats=[
            *config.model.caveats,
            *dict.fromkeys(caveat for step in steps for caveat in parts.suite.caveats(step)),
            *(f"Not measured: {text}." for text in skipped),
            *filter(None, [parts.made_otherwise()]),
        ]
    )
    rows = parts.measure_along(first, steps)
    last = f"step{steps[-1]}"
    rows[f"bf16_{last}"] = record.rows(f"bf16_{last}", lambda: parts.measure(parts.load(steps[-1]), precision="bf16"))

    moved = [(last, f"step{steps[0]}")] if len(steps) > 1 else []
    parts.write_summary(rows, changes=[*moved, (f"bf16_{last}", last)])
    record.finish(write_trajectory)


def arm_batch(arm: str, segment: Segment, intervention: Intervention, step: int) -> Batch:
    """One step's rows as an arm sees them. Both arms tell apart the loss on the words that the intervention swaps."""
    rows = segment.batch(step)
    intervened, ledger = intervention(rows, first_row=segment.first_row(step))
    evidence: dict[str, Any] = {"source_sha256": fingerprint(rows)}
    if arm == "control":
        return Batch(rows, evidence | {"sha256": evidence["source_sha256"], "swaps": []}, groups=ledger.groups())
    evidence |= {"sha256": fingerprint(intervened), "swapped_sha256": ledger.fingerprint()}
    evidence["swaps"] = ledger.counts.to_dict("records")
    return Batch(intervened, evidence, groups=ledger.groups(), unlearned=ledger.unlearned)


def segment_fingerprints(journals: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Fingerprints of the segment and of each step, before and after the intervention.

    All arms must have read the same rows.
    """
    sources = {arm: combined_fingerprint(line["source_sha256"] for line in lines) for arm, lines in journals.items()}
    if len(set(sources.values())) > 1:
        raise RuntimeError(f"the arms did not read the same rows: {sources}")
    lines = journals["intervened"]
    return {
        "segment_sha256": sources["intervened"],
        "intervened_segment_sha256": combined_fingerprint(line["sha256"] for line in lines),
        "steps": {line["step"]: [line["source_sha256"], line["sha256"]] for line in lines},
    }


def changes_of(moments: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs (later, earlier) of moments whose difference is asked for: at the end, and at each step on the way."""
    along = [moment.removeprefix("after_") for moment in moments if moment.startswith("after_step")]
    return [*CHANGES, *((f"after_{step}", other) for step in along for other in ("before", f"control_{step}"))]


PROTOCOLS = {
    Protocol.counterfactual: run,
    Protocol.fidelity: run_fidelity,
    Protocol.audit: run_audit,
    Protocol.trajectory: run_trajectory,
}


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> None:
    disable_progress_bar()  # transformers' bar for loading weights, which takes a blink
    quiet_libraries()
    directory = Path(config.output_dir)
    in_sweep = HydraConfig.get().mode is RunMode.MULTIRUN
    arguments = list(HydraConfig.get().overrides.task) if in_sweep else sys.argv[1:]
    command = shlex.join([*launcher(), "run.py", *arguments])
    try:
        with file_errors_for_users(), config_errors_for_users():
            if in_sweep:
                take_gpu(HydraConfig.get().launcher["_target_"])
            typed = typed_config(config)
            if typed.plan:
                return print(plan_text(plan_lines(typed)), end="")
            values = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, enum_to_str=True))
            del values["output_dir"], values["tracker"]  # where things go and are shown decides no number
            identity = run_identity(typed, values, hash_inputs(typed))
            if in_sweep and is_finished(directory, config=values, identity=identity):
                log.info("%s is finished; skipped", directory)
                return
            study = Path(HydraConfig.get().sweep.dir).absolute() if in_sweep else None
            with open_record(
                directory,
                config=values,
                identity=identity,
                command=command,
                provenance=provenance(),
                study=study,
            ) as record:
                PROTOCOLS[typed.protocol](typed, record)
    except UserError as error:
        if in_sweep:
            print(one_line(error), file=sys.stderr)
            raise  # the other jobs of the study go on
        raise SystemExit(one_line(error)) from error
    finally:
        if not any(directory.iterdir()):
            directory.rmdir()  # hydra made it, and nothing came of it
    printed = {Protocol.fidelity: print_fidelity, Protocol.trajectory: print_trajectory}
    printed.get(typed.protocol, print_summary)(directory)


def command_line() -> None:
    """Run what sys.argv says."""
    with mistakes_in_one_line(), errors_through_hydra(), config_errors_for_users(), processes() as is_the_run:
        if is_the_run:
            sys.argv[1:] = quote_paths(sys.argv[1:])
            check_arguments(sys.argv[1:])
            main()


if __name__ == "__main__":
    command_line()
