"""The Beam pipeline, file by file against `jaxsr upscale` and `jaxsr degrade`."""

import contextlib
import io
import json
import logging
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import PIL.Image
import pytest
from conftest import open_set

pytest.importorskip("apache_beam", reason="apache-beam is not installed")

from apache_beam.io import filesystem

from jaxsr import weights
from jaxsr.apps import beam
from jaxsr.evaluation import pictures
from jaxsr.inference import degrade, jobs

# What runs in a DirectRunner, which first tries to download another engine.
LOCAL = ["--runner", "FnApiRunner"]
TWO_PROCESSES = [
    *LOCAL,
    *("--direct_running_mode", "multi_processing", "--direct_num_workers", "2"),
]
FSRCNN = ["--scale", "2", "--model", "fsrcnn_x2"]


@pytest.fixture(autouse=True)
def restored_log_level():
    """Workers set it, and some run in this process."""
    logger = logging.getLogger("jaxsr")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def inputs(tmp_path):
    """Parts of Set5 in two folders, PNG and JPEG, with names that need care."""
    source = open_set("Set5")
    names = ["a.png", "b [1].jpg", "sub dir/*.png", "sub dir/ä\n.PNG", "sub dir/bare"]
    for i, name in enumerate(names):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "JPEG" if path.suffix == ".jpg" else "PNG"
        PIL.Image.fromarray(source.read(i)[:90, :80]).save(path, kind)
    return tmp_path / "in"


def command(folder, out, *more):
    return ["--input", f"{folder}/**", "--output", str(out), *more]


def contents(folder):
    """Path below the folder -> bytes of each file, without the list of failures."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path != folder / "failed.jsonl"
    }


def failures(text):
    found = map(json.loads, text.splitlines())
    return {failure["file"]: failure["reason"] for failure in found}


def failing_run(arguments):
    """The command in a process of its own, whose workers are processes too."""
    run = subprocess.run(
        [sys.executable, "-m", "jaxsr.apps.beam", *arguments, *TWO_PROCESSES],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1, run.stderr
    return run


def test_two_processes_write_the_files_of_jaxsr_upscale(inputs, tmp_path):
    whole = (inputs / "a.png").read_bytes()
    (inputs / "sub dir" / "cut.png").write_bytes(whole[:5000])
    (inputs / "text.png").write_text("no image")
    for name in ("twin.png", "twin.tif", ".hidden.png"):
        PIL.Image.new("L", (4, 3)).save(inputs / name)
    (inputs / "README").write_text("no image by its first bytes")
    (inputs / "notes.txt").write_text("no image by its name")
    expected, out = tmp_path / "expected", tmp_path / "out"
    summary = jobs.upscale_files(inputs, expected, 2, "fsrcnn_x2")
    assert len(summary.done) == 5 and len(summary.failed) == 4
    run = failing_run(command(inputs, out, *FSRCNN))
    assert run.stdout == "5 done, 0 skipped, 4 failed\n"
    assert contents(out) == contents(expected)
    found = failures((out / "failed.jsonl").read_text())
    reasons = {
        str(source): reason.replace(str(expected), str(out))
        for source, reason in summary.failed
    }
    assert found == reasons and "cut.png" in str(reasons)


def workers(group):
    """The processes of Beam's workers in a process group."""
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            is_worker = b"apache_beam.runners.worker.sdk_worker_main" in words
            if is_worker and os.getpgid(int(path.name)) == group:
                yield int(path.name)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="finds workers in /proc")
def test_after_killed_workers_the_same_command_does_the_rest(inputs, tmp_path, capsys):
    photo = (inputs / "a.png").read_bytes()
    for i in range(4):
        (inputs / f"{i}.png").write_bytes(photo)
    expected, out = tmp_path / "expected", tmp_path / "out"
    jobs.upscale_files(inputs, expected, 2, "fsrcnn_x2")
    (inputs / "3.png").unlink()
    os.mkfifo(inputs / "3.png")  # whose reader waits, so that the run cannot end
    arguments = command(inputs, out, *FSRCNN)
    log = tmp_path / "log"
    with (
        open(log, "wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "jaxsr.apps.beam", *arguments, *TWO_PROCESSES],
            stdout=file,
            stderr=file,
            start_new_session=True,
        ) as run,
    ):
        try:
            while not list(out.rglob("*_x2.png")):
                assert run.poll() is None, log.read_text()
                time.sleep(0.02)
            killed = list(workers(run.pid))
            for worker in killed:
                os.kill(worker, signal.SIGKILL)
            assert len(killed) == 2 and run.wait(120) == 1, log.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)

    def finished():
        return {n: data for n, data in contents(out).items() if n.endswith("_x2.png")}

    before = finished()
    assert 0 < len(before) < 9 and before.items() <= contents(expected).items()
    (inputs / "3.png").unlink()
    (inputs / "3.png").write_bytes(photo)
    assert beam.main([*arguments, *LOCAL]) == 0
    counts = f"{9 - len(before)} done, {len(before)} skipped, 0 failed\n"
    assert capsys.readouterr().out == counts
    assert finished() == contents(expected)
    assert (out / "failed.jsonl").read_bytes() == b""


def test_degrade_writes_the_files_of_jaxsr_degrade(inputs, tmp_path):
    expected, out = tmp_path / "expected", tmp_path / "out"
    degrade.degrade_files(inputs, expected, 3, blur=1.3, suffix=".tiff")
    options = ["--verb", "degrade", "--scale", "3", "--blur", "1.3"]
    arguments = command(inputs, out, *options, "--format", "tiff", *LOCAL)
    assert beam.main(arguments) == 0
    assert contents(out) == contents(expected) and len(contents(out)) == 5


def test_two_processes_score_as_jaxsr_score(inputs, tmp_path):
    sr, out = tmp_path / "sr", tmp_path / "out"
    for path in sorted(inputs.rglob("*.*")):
        image = PIL.Image.open(path).convert("RGB").point(lambda v: v // 8 * 8)
        target = sr / path.relative_to(inputs).with_name(f"{path.stem}_x2_SR.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target)
    (sr / "sub dir" / "alone.png").write_bytes((sr / "a_x2_SR.png").read_bytes())
    (sr / "b [1]_x2_SR.png").write_bytes((sr / "a_x2_SR.png").read_bytes()[:500])
    PIL.Image.new("L", (4, 3)).save(inputs / "unused.png")
    pairs, _ = pictures.pairs_of(sr, inputs)
    named = [p._replace(name=str(p.hr.relative_to(inputs))) for p in pairs]
    how = {"on": "rgb", "border": 2, "scale": 2.0}
    expected = sorted(
        pictures.score_pair(pair, **how) for pair in named if pair.name[0] != "b"
    )
    assert len(expected) == 3
    arguments = ["--verb", "score", *command(sr, out), "--true", f"{inputs}/**"]
    run = failing_run([*arguments, "--on", "rgb", "--scale", "2"])
    assert run.stdout == "3 done, 0 skipped, 4 failed\n"
    table = pictures.as_csv([*expected, pictures.mean(expected)])
    assert (out / "scores.csv").read_bytes().decode() == table
    reasons = failures((out / "failed.jsonl").read_text())
    cut = f"{sr}/b [1]_x2_SR.png"
    assert reasons.pop(cut).startswith(f"{cut} cannot be read: ")
    lacking = f"it has no result in {sr}/**."
    assert reasons == {
        f"{sr}/sub dir/alone.png": f"it has no reference image in {inputs}/**.",
        f"{inputs}/unused.png": lacking,
        f"{inputs}/sub dir/bare": lacking,
    }


def test_a_worker_loads_its_model_once(tmp_path, monkeypatch):
    for i in range(3):
        PIL.Image.new("L", (9, 8)).save(tmp_path / f"{i}.png")
    loaded, load = [], weights.load
    monkeypatch.setattr(weights, "load", lambda name: loaded.append(name) or load(name))
    fast = ["--quality", "fast", *LOCAL]
    assert beam.main(command(tmp_path, tmp_path / "out", *fast)) == 0
    assert len(contents(tmp_path / "out")) == 3
    assert len(loaded) == 2  # by the check of the arguments, and by the worker


def test_the_model_for_a_size_depends_on_the_image(tmp_path):
    PIL.Image.new("L", (9, 8)).save(tmp_path / "a.png")
    PIL.Image.new("L", (6, 5)).save(tmp_path / "b.png")
    expected, out = tmp_path / "expected", tmp_path / "out"
    summary = jobs.upscale_files(tmp_path, expected, size=(20, 20), quality="fast")
    assert len(summary.done) == 2
    sized = ["--size", "20x20", "--quality", "fast", *LOCAL]
    arguments = ["--input", f"{tmp_path}/*.png", "--output", str(out), *sized]
    for _ in range(2):
        assert beam.main(arguments) == 0
        assert contents(out) == contents(expected)


def test_outputs_in_the_input_folder_are_no_inputs(tmp_path):
    PIL.Image.new("L", (4, 3)).save(tmp_path / "a.png")
    for _ in range(2):
        assert beam.main(command(tmp_path, tmp_path / "out", *FSRCNN, *LOCAL)) == 0
        assert list(contents(tmp_path / "out")) == ["a_x2.png"]


def test_a_name_need_not_be_utf8(tmp_path):
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    for name in (b"caf\xe9.png", b"b\xe9d.png"):
        with open(os.path.join(folder, name), "wb") as file:
            if name.startswith(b"caf"):
                PIL.Image.new("L", (4, 3)).save(file, "PNG")
    out = tmp_path / "out"
    assert beam.main(command(tmp_path / "in", out, *FSRCNN, *LOCAL)) == 1
    assert os.listdir(os.fsencode(out)).count(b"caf\xe9_x2.png") == 1
    [name] = failures((out / "failed.jsonl").read_text())
    assert os.fsencode(name) == os.path.join(folder, b"b\xe9d.png")


def test_a_pattern_without_images_fails(tmp_path):
    PIL.Image.new("L", (4, 3)).save(tmp_path / "a.png")
    patterns = [f"{tmp_path}/*.jpg", f"{tmp_path}/a*", f"{tmp_path}/a.png"]
    out = ["--output", f"{tmp_path}/out"]
    assert beam.main(["--input", *patterns, *out, *FSRCNN, *LOCAL]) == 1
    assert list(contents(tmp_path / "out")) == ["a_x2.png"]
    found = failures((tmp_path / "out" / "failed.jsonl").read_text())
    assert list(found) == patterns[:1]
    assert found[patterns[0]].startswith("no image matches; in/**")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "none"], "got 'none'"),
        (["--scale", "0.5"], "at least 1"),
        (["--format", "gif"], "written as"),
        (["--output", "none://a"], "Unable to get filesystem"),
        (["--output", "in"], "--output must not be the input folder; got .*/in."),
        (["--verb=score", "--true=in/**", "--on=lab"], "on must be one of"),
        (["--verb=score", "--true=out/**"], "--output must not be the input folder"),
        (["--verb=score", "--true=b", "--input", "a", "b"], "takes one --input; got 2"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_pipeline(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert beam.main([*command("in", "out"), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1
    assert re.search(message, error), error
    assert not list(tmp_path.iterdir())


class Bucket(filesystem.FileSystem):
    """An object store in memory that, as HDFS, does not write over a file."""

    files, created = {}, []

    @classmethod
    def scheme(cls):
        return "bucket"

    def join(self, basepath, *paths):
        return "/".join([basepath, *paths])

    def split(self, path):
        return path.rpartition("/")[::2]

    def mkdirs(self, path):
        raise AssertionError("an object store has no folders")

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path in sorted(self.files):
            if path.startswith(dir_or_prefix):
                yield self.metadata(path)

    def create(self, path, mime_type="", compression_type=""):
        files = self.files
        assert path not in files
        self.created.append(path)

        class Upload(io.BytesIO):
            def close(self):
                if not self.closed:
                    files[path] = self.getvalue()
                super().close()

        return Upload()

    def open(self, path, mime_type="", compression_type=""):
        return io.BytesIO(self.files[path])

    def copy(self, sources, destinations):
        for source, destination in zip(sources, destinations):
            assert destination not in self.files
            self.files[destination] = self.files[source]

    def rename(self, sources, destinations):
        self.copy(sources, destinations)
        for source in sources:
            del self.files[source]

    def exists(self, path):
        return path in self.files

    def size(self, path):
        return len(self.files[path])

    def last_updated(self, path):
        return 0.0

    def checksum(self, path):
        return str(self.size(path))

    def metadata(self, path):
        return filesystem.FileMetadata(path, self.size(path))

    def delete(self, paths):
        for path in paths:
            del self.files[path]


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_a_write_that_fails_leaves_no_part(tmp_path, monkeypatch):
    PIL.Image.new("L", (4, 3)).save(tmp_path / "a [1].png")
    out = tmp_path / "out [2]"

    def full(*paths):
        assert len(list(out.iterdir())) == 1
        raise OSError("No space left on device")

    arguments = command(tmp_path, out, *FSRCNN, *LOCAL)
    with monkeypatch.context() as patch:
        patch.setattr(beam.FileSystems, "rename", full)
        assert beam.main(arguments) == 1
    [reason] = failures((out / "failed.jsonl").read_text()).values()
    assert reason == "No space left on device"
    assert not contents(out)
    assert beam.main(arguments) == 0
    assert list(contents(out)) == ["a [1]_x2.png"]


def test_any_file_system_of_beam_will_do(inputs, tmp_path, capsys):
    root = "bucket://b"
    for name, data in contents(inputs).items():
        Bucket.files[f"{root}/in/{name}"] = data
    Bucket.files[f"{root}/in/bad.png"] = b"no image"
    jobs.upscale_files(inputs, tmp_path / "expected", 2, "fsrcnn_x2")
    arguments = command(f"{root}/in", f"{root}/out/", *FSRCNN, *LOCAL)
    for counts in ("5 done, 0 skipped, 1 failed\n", "0 done, 5 skipped, 1 failed\n"):
        assert beam.main(arguments) == 1
        assert capsys.readouterr().out == counts
    out = f"{root}/out/"
    found = {
        path.removeprefix(out): data
        for path, data in Bucket.files.items()
        if path.startswith(out)
    }
    [name] = failures(found.pop("failed.jsonl").decode())
    assert name == f"{root}/in/bad.png"
    assert found == contents(tmp_path / "expected")
    # Each target appears by a rename: an upload that is cut short has another name.
    assert not set(Bucket.created) & {out + name for name in found}
