"""JumpStart's bucket of a region, in moto: what the SDKs read there of one of the built-in algorithm's models.

Keys and the form of manifest and specification are those that the SageMaker Python SDK reads (sagemaker.jumpstart).
"""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

MODEL_ID = "tensorflow-od1-ssd-mobilenet-v2-fpnlite-320x320-coco17-tpu-8"
REGION = "us-east-1"
BUCKET = f"jumpstart-cache-prod-{REGION}"
DATA_PREFIX = "training-datasets/PennFudanPed_COCO_format/"
SCRIPTS = {
    "training_script_key": "source-directory-tarballs/tensorflow/transfer_learning/od1/v2.0.1/sourcedir.tar.gz",
    "hosting_script_key": "source-directory-tarballs/tensorflow/inference/od1/v2.0.0/sourcedir.tar.gz",
}
ARTIFACTS = {
    "training_artifact_key": f"tensorflow-training/train-{MODEL_ID}.tar.gz",
    "hosting_artifact_key": f"tensorflow-infer/infer-{MODEL_ID}.tar.gz",
}
_SPECIFICATION_KEY = f"community_models/{MODEL_ID}/specs_v2.0.1.json"
_TENSORFLOW = {"framework": "tensorflow", "framework_version": "2.11", "py_version": "py39"}
HYPERPARAMETERS = {
    "batch_size": "3",
    "beta_1": "0.9",
    "beta_2": "0.999",
    "early_stopping": "False",
    "early_stopping_min_delta": "0.0",
    "early_stopping_patience": "5",
    "epochs": "5",
    "epsilon": "1e-7",
    "initial_accumulator_value": "0.1",
    "learning_rate": "0.001",
    "momentum": "0.9",
    "optimizer": "adam",
    "reinitialize_top_layer": "Auto",
    "rho": "0.95",
    "train_only_on_top_layer": "False",
}
"""The built-in's defaults, all of which the notebook sends."""
MUST_NOT_RUN = b"raise SystemExit('the script of the built-in was run')\n"


def fill(s3: Any, data: Path, base_model: Path) -> None:
    """Put everything there.

    Args:
        s3: a client of boto3.
        data: the folder of a training channel.
        base_model: an archive of published weights.
    """
    s3.create_bucket(Bucket=BUCKET)
    header = {"model_id": MODEL_ID, "version": "2.0.1", "min_version": "2.0.0", "spec_key": _SPECIFICATION_KEY}
    put = {
        "models_manifest.json": json.dumps([header]).encode(),
        "proprietary-sdk-manifest.json": b"[]",
        _SPECIFICATION_KEY: json.dumps(_specification()).encode(),
        SCRIPTS["training_script_key"]: _archive(
            {
                "transfer_learning.py": MUST_NOT_RUN,
                "object_detection/__init__.py": MUST_NOT_RUN,
                "requirements.txt": b"no-such-package==1\n",
            }
        ),
        SCRIPTS["hosting_script_key"]: _archive(
            {"inference.py": MUST_NOT_RUN, "__script_info__.json": b"{}", "requirements.txt": b"no-such-package==1\n"}
        ),
        **{key: base_model.read_bytes() for key in ARTIFACTS.values()},
    }
    for path in sorted(data.rglob("*")):
        if path.is_file():
            put[DATA_PREFIX + path.relative_to(data).as_posix()] = path.read_bytes()
    for key, body in put.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def _specification() -> dict[str, Any]:
    return {
        "model_id": MODEL_ID,
        "url": "https://tfhub.dev/tensorflow/ssd_mobilenet_v2/fpnlite_320x320/1",
        "version": "2.0.1",
        "min_sdk_version": "2.0.0",
        "training_supported": True,
        "incremental_training_supported": True,
        "hosting_ecr_specs": _TENSORFLOW,
        "training_ecr_specs": _TENSORFLOW,
        **ARTIFACTS,
        **SCRIPTS,
        "hyperparameters": [
            {"name": name, "type": "text", "default": value, "scope": "algorithm"}
            for name, value in HYPERPARAMETERS.items()
        ],
        "inference_environment_variables": [],
        "inference_vulnerable": False,
        "training_vulnerable": False,
        "deprecated": False,
        "default_training_instance_type": "ml.p3.2xlarge",
        "supported_training_instance_types": ["ml.p3.2xlarge"],
        "default_inference_instance_type": "ml.p2.xlarge",
        "supported_inference_instance_types": ["ml.p2.xlarge"],
        "training_instance_type_variants": {"regional_aliases": {}, "variants": {}},
        "hosting_instance_type_variants": {"regional_aliases": {}, "variants": {}},
        "metrics": [{"Name": "val_localization_loss", "Regex": "Val_localization=([0-9\\.]+)"}],
    }


def _archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return packed.getvalue()
