"""Squared gradients of single data, against torch.func or a backward pass for each datum."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.layers import per_example_gradients as layer_signals
from vaebench.evaluation.layers.fisher_estimates import energies, factored_traces
from vaebench.evaluation.layers.per_example_gradients import num_parameters, recorded
from vaebench.networks.mlp import MLPEncoder
from vaebench.testing import PLAIN

B = 6


class MaskedConv(nn.Conv2d):
    """Each output channel sees its own choice of inputs and pixels."""

    def __init__(self, *sizes: int, **options) -> None:
        super().__init__(*sizes, **options)
        self.register_buffer("mask", torch.rand_like(self.weight).lt(0.6).float())

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)


class CausalConv(nn.Conv2d):
    """Pads by itself: a Conv2d by its class, and not by what it does. The shapes would not tell."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.roll(x, 1, -1))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layers_of(net: nn.Module) -> dict[str, nn.Module]:
    return {
        name: part
        for name, part in net.named_modules()
        if next(part.parameters(recurse=False), None) is not None
    }


def fast(net: nn.Module, layers: dict[str, nn.Module], x: Tensor, log_density) -> dict[str, Tensor]:
    with recorded(layers, len(x)) as recording:
        values = log_density(net(x))
    return {signals.name: signals.squared_gradients() for signals in recording.signals(values)}


def slow(net: nn.Module, layers: dict[str, nn.Module], x: Tensor, log_density) -> dict[str, Tensor]:
    """A backward pass for each datum."""
    norms: dict[str, list[Tensor]] = {name: [] for name in layers}
    for one in x.split(1):
        for name, layer in layers.items():
            gradients = torch.autograd.grad(log_density(net(one)).sum(), list(layer.parameters()))
            mask = getattr(layer, "mask", torch.ones(()))
            norms[name].append(sum((g * (mask if g.ndim > 1 else 1)).square().sum() for g in gradients))
    return {name: torch.stack(values) for name, values in norms.items()}


def by_vmap(net: nn.Module, layers: dict[str, nn.Module], x: Tensor, log_density) -> dict[str, Tensor]:
    parameters = {name: value.detach() for name, value in net.named_parameters()}

    def of_one(weights: dict[str, Tensor], one: Tensor) -> Tensor:
        return log_density(functional_call(net, weights, (one.unsqueeze(0),))).sum()

    gradients = vmap(grad(of_one), in_dims=(None, 0))(parameters, x)
    return {
        name: sum(
            g.flatten(1).square().sum(1) for key, g in gradients.items() if key.rpartition(".")[0] == name
        )
        for name in layers
    }


def cubes(h: Tensor) -> Tensor:
    """A stand-in for log densities, with gradients of all sizes, `[B]`."""
    return (h.flatten(1) + 0.3).pow(3).sum(1)


class Several(nn.Module):
    """One layer that is called twice, one over steps in time (more steps than units, and fewer)."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.shared = nn.Linear(5, 5)
        self.narrow = nn.Linear(5, 2, bias=False)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        h = torch.stack([x * (1 + step) for step in range(self.steps)], 1)
        return self.narrow(torch.tanh(self.shared(torch.tanh(self.shared(h)))))


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 7), nn.Linear(7, 7)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.second(F.relu_(self.first(x))))


def mlp(skip: str) -> nn.Module:
    options = PLAIN | {"skip": skip, "bridge": "linear"}
    return MLPEncoder((1, 2, 4), depth=3, width=5, activation="tanh", **options)


CONV = partial(nn.Sequential, nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Softplus())
NETS = {
    "mlp": (lambda: mlp("none"), (1, 2, 4)),
    "residual mlp": (lambda: mlp("residual"), (1, 2, 4)),
    "in place": (InPlace, (4,)),
    "conv": (lambda: CONV(nn.Conv2d(4, 3, (2, 3), padding=(0, 2), dilation=(1, 2), bias=False)), (2, 7, 6)),
    "conv and dense": (lambda: CONV(nn.Flatten(), nn.Linear(4 * 4 * 3, 5)), (2, 7, 6)),
    "few steps": (lambda: Several(2), (5,)),
    "many steps": (lambda: Several(9), (5,)),
    "masked": (
        lambda: nn.Sequential(
            MaskedConv(2, 4, 3, padding=1), nn.Tanh(), MaskedConv(4, 3, 3, stride=2, bias=False)
        ),
        (2, 5, 5),
    ),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (4, 5, 5)),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding="same", padding_mode="circular"), (2, 5, 5)),
    "by its own padding": (lambda: CausalConv(2, 3, 3, padding=1), (2, 5, 5)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2), (2, 4, 4)),
}


@pytest.mark.parametrize("chunk", [layer_signals.CHUNK, 1])
@pytest.mark.parametrize("name", NETS)
def test_squared_gradients_are_those_of_one_backward_pass_a_datum(name, chunk, monkeypatch):
    monkeypatch.setattr(layer_signals, "CHUNK", chunk)
    make, shape = NETS[name]
    torch.manual_seed(0)
    net = make()
    layers = {key or "net": layer for key, layer in layers_of(net).items()}
    x = normal(B, *shape)
    before = [parameter.clone() for parameter in net.parameters()]
    found = fast(net, layers, x, cubes)
    for other in (slow,) if "net" in layers or name == "in place" else (slow, by_vmap):
        expected = other(net, layers, x, cubes)
        assert found.keys() == expected.keys()
        for key in layers:
            torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=0)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))
    assert not any(layer._forward_hooks for layer in layers.values())


def recurrent_density(net: nn.RNNBase, x: Tensor, calls: int) -> Tensor:
    """Of all that a recurrent layer gives, `[B]`; or of its last output alone after a second call."""
    sequence = x if net.batch_first else x.transpose(0, 1)
    out, state = net(sequence)
    if calls == 2:
        out, _ = net(sequence, state)
    outputs = out if net.batch_first else out.transpose(0, 1)
    if calls == 2:
        return cubes(outputs[:, -1])
    states = state if isinstance(state, tuple) else (state,)
    return cubes(outputs) + sum(weight * cubes(part.transpose(0, 1)) for weight, part in enumerate(states, 2))


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (nn.LSTM, {"batch_first": True}),
        (nn.LSTM, {"num_layers": 2, "bias": False}),
        (nn.GRU, {"batch_first": True}),
        (nn.GRU, {"bidirectional": True}),
    ],
    ids=str,
)
def test_recurrent_layers_sum_over_time_before_squaring(cell, options, calls):
    torch.manual_seed(0)
    net = cell(3, 4, **options)
    x = normal(B, 5, 3)
    density = partial(recurrent_density, net, calls=calls)
    found = fast(nn.Identity(), {"cell": net}, x, density)["cell"]
    torch.testing.assert_close(
        found, slow(nn.Identity(), {"cell": net}, x, density)["cell"], rtol=1e-5, atol=0
    )


def test_a_layer_without_effect_has_no_information():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    with recorded({"first": first, "second": second, "never": nn.Linear(1, 1)}, B) as recording:
        x = normal(B, 3)
        second(x)
        values = cubes(first(x))
    found = {signals.name: signals.squared_gradients() for signals in recording.signals(values)}
    assert (found["first"] > 0).all()
    assert found["second"].tolist() == found["never"].tolist() == [0.0] * B


def test_passes_without_gradients_are_not_noted():
    layer = nn.Linear(3, 2)
    with recorded({"layer": layer}, B) as recording:
        with torch.no_grad():
            layer(normal(17, 3))
        values = cubes(layer(normal(B, 3)))
    assert len(recording.calls["layer"]) == 1
    assert next(recording.signals(values)).squared_gradients().shape == (B,)


def test_layers_that_mix_data_and_densities_of_no_weights_are_not_applicable():
    layer = nn.Linear(3, 2)
    with pytest.raises(NotApplicableError, match="no batch dimension of"), recorded({"layer": layer}, B):
        layer(normal(2 * B, 3))
    with recorded({"layer": layer}, B) as recording:
        layer(normal(B, 3))
    with pytest.raises(NotApplicableError, match="no gradient"):
        next(recording.signals(torch.zeros(B)))


def test_weights_behind_a_mask_are_no_parameters():
    torch.manual_seed(0)
    masked = MaskedConv(2, 4, 3)
    assert 0 < masked.mask.sum() < masked.mask.numel()
    assert num_parameters(masked) == int(masked.mask.sum()) + 4
    assert num_parameters(nn.Linear(3, 5)) == 3 * 5 + 5
    assert num_parameters(nn.LSTM(3, 5)) == 20 * (3 + 5 + 2)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(2, 4, 3, stride=2), MaskedConv(2, 4, 3, stride=2)], ids=["all", "masked"]
)
def test_factored_traces_of_convolutions_are_the_diagonals_of_both_factors(layer):
    """By hand, pixel by pixel: tr over free weights of E[h h^T] (x) E[delta delta^T], and the biases'."""
    x = normal(B, 2, 7, 5)
    with recorded({"layer": layer}, B) as recording:
        out = layer(x)
        values = cubes(out)
    (signals,) = recording.signals(values)
    found = factored_traces(energies(signals), layer)
    (delta,) = torch.autograd.grad(cubes(out).sum(), out)
    rows, columns = delta.shape[2:]
    into, back = torch.zeros(2, 3, 3), torch.zeros(4)
    for i in range(rows):
        for j in range(columns):
            into += x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].square().mean(0)
            back += delta[:, :, i, j].square().mean(0) / (rows * columns)
    mask = getattr(layer, "mask", torch.ones(4, 2, 3, 3))
    expected = torch.einsum("o,oikl,ikl->", back, mask, into) + back.sum() * rows * columns
    assert found.shape == (B,)
    assert float(found.mean()) == pytest.approx(float(expected), rel=1e-5)


def test_the_spread_of_factored_traces_is_that_of_the_product_of_means():
    """Jackknife of mean(back) mean(into), with correlated factors."""
    noise = normal(400, 2).double()
    back, into = noise[:, :1].exp(), (noise.sum(1, keepdim=True)).exp()
    values = factored_traces([back, into], nn.Linear(1, 1))
    n = len(back)
    left_out = [
        (float((back.sum() - b) * (into.sum() - i)) / (n - 1) ** 2) for b, i in zip(back, into, strict=True)
    ]
    jackknife = torch.tensor(left_out).double().var(unbiased=False).mul(n - 1).sqrt()
    assert float(values.mean()) == pytest.approx(float(back.mean() * into.mean()), rel=1e-9)
    assert float(values.std() / n**0.5) == pytest.approx(float(jackknife), rel=0.02)


def test_factored_traces_of_what_is_no_product_are_not_applicable():
    layer = nn.ConvTranspose2d(2, 3, 3)
    with recorded({"layer": layer}, B) as recording:
        values = cubes(layer(normal(B, 2, 4, 4)))
    with pytest.raises(NotApplicableError, match="layer, a ConvTranspose2d, is not"):
        energies(next(recording.signals(values)))
