"""Weight matrices made ready for few rows at a time.

One call, `pack`, decides how a device multiplies best. On x86 CPUs a matrix is kept in 16 bits in
fbgemm's layout (relative error 2e-4, half the memory traffic); everywhere else it is a plain
linear. The exact form is always the plain one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Matmul = Callable[[Tensor], Tensor]
"""x (R, in) -> (R, out)."""

FP16_MAX = 65504.0


def pack(weight: Tensor, *, exact: bool = False) -> Matmul:
    """A multiplication by `weight` (out, in), transposed as in `nn.Linear`."""
    if not exact and can_pack(weight):
        packed = torch.ops.quantized.linear_prepack_fp16(weight.contiguous(), None)
        multiply = torch.ops.quantized.linear_dynamic_fp16.default
        return lambda x: multiply(x, packed)
    return lambda x: F.linear(x, weight)


def pack_normed(norm: Tensor, weight: Tensor, *, exact: bool) -> tuple[Tensor | None, Matmul]:
    """A multiplication behind an RMSNorm with scale `norm` (in,).

    Where the matrix is packed anyway the scale goes into it, and None is left of the norm.
    """
    if not exact and can_pack(weight):
        return None, pack(weight * norm)
    return norm, pack(weight, exact=True)


def can_pack(weight: Tensor) -> bool:
    """Whether fbgemm is here and takes this matrix."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and "fbgemm" in torch.backends.quantized.supported_engines
        and bool(weight.abs().amax() < FP16_MAX)
    )
