"""The report's charts: numbers to PNG bytes. Without pyplot, so that no state outlives a call."""

import io
import logging
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sagemaker_object_detection.report.drawing import colour_of, drawable

if sys.modules.get("matplotlib", sys) is None:  # `__main__` keeps it from Keras
    del sys.modules["matplotlib"]
# It warns of a home that cannot be written, which a container's often cannot, and of fonts; a log has no use for that.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator  # noqa: E402

_MAX_DOTS = 5000
_INK, _FAINT, _GREY = "#374151", "#e5e7eb", "#b6bcc6"
_LINES = ("#2563eb", "#ea580c", "#059669", "#9333ea")
_DOTS_PER_INCH = 150
_NAME_LENGTH = 28


def over_epochs(
    title: str, values: Mapping[str, Sequence[float]], saved: int | None, *, least_top: float = 0.0
) -> bytes:
    """Lines over the epochs 0, 1, ..., with the saved epoch marked. Values that are not finite leave a gap.

    Args:
        values: by name, one for each epoch; at most four names.
        least_top: how far the axis reaches at least.
    """
    figure, (axes,) = _figure((title, "epoch"))
    for (name, line), colour in zip(values.items(), _LINES, strict=False):
        epochs = np.arange(len(line))
        axes.plot(epochs, line, color=colour, linewidth=2, marker="o", markersize=4, label=name)
        if saved is not None:
            axes.plot(saved, line[saved], color=colour, marker="o", markersize=9, markeredgecolor="white", zorder=4)
    if saved is not None:
        axes.axvline(saved, color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1, label="saved")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0.06)
    axes.set_ylim(0, max(least_top, axes.get_ylim()[1]))
    axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
    return _png(figure)


def over_steps(
    title: str, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, logarithmic: bool = False
) -> bytes:
    """Lines over the steps, which are told in epochs.

    Args:
        lines: epochs and values by name; at most four names.
        logarithmic: whether the values differ by orders of magnitude; those that are not above 0 leave a gap.
    """
    figure, (axes,) = _figure((title, "epoch"))
    for (name, (epochs, values)), colour in zip(lines.items(), _LINES, strict=False):
        marker = "o" if len(values) < 2 else None  # a line needs two points
        axes.plot(epochs, values, color=colour, linewidth=2, marker=marker, label=name)
    if logarithmic:
        axes.set_yscale("log", nonpositive="mask")
    else:
        axes.set_ylim(0, axes.get_ylim()[1])
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
    return _png(figure)


def precision_recall(curves: Mapping[int, np.ndarray], names: Sequence[str], marks: Mapping[int, Any]) -> bytes:
    """Curves by class, most important first, float [101] over recall; `marks`: (recall, precision) of the threshold."""
    figure, (axes,) = _figure(("Precision over recall at IoU 0.5", "recall"), height=4.6)
    named = _named(curves)
    recalls = np.linspace(0.0, 1.0, 101)
    for index, curve in reversed(list(curves.items())):
        if index not in named:
            axes.plot(recalls, curve, color=_GREY, linewidth=0.8, zorder=2)
            continue
        axes.plot(recalls, curve, color=colour_of(index), linewidth=2, zorder=3)
        if index in marks:
            colour = colour_of(index)
            axes.plot(*marks[index], color=colour, marker="o", markersize=8, markeredgecolor="white", zorder=4)
    axes.set_ylabel("precision", color=_INK)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(0, 1.03)
    _class_legend(axes, named, names, others=len(curves) - len(named))
    return _png(figure)


def box_sizes(
    sizes: np.ndarray, classes: np.ndarray, names: Sequence[str], anchors: tuple[float, float], input_size: int
) -> bytes:
    """Width and height of boxes as dots, and how many there are of each size.

    Args:
        sizes: float [M, 2], height and width in pixels of the network input, whose side is `input_size`; M is at
            least 1.
        classes: int [M].
        anchors: side of the smallest and of the largest square anchor, in the same pixels.
    """
    figure, (dots, bars) = _figure(
        ("Width and height", "width, pixels of the network input"),
        ("Boxes by size, the square root of their area", "pixels of the network input; grey: sizes of the anchors"),
        height=4.2,
    )
    sizes = np.maximum(sizes, 0.1)
    counts = np.bincount(classes)
    named = _named(int(index) for index in np.argsort(-counts, kind="stable") if counts[index])
    shown = np.sort(np.random.default_rng(0).permutation(len(sizes))[:_MAX_DOTS])
    colours = [colour_of(int(index)) if index in named else _GREY for index in classes[shown]]
    dots.scatter(sizes[shown, 1], sizes[shown, 0], s=12, c=colours, alpha=0.6, linewidths=0)
    low, high = anchors[0], min(anchors[1], input_size)
    limits = (min(float(sizes.min()), low) * 0.9, input_size * 1.05)
    dots.add_patch(Rectangle((low, low), high - low, high - low, facecolor=_FAINT, alpha=0.6, zorder=0))
    dots.set_ylabel("height", color=_INK)
    _class_legend(dots, named, names, others=int((counts > 0).sum()) - len(named))

    sides = np.sqrt(sizes.prod(axis=1))
    edges = np.geomspace(*limits, 31)
    bars.hist(sides, bins=list(edges), color=_LINES[0], alpha=0.85, edgecolor="white", linewidth=0.5)
    bars.axvspan(low, high, facecolor=_FAINT, alpha=0.6, zorder=0)
    bars.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axis, scale in ((dots.xaxis, dots.set_xscale), (dots.yaxis, dots.set_yscale), (bars.xaxis, bars.set_xscale)):
        scale("log")
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_view_interval(*limits, ignore=True)
    return _png(figure)


def _figure(*plots: tuple[str, str], height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """Plots side by side: of each the title, and what its x axis is."""
    figure = Figure(figsize=(5.4 * len(plots), height), dpi=_DOTS_PER_INCH, facecolor="white", layout="constrained")
    every = [figure.add_subplot(1, len(plots), number + 1) for number in range(len(plots))]
    for axes, (title, along) in zip(every, plots, strict=True):
        axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
        axes.set_xlabel(along, color=_INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_GREY)
        axes.tick_params(colors=_INK, labelsize=9, color=_GREY)
        axes.grid(color=_FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, every


def _named(classes: Iterable[int]) -> list[int]:
    """The classes that have a colour of their own and a place in the legend: of each colour the first."""
    first: dict[str, int] = {}
    for index in classes:
        first.setdefault(colour_of(index), index)
    return list(first.values())


def _class_legend(axes: Axes, named: Sequence[int], names: Sequence[str], others: int) -> None:
    """A person's names are not what matplotlib takes text for: `$` would begin a formula, `_` would hide a line."""
    rows = [(colour_of(index), _short(names[index])) for index in named]
    rows += [(_GREY, f"{others} more classes" if others > 1 else "another class")] * (others > 0)
    handles = [Line2D([], [], color=colour, linewidth=3) for colour, _ in rows]
    legend = axes.legend(handles, ["label"] * len(rows), edgecolor="none", fontsize=9, labelcolor=_INK, loc="best")
    for text, (_, name) in zip(legend.get_texts(), rows, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def _short(name: str) -> str:
    pieces = drawable(" ".join(name.split()))
    if sum(map(len, pieces)) <= _NAME_LENGTH:
        return "".join(pieces)
    ends = np.cumsum([len(piece) for piece in pieces])
    return "".join(pieces[: np.searchsorted(ends, _NAME_LENGTH, side="left")]) + "…"


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font does not have
        figure.savefig(stream, format="png")
    return stream.getvalue()
