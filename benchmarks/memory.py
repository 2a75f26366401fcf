"""Peak memory of upscaling 100 megapixels x2, from file to file: memory.py

Each run is the command `jaxsr upscale` in a fresh process.
"""

import argparse
import resource
import sys
import tempfile
import time

import paired
import upscaling

# name -> (the file before, the format after)
RUNS = {
    "JPEG to JPEG": ("photo.jpg", "jpg"),
    "JPEG to PNG": ("photo.jpg", "png"),
    "PNG of 16 bits to PNG": ("photo.png", "png"),
}


def prepare(folder: str, side: int) -> None:
    """Writes a photograph, of 8 bits and of 16."""
    import pathlib

    import numpy as np
    import PIL.Image
    import skimage.data

    from jaxsr.files import reading, writing

    picture = PIL.Image.fromarray(skimage.data.astronaut()).resize((side, side))
    picture.save(f"{folder}/photo.jpg", quality=95)
    pixels = np.asarray(picture).astype(np.uint16) * 257
    photo = reading.Photo(pixels, {}, PIL.Image.Exif())
    writing.write(photo, pathlib.Path(folder) / "photo.png")


def enlarge(folder: str, model: str, name: str) -> tuple[float, float]:
    """Seconds, and GB at the peak."""
    from jaxsr import cli

    source, form = RUNS[name]
    started = time.monotonic()
    options = ["-o", f"{folder}/out", "--format", form, "--overwrite"]
    if cli.main(["upscale", f"{folder}/{source}", "--model", model, *options]):
        raise SystemExit(1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return time.monotonic() - started, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000, help="pixels (10000)")
    parser.add_argument("--model", default="fsrcnn_x2", help="as of jaxsr upscale")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        upscaling.fresh(prepare, folder, args.side)
        for name in RUNS:
            numbers = upscaling.fresh(enlarge, folder, args.model, name)
            rows.append([name, *map(paired.number, numbers)])
            print(rows[-1], file=sys.stderr, flush=True)
    print(paired.table(["", "s", "peak memory, GB"], rows))


if __name__ == "__main__":
    main()
