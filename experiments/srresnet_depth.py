r"""SRResNet x4 of few or many residual blocks: what depth gives, and what it takes.

    for blocks in 1 2 4 8 16; do
        python -m jaxsr.main --config experiments/srresnet_depth.py \
            --config.network.blocks=$blocks --workdir runs/srresnet_$blocks
    done
    jaxsr report runs/srresnet_* --data Set5,Set14,B100 \
        --figure depth.png --curves curves.png

The paper's study of depth; each run is a tenth of its million updates. The table has
multiply-adds, metrics.jsonl the seconds.

Result: not run to its end.
"""

from experiments import srresnet


def get_config():
    config = srresnet.get_config()
    config.epochs = 100.0
    return config
