"""jaxsr evaluate: scores a model, or every shipped one, on image sets."""

import argparse

from jaxsr.cli import options

HELP = "Score a model on benchmark sets."


def add_options(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("model", type=options.path, nargs="?", help=options.MODEL)
    which.add_argument("--all", action="store_true", help="every shipped model")
    parser.add_argument(
        "--data", type=options.commas, default=["Set5"], help="Set5,Set14,... (Set5)"
    )
    parser.add_argument(
        "--data-dir", type=options.path, help="where the sets are ($JAXSR_DATA)"
    )
    parser.add_argument(
        "--low",
        type=options.path,
        metavar="DIR",
        help="low-resolution images, paired by name (made by bicubic)",
    )
    parser.add_argument(
        "--scales", type=options.scales, help="such as 2,3,4 (those of the model)"
    )
    options.add_weights(parser, "lpips")
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="also the mean over eight flips and rotations, as NAME+",
    )
    parser.add_argument(
        "--precision",
        default="float32",
        help=f"of activations: {options.PRECISIONS}",
    )
    parser.add_argument(
        "--half", action="store_true", help="round the weights to float16 first"
    )
    parser.add_argument(
        "--json",
        type=options.path,
        help="also write the scores of all images to this file",
    )
    parser.add_argument(
        "--save",
        type=options.path,
        help="also write the model, with its scores, to this file",
    )


def run(args: argparse.Namespace) -> int:
    from jaxsr import devices, files, models, weights
    from jaxsr.data import own, sets
    from jaxsr.evaluation import protocol, tables
    from jaxsr.importers import features

    devices.use_all_cores()
    models.check_precision(args.precision)
    plain = args.precision == "float32"
    if args.all:
        single = args.scales or args.save or args.half or args.low
        if single or args.lpips is not None or not plain:
            raise ValueError(
                "--scales, --save, --half, --low, --lpips and --precision need a "
                "single model; they cannot be combined with --all."
            )
        return _evaluate_all(args)
    if args.save and not plain:
        raise ValueError(
            "--save cannot be combined with --precision, for cards hold scores in "
            "float32."
        )
    for path in filter(None, (args.json, args.save)):
        files.writable(path)
    model = weights.load(args.model)
    if args.half:
        model = weights.halved(model)
    scales = args.scales or model.card["scales"]
    if not scales:
        raise ValueError(
            f"{args.model} works at any scale; pass --scales, such as 2,3,4."
        )
    if args.low and len(args.data) > 1:
        raise ValueError(f"--low needs a single set in --data; got {args.data}.")
    kind = {"channels": model.card.get("channels")}
    if args.low:
        source = sets.open_source(args.data[0], args.data_dir, low="skip", **kind)
        opened = [own.with_low(source, args.low, scales)]
    else:
        opened = sets.open_each(args.data, args.data_dir, **kind)
    lpips = None if args.lpips is None else features.load_lpips(args.lpips or None)
    data = [
        protocol.measurable(source, scales, lpips=lpips is not None)
        for source in opened
    ]
    scores = protocol.compare(
        model,
        data,
        scales,
        lpips=lpips,
        precision=args.precision,
        ensemble=args.ensemble,
    )
    scores = options.with_progress(scores, (2 + args.ensemble) * len(scales), data)
    print(tables.text(scores, model.card), end="")
    if args.json:
        tables.write_json(args.json, scores, card=model.card)
    if args.save:
        weights.save(args.save, protocol.with_scores(model, scores))
    return options.status([reason for source in data for reason in source.left_out])


def _evaluate_all(args) -> int:
    from jaxsr import files
    from jaxsr.data import sets
    from jaxsr.evaluation import protocol, tables

    if args.json:
        files.writable(args.json)
    named = protocol.shipped()
    scales = [scale for model in named.values() for scale in model.card["scales"]]
    opened = sets.open_each(args.data, args.data_dir)
    data = [protocol.measurable(source, sorted(set(scales))) for source in opened]
    scores = protocol.evaluate_all(named, data, ensemble=args.ensemble)
    if args.ensemble:  # bicubic has no ensemble
        scales += [
            s
            for model in named.values()
            if model.variables
            for s in model.card["scales"]
        ]
    scores = options.with_progress(scores, len(scales), data)
    named = {
        name: protocol.with_scores(model, scores, name) for name, model in named.items()
    }
    print(tables.overview(named, [source.name for source in data]))
    if args.json:
        tables.write_json(args.json, scores)
    return options.status([reason for source in data for reason in source.left_out])
