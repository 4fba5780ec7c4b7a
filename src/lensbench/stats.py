"""Intervals without random numbers: grouping ids, delete-one-group jackknife, Wilson's interval.

Nothing here knows what a metric is: it takes a value, the same value without each group, and the scale on
which an interval makes sense. numpy alone; scipy would cost half a second of start-up for one quantile.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scale = Literal["unit", "positive", "real"]

LEVEL = 0.95
"""Every interval in lensbench is a two-sided 95 % interval."""

TAIL = 0.025
"""What lies beyond either end of one."""

MOST_LOG = 700.0
"""An upper end beyond exp(700) is not a number any more."""

ROUNDING = 1e-12
"""Relative spread of leave-one-out values that is rounding, not variation."""

UNCHANGED = "no group changes the value: nothing to take an interval from"

_Z = 1.959963984540054  # the normal quantile at (1 + LEVEL) / 2


@dataclass(frozen=True)
class Interval:
    """A two-sided 95 % interval, or the reason why there is none.

    ``method`` is one of ``jackknife-logit``, ``jackknife-log``, ``jackknife``, the first two with ``-delta``
    (see `jackknife`), ``clopper-pearson-groups``, ``jackknife-extreme`` (see `extreme`) or ``none``; ``groups`` is
    the number of groups left out in turn.
    """

    low: float | None
    high: float | None
    method: str
    groups: int
    reason: str | None = None


def hash_groups(ids: Iterable[str], n: int = 200) -> NDArray[np.int32]:
    """Group of each id: the first 8 bytes of sha256(id in UTF-8), big-endian, modulo ``n``; shape
    (len(ids),).

    A function of the id alone, so that two runs, two machines and two subsets agree on who is with whom.
    """
    digests = b"".join([hashlib.sha256(name.encode()).digest() for name in ids])
    first = np.frombuffer(digests, dtype=">u8")[::4]  # a digest is four words of 8 bytes
    return (first % np.uint64(n)).astype(np.int32)


@lru_cache(maxsize=1024)
def t_quantile(p: float, df: int) -> float:
    """The ``p`` quantile (0.5 <= p < 1) of Student's t with a whole number ``df`` >= 1 of degrees of freedom.

    For whole ``df`` the distribution is a finite sum in the angle arctan(t / sqrt(df)) (Abramowitz and Stegun
    1964, 26.7.3 and 26.7.4); the angle is found by bisection to the last bit.
    """
    if df < 1 or not 0.5 <= p < 1:
        raise ValueError(f"t_quantile needs df >= 1 and 0.5 <= p < 1, got p={p}, df={df}")
    odd = df % 2
    j = np.arange(1, (df - 1 - odd) // 2 + 1, dtype=np.float64)
    powers = 2 * j
    coefficients = np.cumprod(powers / (powers + 1) if odd else (powers - 1) / powers)

    def inside(angle: float) -> float:
        """P(|T| < t)."""
        cos = math.cos(angle)
        series = 1.0 + float(np.sum(coefficients * cos**powers))
        if not odd:
            return math.sin(angle) * series
        return 2 / math.pi * (angle + (math.sin(angle) * cos * series if df > 1 else 0.0))

    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if inside(middle) < 2 * p - 1 else (low, middle)
    return math.sqrt(df) * math.tan(low)


def jackknife(leave_one_out: NDArray[np.float64], value: float, scale: Scale, tail: float = TAIL) -> Interval:
    """The delete-one-group jackknife interval of ``value``.

    With h the scale's transform (logit for ``unit``, log for ``positive``, none for ``real``), v_g the value
    without group g and G groups: se^2 = (G-1)/G * sum_g (h(v_g) - mean_g h(v_g))^2, and the interval is
    h^-1(h(value) +- t_0.975(G-1) * se) (Kott 2001, Journal of Official Statistics 17:521-526). Not for
    maxima, minima or medians, whose jackknife variance is inconsistent.

    Where h is not finite, these rules hold:

    * some v_g on the edge of the scale, ``value`` inside: se is taken on the plain scale and carried over by
      the delta method, se / (value * (1 - value)) or se / value (method ``...-delta``);
    * ``value`` exactly 1 or 0 on the unit scale: the groups are the units of a Clopper-Pearson interval
      (Biometrika 26:404-413, 1934) with all G of them right or wrong:
      low = 0.025^(1/G), or high = 1 - 0.025^(1/G);
    * ``value`` exactly 0 on the positive scale: no interval, the data hold no spread to take one from;
    * the same value without any group (a constant classifier's macro recall): no interval, for the same reason.

    Args:
        leave_one_out: (G,) the value without each group; NaN where it is undefined.
        value: the value on all groups, on its scale.
        scale: which values are possible: ``unit`` [0, 1], ``positive`` [0, inf), ``real``.
        tail: what lies beyond either end; another one than 0.025 only where several intervals have to hold at once.

    Returns:
        The interval; ``low`` and ``high`` are None, with a reason, for fewer than two groups, a NaN among the
        values, or an upper end that no float holds.
    """
    groups = len(leave_one_out)
    if scale == "unit" and value in (0.0, 1.0) and groups > 1 and not np.isnan(leave_one_out).any():
        return _groups_as_units(groups, tail, all_right=value == 1.0)
    if reason := _without(leave_one_out, value):
        return _none(groups, reason)
    if _inside(leave_one_out, scale):
        method, error = "", _standard_error(_to(leave_one_out, scale))
    else:
        slope = value * (1 - value) if scale == "unit" else value
        method, error = "-delta", _standard_error(leave_one_out) / slope
    half = t_quantile(1 - tail, groups - 1) * error
    centre = float(_to(np.float64(value), scale))
    if scale == "positive" and centre + half > MOST_LOG:
        return _none(groups, "the groups differ by too many orders of magnitude")
    name = {"unit": "jackknife-logit", "positive": "jackknife-log", "real": "jackknife"}[scale]
    return Interval(_back(centre - half, scale), _back(centre + half, scale), name + method, groups)


def extreme(
    leave_one_out: NDArray[np.float64], values: NDArray[np.float64], scale: Scale, *, largest: bool
) -> Interval:
    """The interval of the least (or `largest`) of several values of the same groups, such as the worst of many views.

    Which of nearly equal values comes out least is chance, and it lies below what each is worth: the jackknife of a
    minimum, and of the value that came out least, miss the truth too often (scripts/simulate_worst_view.py). Here
    every value has a jackknife interval of its own. The lower end is the least of their lower ends: it holds
    whenever that of the truly least one does. The upper end is the least of the upper ends, which holds when all of
    them do; so each of these leaves out 0.025 / V (Bonferroni) for the V values that are not the same throughout.

    A value that no group changes has no spread to take an interval from: it counts as it is for the lower end, and
    not for the upper one; there is no interval where it is itself the least.

    Args:
        leave_one_out: (V, G) each value without each group; NaN where it is undefined.
        values: (V,) the values on all groups, on their scale.
        scale: as for `jackknife`.
        largest: whether the largest of them is meant.
    """
    groups = leave_one_out.shape[1]
    best = int(np.argmax(values) if largest else np.argmin(values))
    reason = _without(leave_one_out[best], float(values[best]))
    if reason and not (scale == "unit" and values[best] in (0.0, 1.0)):
        return _none(groups, reason)
    different = {
        (float(value), *without.tolist()): without for value, without in zip(values, leave_one_out, strict=True)
    }
    plain: list[float] = []
    wide: list[float] = []
    for (value, *_), without in different.items():
        own, own_wide = (jackknife(without, value, scale, tail) for tail in (TAIL, TAIL / len(different)))
        if own.low is None or own.high is None or own_wide.low is None or own_wide.high is None:
            if own.reason != UNCHANGED:
                return _none(groups, f"one of the values has none: {own.reason}")
            plain.append(value)
            continue
        plain.append(own.high if largest else own.low)
        wide.append(own_wide.low if largest else own_wide.high)
    low, high = (max(wide), max(plain)) if largest else (min(plain), min(wide))
    return Interval(low, high, "jackknife-extreme", groups)


def _without(leave_one_out: NDArray[np.float64], value: float) -> str:
    """Why the jackknife has nothing to go on; empty where it has."""
    groups = len(leave_one_out)
    if groups < 2:
        return "an interval needs at least two groups"
    if undefined := int(np.isnan(leave_one_out).sum()):
        return f"undefined without {undefined} of the {groups} groups"
    if np.ptp(leave_one_out) <= ROUNDING * abs(value):
        return UNCHANGED
    return ""


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of the rate ``hits / n`` (JASA 22:209-212, 1927); (0, 1) for ``n`` = 0.

    ``hits`` may be fractional (expected hits under ties). The units are taken as independent.
    """
    if n == 0:
        return 0.0, 1.0
    rate, z2 = hits / n, _Z * _Z
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # The ends at rates of 0 and 1 are exactly 0 and 1; rounding would leave 1e-17 there.
    return (0.0 if hits <= 0 else centre - half, 1.0 if hits >= n else centre + half)


def _none(groups: int, reason: str) -> Interval:
    return Interval(None, None, "none", groups, reason)


def _groups_as_units(groups: int, tail: float, *, all_right: bool) -> Interval:
    bound = tail ** (1 / groups)
    low, high = (bound, 1.0) if all_right else (0.0, 1 - bound)
    return Interval(low, high, "clopper-pearson-groups", groups)


def _inside(values: NDArray[np.float64], scale: Scale) -> bool:
    """Whether every value lies inside the scale, so that its transform is finite."""
    return scale == "real" or bool(np.all((values > 0) & ((values < 1) | (scale == "positive"))))


def _standard_error(values: NDArray[np.float64]) -> float:
    groups = len(values)
    return math.sqrt((groups - 1) / groups * float(np.sum((values - values.mean()) ** 2)))


def _to(x: NDArray[np.float64] | np.float64, scale: Scale) -> NDArray[np.float64]:
    if scale == "real":
        return np.asarray(x)
    return np.asarray(np.log(x) - np.log1p(-x) if scale == "unit" else np.log(x))


def _back(y: float, scale: Scale) -> float:
    if scale == "real":
        return y
    if scale == "unit":
        return 1 / (1 + math.exp(-y)) if y >= 0 else math.exp(y) / (1 + math.exp(y))
    return math.exp(y)
