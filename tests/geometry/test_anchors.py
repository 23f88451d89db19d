import hashlib

import numpy as np

from sagemaker_object_detection.catalogue import CATALOGUE, find
from sagemaker_object_detection.geometry.anchors import anchors_per_cell, generate_anchors

BASE_320, BASE_640 = (find(f"ssd_mobilenet_v2_fpnlite_{size}x{size}") for size in (320, 640))


def test_counts_are_the_published_models():
    by_input = {(320, 6): 12804, (640, 6): 51150, (1024, 6): 130944}
    by_input |= {(512, 9): 49104, (640, 9): 76725, (768, 9): 110484, (896, 9): 150381}
    for base in CATALOGUE:
        anchors, per_cell = generate_anchors(base), anchors_per_cell(base.family)
        cells = sum((-(-base.input_size // 2**level)) ** 2 for level in base.levels)
        assert anchors.shape == (cells * per_cell, 4)
        assert len(anchors) == by_input.get((base.input_size, per_cell), len(anchors))
        assert anchors.dtype == np.float32


def test_first_cell_has_ratios_outside_and_scales_inside():
    corners = generate_anchors(BASE_640)[:6] * 640
    heights, widths = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    octave = np.sqrt(2)
    np.testing.assert_allclose(widths / heights, [1, 1, 2, 2, 0.5, 0.5], rtol=1e-5)
    np.testing.assert_allclose(heights * widths, np.array([32, 32 * octave] * 3) ** 2, rtol=1e-5)
    np.testing.assert_allclose((corners[:, :2] + corners[:, 2:]) / 2, 4, atol=1e-4)


def test_cells_follow_row_by_row():
    anchors = generate_anchors(BASE_640) * 640
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    np.testing.assert_allclose(centers[6], [4, 12], atol=1e-4)
    np.testing.assert_allclose(centers[6 * 80], [12, 4], atol=1e-4)


def test_level_whose_stride_does_not_divide_the_input_is_centred_on_the_grid():
    last = generate_anchors(BASE_320)[-9 * 6 :: 6] * 320
    centers = (last[:, :2] + last[:, 2:]) / 2
    np.testing.assert_allclose(centers, [[y, x] for y in (0, 128, 256) for x in (0, 128, 256)], atol=1e-3)


def test_values_are_the_reference_to_the_last_bit():
    # Digests of the arrays whose matches equal the reference's on its own figures (scripts/compare_reference.py).
    digests = [hashlib.sha256(generate_anchors(base).tobytes()).hexdigest()[:16] for base in (BASE_320, BASE_640)]
    assert digests == ["4171f3631cc9ab45", "5e7273205d19c655"]
