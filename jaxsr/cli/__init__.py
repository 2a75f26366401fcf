"""The `jaxsr` command. Each subcommand has its own file, with its options and `run`."""

import argparse
import logging
import os
import sys

import jaxsr
from jaxsr import checks, terminal
from jaxsr.cli import (
    compare,
    degrade,
    evaluate,
    export,
    import_,
    models,
    prepare,
    report,
    reproduce,
    score,
    serve,
    upscale,
)

VERBS = {
    "upscale": upscale,
    "compare": compare,
    "degrade": degrade,
    "evaluate": evaluate,
    "score": score,
    "report": report,
    "reproduce": reproduce,
    "import": import_,
    "export": export,
    "models": models,
    "prepare": prepare,
    "serve": serve,
}
WITHOUT_JAX = (models,)


def _parser() -> argparse.ArgumentParser:
    parser = terminal.Parser(
        prog="jaxsr", description="Single-image super-resolution in JAX."
    )
    parser.add_argument(
        "--version", action="version", version=f"jaxsr {jaxsr.__version__}"
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, verb in VERBS.items():
        sub = verbs.add_parser(name, help=verb.HELP, description=verb.HELP)
        verb.add_options(sub)
        sub.set_defaults(verb=verb)
        if verb in WITHOUT_JAX:
            continue
        sub.add_argument(
            "--import",
            dest="modules",
            action="append",
            default=[],
            metavar="MODULE",
            help="import a module first, which may register networks",
        )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs one command; its exit status is 1 if something was not done."""
    args = _parser().parse_args(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("jaxsr").setLevel(logging.INFO)
    terminal.make_safe()
    try:
        if args.verb not in WITHOUT_JAX:
            from jaxsr import devices

            devices.keep_compiled()
            devices.import_modules(args.modules)
        status = args.verb.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # a reader such as `head` has closed the pipe
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
