"""A job is killed or stopped at any moment and started again: it ends as if nothing had happened, to the last bit.

Four moments on a tiny model, one of each kind that leaves something behind; in the night twenty of the same seeded
list, and one of each kind on the default model. KILL_MOMENTS=100 takes more.
"""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, child_environment, once, write_job
from killed_job import MOMENTS

from sagemaker_object_detection.catalogue import DEFAULT_MODEL
from sagemaker_object_detection.sample_data import write_sample_data

pytestmark = pytest.mark.slow

EPOCHS, STEPS = 2, 3
LIMITS = {"start-up": 1, "data check": 1, "step": EPOCHS * STEPS, "validation": EPOCHS, "export": 2}
# Arrays of the first and the last checkpoint: those between may be left out.
WRITTEN = {"tiny": 300, DEFAULT_MODEL.name: 1000}
EARLY = ("start-up", "data check")
"""Moments after which a job starts from nothing."""
FEW, MANY = len(MOMENTS), int(os.environ.get("KILL_MOMENTS", "20"))


def moments(model: str, count: int) -> list[tuple[str, str, int, str]]:
    """Model, moment, how often it is passed before, signal: the kinds in turn, each killed first and then stopped; the
    rest drawn with one seed."""
    draw, kinds, limits = random.Random(5), sorted(MOMENTS), {**LIMITS, "checkpoint write": WRITTEN[model]}
    signals = [name for name in ("SIGKILL", "SIGTERM") for _ in kinds]
    signals += [draw.choice(["SIGKILL", "SIGTERM"]) for _ in range(count)]
    return [
        (model, kind := kinds[number % len(kinds)], draw.randint(1, limits[kind]), signals[number])
        for number in range(count)
    ]


def run(root: Path, name: str = "SIGTERM", moment: str = "never", count: int = 0) -> Run:
    command = [sys.executable, str(Path(__file__).with_name("killed_job.py")), str(root), name, moment, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False, env=child_environment())
    return Run(root, done.returncode, done.stdout, done.stderr)


def digest(root: Path) -> str:
    """Of every variable of the model."""
    found = sorted((root / "model/1/variables").iterdir())
    return hashlib.sha256(b"".join(path.read_bytes() for path in found if ".data-" in path.name)).hexdigest()


def metric_lines(*runs: Run) -> set[str]:
    """All that the runs together say of their epochs, without the speed."""
    lines = [line for run in runs for line in run.output.splitlines() if line.startswith("[Epoch ")]
    return {re.sub(r"Speed: [\d.]+", "Speed", line) for line in lines if "step" not in line}


@pytest.fixture(scope="module", params=["tiny", pytest.param(DEFAULT_MODEL.name, marks=pytest.mark.nightly)])
def reference(request, trained, tmp_path_factory) -> Run:
    """A tiny model that is fine-tuned by the recipe, and the default model from random weights."""

    def make(root: Path) -> Run:
        write_sample_data(root / "input/data", images=10, validation_images=4, seed=11)
        values = {"model_id": request.param, "epochs": EPOCHS, "batch_size": "4", "passes_per_epoch": "1"}
        if request.param == "tiny":
            shutil.copytree(trained.root / "model", root / "input/data/model")
            values["reinitialize_top_layer"] = "True"
        else:
            values["pretrained_weights"] = "none"
        write_job(root, {**values, "seed": "2"})
        (root / "checkpoints").mkdir()
        return run(root)

    done = once(tmp_path_factory, f"reference-{request.param}", make)
    assert done.code == 0, done.output + done.errors
    return done


def copied(reference: Run, root: Path, *, checkpoints: bool = False, **values: object) -> Path:
    shutil.copytree(reference.root / "input", root / "input")
    hyperparameters = json.loads((root / "input/config/hyperparameters.json").read_text())
    write_job(root, {**hyperparameters, **values})
    (root / "checkpoints").mkdir()
    if checkpoints:
        shutil.copytree(reference.root / "checkpoints", root / "checkpoints", dirs_exist_ok=True)
    return root


@pytest.mark.parametrize(
    ("reference", "moment", "count", "name"),
    [
        *(
            pytest.param(*drawn, marks=[] if number < FEW and drawn[1] not in EARLY else pytest.mark.nightly)
            for number, drawn in enumerate(moments("tiny", MANY))
        ),
        *(pytest.param(*drawn, marks=pytest.mark.nightly) for drawn in moments(DEFAULT_MODEL.name, FEW)),
    ],
    indirect=["reference"],
)
def test_a_job_that_was_killed_ends_as_if_nothing_had_happened(reference, tmp_path, moment, count, name):
    root = copied(reference, tmp_path)
    first = run(root, name, moment, count)
    assert (root / "struck").read_text() == name
    assert first.code == (-signal.SIGKILL if name == "SIGKILL" else 0), first.output + first.errors
    assert (root / "model/model_info.json").exists() <= (name == "SIGTERM" or moment == "export")
    second = run(root)
    assert second.code == 0, second.output + second.errors
    assert digest(root) == digest(reference.root)
    assert metric_lines(first, second) == metric_lines(reference)
    assert [path.name for path in (root / "checkpoints").iterdir() if ".sagemaker" in path.name] == []


def test_a_finished_job_that_is_started_again_does_not_train_again(reference, tmp_path):
    root = copied(reference, tmp_path, checkpoints=True)
    again = run(root)
    assert again.code == 0, again.output + again.errors
    assert "Speed" not in again.output
    assert digest(root) == digest(reference.root)
    last = [line for line in reference.output.splitlines() if "Val_" in line][-2:]
    assert [line for line in again.output.splitlines() if "Val_" in line] == last


@pytest.mark.parametrize("moment", [pytest.param("start-up", marks=pytest.mark.nightly), "data check"])
def test_a_restarted_job_that_is_stopped_at_once_still_leaves_its_model(reference, tmp_path, moment):
    root = copied(reference, tmp_path, checkpoints=True)
    stopped = run(root, "SIGTERM", moment, 1)
    assert stopped.code == 0, stopped.output + stopped.errors
    assert digest(root) == digest(reference.root)


def test_more_epochs_go_on_where_the_finished_job_ended(reference, tmp_path):
    root = copied(reference, tmp_path, checkpoints=True, epochs=EPOCHS + 1)
    longer = run(root)
    assert longer.code == 0, longer.output + longer.errors
    assert re.findall(r"\[Epoch (\d+)\], Speed", longer.output) == [str(EPOCHS)]
    assert len(json.loads((root / "output/data/metrics.json").read_text())["epochs"]) == EPOCHS + 1


def test_a_damaged_checkpoint_is_said_and_the_one_before_it_is_used(reference, tmp_path):
    root = copied(reference, tmp_path, checkpoints=True)
    newest = max((root / "checkpoints").iterdir())
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    resumed = run(root)
    assert resumed.code == 0, resumed.output + resumed.errors
    assert f"WARNING: {newest} is damaged (Bad CRC-32 for file " in resumed.output
    assert digest(root) == digest(reference.root)


def test_the_checkpoint_of_another_job_is_refused_in_the_first_second_and_kept(reference, tmp_path):
    root = copied(reference, tmp_path, checkpoints=True, learning_rate="0.5", batch_size="2")
    before = sorted(path.name for path in (root / "checkpoints").iterdir())
    refused = run(root)
    assert refused.code == 2
    assert (root / "output/failure").read_text() == (
        f"UserError: checkpoints: {root}/checkpoints holds those of another job: batch_size was 4 and is 2; "
        "learning_rate was 0.001 and is 0.5; expected its own: give this job an empty folder (checkpoint_s3_uri), or "
        "make it agree. Only early_stopping, early_stopping_min_delta, early_stopping_patience, epochs and xla may "
        "change"
    )
    assert "Checking that" not in refused.output
    assert sorted(path.name for path in (root / "checkpoints").iterdir()) == before


def test_the_checkpoint_of_other_data_is_refused(reference, tmp_path):
    root = copied(reference, tmp_path, checkpoints=True)
    annotations = root / "input/data/training/annotations.json"
    document = json.loads(annotations.read_text())
    document["annotations"].pop()
    annotations.write_text(json.dumps(document))
    refused = run(root)
    assert refused.code == 2
    failure = (root / "output/failure").read_text()
    assert re.search(r"job: in the training data, objects was .+ and is .+; expected its own", failure)


def test_the_reference_moved_its_weights(reference):
    """Else everything above would be equal whatever happened."""
    with np.load(max((reference.root / "checkpoints").iterdir())) as newest:
        moments_of_adam = [newest[name] for name in newest.files if name.startswith("optimizer/")]
    assert sum(float(np.abs(moment).sum()) > 0 for moment in moments_of_adam) > 50
