"""The optimizer that Google's BERT was trained with: `AdamWeightDecayOptimizer` in its `optimization.py`.

It is older than PyTorch's AdamW, and differs in three ways. The moments are not corrected for their bias towards 0 at
the beginning, so the first steps are larger: a few times the learning rate. Epsilon is larger, 1e-6. And the
learning rate falls to 0 as if there had been no warm-up: there is a jump where the warm-up ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class AdamWeightDecay(torch.optim.Optimizer):
    """Adam (Kingma & Ba 2015) without bias correction, with decoupled weight decay.

    params: parameters, or groups of them with their own `weight_decay`; see `parameter_groups`.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step, for all parameters that have a gradient. There is no use for a `closure`."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["adam_m"], state["adam_v"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                mean, mean_of_squares = state["adam_m"], state["adam_v"]
                mean.lerp_(parameter.grad, 1 - beta1)
                mean_of_squares.mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
                update = mean / (mean_of_squares.sqrt() + group["eps"]) + group["weight_decay"] * parameter
                parameter.sub_(group["lr"] * update)


def google_schedule(step: int, warmup_steps: int, total_steps: int) -> float:
    """The share of the full learning rate that step number `step` (from 0) takes: `create_optimizer` in that file."""
    return step / warmup_steps if step < warmup_steps else max(0.0, 1 - step / total_steps)
