"""The bytes of all tensors that are alive, counted at every operation: what a CPU has in place of
the CUDA allocator's statistics. What a kernel takes for itself is not seen."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

__all__ = ["LiveBytes"]


class LiveBytes(TorchDispatchMode):
    """While it is entered, `peak` is the largest sum of the bytes of living tensors.

    `there`: tensors that are alive already; others are seen when an operation makes them.
    """

    def __init__(self, there: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._sizes: dict[int, int] = {}
        for tensor in there:
            self._see(tensor)

    def reset_peak(self) -> None:
        """Starts a new measurement."""
        self.peak = self.live

    def __torch_dispatch__(
        self,
        operation: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs the operation and looks at its results."""
        result = operation(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._see, result)
        return result

    def _see(self, tensor: Tensor) -> Tensor:
        if tensor.device != torch.device("meta"):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._sizes:
                self._sizes[key] = storage.nbytes()
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._forget, key)
        return tensor

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)
