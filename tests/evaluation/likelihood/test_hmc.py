"""Leapfrog and HMC on densities whose energies and moments are known, in float64."""

import pytest
import torch
from torch import Tensor

from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.likelihood.hmc import Densities, Point, evaluate, leapfrog, transition

BETA = 0.7
PRECISION = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)


def gaussian(z: Tensor) -> tuple[Tensor, Tensor]:
    """Base N(0, I), ratio a Gaussian factor: f_beta is Gaussian of precision I + beta P."""
    away = z - MEAN
    return -0.5 * z.square().sum(-1), -0.5 * torch.einsum("kbi,ij,kbj->kb", away, PRECISION, away)


def quartic(z: Tensor) -> tuple[Tensor, Tensor]:
    return -0.5 * z.square().sum(-1), -z.pow(4).sum(-1)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def target_moments() -> tuple[Tensor, Tensor]:
    covariance = torch.linalg.inv(torch.eye(2, dtype=torch.float64) + BETA * PRECISION)
    return covariance @ (BETA * PRECISION @ MEAN), covariance


def energy(densities: Densities, z: Tensor, momentum: Tensor) -> Tensor:
    base, ratio = densities(z)
    return 0.5 * momentum.square().sum(-1) - base - BETA * ratio


def steps(size: float, num_data: int = 1) -> Tensor:
    return torch.full((num_data,), size, dtype=torch.float64)


@pytest.mark.parametrize("densities", [gaussian, quartic])
def test_the_point_has_the_gradient_of_each_part(densities):
    z = draw(3, 4, 2)
    point = evaluate(densities, z)
    eps = 1e-6
    for unit in range(2):
        shift = eps * torch.eye(2, dtype=torch.float64)[unit]
        upper, lower = densities(z + shift), densities(z - shift)
        for part, grad in enumerate((point.base_grad, point.ratio_grad)):
            torch.testing.assert_close(grad[..., unit], (upper[part] - lower[part]) / (2 * eps))
    torch.testing.assert_close(point.gradient(BETA), point.base_grad + BETA * point.ratio_grad)
    torch.testing.assert_close(-point.log_density(BETA), energy(densities, z, torch.zeros_like(z)))


@pytest.mark.parametrize("densities", [gaussian, quartic])
def test_leapfrog_goes_back_where_it_came_from(densities):
    point, momentum = evaluate(densities, draw(5, 3, 2)), draw(5, 3, 2, seed=1)
    step = torch.tensor([[0.1], [0.2], [0.05]], dtype=torch.float64)
    end, turned = leapfrog(densities, point, momentum, BETA, step, 9)
    assert (end.z - point.z).abs().min() > 1e-4
    back, original = leapfrog(densities, end, -turned, BETA, step, 9)
    torch.testing.assert_close(back.z, point.z)
    torch.testing.assert_close(-original, momentum)


@pytest.mark.parametrize("densities", [gaussian, quartic])
def test_the_energy_error_falls_with_the_square_of_the_step(densities):
    """At the same trajectory length; a half step too many or too few at either end makes it linear."""
    point, momentum = evaluate(densities, draw(50, 1, 2)), draw(50, 1, 2, seed=1)
    before = energy(densities, point.z, momentum)
    errors = []
    for num in (16, 32, 64):
        end, final = leapfrog(densities, point, momentum, BETA, steps(0.8 / num).unsqueeze(-1), num)
        errors.append(float((energy(densities, end.z, final) - before).square().mean().sqrt()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.08)


def test_leapfrog_is_the_motion_of_a_harmonic_oscillator():
    """z(t) = z cos t + p sin t under N(0, I)."""
    point, momentum = evaluate(gaussian, draw(4, 1, 2)), draw(4, 1, 2, seed=1)
    end, _ = leapfrog(gaussian, point, momentum, 0.0, steps(1e-3).unsqueeze(-1), 1000)
    time = torch.tensor(1.0, dtype=torch.float64)
    exact = point.z * time.cos() + momentum * time.sin()
    torch.testing.assert_close(end.z, exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("exact_start", [True, False])
def test_a_gaussian_target_is_left_invariant_and_is_found(exact_start):
    """With steps so large that a third of the proposals is refused."""
    mean, covariance = target_moments()
    num = 20_000
    z = draw(num, 1, 2)
    if exact_start:
        z = mean + z @ torch.linalg.cholesky(covariance).T
    generator = torch.Generator().manual_seed(5)
    point = evaluate(gaussian, z)
    for _ in range(6 if exact_start else 30):
        point, acceptance = transition(gaussian, point, BETA, steps(1.05), 3, generator)
    assert 0.5 < acceptance.mean() < 0.85
    z = point.z[:, 0]
    std = covariance.diagonal().sqrt()
    assert ((z.mean(0) - mean).abs() < 4 * std / num**0.5).all()
    # Var of a sample covariance: (C_ii C_jj + C_ij^2) / N
    error = ((torch.outer(std, std).square() + covariance.square()) / num).sqrt()
    assert ((torch.cov(z.T) - covariance).abs() < 4 * error).all()


def test_a_target_that_is_not_gaussian_is_left_invariant():
    """Its exact draws, and its moments, are from a grid."""
    grid = torch.linspace(-5, 5, 20_001, dtype=torch.float64)
    weights = torch.softmax(-0.5 * grid.square() - BETA * grid.pow(4), 0)
    second, fourth = ((weights * grid.pow(n)).sum() for n in (2, 4))
    generator = torch.Generator().manual_seed(5)
    num = 20_000
    z = grid[torch.multinomial(weights, num, replacement=True, generator=generator)]
    point = evaluate(quartic, z.view(num, 1, 1))
    for _ in range(10):
        point, acceptance = transition(quartic, point, BETA, steps(0.9), 2, generator)
    assert 0.4 < acceptance.mean() < 0.9
    error = ((fourth - second**2) / num) ** 0.5
    assert abs(point.z.square().mean() - second) < 4 * error
    assert abs(point.z.mean()) < 4 * (second / num) ** 0.5


def test_acceptance_is_the_metropolis_ratio_and_the_fraction_that_moves():
    point = evaluate(gaussian, draw(5000, 2, 2))
    step = torch.tensor([1.2, 0.6], dtype=torch.float64)
    moved, acceptance = transition(gaussian, point, BETA, step, 2, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    momentum = torch.randn(point.z.shape, generator=generator, dtype=torch.float64)
    z, p = point.z, momentum
    size = step.unsqueeze(-1)
    for _ in range(2):  # one velocity Verlet step at a time, its gradients by autograd
        p = p - 0.5 * size * slope(z)
        z = z + size * p
        p = p - 0.5 * size * slope(z)
    change = energy(gaussian, z, p) - energy(gaussian, point.z, momentum)
    torch.testing.assert_close(acceptance, torch.exp(-change).clamp(max=1))
    has_moved = (moved.z != point.z).any(-1)
    torch.testing.assert_close(moved.z[has_moved], z[has_moved])
    rate = acceptance.mean(0)
    assert rate[1] > rate[0] + 0.05  # the step sizes are each datum's own
    assert ((has_moved.double().mean(0) - rate).abs() < 4 * 0.5 / 5000**0.5).all()
    fresh = evaluate(gaussian, moved.z)
    for name, value in vars(moved).items():
        torch.testing.assert_close(value, getattr(fresh, name))


def slope(z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(energy(gaussian, z, torch.zeros_like(z)).sum(), z)[0]


def test_a_trajectory_that_diverges_is_refused():
    def broken(z: Tensor) -> tuple[Tensor, Tensor]:
        base, ratio = gaussian(z)
        return base, torch.where(z.abs().sum(-1) > 50, torch.nan, ratio)

    point = evaluate(broken, draw(10, 1, 2))
    moved, acceptance = transition(broken, point, BETA, steps(1000.0), 2)
    assert torch.equal(acceptance, torch.zeros_like(acceptance))
    for name, value in vars(moved).items():
        assert torch.equal(value, getattr(point, name))


def test_parameters_get_no_gradient_and_a_density_without_one_is_not_applicable():
    scale = torch.nn.Parameter(torch.ones(()))

    def scaled(z: Tensor) -> tuple[Tensor, Tensor]:
        return -z.square().sum(-1), -scale * z.square().sum(-1)

    with torch.no_grad():
        point: Point = evaluate(scaled, draw(2, 1, 2))
    assert scale.grad is None
    assert not any(value.requires_grad for value in vars(point).values())
    with pytest.raises(NotApplicableError, match="no gradient in z"):
        evaluate(lambda z: (-z.square().sum(-1), torch.zeros(z.shape[:2])), draw(2, 1, 2))
    with pytest.raises(NotApplicableError, match="discrete"):
        evaluate(scaled, torch.zeros(2, 1, 2, dtype=torch.int64))
