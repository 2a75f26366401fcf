"""The forms of the papers' figures: functions `Results` -> a figure of matplotlib.

Filled marks and lines are measured, as the mean over seeds with bars of one standard
deviation; hollow marks are what the paper prints; the dashed line is bicubic.
"""

from collections.abc import Callable, Sequence

import numpy as np

from jaxsr.data import sets
from jaxsr.evaluation import figures, protocol
from jaxsr.reproduction import study

Draw = Callable[[study.Results], object]

# In place of a column: the seconds that a network takes for an image.
SECONDS = "seconds"


def over(x: dict[str, float], *columns: str, label: str, groups=None) -> Draw:
    """A panel for each column: the score over a number that each variant has.

    Args:
        x: variant -> that number.
        columns: of the measure, or `SECONDS`.
        label: what the number is.
        groups: variant -> the line it belongs to; by default all are one line.
    """
    lines = {}
    for variant in x:
        group = groups[variant] if groups else "measured"
        lines.setdefault(group, []).append(variant)

    def draw(results):
        fig, axes = _panels(len(columns))
        for ax, column in zip(axes, columns):
            for i, (group, variants) in enumerate(lines.items()):
                points = [(x[v], *_mean(results, v, column)) for v in variants]
                points = sorted(p for p in points if p[1] is not None)
                if points:
                    style = {"color": f"C{i}", "capsize": 3, "label": group}
                    ax.errorbar(*zip(*points), marker="o", **style)
                printed = [results.paper.get(v, {}).get(column) for v in variants]
                paper = [(x[v], y) for v, y in zip(variants, printed) if y is not None]
                if paper:
                    ax.plot(
                        *zip(*sorted(paper)), f"C{i}:", marker="o", fillstyle="none"
                    )
            _bicubic(ax, results, column)
            ax.set(xlabel=label, ylabel=_label(column))
            ax.set_xticks(sorted(set(x.values())))
        _legend(fig, axes[0], results)
        return fig

    return draw


def _label(column: str) -> str:
    """The label of an axis, with its unit."""
    if column == SECONDS:
        return "seconds for an image"
    data, _, kind = column.partition(", ")
    return f"LPIPS on {data}" if kind == "LPIPS" else f"PSNR on {column}, dB"


def _legend(fig, ax, results):
    """Writes beside a figure what the marks of a panel are."""
    handles, labels = ax.get_legend_handles_labels()
    if results.paper:
        (mark,) = ax.plot([], [], "o", color="gray", fillstyle="none")
        handles, labels = [*handles, mark], [*labels, "paper"]
    if handles:
        fig.legend(handles, labels, loc="outside right center", frameon=False)


def dots(*columns: str) -> Draw:
    """A panel for each column: a row for each variant, its score along the x-axis."""

    def draw(results):
        variants = list(results.measured)
        height = 0.35 * len(variants) + 1.6
        fig, axes = _panels(len(columns), height=height, sharey=True)
        for ax, column in zip(axes, columns):
            label = "measured"
            for y, variant in enumerate(variants):
                mean, deviation = _mean(results, variant, column)
                if mean is not None:
                    style = {"color": "C0", "capsize": 3, "label": label}
                    ax.errorbar(mean, y, xerr=deviation, marker="o", ls="", **style)
                    label = None
                paper = results.paper.get(variant, {}).get(column)
                if paper is not None:
                    ax.plot(paper, y, "o", color="C0", fillstyle="none")
            _bicubic(ax, results, column, upright=True)
            ax.set_xlabel(_label(column))
            ax.locator_params(axis="x", nbins=5)
        axes[0].set_yticks(range(len(variants)), variants)
        axes[0].set_ylim(len(variants) - 0.5, -0.5)
        _legend(fig, axes[0], results)
        return fig

    return draw


def epochs(*panels: tuple[str, Sequence[str]]) -> Draw:
    """The PSNR over the epochs, by the measurements along, a line for each variant.

    Args:
        panels: what is measured, as "Set5 x2", and its variants.
    """

    def draw(results):
        fig, axes = _panels(len(panels))
        for ax, (column, variants) in zip(axes, panels):
            printed = []
            for i, variant in enumerate(variants):
                printed += _course(ax, results, variant, column, f"C{i}")
            _bicubic(ax, results, column)
            # A run that diverges for a while must not hide the others.
            low = min([results.bicubic.get(column, 30.0) - 7, *printed]) - 1
            ax.set_ylim(bottom=max(low, ax.get_ylim()[0]))
            ax.set(xlabel="epochs, as of the full length", ylabel=_label(column))
            ax.legend(fontsize=8)
        return fig

    return draw


def _course(ax, results, variant: str, column: str, color: str) -> list[float]:
    """Draws the validations of a variant, and what the paper prints, returned."""
    label, paper = variant, results.paper.get(variant, {})
    printed = {
        float(name.removeprefix("epoch ")): value
        for name, value in paper.items()
        if name.startswith("epoch ")
    }
    for points in filter(None, results.curves.get(variant, ())):
        ax.plot(*zip(*points), color=color, label=label)
        label = None  # of the other seeds
        if column in paper:
            printed[points[-1][0]] = paper[column]
    if printed:
        style = {"color": color, "fillstyle": "none", "label": f"{variant}, paper"}
        ax.plot(*zip(*printed.items()), "o", **style)
    return list(printed.values())


def along_columns(x: dict[str, float], *, label: str, of: str) -> Draw:
    """One panel with a line for each variant: its columns over their numbers.

    Args:
        x: column -> number.
        label: what the number is.
        of: what is measured, as "Set5 x2". Where that is a column itself, it is a star
            at the end of the line.
    """

    def draw(results):
        fig, (ax,) = _panels(1)
        for i, variant in enumerate(results.measured):
            points = [(n, *_mean(results, variant, column)) for column, n in x.items()]
            points = [p for p in points if p[1] is not None]
            if points:
                style = {"color": f"C{i}", "capsize": 3, "label": variant}
                ax.errorbar(*zip(*points), marker="o", **style)
                whole, deviation = _mean(results, variant, of)
                if whole is not None:
                    style = {"color": f"C{i}", "marker": "*", "markersize": 12}
                    ax.errorbar(points[-1][0], whole, deviation, **style)
        if all(column in results.bicubic for column in x):
            values = [results.bicubic[column] for column in x]
            ax.plot(x.values(), values, "--", color="gray", label="bicubic")
        else:
            _bicubic(ax, results, of)
        ax.set(xlabel=label, ylabel=_label(of))
        _legend(fig, ax, results)
        return fig

    return draw


def against_seconds(column: str, printed: dict[str, float]) -> Draw:
    """PSNR over the seconds for an image; hollow marks are printed by the paper.

    Args:
        column: of the measure.
        printed: variant -> the seconds that the paper prints, on its machine.
    """

    def draw(results):
        fig, (ax,) = _panels(1, height=4.0)
        points = {
            v: [_mean(results, v, c)[0] for c in (SECONDS, column)]
            for v in results.seconds
        }
        points = {v: point for v, point in points.items() if None not in point}
        for i, (variant, point) in enumerate(points.items()):
            ax.plot(*point, "o", color=f"C{i}", label=variant)
        for i, (variant, seconds) in enumerate(printed.items()):
            style = {"color": f"C{i}", "fillstyle": "none", "label": variant}
            ax.plot(seconds, results.paper[variant][column], "s", **style)
        _bicubic(ax, results, column)
        ax.set(xscale="log", xlabel=_label(SECONDS), ylabel=_label(column))
        ax.invert_xaxis()
        fig.legend(loc="outside right center", frameon=False)
        return fig

    return draw


def crops(name: str, images: Sequence[str], scale: int, *variants: str) -> Draw:
    """Crops where bicubic is furthest off: bicubic, the variants, the true image.

    Args:
        name: of a benchmark set.
        images: names of some of its images.
        scale: by which they are upscaled.
        variants: those that are shown, of their first seed; by default all.
    """

    def draw(results):
        (source,) = sets.open_each([name])
        jobs = {job.variant: job for job in reversed(results.jobs)}  # the first seed's
        order = variants or results.measured
        shown = {v: jobs[v].trained().model for v in order if v in jobs}
        rows = []
        for stem in images:
            pixels = source.read(source.names.index(stem))
            rows.append(protocol.crops([*shown.values()], pixels, scale, side=96))
        return figures.strip(rows, titles=["bicubic", *shown, "true"])

    return draw


def snapshots(variant: str, count: int) -> Draw:
    """Bicubic, the crops of a run at some of its validations, and the true images.

    Args:
        variant: its name; of its first seed.
        count: how many validations, evenly spread over the run.
    """

    def draw(results):
        import PIL.Image

        folders = [j.workdir / "crops" for j in results.jobs if j.variant == variant]
        files = sorted(folders[0].glob("*.png")) if folders else []
        picked = np.unique(np.linspace(0, len(files) - 1, count).round().astype(int))
        fig, axes = _panels(1, height=8.0)
        axes[0].set_axis_off()
        if files:
            read = [np.asarray(PIL.Image.open(files[i]).convert("RGB")) for i in picked]
            # Each has three columns: bicubic, the run's, the true image.
            columns = [np.array_split(pixels, 3, axis=1) for pixels in read]
            ours = [own for _, own, _ in columns]
            row = np.concatenate([columns[0][0], *ours, columns[0][2]], axis=1)
            fig.set_size_inches(row.shape[1] / 110, row.shape[0] / 110 + 0.5)
            axes[0].imshow(row)
        return fig

    return draw


def _panels(count: int, height: float = 3.6, **options):
    from matplotlib import figure

    fig = figure.Figure(figsize=(4.4 * count + 1.4, height), layout="constrained")
    axes = np.ravel(fig.subplots(1, count, **options))
    for ax in axes:
        ax.grid(alpha=0.3)
    return fig, axes


def _mean(results, variant: str, column: str) -> tuple[float | None, float]:
    """The mean and the standard deviation over seeds."""
    if column == SECONDS:
        values = results.seconds.get(variant)
    else:
        runs = results.measured.get(variant, ())
        values = [run[column] for run in runs if column in run]
    if not values:
        return None, 0.0
    return float(np.mean(values)), float(np.std(values))


def _bicubic(ax, results, column: str, *, upright: bool = False) -> None:
    value = results.bicubic.get(column)
    if value is not None:
        line = ax.axvline if upright else ax.axhline
        line(value, color="gray", linestyle="--", label="bicubic")
