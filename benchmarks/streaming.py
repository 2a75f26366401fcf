"""Speed and memory of training on many files: python benchmarks/streaming.py"""

import argparse
import itertools
import pathlib
import resource
import sys
import tempfile
import time

import paired

from jaxsr.data import folders, patches, sets, tfdata

SCALES, PATCH, BATCH = (2, 3, 4), 41, 64


def link(folder: pathlib.Path, data: str, count: int) -> int:
    """Fills a folder with links to the files of an image set; their bytes in all."""
    files = folders.image_files(sets.set_folder(data))
    total = 0
    for i, file in enumerate(itertools.islice(itertools.cycle(files), count)):
        (folder / f"{i:06}{file.suffix}").symlink_to(file)
        total += file.stat().st_size
    return total


def peak() -> float:
    """The largest memory of this process so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="BSD200", help="an image set")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--batches", type=int, default=320)
    args = parser.parse_args()
    rows = []

    def note(what, seconds, patches_made=0):
        rate = paired.number(patches_made / seconds) if patches_made else ""
        rows.append([what, paired.number(seconds), rate, paired.number(peak())])

    with tempfile.TemporaryDirectory() as folder:
        total = link(pathlib.Path(folder), args.data, args.files)
        start = time.perf_counter()
        source = sets.open_source(folder)
        note("opening, where all files are checked", time.perf_counter() - start)
        plan = patches.grid_plan(
            source.sizes,
            scales=SCALES,
            patch=PATCH,
            stride=PATCH,
            batch=BATCH,
            input="interpolated",
        )
        feed = tfdata.make_feed(
            source, plan, seed=0, scales=SCALES, color="y", input="interpolated"
        )
        stream = feed.inputs(0, args.batches)
        parts = [1, *[(args.batches - 1) // 4] * 4]
        for part in parts:
            start, cpu = time.perf_counter(), time.process_time()
            done = sum(len(x["lr"]) for x in itertools.islice(stream, part))
            seconds = time.perf_counter() - start
            note(f"{part} batches", seconds, done)
            cpu = time.process_time() - cpu
            rows[-1].append(paired.number(done / cpu))
    pixels = source.sizes.prod(axis=1).sum()
    print(
        f"{args.files} files of {args.data}, {total / 1e9:.1f} GB, {pixels / 1e9:.1f} "
        f"gigapixels; VDSR's patches at x2 to x4. {paired.processor()}.\n"
    )
    header = ["", "s", "patches/s", "peak memory, GB", "patches/s of one core's time"]
    print(paired.table(header, [[*row, ""][:5] for row in rows]))


if __name__ == "__main__":
    main()
