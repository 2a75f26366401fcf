"""jaxsr models: the networks and the shipped models, listed without JAX."""

import argparse
import importlib.resources
import json
from collections.abc import Iterator, Sequence

from jaxsr import cards

HELP = "List the networks, their cost and their papers."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="*", help="a network such as vdsr (default: all)")


def run(args: argparse.Namespace) -> int:
    for line in networks(args.name):
        print(line)
    return 0


def networks(names: Sequence[str] = ()) -> Iterator[str]:
    """Yields the lines of a Markdown table of networks: the papers' and those shipped.

    Multiply-adds, in billions, are for an output of 1280x720 pixels; the halo is in
    pixels of the network's input. The last column names the shipped models.

    Args:
        names: of networks; all if empty.
    """
    file = importlib.resources.files("jaxsr").joinpath("models", "networks.json")
    catalog = json.loads(file.read_text())
    if unknown := sorted(set(names) - set(catalog)):
        raise ValueError(f"network must be one of {sorted(catalog)}; got {unknown}.")
    shipped = {name: cards.read(cards.path_of(name)) for name in cards.shipped()}
    header = ["network", "fields", "parameters", "multiply-adds (G)", "halo", "input"]
    header += ["paper", "trained"]
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    for name in names or catalog:
        paper, defaults, rows = catalog[name].values()
        nets = [(defaults | row["fields"], row) for row in rows]
        for card in shipped.values():
            fields = defaults | card["fields"]
            if card["network"] == name and fields not in [net for net, _ in nets]:
                own = {
                    key: value
                    for key, value in fields.items()
                    if value != defaults.get(key) or key == "scale"
                }
                nets.append((fields, {"fields": own} | card.get("cost", {})))
        for fields, row in nets:
            trained = [
                model
                for model, card in shipped.items()
                if card["network"] == name and defaults | card["fields"] == fields
            ]
            adds = [
                f"{count / 1e9:,.1f}" + (f" (x{scale})" if scale else "")
                for scale, count in row.get("multiply_adds", {}).items()
            ]
            cells = [
                name,
                ", ".join(f"{k}={_shown(v)}" for k, v in row["fields"].items()),
                f"{row['parameters']:,}" if "parameters" in row else "-",
                ", ".join(adds) or "-",
                str(row.get("halo", "-")),
                row.get("input", "-"),
                paper,
                ", ".join(trained),
            ]
            yield f"| {' | '.join(cells)} |"


def _shown(value) -> str:
    """A field as Python writes it: JSON has no tuples."""
    return str(tuple(value) if isinstance(value, list) else value)
