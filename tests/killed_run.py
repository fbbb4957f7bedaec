"""run.py that kills itself: `python killed_run.py forward|fsync N ...` dies at the N-th forward pass or disk write.

`backward N` dies in the N-th step of training, `sigterm N` is asked to end there.
"""

import os
import signal
import sys
from pathlib import Path

from transformers import GPTNeoXModel

sys.path.insert(0, str(Path(__file__).parent.parent))

import run
from foundation import files
from training.trainer import Trainer

PLACES = {
    "forward": (GPTNeoXModel, "forward", signal.SIGKILL),
    "fsync": (files, "sync", signal.SIGKILL),
    "backward": (Trainer, "backward", signal.SIGKILL),
    "sigterm": (Trainer, "backward", signal.SIGTERM),
}


def die_at(owner, name, signum, count):
    original = getattr(owner, name)
    calls = 0

    def counted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signum)
        return original(*arguments, **options)

    setattr(owner, name, counted)


if __name__ == "__main__":
    where, count = sys.argv.pop(1), int(sys.argv.pop(1))
    die_at(*PLACES[where], count)
    run.command_line()
