"""What speed.py prints: a row for all that was measured, and how it compares with what it was measured beside."""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rounds import Measured, Spread, ratios


@dataclass(frozen=True)
class Comparison:
    """`ours` against `other`, two contestants of one group; how many times as fast, or with less CPU, `ours` is.

    `by` tells which of the two the target is for: "time" and "cpu" are at least `target`, "share" is the share of the
    other's seconds that ours takes, at most `target`. No target: it is printed to be known.
    """

    ours: str
    other: str
    target: float | None = None
    by: Literal["time", "cpu", "share"] = "time"


@dataclass(frozen=True)
class Group:
    """Contestants that took rounds in turn."""

    name: str
    measured: Mapping[str, Measured]
    comparisons: Sequence[Comparison] = ()
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Result:
    """A comparison that was made; `cpu` is None where processor time was not compared."""

    comparison: Comparison
    time: Spread
    cpu: Spread

    @property
    def deciding(self) -> Spread:
        return self.cpu if self.comparison.by == "cpu" else self.time

    @property
    def verdict(self) -> str:
        """The target and whether the median meets it."""
        target = self.comparison.target
        if target is None:
            return ""
        if self.comparison.by == "share":
            return f"{'met' if self.deciding.median <= target else 'MISSED'}: at most {target:g} of the time"
        met = "met" if self.deciding.median >= target else "MISSED"
        return f"{met}: at least {target:g} by {self.comparison.by}"


def results(group: Group) -> list[Result]:
    found = []
    for comparison in group.comparisons:
        ours, other = group.measured[comparison.ours], group.measured[comparison.other]
        if comparison.by == "share":
            time = ratios(ours, other, lambda taken: taken.seconds)
            cpu = ratios(ours, other, lambda taken: taken.cpu_seconds)
        else:
            time = ratios(ours, other, lambda taken: taken.throughput)
            cpu = ratios(other, ours, lambda taken: taken.cpu_per_image)
        found.append(Result(comparison, time, cpu))
    return found


def print_group(group: Group) -> None:
    """The group's part of the table."""
    print(f"\n| {group.name:34} | images/s | seconds | CPU-s/image | peak MB |")
    print(f"|{'-' * 36}|{'-' * 10}|{'-' * 9}|{'-' * 13}|{'-' * 9}|")
    for name, measured in group.measured.items():
        counted = measured.rounds[0].images > 0
        speed = f"{measured.median(lambda taken: taken.throughput):8.2f}" if counted else f"{'':8}"
        cpu = f"{measured.median(lambda taken: taken.cpu_per_image):11.5f}" if counted else f"{'':11}"
        seconds = measured.median(lambda taken: taken.seconds)
        peak = max(taken.peak_megabytes for taken in measured.rounds)
        print(f"| {name:34} | {speed} | {seconds:7.2f} | {cpu} | {peak:7.0f} |")
    if group.comparisons:
        print(f"\n| {group.name:50} | by time              | by CPU               | target |")
        print(f"|{'-' * 52}|{'-' * 22}|{'-' * 22}|--------|")
    for result in results(group):
        name = f"{result.comparison.ours} / {result.comparison.other}"
        print(f"| {name:50} | {result.time!s:20} | {result.cpu!s:20} | {result.verdict} |")
    for note in group.notes:
        print(note)


def write_json(path: Path, groups: Iterable[Group], settings: Mapping[str, Any]) -> None:
    document = {
        "machine": {"cores": os.cpu_count(), "processor": processor(), "python": platform.python_version()},
        "settings": settings,
        "groups": {
            group.name: {
                "measured": {name: asdict(measured) for name, measured in group.measured.items()},
                "comparisons": [{**asdict(result), "verdict": result.verdict} for result in results(group)],
                "notes": list(group.notes),
            }
            for group in groups
        },
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
