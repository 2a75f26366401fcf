"""The `jaxsr` command: what a person types, turned into one call each."""

import argparse
import itertools
import logging
import pathlib
import re
import sys
import time

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
    )
    counts = [f"{len(summary.done)} {'to enlarge' if args.dry_run else 'enlarged'}"]
    counts += [f"{len(summary.skipped)} skipped"] * bool(summary.skipped)
    counts += [f"{len(summary.failed)} failed"]
    print(f"{', '.join(counts)}, in {time.monotonic() - started:.1f} s.")
    return 1 if summary.failed else 0


def _compare(args) -> int:
    from jaxsr import comparison

    comparison.compare_file(
        args.input, args.output, args.scale, args.models, truth=args.truth
    )
    return 0


def _evaluate(args) -> int:
    from jaxsr import evaluate, models, report, weights
    from jaxsr.data import sources
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
    model = weights.load(args.model)
    if args.half:
        model = weights.halved(model)
    scales = args.scales or model.card["scales"]
    if not scales:
        raise ValueError(f"{args.model} is for any scale: give --scales, as 2,3,4.")
    opened = [sources.open_source(name, args.data_dir) for name in args.data]
    lpips = None if args.lpips is None else features.load_lpips(args.lpips)
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


def _evaluate_all(args) -> int:
    from jaxsr import evaluate, report
    from jaxsr.data import sources

    named = _shipped()
    scales = [scale for model in named.values() for scale in model.card["scales"]]
    opened = [sources.open_source(name, args.data_dir) for name in args.data]
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
        print(text, file=sys.stderr)
    return 1 if left_out else 0


def _report(args) -> int:
    from jaxsr import logs, report, weights

    if args.curves and not args.run_directory:
        raise ValueError("--curves draws training: name the run directories.")
    paths = [pathlib.Path(run) for run in args.run_directory]
    named = {path.name: weights.load(path) for path in paths}
    if args.perceptual:
        named = _shipped() | _interpolations(args) | named
        print(report.perceptual(named, args.data))
        return 0
    named = named or _shipped()
    print(report.overview(named, args.data))
    if args.figure:
        report.tradeoff(args.figure, named, args.data[0])
    if args.curves:
        runs = {path.name: logs.read(path) for path in paths}
        scales = {scale for model in named.values() for scale in model.card["scales"]}
        names = [f"validation_psnr_x{scale}" for scale in sorted(scales)]
        report.curves(args.curves, runs, y=names)
    return 0


def _interpolations(args) -> dict:
    """Nearest and bicubic x4 of RGB, with their scores, measured now."""
    from jaxsr import evaluate
    from jaxsr.data import sources
    from jaxsr.published import features

    lpips = features.load_lpips()
    sets = [sources.open_source(name) for name in args.data]
    named = {}
    for name in ("nearest", "bicubic"):
        model = evaluate.baseline(name, color="rgb")
        rows = (evaluate.evaluate(model, data, [4], lpips=lpips) for data in sets)
        scores = _shown(itertools.chain(*rows), 1, sets)
        named[name] = evaluate.with_scores(model, scores)
    return named


def _import(args) -> int:
    from jaxsr import published, weights

    model = published.import_weights(args.file, args.network)
    weights.save(args.out, model)
    print(f"{args.out}: {model.card['network']} {model.card['fields']}")
    return 0


def _models(args) -> int:
    from jaxsr import report

    for line in report.networks(args.name):
        print(line, flush=True)
    return 0


def _prepare(args) -> int:
    from jaxsr.data import fetching

    for name in args.name:
        for folder in fetching.fetch(name, args.data_dir, url=args.url):
            print(folder)
    return 0


def _commas(text: str) -> list[str]:
    parts = [part for part in text.split(",") if part]
    if not parts:
        raise argparse.ArgumentTypeError("at least one, separated by commas")
    return parts


def _integers(text: str) -> list[int]:
    numbers = [int(part) for part in _commas(text)]
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"integers of 1 up, not {text!r}")
    return numbers


def _size(text: str) -> tuple[int, int]:
    """(height, width) of WIDTHxHEIGHT."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"as 3840x2160, not {text!r}")
    return int(found[2]), int(found[1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jaxsr", description="Single-image super-resolution in JAX."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run, name, help):
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(run=run)
        return sub

    sub = command(_upscale, "upscale", "Enlarge photographs, and folders of them.")
    sub.add_argument(
        "input", nargs="+", help="image files, folders and patterns like 'a/**/*.jpg'"
    )
    sub.add_argument("-o", "--output", help="a folder, or a file for a single input")
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
    precisions = "float32, tf32, bfloat16 or float16 (float32)"
    sub.add_argument("--precision", default="float32", help=precisions)
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
    sub.add_argument("--dry-run", action="store_true", help="say what would be done")

    sub = command(
        _compare, "compare", "Show an image enlarged by bicubic and by models."
    )
    sub.add_argument("input", help="an image file")
    sub.add_argument("-o", "--output", required=True, help="the image file to write")
    sub.add_argument("--scale", type=float, default=2.0, help="any number >= 1 (2)")
    sub.add_argument(
        "--models", type=_commas, default=["auto"], help=f"each {MODEL} (auto)"
    )
    sub.add_argument("--truth", help="the true image, for PSNR and SSIM")

    sub = command(_evaluate, "evaluate", "Score a model on benchmark sets.")
    which = sub.add_mutually_exclusive_group(required=True)
    which.add_argument("model", nargs="?", help=MODEL)
    which.add_argument("--all", action="store_true", help="every shipped model")
    sub.add_argument("--data", type=_commas, default=["Set5"], help="Set5,Set14,...")
    sub.add_argument("--data-dir", help="where the sets lie ($JAXSR_DATA)")
    sub.add_argument("--scales", type=_integers, help="of a model: 2,3,4 (its own)")
    sub.add_argument(
        "--lpips",
        nargs="?",
        const="",
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
    sub.add_argument("--json", help="also write every image's score to this file")
    sub.add_argument("--save", help="also write a model, with its scores, to this file")

    sub = command(_report, "report", "Show what models reach, by their cards.")
    sub.add_argument("run_directory", nargs="*", help="these (the shipped models)")
    sub.add_argument("--data", type=_commas, default=_commas("Set5,Set14,B100"))
    sub.add_argument("--figure", help="also draw PSNR against cost, to this PNG file")
    sub.add_argument(
        "--perceptual",
        action="store_true",
        help="the rows of the SRGAN paper at x4, with LPIPS; the runs are added",
    )
    sub.add_argument("--curves", help="also draw the runs' learning, to this PNG file")

    sub = command(_import, "import", "Turn an authors' weight file into a model.")
    sub.add_argument("file", help="as published (.mat, .caffemodel, .npz, .pb, .pth)")
    sub.add_argument("out", help="the .safetensors file to write")
    sub.add_argument("--network", required=True, help="whose weights they are")

    sub = command(
        _models, "models", "List the networks, what they cost and from where."
    )
    sub.add_argument("name", nargs="*", help="these alone: vdsr, edsr, ...")

    sub = command(_prepare, "prepare", "Fetch image sets and check them.")
    sub.add_argument("name", nargs="+", help="291, Set5, Set14, B100, ...")
    sub.add_argument("--data-dir", help="where to put them ($JAXSR_DATA)")
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
    keep_compiled()
    try:
        return args.run(args)
    except (ValueError, OSError, ImportError, MemoryError) as error:
        print(f"error: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
