"""Frames a second of a film upscaled x2, beside FFmpeg's bicubic: film.py clip.mp4

Decoding and encoding count.
"""

import argparse
import itertools
import pathlib
import tempfile

import av
import paired
from av.video.reformatter import Interpolation

from jaxsr import devices
from jaxsr.apps import film

MODELS = ("espcn_x2", "fsrcnn_x2")


def encode(source: pathlib.Path, target: pathlib.Path, scale: int, count=None) -> None:
    """Writes the first frames of a film, enlarged by FFmpeg's bicubic."""
    with av.open(source) as old, av.open(target, "w") as new:
        video = old.streams.video[0]
        # As in jaxsr.apps.film.
        options = {"crf": "18", "bf": "0"}
        stream = new.add_stream("libx264", rate=video.average_rate, options=options)
        stream.width, stream.height = scale * video.width, scale * video.height
        for frame in itertools.islice(old.decode(video), count):
            large = frame.reformat(
                stream.width,
                stream.height,
                format="yuv420p",
                interpolation=Interpolation.BICUBIC,
            )
            new.mux(stream.encode(large))
        new.mux(stream.encode(None))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=pathlib.Path)
    parser.add_argument("--frames", type=int, default=12, help="of the film (12)")
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    devices.use_all_cores()
    devices.keep_compiled()
    with tempfile.TemporaryDirectory() as folder:
        part, out = (pathlib.Path(folder, name) for name in ("in.mp4", "out.mp4"))
        encode(args.film, part, 1, args.frames)
        contenders = {"FFmpeg bicubic": lambda: encode(part, out, 2)}
        for model in MODELS:
            contenders[model] = lambda model=model: film.upscale_film(
                part, out, model=model
            )
        seconds = paired.interleave(
            {name: paired.timed(call) for name, call in contenders.items()},
            args.repetitions,
        )
    rows = [
        [
            name,
            paired.spread([args.frames / s for s in times]),
            paired.number(paired.ratio(times, seconds["FFmpeg bicubic"])),
        ]
        for name, times in seconds.items()
    ]
    print(f"{paired.processor()}.\n")
    print(paired.table(["", "frames/s", "time / FFmpeg's"], rows))


if __name__ == "__main__":
    main()
