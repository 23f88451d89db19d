"""JumpStart's script by the SDK's v3, which runs a shell of its own in the place of `train`.

Runs in an environment of its own: scripts/test_clients.sh sdk3.
"""

from pathlib import Path
from typing import Any

import pytest
from client_tests import ROLE, need_sdk, requests_as_sent
from jumpstart_bucket import ARTIFACTS, BUCKET, DATA_PREFIX, HYPERPARAMETERS, SCRIPTS
from platform_tree import run_as_sent

pytestmark = pytest.mark.clients
pytest_plugins = ["jumpstart_fixtures"]


def test_the_recorded_job_of_a_model_trainer_runs_without_a_network(jumpstart: Any, image: str, tmp_path: Path) -> None:
    need_sdk(3)
    import boto3
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.training.configs import Compute, InputData, SourceCode
    from sagemaker.train import ModelTrainer

    with requests_as_sent(boto3.DEFAULT_SESSION) as sent:
        ModelTrainer(
            training_image=image,
            source_code=SourceCode(
                source_dir=f"s3://{BUCKET}/{SCRIPTS['training_script_key']}",
                entry_script="transfer_learning.py",
                requirements="requirements.txt",
            ),
            role=ROLE,
            sagemaker_session=Session(boto_session=boto3.DEFAULT_SESSION, default_bucket="mine"),
            compute=Compute(instance_type="ml.p3.2xlarge", instance_count=1),
            hyperparameters={**HYPERPARAMETERS, "epochs": "1", "passes_per_epoch": "1"},
        ).train(
            input_data_config=[
                InputData(channel_name="training", data_source=f"s3://{BUCKET}/{DATA_PREFIX}"),
                InputData(channel_name="model", data_source=f"s3://{BUCKET}/{ARTIFACTS['training_artifact_key']}"),
            ],
            wait=False,
        )
    log = run_as_sent(image, sent["CreateTrainingJob"], tmp_path / "job", jumpstart)
    assert "The requirements of JumpStart's script are not installed: it is not run." in log
    assert "JumpStart's transfer_learning.py, the training script of the built-in" in log
    assert "Val_localization=" in log
    assert (tmp_path / "job/model/1/saved_model.pb").exists()
