"""What AWS's notebook of the built-in algorithm does, with this image in the place of AWS's, through SDK v2.

The steps are those of Amazon_Tensorflow_Object_Detection.ipynb, with the same classes, arguments and addresses.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client_tests import ROLE
from jumpstart_bucket import BUCKET, DATA_PREFIX, MODEL_ID

DATA = f"s3://{BUCKET}/{DATA_PREFIX}"
METRICS = [
    {"Name": "val_localization_loss", "Regex": "Val_localization=([0-9\\.]+)"},
    {"Name": "val_classification_loss", "Regex": "Val_classification=([0-9\\.]+)"},
    {"Name": "train_loss", "Regex": "loss=([0-9\\.]+)."},
]


@dataclass(frozen=True)
class Notebook:
    """Its cells.

    Args:
        image: the one thing that is changed.
        session: of the SDK.
        output: an address in S3.
    """

    image: str
    session: Any
    output: str
    instance_type: str = "local"

    def address(self, what: str, scope: str) -> str:
        """The address of a model or a script, which the SDK asks JumpStart's manifest for."""
        from sagemaker import model_uris, script_uris

        retrieve = {"model": model_uris.retrieve, "script": script_uris.retrieve}[what]
        found: str = retrieve(
            model_id=MODEL_ID, model_version="*", sagemaker_session=self.session, **{f"{what}_scope": scope}
        )
        return found

    def estimator(self, model_uri: str | None = None, **changed: str) -> Any:
        """Cells 4.2 and 4.4, and 4.7 with the model of an earlier job."""
        from sagemaker import hyperparameters
        from sagemaker.estimator import Estimator

        values = hyperparameters.retrieve_default(model_id=MODEL_ID, model_version="*", sagemaker_session=self.session)
        return Estimator(
            role=ROLE,
            image_uri=self.image,
            source_dir=self.address("script", "training"),
            model_uri=model_uri or self.address("model", "training"),
            entry_point="transfer_learning.py",
            instance_count=1,
            instance_type=self.instance_type,
            max_run=360000,
            hyperparameters={**values, **changed},
            output_path=self.output,
            base_job_name="jumpstart-example",
            metric_definitions=METRICS,
            sagemaker_session=self.session,
        )

    def tuner(self, estimator: Any) -> Any:
        """Cell 4.3."""
        from sagemaker.tuner import ContinuousParameter, HyperparameterTuner

        return HyperparameterTuner(
            estimator,
            "validation:localization_loss",
            {"learning_rate": ContinuousParameter(0.000001, 0.5, scaling_type="Logarithmic")},
            [{"Name": "validation:localization_loss", "Regex": "Val_localization=([0-9\\.]+)"}],
            max_jobs=6,
            max_parallel_jobs=2,
            objective_type="Minimize",
            base_tuning_job_name="jumpstart-example",
        )

    def deploy_base_model(self) -> Any:
        """Cell 3.1: a published model, without training."""
        from sagemaker.model import Model
        from sagemaker.predictor import Predictor

        return Model(
            image_uri=self.image,
            source_dir=self.address("script", "inference"),
            model_data=self.address("model", "inference"),
            entry_point="inference.py",
            role=ROLE,
            predictor_cls=Predictor,
            name="jumpstart-example-infer",
            sagemaker_session=self.session,
        ).deploy(initial_instance_count=1, instance_type=self.instance_type, endpoint_name="jumpstart-example-infer")

    def deploy(self, estimator: Any) -> Any:
        """Cell 4.6: the model just trained."""
        return estimator.deploy(
            initial_instance_count=1,
            instance_type=self.instance_type,
            entry_point="inference.py",
            image_uri=self.image,
            source_dir=self.address("script", "inference"),
            endpoint_name="jumpstart-example-ft",
        )


def query(predictor: Any, photo: Path) -> bytes:
    """Cell 3.3."""
    answer: bytes = predictor.predict(
        photo.read_bytes(),
        {"ContentType": "application/x-image", "Accept": "application/json;verbose;n_predictions=5"},
    )
    return answer
