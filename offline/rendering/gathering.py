"""Rows of a table by number, with a gradient that is summed in the same order every time."""

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

__all__ = ["rows_of", "sums_of"]


def rows_of(
    index: Int32[Tensor, "*item"] | Int64[Tensor, "*item"], table: Float[Tensor, "row column"]
) -> Float[Tensor, "*item column"]:
    """Return `table[index]`.

    The gradient of `embedding` is summed in a fixed order on CUDA, where that of `index_select` is
    not; on the CPU both are, and that of `index_select` is two to five times as fast.
    """
    if table.is_cuda:
        return torch.nn.functional.embedding(index, table)
    # By numbers of 64 bits: for those of 32 the sum takes a way that is four times as slow.
    return table.index_select(0, index.reshape(-1).long()).view(*index.shape, table.shape[1])


def sums_of(
    index: Int64[Tensor, " item"], values: Float[Tensor, "item column"], rows: int
) -> Float[Tensor, "{rows} column"]:
    """Return the sum of the values of each row: the reverse of `rows_of`, as reproducible."""
    sums = values.new_zeros(rows, values.shape[1])
    if values.is_cuda:
        return sums.index_put((index,), values, accumulate=True)
    return sums.index_add(0, index, values)
