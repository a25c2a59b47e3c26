"""Descent with momentum, and its two derivatives: against matrix powers, autograd and each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from vaebench.posteriors.descent import Descent
from vaebench.posteriors.second_derivatives import Energy

SHAPE = (2, 3, 2)  # as mean and log variance of three data
NUM = 12


def descent(clip: Callable[[Tensor], Tensor] = lambda slope: slope, **options: Any) -> Descent:
    return Descent(**({"num_steps": 6, "lr": 0.3, "momentum": 0.5, "clip": clip} | options))


def clip_to(longest: float) -> Callable[[Tensor], Tensor]:
    """Each of the two parts by itself."""
    return lambda slope: slope * (longest / slope.norm(dim=(1, 2), keepdim=True)).clamp(max=1)


unit_clip = clip_to(1.0)


def short(part: Tensor, longest: float) -> Tensor:
    return part * min(1.0, longest / float(part.detach().norm()))


def both(plan: Descent) -> list[Callable[..., Tensor]]:
    """The two ways to a gradient in the start, of an energy that has no weights."""
    return [
        lambda energy, start: plan.unrolled(energy, start, []),
        lambda energy, start: plan.by_differences(energy, start, [], 1e-5),
    ]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic(matrix: Tensor, shift: Tensor) -> Energy:
    """x'Ax / 2 - x'b of the symmetric part of a matrix, another one at each step."""

    def energy(point: Tensor, step: int) -> Tensor:
        x, curvature = point.flatten(), (matrix + matrix.T) / 2
        return 0.5 * x @ curvature @ x * (1 + 0.1 * step) - x @ shift

    return energy


def waves(weight: Tensor) -> Energy:
    """Nothing about it is quadratic, neither in the point nor in the weight."""
    return lambda point, step: (torch.sin(weight @ point.flatten() + step) * weight.sum(1).tanh()).sum()


def gradients(run: Callable[..., Tensor], start: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Of a scalar that tells the coordinates of the end apart."""
    return torch.autograd.grad((run(start) * random(*SHAPE, seed=9)).sum().sin(), (start, *weights))


def test_velocity_and_point_are_powers_of_a_matrix_on_a_parabola() -> None:
    """E = a x^2 / 2: (x, v) -> ((1 - lr a) x + lr m v, -a x + m v)."""
    a, lr, m = 0.7, 0.3, 0.5
    matrix = torch.tensor([[1 - lr * a, lr * m], [-a, m]], dtype=torch.float64)
    start = random(*SHAPE)
    for num_steps in (0, 1, 2, 7):
        power = torch.linalg.matrix_power(matrix, num_steps)
        plan = descent(num_steps=num_steps)
        for run in (plan.end, *both(plan)):
            end = run(lambda x, _: 0.5 * a * x.square().sum(), start.clone())
            torch.testing.assert_close(end, start * power[0, 0])
    start.requires_grad_()
    for run in both(plan):
        (slope,) = torch.autograd.grad(run(lambda x, _: 0.5 * a * x.square().sum(), start).sum(), start)
        torch.testing.assert_close(slope, torch.full(SHAPE, float(power[0, 0]), dtype=torch.float64))


@pytest.mark.parametrize("clip", [lambda slope: slope, unit_clip], ids=["free", "clipped"])
def test_differences_agree_with_unrolling_on_a_quadratic(clip: Callable[[Tensor], Tensor]) -> None:
    matrix, shift = random(NUM, NUM, seed=1).requires_grad_(), random(NUM, seed=2).requires_grad_()
    start, energy, plan = random(*SHAPE).requires_grad_(), quadratic(matrix, shift), descent(clip)
    weights = [matrix, shift]
    exact = gradients(lambda x: plan.unrolled(energy, x, weights), start, *weights)
    found = gradients(lambda x: plan.by_differences(energy, x, weights, 1e-5), start, *weights)
    for a, b in zip(found, exact, strict=True):
        assert float(b.abs().max()) > 0.01
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("clip", [lambda slope: slope, unit_clip], ids=["free", "clipped"])
def test_both_have_the_slope_of_the_end(clip: Callable[[Tensor], Tensor]) -> None:
    """Against differences of whole descents."""
    weight, start = random(4, NUM).requires_grad_(), random(*SHAPE, seed=3).requires_grad_()
    plan = descent(clip, num_steps=4)
    assert gradcheck(lambda x, w: plan.unrolled(waves(w), x, [w]), (start, weight))
    exact = gradients(lambda x: plan.unrolled(waves(weight), x, [weight]), start, weight)
    found = gradients(lambda x: plan.by_differences(waves(weight), x, [weight], 1e-6), start, weight)
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)


def test_the_way_back_is_clipped_before_every_step_in_both() -> None:
    """By hand, from the matrix of a quadratic whose exact gradient explodes: H = 9 I, K = 3, no momentum."""
    start = random(*SHAPE).requires_grad_()
    plan = descent(num_steps=3, lr=1.0, momentum=0.0, clip_back=2.5)
    energy: Energy = lambda x, _: 4.5 * x.square().sum()  # noqa: E731
    expected = torch.ones(SHAPE, dtype=torch.float64)
    for _ in range(3):
        expected = short((1 - 9) * expected, 2.5)
    for run in both(plan):
        (slope,) = torch.autograd.grad(run(energy, start).sum(), start)
        torch.testing.assert_close(slope, expected, rtol=1e-5, atol=1e-6)
    (exact,) = torch.autograd.grad(
        descent(num_steps=3, lr=1.0, momentum=0.0).unrolled(energy, start, []).sum(), start
    )
    torch.testing.assert_close(exact, torch.full(SHAPE, -512.0, dtype=torch.float64))


def test_what_a_step_adds_to_the_weights_is_clipped_all_together() -> None:
    """By hand: E = (a . x)^2 / 2 + b . x, whose slope is (a . x) a + b; two steps, lr 1, no momentum."""
    a, b = random(NUM, seed=1).requires_grad_(), random(NUM, seed=2).requires_grad_()
    start, longest = random(*SHAPE).requires_grad_(), 0.8
    plan = descent(num_steps=2, lr=1.0, momentum=0.0, clip_back=longest)
    energy: Energy = lambda x, _: 0.5 * (a @ x.flatten()).square() + b @ x.flatten()  # noqa: E731
    with torch.no_grad():
        x = [start.flatten()]
        for _ in range(2):
            x.append(x[-1] - (a @ x[-1]) * a - b)
        back, of_weights = torch.ones(NUM, dtype=torch.float64), torch.zeros(2 * NUM, dtype=torch.float64)
        for point in (x[1], x[0]):
            added = torch.cat([(a @ point) * back + (a @ back) * point, back])
            assert added.norm() > longest
            of_weights -= short(added, longest)
            back = short(back - (a @ back) * a, longest)
    expected = (back.view(SHAPE), *of_weights.chunk(2))
    for run in (plan.unrolled, partial(plan.by_differences, epsilon=1e-6)):
        found = torch.autograd.grad(run(energy, start, [a, b]).sum(), [start, a, b])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_as_published_is_the_authors_recursion() -> None:
    """Written down again from their code, for a clip that is at work in every step."""
    weight, start, longest, epsilon = random(4, NUM).requires_grad_(), random(*SHAPE, seed=3), 0.7, 1e-4
    energy, lr, momentum, num = waves(weight), 0.3, 0.5, 4
    points, here, velocity = [start], [], torch.zeros(SHAPE, dtype=torch.float64)
    for k in range(num):
        point = points[-1].clone().requires_grad_()
        of_x, of_weight = torch.autograd.grad(energy(point, k), (point, weight))
        here.append((torch.stack([short(part, longest) for part in of_x]), of_weight))
        velocity = momentum * velocity - here[-1][0]
        points.append(points[-1] + lr * velocity)
    of_end = random(*SHAPE, seed=9)
    back, carried, total = of_end, torch.zeros(SHAPE, dtype=torch.float64), torch.zeros_like(weight)
    for k in reversed(range(num)):
        carried = carried + lr * back
        point = (points[k] + epsilon * carried).requires_grad_()
        beside = torch.cat([g.flatten() for g in torch.autograd.grad(energy(point, k), (point, weight))])
        assert beside.norm() > longest
        of_x, of_weight = short(beside, longest).split([NUM, weight.numel()])
        total = total - short((of_weight.view_as(weight) - here[k][1]) / epsilon, longest)
        back = short(back - (of_x.view(SHAPE) - here[k][0]) / epsilon, longest)
        carried = momentum * carried
    plan = descent(clip_to(longest), num_steps=num, lr=lr, momentum=momentum, clip_back=longest)
    x = start.clone().requires_grad_()
    end = plan.as_published(energy, x, [weight], epsilon)
    torch.testing.assert_close(end.detach(), points[-1])
    found = torch.autograd.grad((end * of_end).sum(), (x, weight))
    torch.testing.assert_close(found, (back, total.detach()), rtol=1e-5, atol=1e-7)
    # What the start learns from is little else than the energy's slope there.
    assert torch.cosine_similarity(found[0].flatten(), here[0][0].flatten(), 0) > 0.8


def test_as_published_is_by_differences_where_nothing_is_clipped() -> None:
    weight, start = random(4, NUM).requires_grad_(), random(*SHAPE, seed=3).requires_grad_()
    plan = descent(num_steps=4, clip_back=1e6)
    runs = [partial(run, epsilon=1e-5) for run in (plan.as_published, plan.by_differences)]
    found, expected = (
        gradients(lambda x, run=run: run(waves(weight), x, [weight]), start, weight) for run in runs
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["unrolled", "by_differences"])
def test_a_weight_that_the_energy_does_not_read_gets_zero(mode: str) -> None:
    weight, unread = random(4, NUM).requires_grad_(), random(2).requires_grad_()
    run = getattr(descent(), mode)
    options = {"epsilon": 1e-5} if mode == "by_differences" else {}
    end = run(waves(weight), random(*SHAPE), [weight, unread], **options)
    of_weight, of_unread = torch.autograd.grad(end.sum(), [weight, unread])
    assert of_weight.abs().min() > 0
    assert torch.equal(of_unread, torch.zeros(2, dtype=torch.float64))


def test_an_exact_gradient_can_be_asked_for_twice() -> None:
    """As an objective with an optimiser of its own does."""
    weight, start = random(4, NUM).requires_grad_(), random(*SHAPE).requires_grad_()
    end = descent().unrolled(waves(weight), start, [weight]).sum()
    (once,) = torch.autograd.grad(end, weight, retain_graph=True)
    (again,) = torch.autograd.grad(end, weight)
    assert torch.equal(once, again)


def test_the_end_alone_is_the_same_and_has_no_graph() -> None:
    weight, start = random(4, NUM).requires_grad_(), random(*SHAPE).requires_grad_()
    with torch.no_grad():
        end = descent(unit_clip).end(waves(weight), start)
    assert not end.requires_grad
    assert weight.grad is None
    torch.testing.assert_close(end, descent(unit_clip).unrolled(waves(weight), start, [weight]).detach())
