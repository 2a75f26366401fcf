"""metrics.jsonl: averages over a stop, and damage."""

import json
import time

import pytest

from jaxsr.training import logs


def run(directory, steps, *, every=5, held=()):
    """Logs the updates of `steps`, whose loss is their number, and stops."""
    log = logs.Log(directory, step=steps[0] - 1, every=every)
    for step in steps:
        record = log.update(step, {"loss": step / 10})
        if record:
            log.write(step, record)
        if step in held:
            log.hold(step, held[: held.index(step)])
    return (directory / "metrics.jsonl").read_bytes()


def test_a_stop_within_a_record_changes_no_byte(tmp_path):
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    whole = run(tmp_path / "whole", range(1, 21))
    means = [json.loads(line)["loss"] for line in whole.splitlines()]
    assert means == pytest.approx([0.1, 0.35, 0.8, 1.3, 1.8])
    stopped = tmp_path / "stopped"
    run(stopped, range(1, 10), held=[3, 7])  # killed at 9, after a checkpoint at 7
    run(stopped, range(8, 14), held=[12])
    run(stopped, range(13, 17))  # nothing saved since 12
    # Killed in a checkpoint at 14, whose sums are written before it.
    run(stopped, range(13, 15), held=[12, 14])
    assert run(stopped, range(13, 21)) == whole


def test_sums_are_kept_for_the_checkpoints_that_there_are(tmp_path):
    """Those of 3 for a run that finds 7 damaged; of 7 alone after 12."""
    run(tmp_path, range(1, 8), held=[3, 7])
    assert json.loads((tmp_path / "averages.json").read_text()).keys() == {"3", "7"}
    log = logs.Log(tmp_path, step=7, every=5)
    log.hold(12, [7])
    assert json.loads((tmp_path / "averages.json").read_text()).keys() == {"7", "12"}


def test_a_step_validated_before_the_stop_is_not_noted_twice(tmp_path):
    log = logs.Log(tmp_path, step=0, every=5)
    log.write(5, {"loss": 1.0})
    log.write(5, {"validation_psnr": 30.0})
    before = (tmp_path / "metrics.jsonl").read_bytes()
    log = logs.Log(tmp_path, step=5, every=5)
    log.write(5, {"validation_psnr": 30.0})
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    log.write(10, {"validation_psnr": 31.0})
    assert logs.read(tmp_path)[-1] == {"step": 10, "validation_psnr": 31.0}


DAMAGE = [
    b'{"step": 4, "lo',
    b"[1, 2]",
    b"7",
    b"null",
    b'"step"',
    b'{"loss": 1.0}',
    b'{"step": "4", "loss": 1.0}',
    b'{"step": true}',
    b'{"step": 4, "loss": "much"}',
    b'{"step": 4, "loss": null}',
    b'{"step": 4, "loss": \xff\xfe}',
    b"\x00" * 40,
    b"\xc3\x28",
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", DAMAGE)
def test_a_damaged_line_is_skipped_and_named(tmp_path, caplog, line):
    good = [b'{"step": 3, "loss": 1.5}', b'{"step": 5, "loss": 1.25}']
    content = b"\n".join([good[0], line, good[1]]) + b"\n"
    (tmp_path / "metrics.jsonl").write_bytes(content)
    expected = [json.loads(record) for record in good]
    assert logs.read(tmp_path) == expected
    assert "metrics.jsonl has a damaged line" in caplog.text
    logs.Log(tmp_path, step=5, every=5)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"\n".join(good) + b"\n"


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b'{"3": 1}', b'{"3": [{"loss": "x"}, 1]}']
)
def test_damaged_sums_stop_no_run(tmp_path, caplog, content):
    (tmp_path / "averages.json").write_bytes(content)
    run(tmp_path, range(4, 7))
    assert "averages.json is damaged" in caplog.text
    assert logs.read(tmp_path)[0]["loss"] == pytest.approx(0.45)


def test_the_first_updates_are_logged_and_averages_leave_nothing_out(tmp_path):
    log = logs.Log(tmp_path, step=0, every=25)
    found = {step: log.update(step, {"loss": step}) for step in range(1, 51)}
    assert {step: x["loss"] for step, x in found.items() if x} == {
        1: 1.0,
        10: 6.0,  # the mean of 2 to 10
        25: 18.0,
        50: 38.0,
    }


def test_the_time_of_every_process_counts(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = logs.Clock(tmp_path)
    now[0] += 30
    assert clock.seconds() == 30
    clock.save()
    now[0] += 1000  # stopped, and nothing was saved since
    clock = logs.Clock(tmp_path)
    now[0] += 5
    assert clock.seconds() == 35


def test_the_time_of_an_older_versions_run_is_that_of_its_records(tmp_path):
    records = [{"step": 100, "seconds": 40.0}, {"step": 200, "seconds": 2.5}]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "metrics.jsonl").write_text(lines)
    assert 42.5 <= logs.Clock(tmp_path).seconds() < 50
