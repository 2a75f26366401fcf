"""What the benchmarks share: contenders measured in turn, medians, a Markdown table.

Imports nothing heavy: upscaling.py measures the memory of processes started from here.
"""

import statistics
import sys
import time
from collections.abc import Callable


def interleave(contenders: dict[str, Callable], repetitions: int) -> dict[str, list]:
    """What each contender returned, called in turn, A B A B, after one uncounted round.

    So whatever else slows the machine slows all of them.
    """
    results = {name: [] for name in contenders}
    for i in range(repetitions + 1):
        for name, contender in contenders.items():
            results[name].append(contender())
            print(f"round {i} of {repetitions}: {name}", file=sys.stderr, flush=True)
    return {name: values[1:] for name, values in results.items()}


def timed(function: Callable[[], object]) -> Callable[[], float]:
    """The function that calls the given one and returns the seconds that it took."""

    def seconds():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return seconds


def spread(values: list[float], form: str = ".3g") -> str:
    """The median, and in brackets the least and the largest value."""
    low, middle, high = (format(f(values), form) for f in (min, statistics.median, max))
    return f"{middle} ({low}-{high})"


def ratio(values: list[float], others: list[float]) -> float:
    """The median of the quotients within each round."""
    return statistics.median(a / b for a, b in zip(values, others))


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
