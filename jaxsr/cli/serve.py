"""jaxsr serve: a local web page that upscales photographs."""

import argparse

HELP = "Upscale photographs on a local web page."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 lets other computers in (127.0.0.1)",
    )
    parser.add_argument("--port", type=int, help="(the first free one from 7860)")
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=200.0,
        metavar="N",
        help="refuse what would become larger (200)",
    )


def run(args: argparse.Namespace) -> int:
    from jaxsr import devices
    from jaxsr.apps import page

    devices.use_all_cores()
    page.serve(args.host, args.port, args.max_megapixels)
    return 0
