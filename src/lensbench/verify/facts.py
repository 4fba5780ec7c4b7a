"""One fact about a dataset, and how a check that breaks becomes one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ParamSpec

from lensbench.digest import UNKNOWN
from lensbench.errors import LensbenchError

Args = ParamSpec("Args")

OK, FAILED = "ok", "failed"

__all__ = ["FAILED", "OK", "UNKNOWN", "Checked", "failed", "guarded", "ok", "summary", "unknown", "verdict"]


@dataclass(frozen=True)
class Checked:
    """One fact: `state` is ``ok``, ``unknown`` (accepted, and never counted as passed) or ``failed``."""

    what: str
    state: str
    text: str


def ok(what: str, text: str) -> Checked:
    """Something that holds."""
    return Checked(what, OK, text)


def unknown(what: str, text: str) -> Checked:
    """Something that nobody can check yet."""
    return Checked(what, UNKNOWN, text)


def failed(what: str, text: str) -> Checked:
    """Something that does not hold."""
    return Checked(what, FAILED, text)


def verdict(what: str, problems: Iterable[str], text: str) -> Iterator[Checked]:
    """A failure for every problem; without one, ok with `text`."""
    found = [failed(what, problem) for problem in problems]
    yield from found or [ok(what, text)]


def guarded(
    what: str, check: Callable[Args, Iterable[Checked]], *args: Args.args, **kwargs: Args.kwargs
) -> Iterator[Checked]:
    """The facts of `check(*args)`; whatever it raises is one more, a failure.

    A dataset folder's own code runs in these checks, and may raise anything, SystemExit too: none of it stops the
    others.
    """
    try:
        yield from check(*args, **kwargs)
    except LensbenchError as error:
        yield failed(what, str(error))
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        yield failed(what, f"raised {type(error).__name__}: {str(error) or 'without a word'}".splitlines()[0])


def summary(facts: Iterable[Checked]) -> str:
    """How many there are of each.

    >>> summary([ok("a", ""), ok("b", ""), unknown("c", "")])
    '2 ok, 1 unknown, 0 failed'
    """
    counts = Counter(fact.state for fact in facts)
    return ", ".join(f"{counts[state]} {state}" for state in (OK, UNKNOWN, FAILED))
