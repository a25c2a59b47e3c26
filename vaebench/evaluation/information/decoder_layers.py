"""Outputs of the decoder's layers, re-initialised decoders, and the exact KL after an affine first layer."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaebench.distributions import Distribution, Posterior, StandardNormal, kl_divergence
from vaebench.evaluation.base import NotApplicableError
from vaebench.model import Model
from vaebench.seeding import seeded


def decoder_layers(model: Model) -> list[tuple[str, nn.Module]]:
    """Return the decoder's layers with weights, by name.

    Raises NotApplicableError for an autoregressive decoder, whose layers also depend on x, and for a decoder
    without weights.
    """
    if not model.decodes_in_parallel:
        raise NotApplicableError(
            "the decoder is autoregressive: its layers depend on x as well as on the code; a decoder of z "
            "alone would do"
        )
    layers = [(name, layer) for name, layer in model.named_layers() if name.startswith("decoder.")]
    if not layers:
        raise NotApplicableError("the decoder has no layer with weights")
    return layers


@torch.no_grad()
def layer_outputs(model: Model, z: Tensor) -> dict[str, Tensor]:
    """Return each decoder layer's output before its activation, `[N, units]`, at codes `[N, D]`.

    The order is that in which the layers are called.
    """
    outputs: dict[str, Tensor] = {}

    def keeper(name: str) -> object:
        def keep(layer: nn.Module, inputs: object, output: Tensor) -> None:
            outputs[name] = output.flatten(1)

        return keep

    handles = [layer.register_forward_hook(keeper(name)) for name, layer in decoder_layers(model)]  # type: ignore[arg-type]
    try:
        model.decode(z.unsqueeze(0))
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def is_chain(model: Model, z: Tensor) -> bool:
    """Return True if each layer depends on the code only through the layer before, so that information can
    only fall.

    The test replaces one layer's outputs by those of the next code. If there is no skip around the layer, all
    later outputs are then those of the next code too. `z [N, D]` needs two codes or more.
    """
    layers, outputs = dict(decoder_layers(model)), layer_outputs(model, z)
    names = list(outputs)
    for number, name in enumerate(names):
        handle = layers[name].register_forward_hook(lambda layer, inputs, output: output.roll(1, 0))
        try:
            moved = layer_outputs(model, z)
        finally:
            handle.remove()
        for later in names[number + 1 :]:
            if not torch.allclose(moved[later], outputs[later].roll(1, 0), rtol=1e-4, atol=1e-5):
                return False
    return True


def with_new_decoder(model: Model, seed: int) -> Model:
    """Return a copy of the model whose decoder is re-initialised with PyTorch's defaults.

    Encoder, posterior and prior are unchanged. Raises NotApplicableError if a module of the decoder with
    parameters has no `reset_parameters`.
    """
    copy = deepcopy(model)
    with seeded(seed):
        for module in copy.get_submodule("decoder").modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
            elif [*module.parameters(recurse=False)]:
                raise NotApplicableError(
                    f"the decoder's {type(module).__name__} has no reset_parameters, so it cannot be "
                    "re-initialised"
                )
    return copy


def exact_kl(model: Model, q: Posterior, p: Distribution, z: Tensor) -> list[Tensor]:
    """Return KL(q_k(z_k|x) || p_k) in closed form, `[B]` each, float64: for the code, and for an affine first
    layer.

    The list has what exists: neither, the KL of the code, or both. `z [N, D]` are any codes; they serve to
    test whether the first layer is affine.
    """
    per_unit = kl_divergence(q, p)
    if per_unit is None:
        return []
    exact = [per_unit.double().sum(-1)]
    name, first = next(iter(layer_outputs(model, z).items()))
    layer = dict(decoder_layers(model))[name]
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if weight is None or weight.shape[1:] != z.shape[1:] or not isinstance(p, StandardNormal):
        return exact
    if torch.allclose(first, F.linear(z, weight, bias), rtol=1e-4, atol=1e-5):
        exact.append(affine_kl(q.mean, q.logvar, weight))  # type: ignore[attr-defined]
    return exact


def affine_kl(mean: Tensor, logvar: Tensor, weight: Tensor) -> Tensor:
    """Return the KL of W z + b, z ~ N(mean, diag(exp(logvar))), from W z + b, z ~ N(0, I); `[B]`, float64.

    W `[M, D]` of rank r keeps V'z alone, where V `[D, r]` are its right singular vectors: KL = 1/2 (tr S +
    |V' mean|^2 - r - log |S|), S = V' diag(exp(logvar)) V. At r = D it is the KL of z itself.
    """
    _, values, right = torch.linalg.svd(weight.detach().cpu().double(), full_matrices=False)
    # The numerical rank at the precision of the weights, as in torch.linalg.matrix_rank.
    kept = right[values > values.max() * max(weight.shape) * torch.finfo(weight.dtype).eps]
    mean, logvar = mean.cpu().double() @ kept.T, logvar.cpu().double()
    covariance = torch.einsum("rd,bd,sd->brs", kept, logvar.exp(), kept)
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    return 0.5 * (trace + mean.square().sum(-1) - len(kept) - torch.logdet(covariance))
