"""Both ways to run a TensorFlow.js graph, on graphs small enough to follow by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interbert.errors import InterbertError
from interbert.vision.tfjs import Graph, TorchNetwork, read_graph

PICTURE = {"name": "picture", "op": "Placeholder"}


def onnx_network(graph: Graph) -> Any:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from interbert.vision.tfjs_onnx import OnnxNetwork

    return OnnxNetwork(graph)


@pytest.fixture(params=[TorchNetwork, onnx_network], ids=["torch", "onnxruntime"])
def network(request: pytest.FixtureRequest) -> Callable[[Graph], Any]:
    return request.param


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def convolution(
    inputs: list[str], op: str = "_FusedConv2D", stride: int = 1, padding: str = "SAME", *fused: str
) -> dict:
    attributes = {
        "strides": {"list": {"i": ["1", str(stride), str(stride), "1"]}},
        "dilations": {"list": {"i": ["1", "1", "1", "1"]}},
        "padding": {"s": encoded(padding)},
        "fused_ops": {"list": {"s": [encoded(name) for name in fused]}},
    }
    return {"name": "result", "op": op, "input": inputs, "attr": attributes}


def graph(folder: Path, nodes: list[dict], **weights: Any) -> Graph:
    """Writes a model with these nodes and weights, stored as float16 (or int32), and reads it."""
    entries, data = [], b""
    for name, value in weights.items():
        array = np.asarray(value)
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "dtype": "int32"}
        if array.dtype.kind == "f":
            entry |= {"dtype": "float32", "quantization": {"dtype": "float16"}}
        entries.append(entry)
        data += array.astype(np.float16 if array.dtype.kind == "f" else np.int32).tobytes()
    (folder / "model.bin").write_bytes(data)
    model = {
        "modelTopology": {"node": [PICTURE, *nodes]},
        "weightsManifest": [{"paths": ["model.bin"], "weights": entries}],
    }
    (folder / "model.json").write_text(json.dumps(model), "utf-8")
    return read_graph(folder / "model.json", ["result"])


def picture(rows: list[list[float]]) -> np.ndarray:
    """[1, 3, h, w]: the rows as red; green and blue are 0."""
    values = np.zeros((1, 3, len(rows), len(rows[0])), np.float32)
    values[0, 0] = rows
    return values


def only_red(height: int, width: int) -> np.ndarray:
    """A kernel [height, width, 3, 1] that adds up red."""
    kernel = np.zeros((height, width, 3, 1))
    kernel[:, :, 0] = 1
    return kernel


def test_same_padding_of_an_even_side_goes_below_and_right(tmp_path: Path, network):
    nodes = [convolution(["picture", "kernel"], "Conv2D", 2)]
    run = network(graph(tmp_path, nodes, kernel=only_red(3, 3)))
    (sums,) = run(picture([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]))
    assert sums.tolist() == [[[[54, 45], [72, 54]]]]  # 1+2+3 + 5+6+7 + 9+10+11, then 3+4 + 7+8 + 11+12, …


def test_a_convolution_without_padding_is_smaller(tmp_path: Path, network):
    nodes = [convolution(["picture", "kernel"], "Conv2D", 1, "VALID")]
    (sums,) = network(graph(tmp_path, nodes, kernel=only_red(2, 2)))(picture([[1, 2, 3], [4, 5, 6]]))
    assert sums.tolist() == [[[[12, 16]]]]


def test_bias_and_relu6_are_applied_after_the_convolution(tmp_path: Path, network):
    nodes = [convolution(["picture", "kernel", "bias"], "_FusedConv2D", 1, "SAME", "BiasAdd", "Relu6")]
    run = network(graph(tmp_path, nodes, kernel=only_red(1, 1), bias=[-2.0]))
    assert run(picture([[1, 3, 100]]))[0].tolist() == [[[[0, 1, 6]]]]


def test_a_depthwise_convolution_keeps_channels_apart(tmp_path: Path, network):
    nodes = [convolution(["picture", "kernel"], "DepthwiseConv2dNative")]
    run = network(graph(tmp_path, nodes, kernel=np.array([2.0, 3.0, 4.0]).reshape(1, 1, 3, 1)))
    values = np.ones((1, 3, 1, 1), np.float32)
    assert run(values)[0].ravel().tolist() == [2, 3, 4]


def test_doubling_is_bilinear_from_the_upper_left_corner(tmp_path: Path, network):
    flags = {"align_corners": {"b": False}, "half_pixel_centers": {"b": False}}
    nodes = [{"name": "result", "op": "ResizeBilinear", "input": ["picture", "size"], "attr": flags}]
    (large,) = network(graph(tmp_path, nodes, size=[2, 4]))(picture([[1, 3]]))
    assert large[0, 0].tolist() == [[1, 2, 3, 3], [1, 2, 3, 3]]


def test_constants_are_added_and_multiplied_by_channel(tmp_path: Path, network):
    nodes = [
        {"name": "sum", "op": "AddV2", "input": ["picture", "each"]},
        {"name": "product", "op": "Mul", "input": ["half", "sum"]},
        {"name": "result", "op": "Identity", "input": ["product"]},
    ]
    run = network(graph(tmp_path, nodes, each=[1.0, 2.0, 3.0], half=0.5))
    assert run(np.ones((1, 3, 1, 1), np.float32))[0].ravel().tolist() == [1, 1.5, 2]


def test_means_joins_and_curves(tmp_path: Path, network):
    nodes = [
        {"name": "mean", "op": "Mean", "input": ["picture", "axes"], "attr": {"keep_dims": {"b": True}}},
        {"name": "curve", "op": "Sigmoid", "input": ["mean"]},
        {"name": "positive", "op": "Relu", "input": ["mean"]},
        {"name": "result", "op": "ConcatV2", "input": ["curve", "positive", "axis"], "attr": {}},
    ]
    (joined,) = network(graph(tmp_path, nodes, axes=[1, 2], axis=3))(picture([[-3, 1]]))
    np.testing.assert_allclose(joined.ravel(), [1 / (1 + np.e), 0.5, 0.5, 0, 0, 0], atol=1e-6)


def test_only_what_the_outputs_need_is_read(tmp_path: Path):
    nodes = [{"name": "result", "op": "Relu", "input": ["picture"]}, {"name": "other", "op": "TopKV2", "input": []}]
    assert [step.operation for step in graph(tmp_path, nodes).steps] == ["relu"]


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ([{"name": "result", "op": "MaxPool", "input": ["picture"]}], "operation MaxPool"),
        ([convolution(["picture", "kernel"], "_FusedConv2D", 1, "SAME", "Elu")], "Elu"),
        ([{"name": "result", "op": "ConcatV2", "input": ["picture", "one"], "attr": {}}], "ConcatV2"),
        ([], "result"),
    ],
)
def test_what_is_not_known_is_an_error_that_names_it(tmp_path: Path, nodes: list[dict], sentence: str):
    with pytest.raises(InterbertError, match=sentence):
        graph(tmp_path, nodes, kernel=only_red(1, 1), one=1)


def test_weights_that_are_cut_off_are_an_error(tmp_path: Path):
    nodes = [convolution(["picture", "kernel"], "Conv2D")]
    graph(tmp_path, nodes, kernel=only_red(3, 3))
    (tmp_path / "model.bin").write_bytes(b"\0" * 20)
    with pytest.raises(InterbertError, match="cannot be read here|buffer"):
        read_graph(tmp_path / "model.json", ["result"])
