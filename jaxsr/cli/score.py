"""jaxsr score: measures pictures that any program made."""

import argparse
import math

from jaxsr.cli import options

HELP = "Compare images, made by any program, with the reference ones."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sr", type=options.path, help="an image file, or a folder")
    parser.add_argument(
        "true", type=options.path, help="the reference image, or a folder of them"
    )
    add_settings(parser)
    parser.add_argument(
        "--json", type=options.path, help="also write the scores to this file"
    )
    parser.add_argument("--csv", type=options.path, help="the same as CSV")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how images are compared."""
    parser.add_argument(
        "--on",
        default="y",
        help="y (of MATLAB's rgb2ycbcr), rgb, or luma (of full range) (y)",
    )
    parser.add_argument(
        "--scale",
        type=float,
        help="crops reference images as by modcrop, and sets the border",
    )
    parser.add_argument(
        "--border", type=int, help="edge pixels left out (the scale, or 0)"
    )
    for name in ("lpips", "dists", "niqe"):
        options.add_weights(parser, name)


def settings(args: argparse.Namespace) -> dict:
    """The options of `pictures.score_pair` that those of `add_settings` name."""
    from jaxsr.evaluation import pictures
    from jaxsr.importers import features

    pictures.check_channels(args.on)
    if args.scale is not None and args.scale < 1:
        raise ValueError(f"--scale must be at least 1; got {args.scale:g}.")
    loaders = {
        "lpips": features.load_lpips,
        "dists": features.load_dists,
        "niqe": features.load_niqe,
    }
    more = {
        name: load(getattr(args, name) or None)
        for name, load in loaders.items()
        if getattr(args, name) is not None
    }
    border = math.ceil(args.scale or 0) if args.border is None else args.border
    return {"on": args.on, "border": border, "scale": args.scale, "more": more}


def run(args: argparse.Namespace) -> int:
    from jaxsr import files
    from jaxsr.evaluation import pictures, tables

    for path in filter(None, (args.json, args.csv)):
        files.writable(path)
    how = settings(args)
    pairs, alone = pictures.pairs_of(args.sr, args.true)
    scores = list(pictures.score(pairs, **how))
    protocol = pictures.protocol(how["on"], how["border"], how["more"])
    print(f"{pictures.markdown(scores)}\n\nProtocol: {protocol}.")
    if args.json:
        tables.write_json(args.json, scores, protocol=protocol)
    if args.csv:
        files.write_text(args.csv, pictures.as_csv(scores))
    return options.status(alone)
