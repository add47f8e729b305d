"""`torch.compile`: the many small steps of a block (bias, GELU, dropout, sum, LayerNorm) fused into few kernels.

Each block is compiled, not the whole model: they are all alike, so the code that is made for the first one serves the
others too. Attention is left as it is, and a block compiled around it: it is a finished kernel already, and on a CPU
its implementation depends on the lengths of the sentences.
"""

from __future__ import annotations

import torch

from ..errors import InputError
from ..model import BertPreTrainedModel


def compile_blocks(model: BertPreTrainedModel) -> None:
    """From now on, this model's blocks run compiled: at their first batches, which takes minutes on a CPU.

    Batches may differ in their numbers of tokens. Dropout draws other random numbers than without compiling.
    Raises `InputError` if a trial shows that nothing can be compiled here.
    """
    try:
        torch.compile(torch.neg)(torch.zeros(2, device=model.device))
    except RuntimeError as error:
        reason = str(getattr(error, "inner_exception", error)).partition("\n")[0].rstrip(".")
        raise InputError(
            f"torch.compile does not work here ({reason}): it needs a C++ compiler, and with a GPU also Triton. "
            "Install them, or leave out --compile."
        ) from error
    encoder = model.base_model
    encoder.attend = torch.compiler.disable(encoder.attend)
    for block in encoder.blocks:
        block.forward = torch.compile(block.forward, dynamic=True)
