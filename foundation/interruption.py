"""Signals that ask a process to end, heeded where nothing is lost."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Training stopped on a signal after it had saved its state.

    Attributes:
        signal: the number of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped on {signal.Signals(signum).name}")
        self.signal = signum


@contextlib.contextmanager
def deferred_signals(*, patient: bool = False) -> Iterator[Callable[[], int | None]]:
    """Within the block SIGINT and SIGTERM only set what the yielded function returns; a second one acts at once.

    Outside the main thread, where Python takes no signals, the function returns None always.

    Args:
        patient: a second one does nothing more: it may be the first again, sent by a scheduler and by torchrun.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}

    def restore() -> None:
        for signum, handler in before.items():
            signal.signal(signum, handler)

    def note(signum: int, frame: FrameType | None) -> None:
        seen.append(signum)
        if not patient:
            restore()

    for signum in _SIGNALS:
        signal.signal(signum, note)
    try:
        yield lambda: seen[0] if seen else None
    finally:
        restore()
