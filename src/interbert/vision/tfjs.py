"""TensorFlow.js graph models without TensorFlow: model.json + weights in, a list of steps or a torch function out.

Only what the embedded detector needs: convolutional networks for pictures. Everything is turned from NHWC to NCHW.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from interbert.errors import InterbertError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of a network.

    operation: convolution, add, multiply, relu, relu6, sigmoid, mean, concatenate or upsample.
    name: of the result.  inputs: names of results or constants.
    For convolutions: kernel [out, in / groups, height, width], bias [out], stride, and `same`: SAME padding or none.
    """

    operation: str
    name: str
    inputs: tuple[str, ...]
    kernel: Array | None = None
    bias: Array | None = None
    groups: int = 1
    stride: int = 1
    same: bool = True


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: one input [1, 3, height, width], steps in an order in which they can run, and the wanted outputs."""

    input: str
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    constants: dict[str, Array]


def read_graph(model: Path, outputs: Sequence[str]) -> Graph:
    """Reads a graph model and the weight files beside it, as far as `outputs` need it.

    model: the .json file.  outputs: names of inner or outer results.
    Raises InterbertError where the file is not such a model or has an operation that is not known here.
    """
    try:
        content = json.loads(model.read_text(encoding="utf-8"))
        nodes = {node["name"]: node for node in content["modelTopology"]["node"]}
        reader = _Reader(nodes, _weights(content["weightsManifest"], model.parent))
        results = tuple(reader.read(name) for name in outputs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InterbertError(
            f"'{model}' is not a TensorFlow.js graph model that can be read here ({error!r})"
        ) from error
    return Graph(reader.input, results, tuple(reader.steps), reader.constants)


def _weights(manifest: Sequence[dict[str, Any]], folder: Path) -> dict[str, Array]:
    """Every constant by name, as float32 (stored as float16) or int32."""
    weights: dict[str, Array] = {}
    for group in manifest:
        data = b"".join((folder / path).read_bytes() for path in group["paths"])
        start = 0
        for entry in group["weights"]:
            stored = np.dtype(entry.get("quantization", {}).get("dtype", entry["dtype"]))
            if stored.name not in ("float16", "float32", "int32"):
                raise ValueError(f"weights stored as {stored.name}")
            count = int(np.prod(entry["shape"]))  # 1 for a single number
            flat = np.frombuffer(data, stored, count, start)
            weights[entry["name"]] = flat.reshape(entry["shape"]).astype(entry["dtype"])
            start += count * stored.itemsize
        if start != len(data):
            raise ValueError(f"weights of {len(data)} bytes where {start} were described")
    return weights


_CONVOLUTIONS = ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
_SIMPLE = {
    "Add": "add",
    "AddV2": "add",
    "Mul": "multiply",
    "Relu": "relu",
    "Relu6": "relu6",
    "Sigmoid": "sigmoid",
    "Mean": "mean",
    "ConcatV2": "concatenate",
    "ResizeBilinear": "upsample",
}
_WITHOUT_LAST_INPUT = ("Mean", "ConcatV2", "ResizeBilinear")  # axes and sizes: checked, then known


@dataclass
class _Reader:
    """Walks from the outputs to the input and writes down the steps on the way back."""

    nodes: dict[str, dict[str, Any]]
    weights: dict[str, Array]
    input: str = ""
    steps: list[Step] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)  # a node's name -> the name of its result

    def read(self, name: str) -> str:
        """The name of the result or constant that node `name` gives; its steps are written down once."""
        if name not in self.seen:
            self.seen[name] = self._constant(name) if name in self.weights else self._node(self.nodes[name])
        return self.seen[name]

    def _constant(self, name: str) -> str:
        value = self.weights[name]
        if value.ndim == 4:
            value = value.transpose(0, 3, 1, 2)
        elif value.ndim == 1 and value.size > 1:
            value = value.reshape(1, -1, 1, 1)
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def _node(self, node: dict[str, Any]) -> str:
        name, operation, inputs = node["name"], node["op"], node.get("input", [])
        if operation == "Placeholder":
            self.input = name
            return str(name)
        if operation == "Identity":
            return self.read(inputs[0])
        if operation in _CONVOLUTIONS:
            return self._convolution(node)
        if operation not in _SIMPLE:
            raise ValueError(f"operation {operation} in {name}")
        if operation in _WITHOUT_LAST_INPUT:
            self._check(node, self.weights[inputs[-1]])
            inputs = inputs[:-1]
        self.steps.append(Step(_SIMPLE[operation], name, tuple([self.read(i) for i in inputs])))
        return str(name)

    def _check(self, node: dict[str, Any], last: Array) -> None:
        """Means are over height and width, joins over channels, sizes are doubled from the upper left corner."""
        flags = node["attr"]
        if node["op"] == "Mean":
            fits = sorted(last.ravel().tolist()) == [1, 2] and flags["keep_dims"]["b"]
        elif node["op"] == "ConcatV2":
            fits = last.item() in (3, -1)
        else:
            fits = not flags["align_corners"]["b"] and not flags["half_pixel_centers"]["b"]
        if not fits:
            raise ValueError(f"operation {node['op']} in {node['name']} with {flags} and {last.tolist()}")

    def _convolution(self, node: dict[str, Any]) -> str:
        name, (source, weights, *rest) = node["name"], node["input"]
        attributes = node["attr"]
        fused = _texts(attributes.get("fused_ops", {}))
        strides, dilations = _numbers(attributes["strides"]), _numbers(attributes["dilations"])
        if set(fused) - {"BiasAdd", "Relu", "Relu6"} or set(dilations) != {1} or strides[1] != strides[2]:
            raise ValueError(f"convolution {name} with {fused}, strides {strides}, dilations {dilations}")
        kernel = self.weights[weights]
        depthwise = "Depthwise" in node["op"]
        if depthwise:  # [height, width, in, multiplier] -> [in * multiplier, 1, height, width]
            height, width, channels, multiplier = kernel.shape
            kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        else:
            kernel = kernel.transpose(3, 2, 0, 1)
        after = next((_SIMPLE[f] for f in fused if f != "BiasAdd"), None)
        result = f"{name}:linear" if after else name
        step = Step(
            "convolution",
            result,
            (self.read(source),),
            kernel=np.ascontiguousarray(kernel),
            bias=self.weights[rest[0]] if "BiasAdd" in fused else None,
            groups=len(kernel) if depthwise else 1,
            stride=strides[1],
            same=_text(attributes["padding"]["s"]) == "SAME",
        )
        self.steps.append(step)
        if after:
            self.steps.append(Step(after, name, (result,)))
        return str(name)


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def _texts(attribute: dict[str, Any]) -> list[str]:
    return [_text(s) for s in attribute.get("list", {}).get("s", [])]


def _numbers(attribute: dict[str, Any]) -> list[int]:
    return [int(i) for i in attribute["list"]["i"]]


class TorchNetwork:
    """A graph as a function by torch alone: float32 [1, 3, height, width] -> float32 [1, channels, h, w] per output."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._constants = {name: torch.from_numpy(value) for name, value in graph.constants.items()}
        self._kernels = {step.name: _kernel(step) for step in graph.steps if step.kernel is not None}
        self._last_use = {name: step.name for step in graph.steps for name in step.inputs}

    @torch.inference_mode()
    def __call__(self, picture: Array) -> list[Array]:
        start = torch.from_numpy(picture).contiguous(memory_format=torch.channels_last)
        values = {**self._constants, self._graph.input: start}
        for step in self._graph.steps:
            values[step.name] = self._run(step, [values[name] for name in step.inputs])
            for name in set(step.inputs) - set(self._graph.outputs):
                if self._last_use[name] == step.name:
                    del values[name]
        return [values[name].contiguous().numpy() for name in self._graph.outputs]

    def _run(self, step: Step, values: list[Tensor]) -> Tensor:
        if step.operation == "convolution":
            kernel, bias = self._kernels[step.name]
            padded, padding = _padded(values[0], kernel, step.stride) if step.same else (values[0], 0)
            return F.conv2d(padded, kernel, bias, step.stride, padding, 1, step.groups)
        return _run_simple(step.operation, values)


def _run_simple(operation: str, values: list[Tensor]) -> Tensor:
    match operation:
        case "add":
            return values[0] + values[1]
        case "multiply":
            return values[0] * values[1]
        case "relu":
            return F.relu(values[0])
        case "relu6":
            return F.relu6(values[0])
        case "sigmoid":
            return torch.sigmoid(values[0])
        case "mean":
            return values[0].mean((2, 3), keepdim=True)
        case "concatenate":
            return torch.cat(values, 1)
        case _:
            return _doubled(_doubled(values[0], 2), 3)


def _kernel(step: Step) -> tuple[Tensor, Tensor | None]:
    kernel = torch.from_numpy(step.kernel).contiguous(memory_format=torch.channels_last)
    return kernel, None if step.bias is None else torch.from_numpy(step.bias)


def _padded(picture: Tensor, kernel: Tensor, stride: int) -> tuple[Tensor, int]:
    """SAME padding: the odd one goes below and to the right. Returns the picture and the padding still to be done."""
    if stride == 1 and kernel.shape[2] == kernel.shape[3] and kernel.shape[2] % 2:
        return picture, kernel.shape[2] // 2
    pads: list[int] = []
    for size, width in zip(reversed(picture.shape[2:]), reversed(kernel.shape[2:]), strict=True):
        total = max((-(-size // stride) - 1) * stride + width - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(picture, pads) if any(pads) else picture, 0


def _doubled(picture: Tensor, dim: int) -> Tensor:
    """Bilinear doubling along one side: every pixel, and after it the mean with the next one (the last with itself)."""
    size = picture.shape[dim]
    following = torch.cat([picture.narrow(dim, 1, size - 1), picture.narrow(dim, size - 1, 1)], dim)
    return torch.stack([picture, (picture + following) / 2], dim + 1).flatten(dim, dim + 1)
