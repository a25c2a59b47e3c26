"""IWAE and FAE against their definitions."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from vaebench.data.spec import DataSpec
from vaebench.distributions import Gaussian, StandardNormal
from vaebench.objectives.fae import FAE
from vaebench.objectives.iwae import IWAE
from vaebench.terms import Terms
from vaebench.testing import latent_model

SPEC = DataSpec("toy", (1, 2, 3), "binary", None)
GAUSSIAN: Any = SimpleNamespace(has_gaussian_posterior=True)
STEP = torch.zeros((), dtype=torch.int64)
LOGVAR = torch.tensor([0.25, 0.5, 1.0, 0.125]).log().expand(3, 4)  # J_d = 4, 2, 1, 8 at every datum


def terms_of(num_samples: int) -> tuple[Terms, torch.nn.Module]:
    torch.manual_seed(0)
    model = latent_model(SPEC, 3, depth=1)
    return model.terms((torch.rand(50, 1, 2, 3) < 0.5).float(), num_samples), model


def test_iwae_with_one_sample_is_the_elbo_with_the_kl_by_monte_carlo() -> None:
    terms, model = terms_of(1)
    loss = IWAE(10, model, num_samples=1)(terms, STEP, model)  # type: ignore[arg-type]
    torch.testing.assert_close(loss.total, -terms.log_w.mean())


def test_iwae_is_the_log_of_the_mean_weight_and_rises_with_k() -> None:
    bounds = []
    for k in (1, 5, 50, 500):
        terms, model = terms_of(k)
        bound = IWAE(10, model, num_samples=k)(terms, STEP, model).parts["bound"]  # type: ignore[arg-type]
        torch.testing.assert_close(
            bound.detach(), terms.log_w.detach().double().exp().mean(0).log().mean().float()
        )
        bounds.append(float(bound.detach()))
    assert bounds == sorted(bounds)


def fae(reading: str, fisher: float) -> tuple[Tensor, Tensor]:
    """Loss and its penalty-free part on a posterior of known Fisher information."""
    q = Gaussian(torch.zeros(3, 4), LOGVAR)
    terms = Terms(torch.full((1, 3), -2.0), torch.zeros(1, 3, 4), q, StandardNormal(4, torch.zeros(())))
    knobs = {"beta": 1.0, "warmup_epochs": 0.0, "free_bits": 0.0, "num_samples": 1}
    loss = FAE(10, GAUSSIAN, fisher=fisher, weight=0.5, reading=reading, **knobs)(terms, STEP, None)  # type: ignore[arg-type]
    return loss.total, -loss.parts["elbo"]


@pytest.mark.parametrize(
    ("reading", "fisher", "penalty"),
    [
        ("mean", 20.0, 20 - 15 / 4),
        ("mean", 0.0, 15 / 4),
        ("trace", 20.0, 20 - 15),
        ("per_dim_sum", 3.0, 1 + 1 + 2 + 5),
        ("per_dim_mean", 3.0, 9 / 4),
    ],
)
def test_fae_penalty_in_its_four_readings(reading: str, fisher: float, penalty: float) -> None:
    total, without = fae(reading, fisher)
    assert math.isclose(float(total - without), 0.5 * penalty, rel_tol=1e-5)
