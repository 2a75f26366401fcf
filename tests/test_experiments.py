"""Every experiment, from its file to a lower loss, on real images at its smallest."""

import importlib
import json
import pathlib
import signal

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import skimage.data
from conftest import open_set

from jaxsr import cli, image, models, weights
from jaxsr.data import patches, sets, sources
from jaxsr.training import config as configs
from jaxsr.training import factories, logs, loop, setup, step

FILES = sorted(
    path.stem
    for path in (pathlib.Path(__file__).parent.parent / "experiments").glob("*.py")
)
EXPERIMENTS = [name for name in FILES if name != "base"]

# The smallest form of each network that its recipe can train.
SMALL = {
    "drcn": {"depth": 2, "width": 4},
    "drrn": {"units": 2, "width": 4},
    "edsr": {"blocks": 1, "width": 4},
    "espcn": {"widths": (4, 4)},
    "fsrcnn": {"width": 6, "narrow": 3},
    "lapsrn": {"depth": 1, "width": 4},
    "mdsr": {"blocks": 1, "width": 4},
    "ms_lapsrn": {"depth": 1, "recursions": 1, "width": 4},
    "red": {"depth": 4, "width": 4},
    "srcnn": {"widths": (4, 4)},
    "srdensenet": {"blocks": 1, "depth": 2, "growth": 4, "width": 8, "bottleneck": 4},
    "srresnet": {"blocks": 1, "width": 4},
    "vdsr": {"depth": 3, "width": 4},
}


def photographs():
    photo = skimage.data.astronaut()
    images = [photo[:200, :220], photo[150:400, 120:330]]
    sizes = np.array([x.shape[:2] for x in images], np.int32)
    return sources.Source("two", ("a", "b"), images.__getitem__, sizes)


def config_of(name):
    """The experiment's config with its network at its smallest, and 8 small patches."""
    config = importlib.import_module(f"experiments.{name}").get_config().to_dict()
    network = config["network"]
    network |= SMALL[network["name"]]
    patch = min(config["data"]["patch"], 48)
    own = {"batch": 8, "patch": patch, "backend": "device", "reduced": (1.0,)}
    config["data"] |= own
    return config


def init(net, color, seed):
    x = jnp.zeros([1, 8, 8, {"y": 1, "rgb": 3}[color]])
    return net.init(jax.random.key(seed), x)


def set_up(config):
    """(compiled update, first state, feed) as the loop makes them."""
    configs.check(config)
    net = models.make(**config["network"])
    source = photographs()
    plan = factories.make_plan(config["data"], source, net.input)
    feed = factories.make_feed(config, source, plan, net.input)
    tx, _ = factories.make_optimizer(config, plan.epoch)
    train_step = factories.make_step(config, tx)
    update, *_ = step.make_update(train_step, feed.cut, devices=jax.devices()[:1])
    variables = init(net, config["color"], seed=0)
    state = step.init_state(variables, tx, ema=config["ema_decay"] > 0)
    return jax.jit(update.__wrapped__), state, feed  # so that states can be compared


def config_of_a_run(name, folders, **settings):
    """The experiment's config for six epochs of some updates."""
    config = importlib.import_module(f"experiments.{name}").get_config()
    network, patch = config.network["name"], 40
    if models.NETWORKS[network].cls.input == "low" and config.data.plan != "pyramid":
        patch //= max(config.data.scales)
    if network == "srcnn" and config.optim["name"] == "sgd":
        config.schedule.learning_rate = 1e-2  # of 15 million updates, 12
    config.network.unlock().update(SMALL[network])
    config.update_from_flattened_dict(
        {
            "epochs": 6.0,
            "start": "",
            "log_every": 1,
            "data.name": str(folders / "train"),
            "data.backend": "device",
            "data.epoch": 4,
            "data.patch": patch,
            "data.stride": patch,
            "data.batch": 8,
            "data.symmetries": 1,
            "data.reduced": (1.0,),
            "discriminator": {"width": 4},
            "perceptual.layer": "conv1_2",
            "validation.name": str(folders / "validation"),
            "validation.every": 6.0,
            "evaluation.sets": (),
        }
        | settings
    )
    return config


def last_state(workdir):
    """The digest of every array of the newest checkpoint."""
    newest = max((workdir / "checkpoints").iterdir(), key=lambda p: int(p.name))
    return newest.name, json.loads((newest / "digests" / "metadata").read_text())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in EXPERIMENTS),
        ("srcnn", {"color": "rgb"}),
        ("edsr", {"color": "y"}),
    ],
    ids=[*EXPERIMENTS, "srcnn-rgb", "edsr-y"],
)
def test_an_experiment_trains_resumes_after_a_signal_and_is_used(
    name, settings, folders, tmp_path, monkeypatch, random_weights
):
    monkeypatch.setenv("JAXSR_WEIGHTS", str(random_weights))
    config = config_of_a_run(name, folders, **settings)
    loop.train(config, tmp_path / "whole")
    records = logs.read(tmp_path / "whole")
    losses = np.reshape([r["loss"] for r in records if "loss" in r], [6, -1]).mean(1)
    assert np.isfinite(losses).all()
    assert min(losses[1:]) < losses[0], losses

    def stop(self, step, metrics, update=logs.Log.update):
        if step == 4:  # read, and noticed, after the next: within an epoch
            signal.raise_signal(signal.SIGTERM)
        return update(self, step, metrics)

    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="143"):
        patch.setattr(logs.Log, "update", stop)
        loop.train(config, tmp_path / "stopped")
    assert last_state(tmp_path / "stopped")[0] == "5"
    loop.train(config, tmp_path / "stopped")
    assert last_state(tmp_path / "stopped") == last_state(tmp_path / "whole")

    model, photo = str(tmp_path / "stopped"), folders / "validation"
    assert cli.main(["evaluate", model, "--data", str(photo)]) == 0
    assert cli.main(["upscale", str(photo), "-o", str(tmp_path), "--model", model]) == 0
    with PIL.Image.open(tmp_path / "4_x2.png") as enlarged:
        assert enlarged.size == (160, 160)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_network_of_an_experiment_is_the_papers(name):
    """Built by shapes alone, at its full size."""
    config = importlib.import_module(f"experiments.{name}").get_config().to_dict()
    configs.check(config)
    net = models.make(**config["network"] | config["in_training"])
    shapes = weights.init_shapes(net, {"y": 1, "rgb": 3}[config["color"]])
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) > 8_000
    assert models.name_of(net) in SMALL


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("srcnn", {"sides": (9, 1, 5)}),
        ("srcnn_fast", {"sides": (9, 1, 5)}),
        ("srcnn_955", {"sides": (9, 5, 5)}),
        ("srcnn_955_fast", {"sides": (9, 5, 5)}),
        ("drrn", {"blocks": 1, "units": 25}),
        ("drrn_b1u9", {"blocks": 1, "units": 9}),
    ],
)
def test_a_name_without_more_is_the_papers_own_network(name, fields):
    config = importlib.import_module(f"experiments.{name}").get_config()
    net = models.make(**config.network)
    assert models.fields_of(net).items() >= fields.items()
    if name in models.NETWORKS:
        assert net == models.make(name)


def test_srcnn_has_the_counted_sub_images():
    config = importlib.import_module("experiments.srcnn").get_config().to_dict()
    plan = factories.make_plan(config["data"], open_set("T91"), "interpolated")
    assert plan.patches == 21_884  # the paper prints 24,800


def test_fsrcnn_transfer_trains_the_deconvolution_alone():
    config = config_of("fsrcnn_transfer")
    update, state, feed = set_up(config)
    before = jax.tree.map(jnp.copy, state.params)
    inputs = patches.stack(feed.inputs(0, 1))
    state, _ = update(state, feed.data, inputs)
    for name, group in state.params.items():
        for key, value in group.items():
            moved = not np.array_equal(value, before[name][key])
            assert moved == (name == "deconv"), (name, key)


def test_an_update_of_ms_lapsrn_is_of_thirds_at_each_scale():
    config = config_of("ms_lapsrn")
    update, state, feed = set_up(config)
    first, parts = state.params, []
    objective = factories.make_objective(config)
    for rows in feed.inputs(0, 3):
        batch = jax.jit(feed.cut)(feed.data, rows)
        assert batch["hr"].shape == (8, 48, 48, 1)
        parts.append((rows.unit, batch))
        jax.tree.map(np.testing.assert_array_equal, state.params, first)
        state, _ = update(state, feed.data, patches.stack([rows]))
    assert [scale for scale, _ in parts] == [2, 4, 8]

    def loss(params):  # summed over the 24 patches of the batch, divided by their count
        return sum(objective({"params": params}, b, 0)[0].sum() for _, b in parts) / 24

    tx, _ = factories.make_optimizer(config | {"accumulate": 1}, epoch=1)
    grads = jax.jit(jax.grad(loss))(first)
    updates, _ = jax.jit(tx.update)(grads, tx.init(first), first)
    for one, other, old in zip(*map(jax.tree.leaves, (state.params, updates, first))):
        np.testing.assert_allclose(one, old + other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_papers_images_are_large_enough_for_patches(name):
    config = importlib.import_module(f"experiments.{name}").get_config().to_dict()
    whole, _ = open_set(config["data"]["name"]), open_set(config["validation"]["name"])
    data = config["data"] | {"strict": True}
    net = models.make(**config["network"])
    source, validation = setup.open_data(data, config["validation"], net.input)
    plan = factories.make_plan(data, source, net.input)
    for index, _, _, _, k in plan.rows(0, 0):
        scale = data["scales"][k]
        unit = scale if net.input == "low" else 1
        assert min(source.sizes[index]) >= plan.sides[scale] * unit
    assert len(source.names) > 0.8 * len(whole.names) * len(data["reduced"])
    assert len(validation.names) == (3 if name == "quickstart" else 20)


SAMPLES = {"name": "samples-validation", "low": ""}


def test_images_too_small_for_a_patch_are_listed_and_not_trained_on(tmp_path, capsys):
    config = importlib.import_module("experiments.vdsr").get_config().to_dict()
    for side in (3, 41, 44, 60):
        PIL.Image.new("L", (80, side)).save(tmp_path / f"{side}.png")
    data = config["data"] | {"name": str(tmp_path)}
    source, _ = setup.open_data(data, SAMPLES, "interpolated")
    assert source.names == ("44.png", "60.png") and source.left_out == ()
    told = capsys.readouterr().out
    assert "2 of 4 images are not trained on" in told
    assert "44 pixels a side: 3.png, 41.png\n" in told
    with pytest.raises(ValueError, match="patch of 61x61 .* 64 pixels a side"):
        setup.open_data(data | {"patch": 61}, SAMPLES, "interpolated")


def test_a_set_that_stays_incomplete_is_done_without(tmp_path, monkeypatch, capsys):
    config = importlib.import_module("experiments.vdsr").get_config().to_dict()
    own = sets.ImageSet("train", "Own", 100)  # with no place to be fetched from
    monkeypatch.setitem(sets.SETS, "Own", own)
    (tmp_path / "Own").mkdir()
    PIL.Image.new("L", (60, 60)).save(tmp_path / "Own/im_1.png")
    data = config["data"] | {"name": "samples+Own", "dir": str(tmp_path)}
    source, _ = setup.open_data(data, SAMPLES, "interpolated")
    assert source.name == "samples"
    told = capsys.readouterr().out
    assert "100 images in" in told and "TRAINING ON samples INSTEAD of" in told
    with pytest.raises(sources.DataNotFound, match="1 are there"):
        setup.open_data(data | {"strict": True}, SAMPLES, "interpolated")


def test_mdsr_leaves_the_branches_that_a_batch_does_not_use():
    update, state, feed = set_up(config_of("mdsr"))
    moved = []
    for rows in feed.inputs(0, 12):
        before = jax.tree.map(jnp.copy, state.params)
        state, _ = update(state, feed.data, patches.stack([rows]))
        changed = jax.tree.map(
            lambda a, b: not np.array_equal(a, b), before, state.params
        )
        flat = jax.tree_util.tree_flatten_with_path(changed)[0]
        names = {jax.tree_util.keystr(path) for path, yes in flat if yes}
        moved.append((rows.unit, frozenset(names)))
    by_scale = {
        scale: {names for s, names in moved if s == scale} for scale, _ in moved
    }
    assert len(by_scale) == 3
    for scale, found in by_scale.items():
        others = set().union(*(s for k, v in by_scale.items() if k != scale for s in v))
        own = set().union(*found) - others
        assert own, f"x{scale} has no branch of its own"
        for other, names in by_scale.items():
            if other != scale:
                assert not own & set().union(*names)


@pytest.mark.parametrize(
    ("name", "scales", "fresh"),
    [
        ("edsr", (2, 3), {"up_0"}),
        ("edsr", (2, 4), {"up_0", "up_1"}),  # up_0 has the shape of x2's
        ("edsr", (2, 2), set()),
        ("fsrcnn", (3, 2), {"deconv"}),
    ],
)
def test_a_warm_start_takes_all_but_what_enlarges(tmp_path, name, scales, fresh):
    theirs, net = (models.make(name, scale=s, **SMALL[name]) for s in scales)
    color = {"edsr": "rgb", "fsrcnn": "y"}[name]
    card = weights.make_card(theirs, color=color, scales=scales[:1], trained_on="x")
    # Values that no initialisation has, and another one in every layer.
    variables = jax.tree.map(lambda x: x + 7, init(theirs, color, seed=3))
    weights.save(tmp_path / "a.safetensors", weights.Model(theirs, variables, card))
    new = init(net, color, seed=4)
    started = setup.warm_start(net, new, tmp_path / "a.safetensors")["params"]
    assert jax.tree.structure(started) == jax.tree.structure(new["params"])
    for layer, group in started.items():
        expected = new if layer in fresh else variables
        jax.tree.map(np.testing.assert_array_equal, group, expected["params"][layer])


def test_a_warm_start_from_another_network_is_refused(tmp_path):
    net = models.make("edsr", **SMALL["edsr"])
    card = weights.make_card(net, color="rgb", scales=[2], trained_on="x")
    model = weights.Model(net, init(net, "rgb", seed=0), card)
    weights.save(tmp_path / "x2.safetensors", model)
    vdsr = models.make("vdsr", depth=2, width=3)
    with pytest.raises(ValueError, match="no tensor of .* fits"):
        setup.warm_start(vdsr, init(vdsr, "y", seed=0), tmp_path / "x2.safetensors")


def test_gradients_can_be_accumulated():
    config = config_of("edsr") | {"accumulate": 2}
    update, state, feed = set_up(config)
    inputs = patches.stack(feed.inputs(0, 1))
    first, _ = update(state, feed.data, inputs)
    jax.tree.map(np.testing.assert_array_equal, first.params, state.params)
    second, _ = update(first, feed.data, inputs)
    assert not np.array_equal(
        second.params["head"]["kernel"], state.params["head"]["kernel"]
    )


def test_a_plateau_lowers_the_rate():
    config = config_of("espcn")
    config["plateau"] = {"factor": 0.5, "patience": 1}
    tx, _ = factories.make_optimizer(config, epoch=1)
    params = {"conv_out": jnp.ones([2])}
    state, moves = tx.init(params), []
    for _ in range(6):
        updates, state = tx.update(params, state, params, value=jnp.asarray(1.0))
        moves.append(float(-updates["conv_out"][0]))
    assert moves[-1] < moves[0]


def test_reduced_copies_are_the_images_at_each_factor():
    source = sources.with_reduced(photographs(), (1.0, 0.5))
    assert source.names == ("a@1", "a@0.5", "b@1", "b@0.5")
    for i in range(4):
        assert source.read(i).shape[:2] == tuple(source.sizes[i])
    half = image.to_uint(image.resize(image.from_uint(photographs().read(1)), 0.5))
    np.testing.assert_array_equal(source.read(3), half)
    source = sources.with_reduced(photographs(), (1.0, 0.5), least=150)
    assert source.sizes.tolist() == [[200, 220], [150, 165], [250, 210], [179, 150]]
    assert all(source.read(i).shape[:2] == tuple(source.sizes[i]) for i in range(4))
    with pytest.raises(ValueError, match=r"0\.\.1"):
        sources.with_reduced(photographs(), (1.5,))
