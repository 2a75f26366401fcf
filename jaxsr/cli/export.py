"""jaxsr export: writes a network to a file for another runtime."""

import argparse

from jaxsr import terminal
from jaxsr.cli import options

HELP = "Export a network to ONNX, StableHLO or TFLite."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=options.path, help=options.MODEL)
    parser.add_argument(
        "out",
        type=options.path,
        help="the file to write: .onnx, .tflite, or .stablehlo (to serve with JAX, "
        "not to archive: a version of JAX reads files up to six months old)",
    )
    parser.add_argument(
        "--scale", type=float, help="for models of several scales: which one"
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        help="of weights and activations: float32 or float16 (float32)",
    )
    options.add_existing(parser)


def run(args: argparse.Namespace) -> int:
    from jaxsr import files, weights
    from jaxsr.apps import export

    if not files.to_write(files.writable(args.out), args.existing):
        print(f"{terminal.shown(args.out)} already exists; skipped.")
        return 0
    model = weights.load(args.model)
    facts = export.export(model, args.out, scale=args.scale, dtype=args.dtype)
    print(f"{terminal.shown(args.out)}:")
    for name, value in facts.items():
        print(f"  {name}: {value}")
    return 0
