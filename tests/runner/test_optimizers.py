"""AdamNormGrad by hand, and what its normalisation promises."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from vaebench.runner.optimizers import adam_norm_grad

LR, BETAS = 0.1, (0.9, 0.999)
GRADIENTS = (
    (torch.tensor([3.0, 4.0]), torch.tensor([[-2.0]])),
    (torch.tensor([0.0, -5.0]), torch.tensor([[0.5]])),
)


def parameters_of() -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([[0.5]]))]


def optimizer_of(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return adam_norm_grad(parameters, lr=LR, betas=BETAS)


def take_steps(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], *gradients: tuple[Tensor, ...]
) -> None:
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()


def test_two_steps_by_hand() -> None:
    """Unit gradients (0.6, 0.8), -1, then (0, -1), 1; Adam with bias correction after that."""
    parameters = parameters_of()
    take_steps(optimizer_of(parameters), parameters, *GRADIENTS)
    units = (((0.6, 0.0), (0.8, -1.0)), ((-1.0, 1.0),))  # of each number, by step
    for parameter, start, unit in zip(parameters, parameters_of(), units, strict=True):
        expected = []
        for value, (g1, g2) in zip(start.flatten().tolist(), unit, strict=True):
            value -= LR * g1 / (abs(g1) + 1e-8)
            m = (0.9 * 0.1 * g1 + 0.1 * g2) / (1 - 0.9**2)
            v = (0.999 * 0.001 * g1**2 + 0.001 * g2**2) / (1 - 0.999**2)
            expected.append(value - LR * m / (math.sqrt(v) + 1e-8))
        torch.testing.assert_close(parameter.flatten(), torch.tensor(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scales", [(1e-3, 1e-3), (1e4, 1e-2)])
def test_the_scale_of_each_tensors_gradient_is_of_no_account(scales: tuple[float, float]) -> None:
    """Unlike for Adam, whose averages remember it: the scale changes between the two steps."""
    plain, scaled = parameters_of(), parameters_of()
    take_steps(optimizer_of(plain), plain, *GRADIENTS)
    first, second = GRADIENTS
    other = tuple(scale * gradient for scale, gradient in zip(scales, second, strict=True))
    take_steps(optimizer_of(scaled), scaled, first, other)
    for one, two in zip(plain, scaled, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_zero_and_absent_gradients_move_nothing() -> None:
    parameters = parameters_of()
    optimizer = optimizer_of(parameters)
    parameters[0].grad = torch.zeros(2)
    optimizer.step()
    assert parameters[0].grad.tolist() == [0, 0]
    assert [p.tolist() for p in parameters] == [p.tolist() for p in parameters_of()]
    for parameter in parameters:
        parameter.grad = None
    optimizer.step()


def test_frozen_parameters_are_left_out() -> None:
    parameters = parameters_of()
    parameters[1].requires_grad_(False)
    (group,) = optimizer_of(parameters).param_groups
    assert len(group["params"]) == 1
    assert group["params"][0] is parameters[0]


def test_state_goes_through_a_state_dict() -> None:
    whole, cut = parameters_of(), parameters_of()
    take_steps(optimizer_of(whole), whole, *GRADIENTS)
    first = optimizer_of(cut)
    take_steps(first, cut, GRADIENTS[0])
    second = optimizer_of(cut)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    take_steps(second, cut, GRADIENTS[1])
    assert all(torch.equal(one, two) for one, two in zip(whole, cut, strict=True))


def test_a_closures_gradients_are_normalised_and_its_loss_returned() -> None:
    by_closure, by_hand = parameters_of(), parameters_of()
    optimizer = optimizer_of(by_closure)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = 50 * by_closure[0].sum() + by_closure[1].sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 50 * 3 + 0.5  # type: ignore[arg-type, attr-defined]
    take_steps(optimizer_of(by_hand), by_hand, (torch.full((2,), 50.0), torch.ones(1, 1)))
    assert all(torch.equal(one, two) for one, two in zip(by_closure, by_hand, strict=True))
    torch.testing.assert_close(by_closure[0].grad, torch.full((2,), 0.5**0.5))
