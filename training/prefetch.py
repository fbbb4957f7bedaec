"""The next step's batch is read and prepared while this one trains."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def prefetched(make: Callable[[int], T], *, stop: int) -> Iterator[Callable[[int], T]]:
    """A function that answers as `make` does, and then has `make(step + 1)` run beside what its caller does.

    One thread makes them all, one after the other, so `make` need not be safe for several. Nothing is made twice where
    steps are asked for in order. What `make` raises is raised at the step that it belongs to, and never where that step
    is not asked for. Leaving the block waits for the one that is being made: no thread outlives it.

    Args:
        make: what belongs to a step: a pure function.
        stop: the step that is not asked for any more.
    """
    ahead: dict[int, Future[T]] = {}
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as executor:

        def answer(step: int) -> T:
            made = (ahead.pop(step, None) or executor.submit(make, step)).result()
            if step + 1 < stop:
                ahead[step + 1] = executor.submit(make, step + 1)
            return made

        yield answer
