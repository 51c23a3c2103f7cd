"""A `tfjs.Graph` as an ONNX model in memory, run by onnxruntime: the numbers of `tfjs.TorchNetwork`, but faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from interbert.vision.tfjs import Graph, Step

_OPSET, _IR_VERSION = 18, 8  # old enough for every onnxruntime that the extra allows
_SAME_NAME = {
    "add": "Add",
    "multiply": "Mul",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
}


class OnnxNetwork:
    """A graph as a function: float32 [1, 3, height, width] -> a float32 [1, channels, h, w] per output. One thread."""

    def __init__(self, graph: Graph) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = onnx_model(graph).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = graph.input

    def __call__(self, picture: NDArray[Any]) -> list[NDArray[Any]]:
        return list(self._session.run(None, {self._input: picture}))


def onnx_model(graph: Graph) -> Any:
    """The graph as an `onnx.ModelProto`, checked."""
    constants = {
        **graph.constants,
        "zero": np.float32(0),
        "six": np.float32(6),
        "sides": np.array([2, 3], np.int64),
        "doubled": np.array([1, 1, 2, 2], np.float32),
    }
    for step in graph.steps:
        if step.kernel is not None:
            constants[f"{step.name}:kernel"] = step.kernel
        if step.bias is not None:
            constants[f"{step.name}:bias"] = step.bias
    body = helper.make_graph(
        [_node(step) for step in graph.steps],
        "network",
        [helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in graph.outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return model


def _node(step: Step) -> Any:
    inputs, outputs = list(step.inputs), [step.name]
    match step.operation:
        case "convolution":
            return _convolution(step)
        case "relu6":
            return helper.make_node("Clip", [*inputs, "zero", "six"], outputs)
        case "mean":
            return helper.make_node("ReduceMean", [*inputs, "sides"], outputs, keepdims=1)
        case "concatenate":
            return helper.make_node("Concat", inputs, outputs, axis=1)
        case "upsample":
            corner = {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}
            return helper.make_node("Resize", [*inputs, "", "doubled"], outputs, **corner)
        case _:
            return helper.make_node(_SAME_NAME[step.operation], inputs, outputs)


def _convolution(step: Step) -> Any:
    inputs = [*step.inputs, f"{step.name}:kernel"]
    if step.bias is not None:
        inputs.append(f"{step.name}:bias")
    padding = "SAME_UPPER" if step.same else "VALID"
    stride = [step.stride, step.stride]
    return helper.make_node("Conv", inputs, [step.name], group=step.groups, strides=stride, auto_pad=padding)
