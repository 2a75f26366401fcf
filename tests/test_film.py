"""Films made of a photograph, through the whole command."""

import fractions
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxsr import cli, weights
from jaxsr.evaluation import protocol
from jaxsr.inference import tiling, upscale

av = pytest.importorskip("av", reason="films need pip install 'jaxsr[video]'")

TICK = fractions.Fraction(1, 1000)
# Seconds of the frames: their rate varies.
TIMES = [0, 0.04, 0.08, 0.2, 0.24, 0.3]


def make_film(
    path,
    photo,
    *,
    size=(32, 48),
    codec="ffv1",
    form="yuv420p",
    times=TIMES,
    sound="aac",
):
    """A film that pans over the photograph, with a sound."""
    height, width = size
    with av.open(path, "w") as film:
        video = film.add_stream(codec, rate=25, options={"bf": "0", "crf": "18"})
        video.width, video.height, video.pix_fmt = width, height, form
        context = video.codec_context
        video.time_base = context.time_base = TICK
        context.sample_aspect_ratio = fractions.Fraction(4, 3)
        # BT.709 of limited range
        context.color_range, context.colorspace = 1, 1
        context.color_primaries = context.color_trc = 1
        video.set_display_rotation(90)
        video.metadata["language"] = "deu"
        audio = film.add_stream(sound, rate=44100)
        film.metadata["title"] = "Pan"
        for i, at in enumerate(times):
            crop = np.ascontiguousarray(photo[i : i + height, 2 * i : 2 * i + width])
            frame = av.VideoFrame.from_ndarray(crop).reformat(
                format=form, dst_colorspace=1, dst_color_range=1
            )
            frame.pts, frame.time_base = round(at / TICK), TICK
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
        play(film, audio)
    return path


def play(film, audio):
    """Half a second of sound."""
    wave = np.sin(np.arange(22050) / 20).astype(np.float32)[None]
    sound = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
    sound.sample_rate = 44100
    film.mux(audio.encode(sound))
    film.mux(audio.encode(None))


def planes(frame):
    """The planes [H, W] of a frame."""
    dtype = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    for plane in frame.planes:
        rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        yield rows[:, : plane.width]


def read(path):
    """The frames, the packets of sound, and what is known of the film."""
    with av.open(path) as film:
        video, audio = film.streams.video[0], film.streams.audio[0]
        context = video.codec_context
        known = {
            name: getattr(context, name)
            for name in ("color_range", "colorspace", "color_primaries", "color_trc")
        }
        known |= {"shape": video.sample_aspect_ratio, "title": film.metadata["title"]}
        known["language"] = video.language
        frames = list(film.decode(video))
        known["times"] = [round(frame.time, 3) for frame in frames]
        known["rotation"] = frames[0].rotation
        film.seek(0)
        sound = [bytes(packet) for packet in film.demux(audio) if packet.size]
        return frames, sound, known


@pytest.mark.parametrize(
    ("size", "form", "scale", "wanted"),
    [
        ((32, 48), "yuv420p", 2, (64, 96)),
        ((33, 49), "yuv420p", 3, (100, 148)),
        ((32, 48), "yuv420p10le", 2, (64, 96)),
    ],
)
def test_planes_are_upscaled_and_all_else_is_kept(
    photo, tmp_path, size, form, scale, wanted
):
    source = make_film(tmp_path / "in.mkv", photo, size=size, form=form)
    out = tmp_path / "out.mkv"
    command = ["upscale", str(source), "-o", str(out), "--crf=0", f"--scale={scale}"]
    assert cli.main([*command, f"--model=fsrcnn_x{scale}"]) == 0
    frames, sound, known = read(source)
    large, same_sound, same = read(out)
    assert same == known and same_sound == sound
    assert known["times"] == TIMES and known["rotation"] == 90
    assert sorted(tmp_path.iterdir()) == [source, out]
    assert {(f.height, f.width, f.format.name) for f in large} == {(*wanted, form)}
    models = [weights.load(f"fsrcnn_x{scale}"), *[protocol.baseline()] * 2]
    for small, frame in zip(frames[::3], large[::3], strict=True):
        top = None if form == "yuv420p" else 1023
        for model, old, new in zip(models, planes(small), planes(frame), strict=True):
            exact = upscale.to_size(
                old, new.shape, model, tiling.Options(), data_range=top
            )
            # Of 10 bits, crf 0 is not lossless.
            error = np.abs(exact.astype(int) - new).max()
            assert error <= (0 if top is None else 8)


@pytest.mark.parametrize("form", ["bgr0", "gray"])
def test_other_formats_of_frames_become_one_that_players_know(photo, tmp_path, form):
    pixels = photo[:64, :64] if form == "bgr0" else photo[:64, :64].mean(-1)
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    with av.open(source, "w") as film:
        video = film.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, form
        name = "rgb24" if form == "bgr0" else form
        frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), name)
        film.mux([*video.encode(frame.reformat(format=form)), *video.encode(None)])
    assert cli.main(["upscale", str(source), "-o", str(out), "--model=fsrcnn_x2"]) == 0
    with av.open(out) as film:
        [frame] = film.decode(video=0)
    assert frame.format.name == "yuv420p"
    if form == "gray":
        _, *chroma = planes(frame)
        assert all((plane == 128).all() for plane in chroma)
    else:  # BT.709 of video range
        assert (frame.colorspace, frame.color_range) == (1, 1)
    large = frame.to_ndarray(format="rgb24").reshape(64, 2, 64, 2, 3).mean((1, 3))
    if form != "gray":
        large = frame.reformat(format="rgb24", src_colorspace=1, dst_colorspace=1)
        large = large.to_ndarray().reshape(64, 2, 64, 2, 3).mean((1, 3))
    difference = large - (pixels if form == "bgr0" else pixels[..., None])
    assert np.abs(difference.mean((0, 1))).max() < 2.5
    assert np.abs(difference).mean() < 5


def test_interlaced_films_are_named_and_those_of_two_sizes_refused(
    photo, tmp_path, caplog, capsys
):
    def make(name, height, first, flags=None):
        with av.open(tmp_path / name, "w", format="mpegts") as film:
            video = film.add_stream("mpeg2video", rate=25, options=flags)
            video.width, video.height, video.pix_fmt = 64, height, "yuv420p"
            for i in range(10):
                pixels = np.ascontiguousarray(photo[i : i + height, :64])
                frame = av.VideoFrame.from_ndarray(pixels).reformat(format="yuv420p")
                frame.pts, frame.time_base = first + i, fractions.Fraction(1, 25)
                film.mux(video.encode(frame))
            film.mux(video.encode(None))
        return (tmp_path / name).read_bytes()

    out = str(tmp_path / "out.mkv")
    make("fields.ts", 64, 0, {"flags": "+ildct+ilme"})
    command = ["upscale", "-o", out, "--model", "fsrcnn_x2"]
    assert cli.main([*command, str(tmp_path / "fields.ts")]) == 0
    assert caplog.text.count("fields.ts is interlaced. Deinterlace it first.") == 1
    both = make("a.ts", 32, 0) + make("b.ts", 48, 10)
    (tmp_path / "both.ts").write_bytes(both)
    assert cli.main([*command, "--overwrite", str(tmp_path / "both.ts")]) == 1
    assert re.search(
        r"its frames must be of one size; at \d\.\d\d s they change from 64x32 to "
        r"64x48\. Cut it there\.",
        capsys.readouterr().err,
    )


COMMAND = """
import sys
from jaxsr import cli
from jaxsr.apps import film
film.SEGMENT = 20
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_film_that_was_killed_resumes_to_the_same_file(photo, tmp_path):
    times = np.arange(100) / 25
    source = make_film(tmp_path / "in.mp4", photo, codec="libx264", times=times)
    command = [
        sys.executable,
        "-c",
        COMMAND,
        "upscale",
        source,
        "--model=espcn_x2",
        "-o",
    ]
    subprocess.run([*command, tmp_path / "whole.mp4"], check=True)
    run = subprocess.Popen([*command, tmp_path / "out.mp4"])
    end = time.monotonic() + 60
    while not (made := list(tmp_path.glob(".out.mp4.*/000001.nut"))):
        assert run.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "out.mp4").exists()
    black = made[0].with_name("000000.nut")  # it is not made again
    make_film(black, 0 * photo, size=(64, 96), codec="libx264", times=times[:20])
    subprocess.run([*command, tmp_path / "out.mp4"], check=True)
    whole, resumed = (read(tmp_path / name) for name in ("whole.mp4", "out.mp4"))
    assert whole[1:] == resumed[1:]
    assert len(whole[0]) == len(resumed[0]) == 100
    pairs = list(zip(map(planes, whole[0]), map(planes, resumed[0])))
    equal = [all(map(np.array_equal, a, b)) for a, b in pairs]
    assert not any(equal[:20]) and all(equal[20:])
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out.mp4", "whole.mp4"]


def test_bad_films_are_answered_with_one_line(photo, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = make_film(tmp_path / "whole.mp4", photo, codec="libx264").read_bytes()
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(tmp_path / "sound.mkv", "w", format="matroska") as film:
        play(film, film.add_stream("aac", rate=44100))
    make_film(tmp_path / "tta.mkv", photo, sound="tta")
    unknown = r".* cannot be read as a film: .*\."
    for name, options, message in [
        ("text.mp4", "-o a.mp4", unknown),
        ("cut.mp4", "-o a.mp4", unknown),
        ("none.mp4", "-o a.mp4", unknown),
        ("sound.mkv", "-o a.mp4", ".* has no video of a known codec."),
        ("tta.mkv", "-o a.mp4", ".mp4 cannot hold audio of the codec tta. Write .mkv."),
        ("whole.mp4", "-o a.avi", r"films are written as \[.*\]; got '.avi'."),
        ("whole.mp4", "-o a.mp4 --scale=500", "H.264 holds sides up to 16384; .*"),
        ("whole.mp4", "-o a.mp4 --crf=52", "crf must be from 0 to 51; got 52."),
        ("whole.mp4", "-o whole.mp4", ".*whole.mp4 already exists: .*"),
        ("whole.mp4", "--png-level=0", "--png-level is not an option of films."),
        ("whole.mp4", "tta.mkv", "a film must be the only input; got 2 inputs."),
        ("photo.png", "--crf=20", "--crf is an option of films."),
    ]:
        assert cli.main(["upscale", name, *options.split()]) == 1
        assert re.fullmatch(f"error: {message}\n", capsys.readouterr().err), name
    assert not (tmp_path / "a.mp4").exists()


def test_a_film_that_is_cut_short_is_upscaled_as_far_as_it_goes(
    photo, tmp_path, caplog
):
    source = make_film(tmp_path / "in.mkv", photo, times=np.arange(20) / 4)
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):  # beside it, and skipped
        assert cli.main(["upscale", str(source), "--scale=2", "--skip-existing"]) == 0
    frames, _, known = read(tmp_path / "in_x2.mkv")
    assert 2 < len(frames) < 18
    end = f"{known['times'][-1]:.1f}"
    assert f"in.mkv lasts 4.8 s, but its video ends at {end} s." in caplog.text
