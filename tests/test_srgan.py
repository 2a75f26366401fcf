"""SRGAN: its discriminator and its step."""

import functools
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.numpy

from jaxsr import losses, models, optim, weights
from jaxsr.models import discriminator
from jaxsr.training import logs, loop, objectives, step

NET = models.make("srresnet", blocks=1, width=4)
JUDGE = discriminator.Discriminator(width=2, pooled=True)
TX = optax.sgd(0.1)


def batch_of(size=8):
    rng = np.random.default_rng(0)
    shapes = {"lr": (size, 6, 6, 3), "hr": (size, 24, 24, 3)}
    return {k: jnp.asarray(rng.random(s, np.float32)) for k, s in shapes.items()}


def init(tx=TX, **kwargs):
    batch = batch_of(1)
    variables = NET.init(jax.random.key(0), batch["lr"])
    adversary = JUDGE.init(jax.random.key(1), batch["hr"])
    return step.init_state(variables, tx, adversary=adversary, **kwargs)


def judge(variables, images):
    return objectives.apply(JUDGE, variables, {"lr": images})


def make_step(tx=TX, **kwargs):
    generate = functools.partial(objectives.apply, NET)
    return jax.jit(step.make_gan_step(generate, judge, losses.mse, tx, **kwargs))


def assert_close(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


@pytest.mark.parametrize(("pooled", "count"), [(False, 23_565_505), (True, 5_215_425)])
def test_the_discriminator_has_the_papers_size(pooled, count):
    net = discriminator.Discriminator(pooled=pooled)
    x = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), x)
    assert sum(x.size for x in jax.tree.leaves(shapes["params"])) == count


def test_a_pooled_discriminator_takes_any_size_and_refuses_tiny_images():
    variables = JUDGE.init(jax.random.key(0), jnp.zeros([1, 16, 16, 3]))
    assert JUDGE.apply(variables, jnp.zeros([2, 37, 50, 3])).shape == (2,)
    with pytest.raises(ValueError, match=r"16x16 pixels or more; got 12x40"):
        JUDGE.apply(variables, jnp.zeros([2, 12, 40, 3]))


def test_a_gan_step_is_that_of_the_paper():
    """Against the formulas written out, the discriminator's update first."""
    state, batch = init(), batch_of()
    new, metrics = make_step(weight=0.1)(state, batch)
    first = state.adversary

    def generated(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        return NET.apply(variables, batch["lr"], train=True, mutable=["batch_stats"])

    sr, changed = generated(state.params)

    def discriminator_loss(params):
        variables = {"params": params, "batch_stats": first.batch_stats}
        real, fake = (jax.nn.sigmoid(judge(variables, x)[0]) for x in (batch["hr"], sr))
        return -jnp.mean(jnp.log(real)) - jnp.mean(jnp.log(1 - fake))

    value, grads = jax.value_and_grad(discriminator_loss)(first.params)
    updates, _ = TX.update(grads, TX.init(first.params), first.params)
    judging = optax.apply_updates(first.params, updates)
    np.testing.assert_allclose(metrics["discriminator_loss"], value, rtol=1e-5)
    assert_close(new.adversary.params, judging, rtol=1e-4, atol=1e-6)

    def loss(params):
        sr, _ = generated(params)
        variables = {"params": judging, "batch_stats": first.batch_stats}
        fake = jax.nn.sigmoid(judge(variables, sr)[0])
        content = jnp.mean((sr - batch["hr"]) ** 2)
        return content - 0.1 * jnp.mean(jnp.log(fake))

    value, grads = jax.value_and_grad(loss)(state.params)
    updates, _ = TX.update(grads, TX.init(state.params), state.params)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    norm = optax.tree.norm(grads)
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-4)
    expected = optax.apply_updates(state.params, updates)
    assert_close(new.params, expected, rtol=1e-4, atol=1e-6)
    assert_close(new.batch_stats, changed["batch_stats"], rtol=1e-5, atol=1e-6)
    # Its statistics saw the true images, then the made ones, and not the third pass.
    statistics = first.batch_stats
    for images in (batch["hr"], sr):
        variables = {"params": first.params, "batch_stats": statistics}
        statistics = judge(variables, images)[1]
    assert_close(new.adversary.batch_stats, statistics, rtol=1e-5, atol=1e-6)
    assert new.step == 1


def test_it_counts_how_long_the_discriminator_has_won_and_the_output_been_flat():
    batch = batch_of()

    def blind(variables, images):  # to what it sees, yet always right
        logit = jnp.where(images.shape[1] == 24, 1.0, 0.0) + jnp.zeros(len(images))
        return logit, {}

    def flat(variables, batch):
        return 0 * batch["hr"] + variables["params"]["value"], {}

    def sure(variables, images):
        spread = jnp.std(images, axis=(1, 2, 3))
        return jnp.where(spread > 0.1, 9.0, -9.0) * variables["params"]["one"], {}

    variables = {"params": {"value": jnp.float32(0.5)}}
    adversary = {"params": {"one": jnp.float32(1.0)}, "batch_stats": {}}
    tx = optim.adam(lambda count: 0.0)
    state = step.init_state(variables, tx, adversary=adversary)
    run = jax.jit(step.make_gan_step(flat, sure, losses.mse, tx))
    for count in (1, 2, 3):
        state, metrics = run(state, batch)
        assert metrics["won"] == metrics["collapsed"] == count
    blinded = step.make_gan_step(flat, blind, losses.mse, tx)
    state, metrics = blinded(state, batch)
    assert metrics["won"] == 0 and metrics["collapsed"] == 4


def config_of_a_run(name, folders, **settings):
    config = importlib.import_module(f"experiments.{name}").get_config()
    config.network.unlock().update(blocks=1, width=4)
    config.update_from_flattened_dict(
        {
            "start": "",
            "epochs": 2.0,
            "log_every": 1,
            "discriminator": {"width": 2},
            "perceptual.layer": "conv1_2",
            "data.name": str(folders / "train"),
            "data.backend": "device",
            "data.epoch": 2,
            "data.patch": 8,
            "data.batch": 8,
            "validation.name": str(folders / "validation"),
            "validation.every": 1.0,
            "evaluation.sets": (),
        }
        | settings
    )
    return config


@pytest.fixture(autouse=True)
def _weights(random_weights, monkeypatch):
    """The runs find random weights of VGG19 and LPIPS."""
    monkeypatch.setenv("JAXSR_WEIGHTS", str(random_weights))


@pytest.fixture(scope="module")
def started(folders, tmp_path_factory):
    """The workdir of an SRResNet from nothing."""
    workdir = tmp_path_factory.mktemp("srresnet")
    loop.train(config_of_a_run("srresnet", folders), workdir)
    return workdir


def test_a_run_logs_its_parts_and_shows_how_it_learns(started, folders, tmp_path):
    config = config_of_a_run("srgan", folders, start=str(started))
    loop.train(config, tmp_path)
    records = logs.read(tmp_path)
    names = {name for record in records for name in record}
    assert names >= {
        "content_loss",
        "adversarial_loss",
        "discriminator_loss",
        "d_real",
        "d_fake",
        "gradient_norm",
        "discriminator_gradient_norm",
        "psnr",
        "validation_psnr",
        "validation_ssim",
        "validation_lpips",
    }
    found = [r for r in records if "loss" in r]
    for r in found:
        whole = r["content_loss"] + 1e-3 * r["adversarial_loss"]
        np.testing.assert_allclose(r["loss"], whole, rtol=1e-4)
    crops = sorted(path.name for path in (tmp_path / "crops").iterdir())
    assert crops == ["00000002.png", "00000004.png"]
    # The best by LPIPS, and scored by it.
    model = weights.load(tmp_path)
    best = min(r["validation_lpips"] for r in records if "validation_lpips" in r)
    assert model.card["validation"]["lpips"] == best
    assert model.card["scores"]["validation"]["x4"]["lpips"] > 0
    assert "LPIPS" in (tmp_path / "results.md").read_text()


def test_alarms_are_sounded_once(folders, tmp_path, monkeypatch, caplog):
    alarms = {name: (3, text) for name, (_, text) in logs.ALARMS.items()}
    monkeypatch.setattr(logs, "ALARMS", alarms)
    monkeypatch.setattr(step, "FLAT", 1e9)
    config = config_of_a_run("srgan_mse", folders, **{"validation.best_by": ""})
    loop.train(config, tmp_path)
    said = [r.message for r in caplog.records if "all but flat" in r.message]
    assert len(said) == 1 and said[0].startswith("Update 3: ")


def test_without_lpips_the_best_is_chosen_by_psnr(
    folders, tmp_path, monkeypatch, capsys
):
    for variable in ("JAXSR_WEIGHTS", "JAXSR_DATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    config = config_of_a_run("srgan", folders, loss="mse")  # VGG19 is slow
    assert config.validation.best_by == "lpips"
    loop.train(config, tmp_path / "run")
    lines = [s for s in capsys.readouterr().out.splitlines() if "LPIPS" in s]
    assert len(lines) == 1
    assert "chosen by PSNR instead of LPIPS: the weights" in lines[0]
    card = weights.load(tmp_path / "run").card
    records = logs.read(tmp_path / "run")
    found = [r["validation_psnr"] for r in records if "validation_psnr" in r]
    assert card["validation"]["psnr"] == max(found)
    assert "lpips" not in card["validation"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"start": "runs/none"},
            FileNotFoundError,
            r"'runs/none'. Set start='' to begin",
        ),
        ({"start": "RUN", "network.width": 6}, ValueError, "must be a trained srres"),
        ({"start": "RUN", "network.scale": 2}, ValueError, "must be a trained srres"),
        ({"start": "JUDGE"}, ValueError, r"network must be one of .*'discriminator'"),
        ({"data.patch": 3}, ValueError, "16x16 pixels or more; got 12x12"),
        ({"perceptual.layer": "conv6_1"}, ValueError, r"perceptual.layer must be one"),
        ({"perceptual.weights": "none.npz"}, FileNotFoundError, "none.npz"),
        ({"loss": "vgg", "color": "y"}, ValueError, "of RGB images"),
        ({"validation.best_by": "ssim"}, ValueError, r"best_by must be one of"),
        ({"discriminator.a": 1}, ValueError, r"discriminator has .*got \['a'\]"),
        ({"discriminator.width": 0}, ValueError, "width must be an integer"),
        ({"objective.wait": 2}, ValueError, r"has the settings \['weight'\]"),
    ],
    ids=lambda x: str(next(iter(x.items()))) if isinstance(x, dict) else "",
)
def test_what_cannot_be_trained_is_refused(
    settings, error, message, started, folders, tmp_path
):
    judge = tmp_path / "judge.safetensors"
    card = {"network": "discriminator", "fields": {}, "color": "rgb", "scales": []}
    card |= {"trained_on": "-", "step": None, "scores": {}, "digest": ""}
    tensors = {"params/conv_0/bias": np.zeros(64, np.float32)}
    safetensors.numpy.save_file(tensors, judge, {"jaxsr": json.dumps(card)})
    named = {"RUN": str(started), "JUDGE": str(judge)}
    settings = {k: named.get(v, v) for k, v in settings.items()}
    if settings.get("network.scale"):
        settings["data.scales"] = (2,)
    config = config_of_a_run("srgan", folders)
    with config.unlocked():
        config.update_from_flattened_dict(settings)
    with pytest.raises(error, match=message):
        loop.train(config, tmp_path / "run")
