"""Deal work to threads that share one model, and end them all cleanly, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
GRACE = 60
"""Seconds to wait for what a thread has begun when the work is broken off."""


def share(
    items: Iterable[Item], begin: Callable[[threading.Event], Callable[[Item], object]], threads: int
) -> list[Exception]:
    """Have `threads` threads take items, one at a time and in order, until there are none; the errors that ended it.

    Each thread calls `begin` once, for what it needs of its own, and then what that gave for each of its items. The
    event that `begin` is given is set when the work is broken off.
    """
    lock = threading.Lock()
    stopped = threading.Event()
    ended = threading.Semaphore(0)
    errors: list[Exception] = []
    todo = iter(items)

    def work() -> None:
        try:
            do = begin(stopped)
            while not stopped.is_set():
                with lock:
                    item = next(todo, None)
                if item is None:
                    return
                do(item)
        except Exception as error:
            errors.append(error)
            stopped.set()
        finally:
            ended.release()

    workers = [threading.Thread(target=work, daemon=True) for _ in range(max(1, threads))]
    for worker in workers:
        worker.start()
    running = len(workers)
    try:
        for _ in workers:
            ended.acquire()
            running -= 1
    finally:
        # A thread in native code that outlives the interpreter aborts it: wait for its last item. By a semaphore:
        # Thread.join of CPython 3.11 takes a thread for ended when Ctrl-C interrupts it (bpo-45274).
        stopped.set()
        for _ in range(running):
            ended.acquire(timeout=GRACE)
    return errors
