"""What the spelling of a place says, without looking there."""

import pytest

from sagemaker_object_detection import catalogue
from sagemaker_object_detection.catalogue import CATALOGUE, find
from sagemaker_object_detection.weights.naming import named_by, shown

D0, LARGE = find("ssd_efficientdet_d0_512x512"), find("ssd_resnet50_v1_fpn_1024x1024")
FPNLITE = find("ssd_mobilenet_v2_fpnlite_640x640")


@pytest.mark.parametrize("base", CATALOGUE, ids=lambda base: base.name)
def test_a_base_model_is_named_by_its_handle_its_archive_and_its_name(base):
    zoo = "http://download.tensorflow.org/models/object_detection/tf2/20200711"
    hub_handle, tarball = base.weights.hub_handle, base.weights.tarball
    (trained,) = {named_by(place) for place in (hub_handle, f"{zoo}/{tarball}.tar.gz", f"s3://b/{tarball}")}
    assert (trained.weights, trained.is_published) == (base.weights, True)
    assert {named_by(f"/w/{base.name}/"), named_by(base.name)} == {base}
    jumpstart = base.weights.jumpstart_id
    keys = [f"tensorflow-training/v2.0.0/train-{jumpstart}.tar.gz", f"x/infer-{jumpstart}.tar.gz", jumpstart]
    assert {named_by(f"s3://b/{key}") for key in [*keys, f"infer-prepack-{jumpstart}.tgz"]} == {trained}


def test_weights_that_two_sizes_share_name_the_one_they_were_trained_at(monkeypatch):
    other = FPNLITE.at(512, 5, FPNLITE.weights)
    monkeypatch.setattr(catalogue, "CATALOGUE", (other, *CATALOGUE))
    assert named_by(FPNLITE.weights.hub_handle) == named_by(FPNLITE.weights.tarball) == FPNLITE
    assert named_by(other.name) == other


@pytest.mark.parametrize(
    ("place", "base"),
    [
        ("https://www.kaggle.com/models/tensorflow/efficientdet/TensorFlow2/d0/1", D0),
        ("https://kaggle.com/models/tensorflow/efficientdet/tensorFlow2/d0", D0),
        ("https://www.kaggle.com/models/tensorflow/retinanet/tensorFlow2/resnet50-v1-fpn-1024x1024/1", LARGE),
        (
            "https://www.kaggle.com/models/tensorflow/ssd-mobilenet-v2/frameworks/TensorFlow2/variations/"
            "fpnlite-640x640/versions/1?tfhub-redirect=true",
            FPNLITE,
        ),
        ("https://tfhub.dev/tensorflow/ssd_mobilenet_v2/fpnlite_640x640/2", FPNLITE),
        ("https://www.kaggle.com/models/tensorflow/ssd-mobilenet-v2/TensorFlow2/ssd-mobilenet-v2/1", None),
        ("https://www.kaggle.com/models/tensorflow/efficientdet", None),
        ("https://elsewhere.example/tensorflow/efficientdet/d0/1", None),
        ("https://tfhub.dev/", None),
        ("s3://bucket/model.tar.gz", None),
        ("s3://bucket/train-model.tar.gz", None),
        (f"s3://bucket/retrain-{D0.weights.jumpstart_id}.tar.gz", None),
        ("/opt/weights/ssd_resnet50_v1_fpn_1024x1024/saved_model", None),
        ("/opt/weights/ssd_resnet50_v1_fpn_1024x1024.zip", None),
        ("/", None),
        ("", None),
    ],
)
def test_other_spellings_and_what_names_nothing(place, base):
    assert named_by(place) == base


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("https://host/a@b/c", "https://host/a@b/c"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("https://[::1]:80/a@b", "https://[::1]:80/a@b"),
        ("/folder/user:name@host", "/folder/user:name@host"),
        ("https://user:pass@host/a@b", "https://...@host/a@b"),
        ("https://user:pa#s/s@host/a", "https://...@host/a"),
        ("https://user:1234@host/a", "https://...@host/a"),
    ],
)
def test_only_a_user_name_and_a_password_are_left_out(place, told):
    assert shown(place) == told
