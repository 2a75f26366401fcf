"""Upscaling, degrading and scoring by Apache Beam, for folders of any size.

    python -m jaxsr.apps.beam --input 'in/**' --output out --scale 2

writes the same files as `jaxsr upscale in -o out --scale 2 --skip-existing`, on every
runner and file system of Beam. Unlike there, all images that match are inputs, even if
they are results of earlier runs, except those in the output folder.

    python -m jaxsr.apps.beam --verb score --input 'sr/**' --true 'hr/**' --output out

writes the scores of `jaxsr score sr hr` to out/scores.csv.

Source: Apache Beam Programming Guide.
"""

import argparse
import collections
import contextlib
import functools
import glob
import importlib
import json
import logging
import os
import pathlib
import re
import shutil
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from jaxsr import checks, terminal

try:
    import apache_beam as beam
    from apache_beam.io import filesystem, filesystems
    from apache_beam.options import pipeline_options
except ModuleNotFoundError as error:
    sys.exit(f"error: {checks.missing(error)}")

from jaxsr import devices
from jaxsr.cli import degrade, score, upscale
from jaxsr.evaluation import pictures
from jaxsr.files import reading
from jaxsr.inference import jobs, targets
from jaxsr.inference import upscale as upscaling

WRITERS = {"upscale": upscale, "degrade": degrade}
VERBS = WRITERS | {"score": score}
FAILED = "failed"
COUNTS = ("done", "skipped", FAILED)
PLAIN = filesystem.CompressionTypes.UNCOMPRESSED
FileSystems = filesystems.FileSystems


def main(argv: list[str] | None = None) -> int:
    """Runs the pipeline; its exit status is 1 if an image failed."""
    logging.basicConfig(format="%(message)s")
    terminal.make_safe()
    args, rest = _parse(argv)
    try:
        devices.import_modules([])
        _check(args)
    except (ValueError, OSError) as error:
        print(f"error: {terminal.printable(str(error))}", file=sys.stderr)
        return 1
    pipeline = beam.Pipeline(options=pipeline_options.PipelineOptions(rest))
    build(pipeline, args)
    result = pipeline.run()
    result.wait_until_finish()
    counts = collections.Counter()
    for counter in result.metrics().query()["counters"]:  # one for each step
        counts[counter.key.metric.name] += counter.result
    print(", ".join(f"{counts[name]} {name}" for name in COUNTS))
    with _open(_failures(args)) as file:
        failed = sum(1 for _ in file)
    if failed:
        print(f"{_failures(args)} lists what failed.", file=sys.stderr)
    return 1 if failed else 0


def _parse(argv: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, and those of Beam."""
    first = terminal.Parser(add_help=False, allow_abbrev=False)
    first.add_argument(
        "--verb", choices=VERBS, default="upscale", help="what to do (upscale)"
    )
    parser = terminal.Parser(
        prog="python -m jaxsr.apps.beam",
        description="Upscale, degrade or score image files with Apache Beam.",
        epilog="All other options are Beam's, such as --runner.",
        parents=[first],
        allow_abbrev=False,
    )
    parser.add_argument(
        "--input",
        type=_absolute,
        nargs="+",
        required=True,
        help="file patterns of Beam: 'in/**' is all files in a folder and below",
    )
    parser.add_argument(
        "--output", type=_absolute, required=True, help="the folder to write to"
    )
    verb = first.parse_known_args(argv)[0].verb
    VERBS[verb].add_settings(parser)
    if verb == "score":
        parser.add_argument(
            "--true",
            type=_absolute,
            required=True,
            help="the file pattern of the reference images, such as 'hr/**'",
        )
    return parser.parse_known_args(argv)


def _absolute(path: str) -> str:
    """A path that every process understands, without a slash at its end."""
    if FileSystems.get_scheme(path):
        return path.rstrip("/")
    return os.path.abspath(os.path.expanduser(path))


def _check(args: argparse.Namespace) -> None:
    """Raises an error where no image could be processed with these arguments."""
    if args.verb in WRITERS:
        WRITERS[args.verb].work(args)([], None)
        patterns = args.input
    else:
        score.settings(args)
        if len(args.input) > 1:
            raise ValueError(f"score takes one --input; got {len(args.input)}.")
        patterns = [*args.input, args.true]
    for path in (*patterns, args.output):
        FileSystems.get_filesystem(path)
    if f"{args.output}/" in map(_fixed, patterns):
        raise ValueError(f"--output must not be the input folder; got {args.output}.")


def _fixed(pattern: str) -> str:
    """The part of a pattern before its first wildcard: a folder that ends in "/"."""
    return re.match(r"[^*?[]*/", pattern)[0]


def _failures(args: argparse.Namespace) -> str:
    return f"{args.output}/{FAILED}.jsonl"


def build(pipeline: beam.Pipeline, args: argparse.Namespace) -> None:
    """Adds all steps to a pipeline.

    File names are passed on as bytes, because they need not be UTF-8.
    """
    if args.verb in WRITERS:
        found = (
            pipeline
            | beam.Create(args.input)
            | "Match" >> beam.FlatMap(_match, args).with_outputs(FAILED, main="images")
        )
        # Distributes the images over the workers, and brings together those of one
        # target.
        failed = found.images | beam.GroupByKey() | "Write" >> beam.ParDo(_Write(args))
    else:
        found = (
            pipeline
            | beam.Create(args.input)
            | "Match" >> beam.FlatMap(_pair, args).with_outputs(FAILED, main="pairs")
        )
        scores, failed = (
            found.pairs
            | beam.Reshuffle()
            | "Score" >> beam.ParDo(_Score(args)).with_outputs(FAILED, main="scores")
        )
        _ = (
            scores
            | "Scores" >> beam.combiners.ToList()
            | "Table" >> beam.Map(_write_scores, f"{args.output}/scores.csv")
        )
    _ = (
        (found[FAILED], failed)
        | beam.Flatten()
        | beam.combiners.ToList()
        | beam.Map(_write_failures, _failures(args))
    )


def _match(pattern: str, args: argparse.Namespace) -> Iterator[tuple[bytes, bytes]]:
    """Yields (target below the output folder, source) of each image, or a failure."""
    verb = WRITERS[args.verb]
    images = _images(pattern, args.output)
    if not images:
        yield beam.pvalue.TaggedOutput(FAILED, _no_image(pattern))
    for below, source in images.items():
        target = targets.renamed(below, verb.ending(args), f".{args.format or 'png'}")
        yield os.fsencode(target), os.fsencode(source)


def _pair(
    pattern: str, args: argparse.Namespace
) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yields (name, upscaled image, reference image) of each pair, or a failure."""
    results, true = (_images(p, args.output) for p in (pattern, args.true))
    failed = [
        _no_image(p)
        for p, found in ((pattern, results), (args.true, true))
        if not found
    ]
    try:
        pairs, unknown, without = pictures.paired(results, true)
    except ValueError as error:
        failed.append(_failure(pattern, str(error)))
        pairs, unknown, without = [], [], []
    for pair in pairs:
        yield tuple(map(os.fsencode, (pair.hr, results[pair.sr], true[pair.hr])))
    lacking = f"it has no reference image in {args.true}."
    failed += [_failure(results[name], lacking) for name in unknown]
    lacking = f"it has no result in {pattern}."
    failed += [_failure(true[name], lacking) for name in without]
    for failure in failed:
        yield beam.pvalue.TaggedOutput(FAILED, failure)


def _images(pattern: str, output: str) -> dict[pathlib.PurePosixPath, str]:
    """Path below the fixed part of the pattern -> path, of each image that matches."""
    root = _fixed(pattern)
    [match] = FileSystems.match([pattern])
    return {
        pathlib.PurePosixPath(file.path.removeprefix(root)): file.path
        for file in match.metadata_list
        if _is_input(file.path, root, f"{output}/")
    }


def _no_image(pattern: str) -> str:
    return _failure(pattern, "no image matches; in/** matches all files below in.")


def _is_input(path: str, root: str, output: str) -> bool:
    """Whether a file below the folder `root` is an image, not hidden and no output."""
    below = pathlib.PurePosixPath(path.removeprefix(root))
    hidden = any(part.startswith(".") for part in below.parts)
    if hidden or (output.startswith(root) and path.startswith(output)):
        return False
    return reading.is_image(below, lambda: _open(path))


def _failure(source: str, reason: str) -> str:
    """Counts a failure; its line of JSON, in ASCII."""
    beam.metrics.Metrics.counter("jaxsr", FAILED).inc()
    return json.dumps({"file": source, "reason": reason}) + "\n"


def _write_failures(lines: list[str], path: str) -> None:
    """Writes the list of failures; an empty file if there are none."""
    _write_text("".join(sorted(lines)), path)


def _write_scores(scores: list[pictures.Score], path: str) -> None:
    """Writes the scores and their mean as CSV; an empty file if there are none."""
    scores = sorted(scores)
    means = [pictures.mean(scores)] if scores else []
    _write_text(pictures.as_csv(scores + means) if scores else "", path)


def _write_text(text: str, path: str) -> None:
    if FileSystems.exists(path):  # HDFS does not write over a file
        _delete(path)
    with FileSystems.create(path, compression_type=PLAIN) as file:
        file.write(text.encode("utf-8", "surrogateescape"))


class _Score(beam.DoFn):
    """Yields the scores of (name, upscaled image, reference image), or a failure."""

    def __init__(self, args: argparse.Namespace):
        self.args = args

    def setup(self):
        """Loads the weights of measures, once for each worker."""
        devices.keep_compiled()
        self.how = score.settings(self.args)

    def process(self, element: tuple[bytes, bytes, bytes]) -> Iterator[pictures.Score]:
        name, *sources = map(os.fsdecode, element)
        with tempfile.TemporaryDirectory() as folder:
            copies = []
            try:
                copies += _copied(sources, folder)
                pair = pictures.Pair(name, *copies)
                with _ONE_AT_A_TIME:
                    found = pictures.score_pair(pair, **self.how)
                beam.metrics.Metrics.counter("jaxsr", "done").inc()
            except jobs.ERRORS as error:
                reason = str(error) or type(error).__name__
                for copy, source in zip(copies, sources):
                    reason = reason.replace(str(copy), source)
                failure = _failure(sources[0], reason)
                found = beam.pvalue.TaggedOutput(FAILED, failure)
        yield found


def _copied(sources: Iterable[str], folder: str) -> Iterator[pathlib.Path]:
    """Yields local copies in a folder, of the names of the sources."""
    for number, source in enumerate(sources):
        path = pathlib.Path(folder, str(number), os.path.basename(source))
        path.parent.mkdir()
        with _open(source) as remote, open(path, "wb") as file:
            shutil.copyfileobj(remote, file)
        yield path


class _Write(beam.DoFn):
    """Writes the target of (target, sources), unless it exists; yields failures."""

    def __init__(self, args: argparse.Namespace):
        self.args = args

    def setup(self):
        """Loads the model, once for each worker."""
        logging.getLogger("jaxsr").setLevel(logging.WARNING)
        devices.keep_compiled()
        devices.import_modules([])
        args = self.args
        self.work = WRITERS[args.verb].work(args)
        # For a size, the automatic choice depends on the image.
        if args.verb == "upscale" and not (args.size and args.model == upscaling.AUTO):
            model = upscaling.choose(args.model, args.scale, args.quality)
            self.work = functools.partial(self.work, model=model)

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[str]:
        target = f"{self.args.output}/{os.fsdecode(element[0])}"
        sources = sorted({os.fsdecode(source) for source in element[1]})
        if len(sources) > 1:
            for source in sources:
                others = [other for other in sources if other != source]
                yield _failure(source, targets.clash(others, target))
            return
        [source] = sources
        try:
            outcome = "skipped" if FileSystems.exists(target) else "done"
            if outcome == "done":
                self._write(source, target)
            beam.metrics.Metrics.counter("jaxsr", outcome).inc()
        except jobs.ERRORS as error:
            yield _failure(source, str(error) or type(error).__name__)

    def _write(self, source: str, target: str) -> None:
        """Writes one target through local files, so that any file system will do."""
        with tempfile.TemporaryDirectory() as folder:
            [old] = _copied([source], folder)
            new = os.path.join(folder, "out", os.path.basename(target))
            with _ONE_AT_A_TIME:
                summary = self.work([old], new)
            for _, reason in summary.failed:
                raise ValueError(reason)
            _put(new, target)


# The threads of a worker read and write side by side, but an image takes all cores and
# much memory.
_ONE_AT_A_TIME = threading.Lock()


def _open(path: str) -> BinaryIO:
    return FileSystems.open(path, compression_type=PLAIN)


def _put(local: str, target: str) -> None:
    """Copies a local file to any file system, whole or not at all."""
    aside = f"{target.rpartition('/')[0]}/.{uuid.uuid4().hex}"
    try:
        with (
            open(local, "rb") as file,
            FileSystems.create(aside, compression_type=PLAIN) as remote,
        ):
            shutil.copyfileobj(file, remote)
        FileSystems.rename([aside], [target])
    except BaseException:
        with contextlib.suppress(OSError):
            _delete(aside)
        raise


def _delete(path: str) -> None:
    FileSystems.delete([glob.escape(path)])  # which takes patterns


if __name__ == "__main__":
    # Imported by the name under which the workers find what is defined here.
    sys.exit(importlib.import_module(__spec__.name).main())
