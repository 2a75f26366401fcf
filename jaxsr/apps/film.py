"""Upscaling of films, in segments, so that a run that was stopped resumes.

The planes of a frame are upscaled one by one, without a detour through RGB: a network
upscales the luma, bicubic the chroma. So colours need no conversion, but those of RGB
films, which become BT.709 of video range. Chroma samples are taken to lie in the middle
of the pixels that share them.
"""

import hashlib
import heapq
import io
import itertools
import logging
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator

import av
import jax
import numpy as np
import tqdm
from av.video.reformatter import ColorRange, Colorspace

from jaxsr import files, terminal, weights
from jaxsr.evaluation import protocol
from jaxsr.inference import targets, tiling, upscale

logger = logging.getLogger(__name__)

# suffix of a film -> the name of its format
FORMATS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}
# Frames of which the work is lost at most.
SEGMENT = 48
SIDE = 16384  # pixels at most, of the encoder
# Formats of frames that are kept; others become one of the last two.
PLANAR = (
    *("yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"),
    *("yuv422p10le", "yuv444p10le", "yuv420p", "yuv420p10le"),
)
# Of RGB films, once they are converted.
VIDEO_COLOURS = {"colorspace": Colorspace.ITU709, "color_range": ColorRange.MPEG}


def upscale_film(
    source: str | os.PathLike,
    target: str | os.PathLike,
    scale: float = 2.0,
    model: weights.Model | str | os.PathLike = upscale.AUTO,
    *,
    size: targets.Size | None = None,
    quality: str = "fast",
    crf: int = 18,
    **options,
) -> int:
    """Upscales a film to H.264, and returns the number of its frames.

    Time stamps, rotation, colour range and primaries are kept, audio and subtitles are
    copied. Sides are rounded up to even numbers. Interlaced films are upscaled as they
    are, with a warning. Segments are kept in a hidden folder
    beside the target until it is complete, and are not made again by the next call
    with the same arguments. Damaged packets are left out with a warning.

    Args:
        source: the film.
        target: the file to write, of a suffix in `FORMATS`; replaced if it exists.
        scale: as in `upscale.upscale`.
        model: as in `upscale.upscale`.
        size: instead of a scale, as in `jobs.upscale_files`.
        quality: as in `upscale.upscale`.
        crf: constant rate factor of the encoder, from 0 (lossless) to 51.
        **options: those of `tiling.Options`.

    Raises:
        ValueError: for an invalid argument, a file that is not a film, a stream that
            the target's format cannot hold, or frames of several sizes.
    """
    source, target = pathlib.Path(source), files.writable(target)
    options = tiling.Options(**options)
    tiling.check_options(options)
    upscale.check_scale(scale)
    if size is not None:
        targets.check_size(size)
    if not 0 <= crf <= 51:
        raise ValueError(f"crf must be from 0 to 51; got {crf}.")
    if target.suffix.lower() not in FORMATS:
        raise ValueError(
            f"films are written as {sorted(FORMATS)}; got {target.suffix!r}."
        )
    if target.exists() and target.samefile(source):
        raise ValueError("a film cannot be written over itself.")
    with _opened(source) as film:
        video = _checked(film, target)
        old = video.height, video.width
        new, scale = targets.goal(old, scale, size)
        new = tuple(side + side % 2 for side in new)
        if max(new) > SIDE:
            raise ValueError(
                f"H.264 holds sides up to {SIDE}; the result would have "
                f"{new[1]}x{new[0]}."
            )
        model = upscale.choose(model, scale, quality)
        logger.info(
            "%s, %dx%d -> %s, %dx%d, by %s.",
            *(terminal.shown(source), *old[::-1], terminal.shown(target), *new[::-1]),
            upscale.method_text(model, scale),
        )
        status = source.stat()
        settings = (
            *(source.resolve(), status.st_size, status.st_mtime_ns, new),
            *(model.net, model.card["color"], options, crf, SEGMENT, av.__version__),
        )
        mark = hashlib.sha256(repr(settings).encode())
        for leaf in jax.tree.leaves(model.variables):
            mark.update(np.asarray(leaf).tobytes())
        folder = target.with_name(f".{target.name}.{mark.hexdigest()[:12]}")
        folder.mkdir(exist_ok=True)
        count, rotation = _make_segments(
            film, video, folder, _make_upscaler(model, new, options), crf
        )
    with _opened(source) as film:
        _join(film, sorted(folder.glob("*.nut")), target, rotation)
    shutil.rmtree(folder)
    return count


def _opened(path: pathlib.Path) -> av.container.InputContainer:
    """The film, opened; a ValueError if it cannot be."""
    try:
        return av.open(path)
    except av.FFmpegError as error:
        raise ValueError(
            f"{terminal.shown(path)} cannot be read as a film: {error.strerror}."
        ) from error


def _checked(film: av.container.InputContainer, target: pathlib.Path):
    """The video stream; a ValueError if there is none, or one that does not fit."""
    video = film.streams.best("video")
    if video is None or video.codec_context is None:
        raise ValueError(f"{terminal.shown(film.name)} has no video of a known codec.")
    with av.open(io.BytesIO(), "w", format=FORMATS[target.suffix.lower()]) as out:
        held = out.supported_codecs
    for stream in _copied(film):
        codec = stream.codec_context and stream.codec_context.codec.canonical_name
        if codec not in held:
            raise ValueError(
                f"{target.suffix} cannot hold {stream.type} of the codec {codec}. "
                "Write .mkv."
            )
    for stream in set(film.streams) - {video, *_copied(film)}:
        name = terminal.shown(film.name)
        logger.warning("%s: its %s stream is left out.", name, stream.type)
    return video


def _copied(film: av.container.InputContainer) -> list[av.stream.Stream]:
    return [s for s in film.streams if s.type in ("audio", "subtitle")]


def _packets(film, *streams) -> Iterator[av.Packet]:
    """Yields the packets of the streams, in the order of the file."""
    try:
        yield from film.demux(*streams)
    except av.FFmpegError as error:
        logger.warning("%s ends early: %s.", terminal.shown(film.name), error.strerror)


def _frames(film, video) -> Iterator[av.VideoFrame]:
    """Yields the frames in order, with time stamps that ascend.

    Raises:
        ValueError: for frames of several sizes.
    """
    name = terminal.shown(film.name)
    last, size, interlaced = None, None, False
    for packet in _packets(film, video):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            at = 0 if packet.pts is None else float(packet.pts * packet.time_base)
            logger.warning("Damaged video at %.2f s: %s.", at, error.strerror)
            continue
        for frame in frames:
            size = size or (frame.width, frame.height)
            if size != (frame.width, frame.height):
                raise ValueError(
                    f"its frames must be of one size; at {frame.time or 0:.2f} s they "
                    f"change from {size[0]}x{size[1]} to {frame.width}x{frame.height}. "
                    "Cut it there."
                )
            if frame.interlaced_frame and not interlaced:
                interlaced = True
                logger.warning("%s is interlaced. Deinterlace it first.", name)
            if frame.pts is None:  # some old formats have none
                step = 1 / (video.average_rate or 25) / video.time_base
                frame.pts = 0 if last is None else round(last + step)
            if last is None or frame.pts > last:
                last = frame.pts
                yield frame
    end = float((last or 0) * video.time_base)
    length = (film.duration or 0) / av.time_base
    if end < length - 1:
        logger.warning(
            "%s lasts %.1f s, but its video ends at %.1f s.", name, length, end
        )


def _make_segments(
    film, video, folder: pathlib.Path, upscaled: Callable, crf: int
) -> tuple[int, int]:
    """Writes the segments that are missing.

    Returns the number of frames, and the rotation by which they are shown, in degrees.
    """
    count, rotation = 0, 0
    frames = _frames(film, video)
    seconds = (film.duration or 0) / av.time_base
    total = video.frames or round(seconds * (video.average_rate or 25)) or None
    with tqdm.tqdm(total=total, unit="frame", disable=None) as bar:
        for number in itertools.count():
            first = next(frames, None)
            if first is None:
                break
            rotation = first.rotation
            segment = itertools.chain([first], itertools.islice(frames, SEGMENT - 1))
            path = folder / f"{number:06}.nut"
            if path.exists():
                done = sum(1 for _ in segment)
                bar.update(done)
                bar.unpause()
            else:
                done = _write(path, map(upscaled, segment), video, crf, bar.update)
            count += done
    if not count:
        raise ValueError(f"{terminal.shown(film.name)} has no frame that can be read.")
    return count, rotation


def _write(path: pathlib.Path, frames, video, crf: int, advance: Callable) -> int:
    """Encodes one segment; returns its number of frames."""
    first = next(frames)
    count = 0
    with (
        files.written_whole(path) as file,
        av.open(file, "w", format="nut") as out,
    ):
        # Without B frames segments can be joined whatever their time stamps are.
        stream = out.add_stream(
            "libx264",
            rate=video.average_rate or 25,
            options={"crf": str(crf), "bf": "0"},
        )
        stream.width, stream.height = first.width, first.height
        stream.pix_fmt = first.format.name
        stream.time_base = stream.codec_context.time_base = video.time_base
        for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
            value = getattr(video.codec_context, name)
            if _is_rgb(video.format):
                value = VIDEO_COLOURS.get(name, value)
            setattr(stream.codec_context, name, value)
        if video.sample_aspect_ratio:
            stream.codec_context.sample_aspect_ratio = video.sample_aspect_ratio
        for frame in itertools.chain([first], frames):
            out.mux(stream.encode(frame))
            count += 1
            advance(1)
        out.mux(stream.encode(None))
    return count


def _is_rgb(form: av.VideoFormat) -> bool:
    return form.is_rgb or form.has_palette


def _planar(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame in one of the formats `PLANAR`."""
    form = frame.format
    if form.name in PLANAR:
        return frame
    name = PLANAR[-1 if form.components[0].bits > 8 else -2]
    if _is_rgb(form):
        to = {f"dst_{key}": value for key, value in VIDEO_COLOURS.items()}
        return frame.reformat(format=name, **to)
    gray = len(form.components) < 3  # perhaps with alpha
    frame = frame.reformat(format=name)
    if gray:  # FFmpeg's conversion may be off by a level
        bits = frame.format.components[0].bits
        for plane in frame.planes[1:]:
            _pixels(plane, bits)[:] = 2 ** (bits - 1)
    return frame


def _make_upscaler(
    model: weights.Model, size: tuple[int, int], options: tiling.Options
) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """A function that returns a frame in that (height, width)."""
    bicubic = protocol.baseline()

    def upscaled(frame):
        frame = _planar(frame)
        bits = frame.format.components[0].bits
        large = av.VideoFrame(size[1], size[0], frame.format.name)
        large.pts, large.time_base = frame.pts, frame.time_base
        large.duration = frame.duration
        for i, (small, plane) in enumerate(zip(frame.planes, large.planes)):
            pixels, into = _pixels(small, bits), _pixels(plane, bits)
            into[:] = upscale.to_size(
                pixels,
                into.shape,
                bicubic if i else model,
                options,
                data_range=None if bits <= 8 else 2**bits - 1,
            )
        return large

    return upscaled


def _pixels(plane: av.video.plane.VideoPlane, bits: int) -> np.ndarray:
    """The pixels [H, W] of a plane, which share its memory."""
    dtype = np.dtype(np.uint8 if bits <= 8 else np.uint16)
    rows = np.frombuffer(plane, dtype)[
        : plane.height * plane.line_size // dtype.itemsize
    ]
    return rows.reshape(plane.height, -1)[:, : plane.width]


def _join(film, segments: list[pathlib.Path], target: pathlib.Path, rotation) -> None:
    """Writes the segments and the copied streams of the film to the target."""
    source, copied = film.streams.best("video"), _copied(film)
    with (
        files.written_whole(target) as file,
        av.open(file, "w", format=FORMATS[target.suffix.lower()]) as out,
    ):
        with av.open(segments[0]) as part:
            video = out.add_stream_from_template(part.streams.video[0])
        video.codec_context.framerate = source.average_rate or 25
        video.set_display_rotation(rotation)
        copies = {s.index: out.add_stream_from_template(s) for s in copied}
        for stream in [source, *copied]:
            copy = copies.get(stream.index, video)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
        for key in film.metadata.keys() - {"major_brand", "compatible_brands"}:
            out.metadata[key] = film.metadata[key]
        out.set_chapters(film.chapters())

        def upscaled():
            for path in segments:
                with av.open(path) as part:
                    yield from ((packet, video) for packet in part.demux(video=0))

        def others():
            if copied:
                for packet in _packets(film, *copied):
                    yield packet, copies[packet.stream.index]

        def timed(items):
            return (item for item in items if item[0].dts is not None)

        for packet, stream in heapq.merge(
            timed(upscaled()),
            timed(others()),
            key=lambda item: item[0].dts * item[0].time_base,
        ):
            packet.stream = stream
            out.mux(packet)
