"""Low-resolution images of a user's own, such as those of a camera."""

import os
import pathlib
from collections.abc import Sequence

from jaxsr import image
from jaxsr.data import folders, sets, sources


def with_low(
    source: sources.Source, folder: str | os.PathLike, scales: Sequence[float]
) -> sources.Source:
    """The source with low-resolution images from files, which are not made by bicubic.

    They belong to its images by name, see `folders.owners`. A scale in their names, or
    in those of their folders, tells it; otherwise their size does. Images without a
    partner at each of the scales are left out and named.

    Args:
        source: the true images, of files.
        folder: of the low-resolution images, with all below it.
        scales: those that are used; images of others are ignored.

    Raises:
        ValueError: for a folder that is missing, a size that does not fit, two images
            of one scale that belong to the same, or if no image remains.
    """
    folder = pathlib.Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"low-resolution images need a folder; got {folder}.")
    if source.sizes is None:
        raise ValueError(
            "low-resolution images of files need reference images of files; got "
            f"{source.name}."
        )
    low = str(folder.resolve())
    low = sets.open_source(low, low="keep", channels=source.channels)
    if low.dtype != source.dtype:
        raise ValueError(
            "low-resolution images must have the dtype of their reference images, "
            f"{source.dtype}; got {low.dtype}."
        )
    low = low._replace(names=tuple(f"{low.name}/{name}" for name in low.names))
    names = [f"{source.name}/{name}" for name in source.names]
    keys = folders.unique((folders.key(name), name, i) for i, name in enumerate(names))
    partners, alone = [], []
    for j, name in enumerate(low.names):
        path = pathlib.PurePosixPath(name)
        key, rest = next(folders.owners(name, keys), (None, path.stem))
        said = folders.scale_of(rest, path.parts[1:-1])
        if said is not None and said not in scales:
            continue
        if key is None:
            alone.append(f"{name} has no reference image in {source.name}.")
            continue
        i = keys[key]
        size, true = (s.sizes[k].tolist() for s, k in ((low, j), (source, i)))
        if said is None and size == true:
            continue  # the true image itself, in the same folder
        possible = scales if said is None else [said]
        fitting = [scale for scale in possible if low_size(true, scale) == tuple(size)]
        if not fitting:
            raise ValueError(_misfit(name, size, names[i], true, possible))
        partners.append(((fitting[0], i), name, j))
    found = folders.unique(partners)
    reasons = {
        i: f"{name} has no low-resolution image at x{scale:g} in {folder}."
        for i, name in enumerate(names)
        for scale in scales
        if (scale, i) not in found
    }
    kept = [i for i in range(len(names)) if i not in reasons]
    if not kept:
        lines = [*low.left_out, *alone, *reasons.values()][:10]
        wanted = ", ".join(f"x{scale:g}" for scale in scales)
        raise ValueError(
            f"no image of {source.name} has low-resolution images at all of {wanted}. "
            "Set the scales (data.scales, --scales) to those of the folder.\n"
            + "\n".join(lines)
        )
    title = f"{source.name} from {low.name}"
    left_out = (*source.left_out, *low.left_out, *reasons.values(), *alone)
    lows = {
        scale: sources.only(low, [found[scale, i] for i in kept]) for scale in scales
    }
    return sources.only(source, kept)._replace(name=title, left_out=left_out, low=lows)


def low_size(size: Sequence[int], scale: float) -> tuple[int, int]:
    """(height, width) of the low-resolution image of a true one of that size."""
    cropped = [image.cropped_side(side, scale) for side in size]
    return image.resized_size(cropped, 1 / scale)


def _misfit(name, size, true_name, true, scales):
    needed = " or ".join(
        "{}x{} at x{:g}".format(*low_size(true, scale), scale) for scale in scales
    )
    return (
        f"{name} has {size[0]}x{size[1]} pixels and {true_name} {true[0]}x{true[1]}: "
        f"the low-resolution image must have {needed}. Crop one of them, or set the "
        "scale."
    )
