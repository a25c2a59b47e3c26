"""What a decoder's layers put out, a decoder drawn anew, and the exact KL behind its first layer."""

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
    """The decoder's layers with weights, by name. Raises NotApplicableError where they do not stand between
    the code and the likelihood's parameters alone."""
    if not model.decodes_in_parallel:
        raise NotApplicableError("the decoder sees the data: its layers are no functions of the code alone")
    layers = [(name, layer) for name, layer in model.named_layers() if name.startswith("decoder.")]
    if not layers:
        raise NotApplicableError("the decoder has no layer with weights")
    return layers


@torch.no_grad()
def layer_outputs(model: Model, z: Tensor) -> dict[str, Tensor]:
    """z_k = each decoder layer's own output, before its activation, at codes `[N, D]`; `[N, units]`.

    In the order in which the layers work.
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
    """Whether each layer knows the code from the layer before alone, so that information can only fall.

    Where the outputs of a layer are passed on to the next code's, all later ones must be the next code's too;
    a skip around the layer would tell. `z [N, D]` are two codes or more.
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
    """A copy whose decoder starts anew from PyTorch's own initialisation; encoder, posterior and prior stay.

    Raises NotApplicableError for a decoder with parameters that do not say how they start.
    """
    copy = deepcopy(model)
    with seeded(seed):
        for module in copy.get_submodule("decoder").modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
            elif [*module.parameters(recurse=False)]:
                raise NotApplicableError(f"the decoder's {type(module).__name__} has no reset_parameters")
    return copy


def exact_kl(model: Model, q: Posterior, p: Distribution, z: Tensor) -> list[Tensor]:
    """KL(q_k(z_k|x) || p_k) in closed form, `[B]`, float64: of the code, and of a first layer that is affine.

    Neither, or the first alone, where there is no closed form. `z [N, D]` are any codes.
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
    """KL of W z + b, z ~ N(mean, diag(exp(logvar))), against W z + b, z ~ N(0, I); `[B]`, float64.

    W `[M, D]` of rank r tells V'z and nothing more, V `[D, r]` its right singular vectors:
    KL = 1/2 (tr S + |V' mean|^2 - r - log |S|), S = V' diag(exp(logvar)) V. At r = D it is that of z itself.
    """
    _, values, right = torch.linalg.svd(weight.detach().cpu().double(), full_matrices=False)
    # The rank that the numbers' own precision can tell, as torch.linalg.matrix_rank has it.
    kept = right[values > values.max() * max(weight.shape) * torch.finfo(weight.dtype).eps]
    mean, logvar = mean.cpu().double() @ kept.T, logvar.cpu().double()
    covariance = torch.einsum("rd,bd,sd->brs", kept, logvar.exp(), kept)
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    return 0.5 * (trace + mean.square().sum(-1) - len(kept) - torch.logdet(covariance))
