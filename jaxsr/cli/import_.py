"""jaxsr import: converts published weights into a model file."""

import argparse

from jaxsr import terminal
from jaxsr.cli import options

HELP = "Convert the weights that authors published into a model file."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=options.path,
        help="the published file (.mat, .caffemodel, .npz, .pb, .pth)",
    )
    parser.add_argument("out", type=options.path, help="the .safetensors file to write")
    parser.add_argument(
        "--network", required=True, help="the network that the weights belong to"
    )
    parser.add_argument(
        "--key", help="which weights to take from a PyTorch file that holds several"
    )
    options.add_existing(parser)


def run(args: argparse.Namespace) -> int:
    from jaxsr import files, importers, weights

    if not files.to_write(files.writable(args.out), args.existing, args.file):
        print(f"{terminal.shown(args.out)} already exists; skipped.")
        return 0
    model = importers.import_weights(args.file, args.network, key=args.key)
    weights.save(args.out, model)
    print(f"{terminal.shown(args.out)}: {model.card['network']} {model.card['fields']}")
    return 0
