"""Score function of an implicit (flow) posterior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def push_with_score(q: Any, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return z = push(noise) `[S, B, D]`, log q(z|x) `[S, B]` and the score grad_z log q(z|x) `[S, B, D]`.

    The score is (dz/dnoise)^-T grad_noise log q(z(noise)), with the full D x D Jacobian of each sample. It
    takes D backward passes and no inverse of the map. The score is detached; z and log q keep their graphs.
    """
    with torch.enable_grad():
        noise = noise.detach().requires_grad_()
        z, log_q = q.push(noise)
        rows = [torch.autograd.grad(unit.sum(), noise, retain_graph=True)[0] for unit in z.unbind(-1)]
        (slope,) = torch.autograd.grad(log_q.sum(), noise, retain_graph=True)
    dtype = slope.dtype if slope.device.type == "mps" else torch.float64  # no float64 there
    jacobian = torch.stack(rows, -2).to(dtype)  # [S, B, D, D]: dz_d / dnoise_e
    score = torch.linalg.solve(jacobian.mT, slope.to(dtype))
    return z, log_q, score.to(slope.dtype)


def log_density_of_draw(q: Any, like: Tensor) -> Tensor:
    """Return log q(z|x) `[B]` at z ~ q(z|x) held fixed; its gradient in q's parameters is their score.

    `like [B, D]` has the shape of z. For a flow posterior, z = push(noise; phi), the total derivative of log
    q also contains (grad_z log q)^T dz/dphi. That term is subtracted, which takes no inverse of the map.
    """
    if hasattr(q, "push"):
        z, log_q, score = push_with_score(q, torch.randn_like(like).unsqueeze(0))
        return (log_q - (score * z).sum(-1))[0]
    return q.log_prob(q.rsample(1).detach())[0]
