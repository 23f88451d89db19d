"""What the environment says to a server: used, refused, or named once as without effect."""

import logging

import pytest

from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.serving.settings import read_settings


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("sagemaker_object_detection"), "propagate", True)
    caplog.set_level(logging.INFO, "sagemaker_object_detection")


def test_what_has_no_effect_is_named_in_one_line_with_its_reason(caplog: pytest.LogCaptureFixture):
    read_settings(
        {
            "SAGEMAKER_TFS_ENABLE_BATCHING": "true",
            "SAGEMAKER_TFS_INSTANCE_COUNT": "2",
            "MMS_JOB_QUEUE_SIZE": "100",
            "SAGEMAKER_MODEL_SERVER_TIMEOUT": "3600",
            "SAGEMAKER_SURPRISE": "1",
            "SAGEMAKER_NGINX_PROXY_READ_TIMEOUT_SECONDS": "",
        }
    )
    assert caplog.messages == [
        "Without effect here: MMS_JOB_QUEUE_SIZE (it belongs to another model server); SAGEMAKER_MODEL_SERVER_TIMEOUT "
        "(a request has as long as SageMaker gives it, 60 seconds); SAGEMAKER_SURPRISE (it is not known to this "
        "server); SAGEMAKER_TFS_ENABLE_BATCHING, SAGEMAKER_TFS_INSTANCE_COUNT (this server is one process, which "
        "answers in batches by itself, without TensorFlow Serving)."
    ]


def test_what_the_sdks_set_always_is_not_worth_a_line(caplog: pytest.LogCaptureFixture):
    settings = read_settings(
        {
            "SAGEMAKER_PROGRAM": "inference.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
            "SAGEMAKER_CONTAINER_LOG_LEVEL": "30",
            "SAGEMAKER_REGION": "eu-west-1",
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_SAFE_PORT_RANGE": "5000-5999",
            "SAGEMAKER_MULTI_MODEL": "TRUE",
            "SAGEMAKER_OD_MAX_MODELS": "3",
            "SAGEMAKER_MODEL_SERVER_WORKERS": "8",
            "HOME": "/root",
        }
    )
    assert not caplog.messages
    assert (settings.log_level, settings.multi_model, settings.max_models, settings.workers) == (30, True, 3, 8)


def test_room_for_models_means_nothing_to_an_endpoint_of_one(caplog: pytest.LogCaptureFixture):
    read_settings({"SAGEMAKER_OD_MAX_MODELS": "3"})
    assert caplog.messages == ["Without effect here: SAGEMAKER_OD_MAX_MODELS (this is no multi-model endpoint)."]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SAGEMAKER_MULTI_MODEL", "yes", "expected true or false"),
        ("SAGEMAKER_OD_MAX_MODELS", "-1", "expected a whole number from 1 to 10000"),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "INFO", "expected a whole number from 0 to 50"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "65", "expected a whole number from 1 to 64"),
    ],
)
def test_a_wrong_value(name: str, value: str, expected: str):
    with pytest.raises(UserError, match=rf"^{name}: got '{value}' in the environment; {expected}$"):
        read_settings({name: value})


def test_all_wrong_values_are_told_at_once_and_a_setting_of_ours_that_is_none():
    with pytest.raises(UserError) as caught:
        read_settings({"SAGEMAKER_MODEL_SERVER_WORKERS": "auto", "SAGEMAKER_MULTI_MODEL": "yes"})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "SAGEMAKER_MULTI_MODEL",
        "SAGEMAKER_MODEL_SERVER_WORKERS",
    ]


def test_a_misspelt_setting_of_ours_is_named(caplog: pytest.LogCaptureFixture):
    read_settings({"SAGEMAKER_OD_MAX_MODEL": "3"})
    assert caplog.messages == ["Without effect here: SAGEMAKER_OD_MAX_MODEL (it is not known to this server)."]
