"""Tests that each output of a masked network depends on all earlier units and on no others."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.functional import jacobian

from vaebench.networks.made import MADE


def made(dim: int, width: int, reverse: bool, depth: int = 2) -> MADE:
    torch.manual_seed(0)
    return MADE(dim, 3, 2, depth=depth, width=width, activation="tanh", reverse=reverse).double()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dim", "width", "depth"), [(5, 40, 2), (5, 40, 1), (4, 17, 3), (1, 6, 2)])
def test_outputs_depend_on_exactly_the_units_before_theirs(
    dim: int, width: int, depth: int, reverse: bool
) -> None:
    net, z, h = made(dim, width, reverse, depth), torch.randn(1, dim).double(), torch.randn(1, 3).double()
    assert net.order == tuple(range(dim))[:: -1 if reverse else 1]
    before = torch.ones(dim, dim).tril(-1).bool()
    expected = before.flip(0, 1) if reverse else before
    for output in range(2):
        matrix = jacobian(lambda z, output=output: net(z, h)[output], z)[0, :, 0]
        assert torch.equal(matrix != 0, expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_every_output_sees_all_of_the_context(reverse: bool) -> None:
    net, z, h = made(5, 40, reverse), torch.randn(1, 5).double(), torch.randn(1, 3).double()
    for output in range(2):
        assert (jacobian(lambda h, output=output: net(z, h)[output], h)[0, :, 0] != 0).all()


def test_fewer_hidden_than_latent_units_keep_the_order() -> None:
    net, z, h = made(9, 4, False), torch.randn(1, 9).double(), torch.randn(1, 3).double()
    matrix = jacobian(lambda z: net(z, h)[0], z)[0, :, 0]
    assert torch.equal(matrix, matrix.tril(-1))
    assert (matrix[-1] != 0).any()


def test_a_context_serves_all_samples_of_its_datum() -> None:
    net, z, h = made(5, 40, False), torch.randn(2, 4, 5).double(), torch.randn(4, 3).double()
    for both, alone in zip(net(z, h), net(z[1, 2:3], h[2:3]), strict=True):
        torch.testing.assert_close(both[1, 2:3], alone)
