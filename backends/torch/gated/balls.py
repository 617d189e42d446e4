"""The unit balls of the attacks' norms, on tensors: nearest points and dual norms."""

import torch
from torch import Tensor

from cvxrobust.core.attacks.relu_bounds import Norm


def dual_norm(G: Tensor, norm: Norm) -> Tensor:
    """The dual norm of an attack's norm, along the last axis."""
    if norm == "inf":
        return G.abs().sum(-1)
    found: Tensor = G.norm(dim=-1) if norm == 2 else G.abs().amax(-1)
    return found


def into_ball(P: Tensor, norm: Norm) -> Tensor:
    """The nearest points of the unit ball of an attack's norm."""
    if norm == "inf":
        return P.clamp(-1.0, 1.0)
    if norm == 2:
        found: Tensor = P / P.norm(dim=-1, keepdim=True).clamp_min(1.0)
        return found
    size = P.abs()
    ordered = size.sort(dim=-1, descending=True).values
    excess = (ordered.cumsum(-1) - 1.0) / torch.arange(1, P.shape[-1] + 1, dtype=P.dtype, device=P.device)
    # The largest of these is the threshold (Held, Wolfe and Crowder 1974, Math. Program. 6).
    return P.sign() * (size - excess.amax(-1, keepdim=True).clamp_min(0.0)).clamp_min(0.0)
