"""torch alone and onnxruntime give the same regions; our RoIAlign is onnxruntime's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from interbert.vision import centernet, embedded_weights
from interbert.vision.embedded import EmbeddedExtractor
from interbert.vision.images import open_image

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def extractors() -> tuple[EmbeddedExtractor, EmbeddedExtractor]:
    embedded_weights.install()
    return EmbeddedExtractor(backend="torch"), EmbeddedExtractor(backend="onnxruntime")


def largest_difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    assert one.shape == other.shape
    return float(np.abs(one - other).max())


def test_both_backends_give_the_same_maps(extractors):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    theirs, ours = (extractor.maps(Image.fromarray(noise)) for extractor in extractors)
    assert largest_difference(theirs.heat.numpy(), ours.heat.numpy()) < 1e-5
    assert largest_difference(theirs.head.numpy(), ours.head.numpy()) < 1e-4
    assert largest_difference(theirs.deep.numpy(), ours.deep.numpy()) < 1e-4
    assert largest_difference(theirs.sides.numpy(), ours.sides.numpy()) < 1e-2  # pixels


@pytest.mark.shared_data
def test_both_backends_give_the_same_regions(extractors, shared: Path):
    pictures = sorted((shared / "data/coco/images").iterdir())[:6]
    for picture in pictures:
        image = open_image(picture)
        first, second = (extractor.extract([image])[0] for extractor in extractors)
        assert (first.labels == second.labels).all()
        assert largest_difference(first.boxes, second.boxes) < 1e-2  # pixels
        assert largest_difference(first.features, second.features) < 1e-4
        assert largest_difference(first.probabilities, second.probabilities) < 1e-4


def test_roi_align_is_onnxruntimes(roi_align_of_onnxruntime: Callable[..., NDArray[np.float32]]):
    random = np.random.default_rng(1)
    features = random.standard_normal((6, 32, 32)).astype(np.float32)
    corners = random.uniform(8, 60, (5, 2))
    boxes = np.concatenate([corners, corners + random.uniform(4, 60, (5, 2))], 1).astype(np.float32)
    ours = centernet.roi_align(torch.from_numpy(features), torch.from_numpy(boxes), input_size=128).numpy()
    assert largest_difference(ours, roi_align_of_onnxruntime(features, boxes, 32 / 128)) < 1e-5


@pytest.fixture
def roi_align_of_onnxruntime() -> Callable[..., NDArray[np.float32]]:
    def run(features: NDArray[np.float32], boxes: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
        helper, kind = onnx.helper, onnx.TensorProto
        node = helper.make_node(
            "RoiAlign",
            ["features", "boxes", "pictures"],
            ["regions"],
            coordinate_transformation_mode="half_pixel",
            output_height=7,
            output_width=7,
            sampling_ratio=1,
            spatial_scale=scale,
        )
        inputs = [
            helper.make_tensor_value_info("features", kind.FLOAT, [1, *features.shape]),
            helper.make_tensor_value_info("boxes", kind.FLOAT, list(boxes.shape)),
            helper.make_tensor_value_info("pictures", kind.INT64, [len(boxes)]),
        ]
        graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("regions", kind.FLOAT, None)])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        given = {"features": features[None], "boxes": boxes, "pictures": np.zeros(len(boxes), np.int64)}
        return session.run(None, given)[0]

    return run
