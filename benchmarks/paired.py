"""Shared by the benchmarks: measuring in turn, medians, Markdown tables.

Imports nothing heavy: upscaling.py measures the memory of processes started from here.
"""

import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable


def interleave(
    contenders: dict[str, Callable], repetitions: int, *, warm_up: bool = True
) -> dict[str, list]:
    """What each contender returned, called in turn, A B A B.

    Other load on the machine then slows all of them alike. With `warm_up` an uncounted
    round comes first.
    """
    results = {name: [] for name in contenders}
    for i in range(repetitions + warm_up):
        for name, contender in contenders.items():
            results[name].append(contender())
            print(f"round {i + 1}: {name}", file=sys.stderr, flush=True)
    return {name: values[warm_up:] for name, values in results.items()}


def timed(function: Callable[[], object]) -> Callable[[], float]:
    """The function that calls the given one and returns the seconds that it took."""

    def seconds():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return seconds


def number(value: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def spread(values: list[float]) -> str:
    """The median, and in brackets the least and the largest of several values."""
    if not values:
        return ""
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))} to {number(max(values))})"


def ratio(values: list[float], others: list[float]) -> float:
    """The median of the quotients within each round."""
    return statistics.median(a / b for a, b in zip(values, others))


def processor() -> str:
    """The processor's name, its cores, and the caches that the first of them uses.

    Family and model identify an x86 processor whose name is incomplete. What the system
    does not report is left out: outside Linux all but the name and the cores.
    """
    info = pathlib.Path("/proc/cpuinfo")
    first = info.read_text().split("\n\n")[0] if info.exists() else ""
    lines = (line.partition(":") for line in first.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    parts = [fields.get("model name") or platform.processor() or platform.machine()]
    parts += [f"{x} {fields[x]}" for x in ("cpu family", "model") if x in fields]
    parts.append(f"{os.cpu_count()} cores")
    caches = pathlib.Path("/sys/devices/system/cpu/cpu0/cache")
    for cache in sorted(caches.glob("index*")):
        level, kind, size = (
            (cache / name).read_text().strip() for name in ("level", "type", "size")
        )
        if kind != "Instruction":
            parts.append(f"L{level} {size}")
    return ", ".join(parts)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
