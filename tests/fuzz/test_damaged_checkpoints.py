"""Checkpoints with hostile indexes, read as weights to start from and loaded as a model to answer with.

They are read in a process of their own, which TensorFlow would abort. `SOD_FUZZ_SECONDS` and `SOD_FUZZ_SEED` as in
`test_fuzz.py`, of whose time this takes a third.
"""

import itertools
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import child_environment
from damaged_checkpoints import HARMLESS, KINDS, MIXED, below, damaged_checkpoint
from fuzzed_job import write

SECONDS = float(os.environ.get("SOD_FUZZ_SECONDS", "30")) / 3
SEED = os.environ.get("SOD_FUZZ_SEED", "2026")
LEAST = 2 * len(KINDS)
MEMORY = 2 * 2**30
"""Bytes that reading may take, TensorFlow and all: what asks for more than there is fails here."""
_PROGRAM = "import sys, test_damaged_checkpoints; test_damaged_checkpoints.read_many(*sys.argv[1:])"


def read_many(folder: str, model: str) -> None:
    """What the child does: for each input a line of JSON, with what came of it. Odd ones lie in the model."""
    from sagemaker_object_detection.errors import UserError
    from sagemaker_object_detection.serving.predictor import Predictor
    from sagemaker_object_detection.weights.checkpoint import read_checkpoint

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    place, begun = Path(folder), time.monotonic()
    for number in itertools.count():
        if number >= LEAST and time.monotonic() - begun > SECONDS:
            break
        # Twice in turn, once for each way to read.
        kind = KINDS[number // 2 % len(KINDS)]
        print(json.dumps([number, kind]), flush=True)
        shutil.rmtree(place, ignore_errors=True)
        if number % 2:
            shutil.copytree(model, place, ignore=lambda *_: ["variables"])
        files = damaged_checkpoint(random.Random(f"{SEED}:{number}"), kind)
        write(below("variables", files), place / "1/variables")
        try:
            if number % 2:
                Predictor(place)
            else:
                stored = read_checkpoint(place / "1/variables/variables")
                for name in stored.shapes:
                    stored.read(name)
            outcome, sentence = "read", ""
        except UserError as error:
            outcome, sentence = "refused", str(error)
        print(json.dumps([number, kind, outcome, sentence]), flush=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A whole model of the variables that the checkpoints have."""
    import tensorflow as tf

    from sagemaker_object_detection.artifact.inference import SIGNATURE
    from sagemaker_object_detection.catalogue import DEFAULT_MODEL

    module = tf.Module()
    module.model = tf.Variable(tf.zeros([2, 3]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def detect(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"detection_boxes": tf.reduce_sum(module.model)}

    tf.saved_model.save(module, str(tmp_path / "model/1"), signatures={SIGNATURE: detect})
    info = {"format": 1, "base_model": DEFAULT_MODEL.name, "labels": ["a"], "category_ids": [1]}
    (tmp_path / "model/model_info.json").write_text(json.dumps(info))
    return tmp_path / "model"


@pytest.mark.slow
def test_whatever_an_index_says_it_is_read_or_refused_with_a_sentence(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    done = subprocess.run(
        [sys.executable, "-B", "-c", _PROGRAM, place, model],
        env=child_environment() | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=60 + 3 * SECONDS,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"exit code {done.returncode} at input {lines[-1:]}: {done.stderr[-2000:]}"
    outcomes = [line for line in lines if len(line) == 4]
    counts = Counter((kind, outcome) for _, kind, outcome, _ in outcomes)
    with capsys.disabled():
        print(f"\ncheckpoints: {len(outcomes)} inputs of seed {SEED}")
        for kind in sorted(KINDS):
            print(f"{kind:12}" + "".join(f"{counts[kind, outcome]:6} {outcome}" for outcome in ("read", "refused")))
    for number, kind, outcome, sentence in outcomes:
        where = f"input {number} ({kind}): {sentence}"
        if kind not in MIXED:
            # A model that is loaded is refused for its signature.
            read = outcome == "read" or "has no output" in sentence
            assert read == (kind in HARMLESS), where
        if outcome == "refused":
            assert sentence.startswith(str(place)), where
            assert len(sentence) < len(str(place)) * 3 + 800, where
            assert sentence.isprintable(), where
