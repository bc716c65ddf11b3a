"""ONNX: loading and running a network with onnxruntime, one photo at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from embedder.errors import MissingExtraError
from embedder.litert import Port

_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


class Onnx:
    """A network that is loaded; for any number of threads.

    Attributes:
        inputs: what goes in.
        outputs: what comes out.
    """

    def __init__(self, content: bytes, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("running ONNX networks", "onnx") from None
        options = onnxruntime.SessionOptions()
        # Photos run in parallel, each on a thread of the caller.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Weights in other files would be looked for in the working folder, and could be exchanged
        # without its hash telling. There is none below a file.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(path)
        )
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.inputs, self.outputs = (tuple(map(_port, some)) for some in (inputs, outputs))
        self._input, self._output = (some[0].name if some else "" for some in (inputs, outputs))

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What comes out first, for what goes in first, both with a batch of one."""
        found: npt.NDArray[Any] = self._session.run([self._output], {self._input: tensor})[0]
        return found


def _port(tensor: Any) -> Port:
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in tensor.shape)
    return Port(_DTYPES.get(tensor.type, tensor.type), shape)
