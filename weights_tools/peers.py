"""The same network in other runtimes, to compare speeds with.  Each is imported when asked for.

A peer gets our graph with batch norm folded and our parameters; ``bind`` does outside the clock
what only a benchmark has to do (another layout of the picture), and returns what is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from minimix.arrays import Array
from minimix.errors import UsageError
from minimix.graph import Graph
from minimix.params import Params
from minimix.passes import fold_batchnorm
from weights_tools.export_onnx import INPUT, onnx_model

Bound = Callable[[], Array]
"""Computes the logits of the pictures that it was made for."""

FLOAT32_BUDGET = 1e-3
"""Largest |difference| of a logit from ours, as a share of the largest |logit|."""

BFLOAT16_BUDGET = 0.1
"""The same where a peer computes in bfloat16, which keeps 8 bits of each number."""


class Peer(Protocol):
    """A runtime that has loaded the network.

    Attributes:
        version: of its package.
        budget: how far its logits may be from ours.
    """

    version: str
    budget: float

    def bind(self, x: Array) -> Bound:
        """(N, H, W, 3) float32 -> what computes their logits, (N, classes)."""


def _nchw(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)


class OnnxRuntime:
    """ONNX Runtime on the CPU, every graph optimisation on."""

    budget = FLOAT32_BUDGET

    def __init__(self, graph: Graph, params: Params, size: int, threads: int) -> None:
        onnxruntime = import_module("onnxruntime")
        self.version = version("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        model = onnx_model(graph, params, size, size).SerializeToString()
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    def bind(self, x: Array) -> Bound:
        """One run of the session for the whole batch."""
        feeds = {INPUT: _nchw(x)}

        def run() -> Array:
            (logits,) = self._session.run(None, feeds)
            return np.asarray(logits)

        return run


class OpenVino:
    """OpenVINO's CPU plugin: tuned for latency, or for throughput with a stream per thread.

    One picture at a time goes through one stream on all threads.  A batch goes through up to two
    streams, picture by picture, which is faster than one request for all of them.
    """

    def __init__(
        self, graph: Graph, params: Params, size: int, threads: int, precision: str = "f32"
    ) -> None:
        openvino = import_module("openvino")
        self.version = version("openvino")
        self.budget = FLOAT32_BUDGET if precision == "f32" else BFLOAT16_BUDGET
        self._openvino, self._threads, self._precision = openvino, threads, precision
        core = openvino.Core()
        model = core.read_model(onnx_model(graph, params, size, size).SerializeToString())
        model.reshape({INPUT: [1, graph.input.channels, size, size]})
        self._core, self._model = core, model
        self._bound: list[Array] = []  # a shared tensor does not keep its array alive

    def _compile(self, hint: str, streams: int) -> Any:
        settings = {
            "PERFORMANCE_HINT": hint,
            "INFERENCE_NUM_THREADS": str(self._threads),
            "NUM_STREAMS": str(streams),
            "INFERENCE_PRECISION_HINT": self._precision,
        }
        return self._core.compile_model(self._model, "CPU", settings)

    def bind(self, x: Array) -> Bound:
        """A synchronous request for one picture, a queue of requests for several."""
        nchw = _nchw(x)
        return self._bind_one(nchw) if len(x) == 1 else self._bind_several(nchw)

    def _bind_one(self, nchw: Array) -> Bound:
        request = self._compile("LATENCY", 1).create_infer_request()
        request.set_input_tensor(self._openvino.Tensor(nchw, shared_memory=True))

        def run() -> Array:
            request.infer()
            return np.array(request.get_output_tensor().data)

        self._bound.append(nchw)
        return run

    def _bind_several(self, nchw: Array) -> Bound:
        streams = min(2, self._threads)
        queue = self._openvino.AsyncInferQueue(self._compile("THROUGHPUT", streams), streams)
        pictures = [self._openvino.Tensor(picture[None], shared_memory=True) for picture in nchw]
        rows: dict[int, Array] = {}

        def keep(request: Any, n: int) -> None:
            rows[n] = np.array(request.get_output_tensor().data[0])

        queue.set_callback(keep)

        def run() -> Array:
            for n, picture in enumerate(pictures):
                queue.start_async({INPUT: picture}, n)
            queue.wait_all()
            return np.stack([rows[n] for n in range(len(pictures))])

        self._bound.append(nchw)
        return run


class OpenVinoBfloat16(OpenVino):
    """OpenVINO computing in bfloat16, where the processor does: faster, and less exact."""

    def __init__(self, graph: Graph, params: Params, size: int, threads: int) -> None:
        super().__init__(graph, params, size, threads, "bf16")


class Torch:
    """PyTorch, channels last, in inference mode: our graph as a module."""

    budget = FLOAT32_BUDGET

    def __init__(self, graph: Graph, params: Params, size: int, threads: int) -> None:
        self._torch = import_module("torch")
        from weights_tools.torch_net import TorchNet

        self.version = version("torch")
        self._torch.set_num_threads(threads)
        net = TorchNet(graph, size)
        net.load_params(params)
        self._net = net.eval().to(memory_format=self._torch.channels_last)

    def bind(self, x: Array) -> Bound:
        """One call of the module; (N, H, W, C) in memory is what channels last means."""
        picture = self._torch.from_numpy(np.array(x, np.float32)).permute(0, 3, 1, 2)

        def run() -> Array:
            with self._torch.inference_mode():
                return np.asarray(self._net(picture).numpy())

        return run


PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "onnx"),
    "openvino-bf16": ("openvino", "onnx"),
    "torch": ("torch",),
}
"""What each peer needs, by the names that pip knows too."""

PEERS: dict[str, Callable[[Graph, Params, int, int], Peer]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "openvino-bf16": OpenVinoBfloat16,
    "torch": Torch,
}
"""Name -> what makes the peer of (graph, params, side of the input in pixels, threads)."""


def check_installed(name: str) -> None:
    """Check that a peer's packages can be imported.

    Raises:
        UsageError: there is no such peer, or a package is missing; says what to install.
    """
    if name not in PEERS:
        raise UsageError(f"no peer {name!r}; known: {', '.join(PEERS)}")
    for package in PACKAGES[name]:
        try:
            import_module(package)
        except ImportError as error:
            raise UsageError(
                f"comparing with {name} needs {package} ({error}): "
                f"pip install {' '.join(PACKAGES[name])}"
            ) from error


def make_peer(name: str, graph: Graph, params: Params, size: int, threads: int) -> Peer:
    """Load a network into a peer.

    Args:
        name: one of ``PEERS``.
        graph: as the zoo builds it; batch norm is folded by our own pass first.
        params: its parameters by full name.
        size: the input's side, in pixels.
        threads: how many it may use.

    Raises:
        UsageError: there is no such peer, or a package is not installed.
    """
    check_installed(name)
    return PEERS[name](*fold_batchnorm(graph, params), size, threads)
