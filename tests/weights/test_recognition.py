import ast
import collections
import csv
from dataclasses import replace

import numpy as np
import pytest
from shared import shared

from sagemaker_object_detection.catalogue import CATALOGUE, BaseModel, find
from sagemaker_object_detection.errors import UserError
from sagemaker_object_detection.models.detector import build_detector
from sagemaker_object_detection.weights.checkpoint import StoredVariables
from sagemaker_object_detection.weights.model_garden import checkpoint_variables, saved_model_variables
from sagemaker_object_detection.weights.recognition import TELLTALES, choose_size, recognise_variables
from sagemaker_object_detection.weights.sources import Weights

# One of every architecture, and how often its file has each telltale shape, in the order of the table.
COUNTS = {
    "ssd_resnet50_v1_fpn_640x640": (6, 6, 6, 0, 0, 1, 0, 0, 0),
    "ssd_resnet101_v1_fpn_640x640": (23, 23, 23, 0, 0, 1, 0, 0, 0),
    "ssd_resnet152_v1_fpn_640x640": (36, 36, 36, 0, 0, 1, 0, 0, 0),
    "ssd_mobilenet_v1_fpn_640x640": (1, 1, 1, 5, 1, 0, 0, 0, 0),
    "ssd_mobilenet_v2_fpnlite_320x320": (0, 0, 0, 0, 8, 0, 0, 0, 0),
    "ssd_efficientdet_d0_512x512": (0, 0, 0, 0, 0, 30, 0, 0, 0),
    "ssd_efficientdet_d1_640x640": (0, 0, 0, 0, 0, 0, 38, 0, 0),
    "ssd_efficientdet_d2_768x768": (0, 0, 0, 0, 0, 0, 0, 46, 0),
    "ssd_efficientdet_d3_896x896": (0, 0, 0, 0, 0, 0, 0, 0, 56),
}
PIPELINE = """
model {
  ssd {
    num_classes: 2
    image_resizer {
      %s {
        %s
      }
    }
  }
}
"""


def stored(shapes: dict[str, tuple[int, ...]]) -> StoredVariables:
    return StoredVariables("file", shapes, lambda name: np.zeros(shapes[name], np.float32))


def made_of(counts: tuple[int, ...]) -> StoredVariables:
    """Variables with these counts of the telltale shapes, and others."""
    shapes: dict[str, tuple[int, ...]] = {f"other_{i}": (3, 3, 7, i) for i in range(20)}
    for (shape, _), count in zip(TELLTALES.values(), counts, strict=True):
        shapes |= {f"{shape}_{i}": shape for i in range(count)}
    return stored(shapes)


def test_every_architecture_is_recognised_by_its_counts():
    for name, counts in COUNTS.items():
        recognised = recognise_variables(made_of(counts))
        assert {base.stem for base in recognised} == {find(name).stem}
        assert find(name) in recognised
    assert TELLTALES.keys() == {base.backbone for base in CATALOGUE}


def test_the_counts_are_those_of_the_published_lists():
    for name, counts in COUNTS.items():
        with shared(f"zoo/{name}.tsv").open() as file:
            rows = csv.DictReader(file, delimiter="\t")
            shapes = collections.Counter(ast.literal_eval(row["shape"]) for row in rows)
        assert tuple(shapes[shape] for shape, _ in TELLTALES.values()) == counts


@pytest.mark.parametrize("name", ["ssd_mobilenet_v1_fpn_640x640", "ssd_efficientdet_d0_512x512"])
def test_both_forms_and_any_number_of_classes_are_recognised(name):
    detector = build_detector(find(name), 7)
    for variables in (checkpoint_variables(detector), saved_model_variables(detector, ["_model/x/variables/0/.A/V"])):
        shapes = {key: tuple(variable.shape) for key, variable in variables.items()}
        assert recognise_variables(stored(shapes)) == (find(name),)


@pytest.mark.parametrize("name", COUNTS)
def test_a_file_that_lacks_a_telltale_kernel_still_looks_like_its_model(name):
    _, expected = TELLTALES[find(name).backbone]
    counts = tuple(count - 1 if count == expected else count for count in COUNTS[name])
    assert find(name) in recognise_variables(made_of(counts))


def test_half_a_file_still_looks_like_its_model():
    assert recognise_variables(made_of((4, 4, 4, 0, 0, 1, 0, 0, 0)))[0].backbone == "resnet50"
    assert recognise_variables(made_of((0, 0, 0, 0, 0, 0, 19, 0, 0)))[0].backbone == "efficientnet_b1"


def test_variables_of_another_model_are_refused_with_what_is_known():
    with pytest.raises(UserError) as caught:
        recognise_variables(made_of((2, 2, 2, 0, 0, 1, 0, 0, 3)))
    known = ", ".join(base.name for base in CATALOGUE)
    assert str(caught.value) == (
        f"file: these 26 variables are of none of the base models; expected one of {known}: give the files of one of "
        "them"
    )


def candidates(*names: str) -> tuple[BaseModel, ...]:
    return tuple(base for base in CATALOGUE if base.name in names)


RESNETS = ("ssd_resnet50_v1_fpn_640x640", "ssd_resnet50_v1_fpn_1024x1024")


def weights_with(tmp_path, resizer: str | None) -> Weights:
    config = None
    if resizer is not None:
        config = tmp_path / "pipeline.config"
        config.write_text(resizer)
    return Weights('channel "model"', checkpoint=tmp_path / "ckpt-0", pipeline_config=config)


@pytest.mark.parametrize(
    ("resizer", "size"),
    [
        (None, 640),
        (PIPELINE % ("fixed_shape_resizer", "height: 1024\n        width: 1024"), 1024),
        (PIPELINE % ("fixed_shape_resizer", "height: 640 width: 640"), 640),
        (PIPELINE % ("fixed_shape_resizer", "height: 800 width: 800"), 640),
        (PIPELINE % ("keep_aspect_ratio_resizer", "min_dimension: 1024 max_dimension: 1024"), 1024),
        ("edited by hand", 640),
        (PIPELINE % ("fixed_shape_resizer", f"height: {'9' * 5000} width: 640"), 640),
        (f"{PIPELINE % ('fixed_shape_resizer', 'height: 1024 width: 1024')}{' ' * 2**20}", 640),
    ],
)
def test_the_size_is_the_configured_one_where_there_is_such_a_model_and_else_the_smaller(tmp_path, resizer, size):
    assert choose_size(candidates(*RESNETS), weights_with(tmp_path, resizer), None).input_size == size


def test_the_name_of_the_place_decides_the_size_against_the_configuration(tmp_path):
    weights = weights_with(tmp_path, PIPELINE % ("fixed_shape_resizer", "height: 640 width: 640"))
    for named, chosen in ((RESNETS[1], RESNETS[1]), ("ssd_resnet101_v1_fpn_1024x1024", RESNETS[0])):
        assert choose_size(candidates(*RESNETS), replace(weights, named_as=find(named)), None) == find(chosen)


def test_model_id_decides_the_size_against_the_configuration(tmp_path):
    weights = weights_with(tmp_path, PIPELINE % ("fixed_shape_resizer", "height: 640 width: 640"))
    named = find("ssd_resnet50_v1_fpn_1024x1024")
    assert choose_size(candidates(*RESNETS), weights, named) == named


def test_model_id_of_another_architecture_is_refused_with_what_the_files_say(tmp_path):
    weights = weights_with(tmp_path, PIPELINE % ("fixed_shape_resizer", "height: 512 width: 512"))
    with pytest.raises(UserError) as caught:
        choose_size(candidates(*RESNETS), weights, find("ssd_efficientdet_d0_512x512"))
    assert str(caught.value) == (
        "model_id: got 'ssd_efficientdet_d0_512x512', but the variables of channel \"model\" are those of "
        "ssd_resnet50_v1_fpn_640x640 or ssd_resnet50_v1_fpn_1024x1024 (beside them, "
        f"{tmp_path}/pipeline.config speaks of 512 pixels); leave model_id out or make it agree"
    )
