"""Memory of a training update, as XLA plans it: training_memory.py

Full-size EDSR x2 with its paper's batch and patch, with and without `config.remat`. The
update is compiled for one CPU and not run; the sizes are XLA's own analysis.
"""

import argparse

import jax
import paired
import recipe

# On a CPU XLA would merge the second computation of the activations with the first.
KEPT_APART = {"xla_disable_hlo_passes": "cse_barrier_expander"}


def planned(remat: bool, options: dict) -> list[float]:
    """GB of the state and of everything else."""
    fields = {"blocks": 32, "width": 256, "residual_scale": 0.1}
    config = recipe.make_config("device", "samples", "edsr", **fields)
    config["remat"] = remat
    update, put, state, data, feed = recipe.make_update(config)
    inputs = put(list(feed.inputs(0, 1)))
    found = update.lower(state, data, inputs).compile(options).memory_analysis()
    return [
        found.argument_size_in_bytes / 1e9,
        (found.temp_size_in_bytes + found.output_size_in_bytes) / 1e9
        - found.alias_size_in_bytes / 1e9,
    ]


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = []
    for remat, options in ((False, {}), (True, KEPT_APART)):
        sizes = planned(remat, options)
        rows.append(
            [
                "yes" if remat else "no",
                *(paired.number(x) for x in (*sizes, sum(sizes))),
            ]
        )
    print(f"{jax.default_backend()}, batch of 16 patches of 48x48.\n")
    header = ["remat", "state and data, GB", "temporary, GB", "together, GB"]
    print(paired.table(header, rows))


if __name__ == "__main__":
    main()
