"""The `jaxsr` command: what a person types, turned into one call each."""

import argparse
import itertools
import logging
import os
import pathlib
import re
import sys
import time

import jaxsr
from jaxsr import checks, terminal

BENCHMARKS = ["Set5", "Set14", "B100"]
RANGE = "white in files of 16 bits, as 4095 (10, 12, 14 or 16 bits, by the largest)"
MODEL = "a shipped model, a model file or a run directory"


def _upscale(args) -> int:
    from jaxsr import jobs

    started = time.monotonic()
    summary = jobs.upscale_files(
        args.input,
        args.output,
        args.scale,
        args.model,
        size=args.size,
        suffix=f".{args.format}",
        existing=args.existing,
        dry_run=args.dry_run,
        quality=args.quality,
        tile=args.tile,
        precision=args.precision,
        ensemble=args.ensemble,
        data_range=args.range,
        level=args.quality_level,
        max_megapixels=args.max_megapixels,
    )
    counts = [f"{len(summary.done)} {'to enlarge' if args.dry_run else 'enlarged'}"]
    counts += [f"{len(summary.skipped)} skipped"] * bool(summary.skipped)
    counts += [f"{len(summary.failed)} failed"]
    print(f"{', '.join(counts)}, in {time.monotonic() - started:.1f} s.")
    return 1 if summary.failed else 0


def _compare(args) -> int:
    from jaxsr import comparison, files

    if not files.to_write(files.writable(args.output), args.existing):
        print(f"{terminal.shown(args.output)} is left as it is.")
        return 0
    names = comparison.compare_file(
        args.input,
        args.output,
        args.scale,
        args.models,
        truth=args.truth,
        data_range=args.range,
        level=args.quality_level,
        max_megapixels=args.max_megapixels,
    )
    print(terminal.shown(f"{args.output}: {', '.join(names)}"))
    return 0


def _evaluate(args) -> int:
    from jaxsr import evaluate, files, models, report, weights
    from jaxsr.published import features

    models.check_precision(args.precision)
    plain = args.precision == "float32"
    if args.all:
        if args.scales or args.save or args.half or args.lpips is not None or not plain:
            raise ValueError(
                "--scales, --save, --half, --lpips and --precision are for one model, "
                "not for --all."
            )
        return _evaluate_all(args)
    if args.save and not plain:
        raise ValueError("a model's card has its scores in float32: no --precision.")
    for path in filter(None, (args.json, args.save)):
        files.writable(path)
    model = weights.load(args.model)
    if args.half:
        model = weights.halved(model)
    scales = args.scales or model.card["scales"]
    if not scales:
        raise ValueError(f"{args.model} is for any scale: give --scales, as 2,3,4.")
    opened = _opened(args.data, args.data_dir)
    lpips = None if args.lpips is None else features.load_lpips(args.lpips or None)
    sets = [
        evaluate.measurable(source, scales, lpips=lpips is not None)
        for source in opened
    ]
    scores = evaluate.compare(
        model,
        sets,
        scales,
        lpips=lpips,
        precision=args.precision,
        ensemble=args.ensemble,
    )
    scores = _shown(scores, (2 + args.ensemble) * len(scales), sets)
    print(report.text(scores, model.card), end="")
    if args.json:
        report.write_json(args.json, scores, card=model.card)
    if args.save:
        weights.save(args.save, evaluate.with_scores(model, scores))
    return _counted([reason for source in sets for reason in source.left_out])


def _opened(names: list[str], data_dir: str | None = None) -> list:
    """The sources of these names, each once; two folders of one name as two."""
    from jaxsr import files
    from jaxsr.data import sources

    opened = {name: sources.open_source(name, data_dir) for name in names}
    found = [source.name for source in opened.values()]
    twice = [name for name, s in opened.items() if found.count(s.name) > 1]
    folders = files.short_names(
        name
        for name in twice
        if os.path.isdir(name) and opened[name].name not in sources.SETS
    )
    renamed = [
        source._replace(name=folders[name]) if name in folders else source
        for name, source in opened.items()
    ]
    return list({source.name: source for source in renamed}.values())


def _evaluate_all(args) -> int:
    from jaxsr import evaluate, files, report

    if args.json:
        files.writable(args.json)
    named = _shipped()
    scales = [scale for model in named.values() for scale in model.card["scales"]]
    opened = _opened(args.data, args.data_dir)
    sets = [evaluate.measurable(source, sorted(set(scales))) for source in opened]
    scores = evaluate.evaluate_all(named, sets, ensemble=args.ensemble)
    if args.ensemble:  # of bicubic there is none
        scales += [
            s
            for model in named.values()
            if model.variables
            for s in model.card["scales"]
        ]
    scores = _shown(scores, len(scales), sets)
    named = {
        name: evaluate.with_scores(model, scores, name) for name, model in named.items()
    }
    print(report.overview(named, [source.name for source in sets]))
    if args.json:
        report.write_json(args.json, scores)
    return _counted([reason for source in sets for reason in source.left_out])


def _shipped() -> dict:
    """Name -> shipped model, and bicubic at their scales."""
    from jaxsr import evaluate, weights

    named = {name: weights.load(name) for name in weights.shipped()}
    baseline = evaluate.baseline()
    scales = {scale for model in named.values() for scale in model.card["scales"]}
    baseline.card["scales"] = sorted(scales)
    return {"bicubic": baseline} | named


def _shown(scores, each: int, sets) -> list:
    """The scores, `each` for every image and for the mean, with a progress bar."""
    import tqdm

    total = each * sum(len(source.names) + 1 for source in sets)
    return list(tqdm.tqdm(scores, total=total, unit="image", leave=False, disable=None))


def _counted(left_out: list[str]) -> int:
    """The exit status after work on all images but these, which it names."""
    if left_out:
        text = "\n".join([f"{len(left_out)} images left out:", *left_out])
        print(terminal.printable(text), file=sys.stderr)
    return 1 if left_out else 0


def _report(args) -> int:
    from jaxsr import files, logs, report, weights

    if args.curves and not args.run_directory:
        raise ValueError("--curves draws training: name the run directories.")
    for path in filter(None, (args.figure, args.curves)):
        files.writable(path)
    perceptual = _shipped() | _interpolations(args) if args.perceptual else {}
    labels = files.short_names(args.run_directory, perceptual)
    paths = {label: pathlib.Path(run) for run, label in labels.items()}
    runs = {label: weights.load(path) for label, path in paths.items()}
    named = perceptual | runs or _shipped()
    data = args.data or _sets(named)
    if args.perceptual:
        print(report.perceptual(named, data))
        return 0
    print(report.overview(named, data))
    if args.figure:
        report.tradeoff(args.figure, named, data[0])
    if args.curves:
        records = {label: logs.read(path) for label, path in paths.items()}
        scales = {scale for model in named.values() for scale in model.card["scales"]}
        names = [f"validation_psnr_x{scale}" for scale in sorted(scales)]
        report.curves(args.curves, records, y=names)
    return 0


def _sets(named: dict) -> list[str]:
    """The benchmark sets; where no card has one, those that the cards have."""
    cards = [model.card["scores"] for model in named.values()]
    found = list(dict.fromkeys(data for scores in cards for data in scores))
    return [data for data in BENCHMARKS if data in found] or found or BENCHMARKS


def _interpolations(args) -> dict:
    """Nearest and bicubic x4 of RGB, with their scores, measured now."""
    from jaxsr import evaluate
    from jaxsr.published import features

    try:
        lpips = features.load_lpips()
    except FileNotFoundError as error:
        print(f"Without LPIPS: {error}", file=sys.stderr)
        lpips = None
    sets = _opened(args.data or BENCHMARKS)
    named = {}
    for name in ("nearest", "bicubic"):
        model = evaluate.baseline(name, color="rgb")
        rows = (evaluate.evaluate(model, data, [4], lpips=lpips) for data in sets)
        scores = _shown(itertools.chain(*rows), 1, sets)
        named[name] = evaluate.with_scores(model, scores)
    return named


def _import(args) -> int:
    from jaxsr import files, published, weights

    files.writable(args.out)
    model = published.import_weights(args.file, args.network, key=args.key)
    weights.save(args.out, model)
    print(f"{terminal.shown(args.out)}: {model.card['network']} {model.card['fields']}")
    return 0


def _models(args) -> int:
    from jaxsr import listing

    for line in listing.networks(args.name):
        print(line)
    return 0


def _prepare(args) -> int:
    from jaxsr.data import fetching

    for name in args.name:
        for folder in fetching.fetch(name, args.data_dir, url=args.url):
            print(terminal.shown(folder))
    return 0


_PATH = os.path.expanduser  # for --data=~/x, which no shell expands


def _commas(text: str) -> list[str]:
    parts = [os.path.expanduser(part) for part in text.split(",") if part]
    if not parts:
        raise argparse.ArgumentTypeError("at least one, separated by commas")
    return parts


def _integers(text: str) -> list[int]:
    parts = _commas(text)
    if not all(re.fullmatch(r"[1-9]\d{0,8}", part) for part in parts):
        raise argparse.ArgumentTypeError(f"integers of 1 up, not {text!r}")
    return [int(part) for part in parts]


def _size(text: str) -> tuple[int, int]:
    """(height, width) of WIDTHxHEIGHT."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"as 3840x2160, not {text!r}")
    return int(found[2]), int(found[1])


def _parser() -> argparse.ArgumentParser:
    parser = terminal.Parser(
        prog="jaxsr", description="Single-image super-resolution in JAX."
    )
    parser.add_argument(
        "--version", action="version", version=f"jaxsr {jaxsr.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run, name, help):
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        return sub

    def written(sub):
        """Options of the commands that read images and write some."""
        there = sub.add_mutually_exclusive_group()
        there.set_defaults(existing="error")
        for name, help in (
            ("overwrite", "replace files that are there"),
            ("skip-existing", "leave them, and what they were made of, alone"),
        ):
            there.add_argument(
                f"--{name}",
                action="store_const",
                dest="existing",
                const=name.split("-")[0],
                help=help,
            )
        sub.add_argument(
            "--quality-level", type=int, metavar="1..100", help="of JPEG and WebP (95)"
        )
        sub.add_argument(
            "--max-megapixels",
            type=float,
            metavar="N",
            help="of an input; larger ones fail, as they may be harmful (179)",
        )

    sub = command(_upscale, "upscale", "Enlarge photographs, and folders of them.")
    sub.add_argument(
        "input",
        type=_PATH,
        nargs="+",
        help="image files, folders and patterns like 'a/**/*.jpg'",
    )
    sub.add_argument(
        "-o", "--output", type=_PATH, help="a folder, or a file for a single input"
    )
    goal = sub.add_mutually_exclusive_group()
    goal.add_argument("--scale", type=float, default=2.0, help="any number >= 1 (2)")
    goal.add_argument(
        "--size",
        type=_size,
        metavar="WIDTHxHEIGHT",
        help="as large as fits inside, proportions kept",
    )
    sub.add_argument(
        "--model",
        type=_PATH,
        default="auto",
        help=f"{MODEL} (auto: the best shipped)",
    )
    sub.add_argument(
        "--quality", default="balanced", help="of auto: fast, balanced or best"
    )
    sub.add_argument(
        "--ensemble",
        action="store_true",
        help="the mean over eight flips and rotations: better, 8 times as slow",
    )
    sub.add_argument("--format", default="png", help="png, jpg, webp or tiff (png)")
    sub.add_argument("--tile", type=int, help="side in pixels (what is fast)")
    sub.add_argument("--range", type=int, help=RANGE)
    precisions = "float32, tf32, bfloat16 or float16 (float32)"
    sub.add_argument("--precision", default="float32", help=precisions)
    written(sub)
    sub.add_argument("--dry-run", action="store_true", help="say what would be done")

    sub = command(
        _compare, "compare", "Show an image enlarged by bicubic and by models."
    )
    sub.add_argument("input", type=_PATH, help="an image file")
    sub.add_argument(
        "-o", "--output", type=_PATH, required=True, help="the image file to write"
    )
    sub.add_argument("--scale", type=float, default=2.0, help="any number >= 1 (2)")
    sub.add_argument(
        "--models", type=_commas, default=["auto"], help=f"each {MODEL} (auto)"
    )
    sub.add_argument("--truth", type=_PATH, help="the true image, for PSNR and SSIM")
    sub.add_argument("--range", type=int, help=RANGE)
    written(sub)

    sub = command(_evaluate, "evaluate", "Score a model on benchmark sets.")
    which = sub.add_mutually_exclusive_group(required=True)
    which.add_argument("model", type=_PATH, nargs="?", help=MODEL)
    which.add_argument("--all", action="store_true", help="every shipped model")
    sub.add_argument("--data", type=_commas, default=["Set5"], help="Set5,Set14,...")
    sub.add_argument("--data-dir", type=_PATH, help="where the sets lie ($JAXSR_DATA)")
    sub.add_argument("--scales", type=_integers, help="of a model: 2,3,4 (its own)")
    sub.add_argument(
        "--lpips",
        type=_PATH,
        nargs="?",
        const=False,
        metavar="FILE",
        help="also LPIPS, with the weights in this file ($JAXSR_WEIGHTS/lpips)",
    )
    sub.add_argument(
        "--ensemble",
        action="store_true",
        help="also the mean over eight flips and rotations, as NAME+",
    )
    sub.add_argument(
        "--precision", default="float32", help=f"of the network: {precisions}"
    )
    sub.add_argument(
        "--half", action="store_true", help="with the weights rounded to float16"
    )
    sub.add_argument(
        "--json", type=_PATH, help="also write every image's score to this file"
    )
    sub.add_argument(
        "--save", type=_PATH, help="also write a model, with its scores, to this file"
    )

    sub = command(_report, "report", "Show what models reach, by their cards.")
    sub.add_argument(
        "run_directory", type=_PATH, nargs="*", help="these (the shipped models)"
    )
    sub.add_argument(
        "--data", type=_commas, help="Set5,Set14,... (the benchmarks, or what there is)"
    )
    sub.add_argument(
        "--figure", type=_PATH, help="also draw PSNR against cost, to this PNG file"
    )
    sub.add_argument(
        "--perceptual",
        action="store_true",
        help="the rows of the SRGAN paper at x4, with LPIPS; the runs are added",
    )
    sub.add_argument(
        "--curves", type=_PATH, help="also draw the runs' learning, to this PNG file"
    )

    sub = command(_import, "import", "Turn an authors' weight file into a model.")
    sub.add_argument(
        "file", type=_PATH, help="as published (.mat, .caffemodel, .npz, .pb, .pth)"
    )
    sub.add_argument("out", type=_PATH, help="the .safetensors file to write")
    sub.add_argument("--network", required=True, help="whose weights they are")
    sub.add_argument("--key", help="of the weights, in a PyTorch file with several")

    sub = command(
        _models, "models", "List the networks, what they cost and from where."
    )
    sub.add_argument("name", nargs="*", help="these alone: vdsr, edsr, ...")

    sub = command(_prepare, "prepare", "Fetch image sets or weights and check them.")
    sub.add_argument(
        "name", nargs="+", help="291, Set5, Set14, B100, weights/vdsr, ..."
    )
    sub.add_argument("--data-dir", type=_PATH, help="where to put them ($JAXSR_DATA)")
    sub.add_argument(
        "--url", default="https://raw.githubusercontent.com", help="a mirror"
    )
    return parser


def keep_compiled() -> None:
    """Keeps what JAX compiles for the next process, unless the user says where."""
    import jax

    if not jax.config.jax_compilation_cache_dir:
        folder = pathlib.Path("~/.cache/jaxsr/compiled").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default what compiles within a second is not kept: most of our networks.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; its exit status is 1 where something was not done."""
    args = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("jaxsr").setLevel(logging.INFO)
    terminal.make_safe()
    if args.run is not _models:  # which needs no JAX
        keep_compiled()
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads, as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        print(f"error: {checks.missing(error)}", file=sys.stderr)
        return 1
    except (ValueError, OSError, ImportError, MemoryError) as error:
        text = terminal.printable(str(error) or type(error).__name__)
        print(f"error: {text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
