"""The ELBO's other warm-ups: where they start, how they rise, and what they weigh."""

import math

import pytest
import torch

from tests.objectives.test_objectives import MODEL, kl_of, make_terms
from vaebench.objectives.annealed_elbo import AnnealedELBO

KNOBS = {"beta": 1.0, "warmup_epochs": 2.0, "free_bits": 0.0, "num_samples": 1}


def annealed(**knobs: object) -> AnnealedELBO:
    return AnnealedELBO(10, MODEL, **(KNOBS | knobs))  # type: ignore[arg-type]


def test_linear_warmup_rises_from_its_start_and_stays_at_one():
    steps = torch.tensor([0, 5, 10, 20, 10_000])
    found = torch.vmap(annealed(start=0.1, shape="linear").warmup)(steps)
    torch.testing.assert_close(found, torch.tensor([0.1, 0.325, 0.55, 1.0, 1.0]))


def test_exponential_warmup_nears_one_by_a_factor_e_in_each_of_its_times():
    steps = torch.tensor([0, 20, 40])
    found = torch.vmap(annealed(start=0.0, shape="exponential").warmup)(steps)
    torch.testing.assert_close(found, torch.tensor([0.0, 1 - math.exp(-1), 1 - math.exp(-2)]))


@pytest.mark.parametrize(("shape", "steps"), [("linear", 20), ("exponential", 60)])
def test_patience_begins_when_the_warmup_is_as_good_as_over(shape, steps):
    objective = annealed(start=0.0, shape=shape)
    assert objective.warmup_steps == steps
    assert objective.warmup(torch.tensor(steps)) >= 0.95


def test_the_warmup_weighs_the_kl_beside_beta():
    terms = make_terms()
    loss = annealed(start=0.1, shape="linear", beta=2.0)(terms, torch.tensor(10), MODEL)
    expected = 2 * 0.55 * kl_of(terms.q).sum(1).mean() - terms.log_px_z.mean()
    torch.testing.assert_close(loss.total, expected)
