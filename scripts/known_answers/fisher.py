"""True values of the Fisher information of weights and of posteriors."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from scripts.known_answers.rows import Row, measured
from scripts.known_answers.toys import EXACT, TOY, VAE, WRONG, WrongPosterior, enumerated_fisher, three_units
from vaebench.evaluation.latent.fisher_shannon import FisherShannon
from vaebench.evaluation.layers.fisher import Kind, LayerFisher
from vaebench.testing import set_affine


def layers() -> Iterator[Row]:
    """Compare the Fisher information of the weights of both networks, in expectation over p(x).

    With the exact posterior, (x, z) are samples from p(x, z), and the empirical Fisher is the true one.
    """
    x = TOY.sample(50_000)
    cases: list[tuple[Kind, WrongPosterior, str, float]] = [
        ("true_fisher", WRONG, "encoder", WRONG.encoder_fisher),
        ("true_fisher", WRONG, "decoder", WRONG.decoder_fisher),
        ("kfac", WRONG, "encoder", WRONG.encoder_fisher),
        ("kfac", WRONG, "decoder", WRONG.decoder_fisher),
        ("empirical_fisher", EXACT, "decoder", EXACT.decoder_fisher),
    ]
    for kind, vae, side, truth in cases:
        evaluator = LayerFisher(kind=kind, num_data=None, num_samples=2)
        numbers, _ = measured(evaluator, vae.model_with_encoder(), x)
        number = numbers[f"fisher_{side}_trace"]
        yield Row(f"{number.name}, {kind}", VAE, truth, number.value, number.standard_error)


def enumeration() -> Iterator[Row]:
    """Compare each decoder layer of a three-unit Bernoulli net with the sum over its eight possible x."""
    model, x = three_units()
    evaluator = LayerFisher(kind="true_fisher", num_data=None, num_samples=1)
    _, arrays = measured(evaluator, model, x.repeat(50_000, 1))
    names = list(arrays["layers"])
    for name, truth in enumerated_fisher(model, x).items():
        estimate, error = (float(arrays[key][names.index(name)]) for key in ("traces", "standard_errors"))
        yield Row(f"trace of {name}", "three-unit Bernoulli net, true_fisher", truth, estimate, error)


def plane() -> Iterator[Row]:
    """Compare posteriors of log s2_d = log v_d + a_d'(x - b), where E 1/s2_d = exp(a_d'C a_d / 2) / v_d."""
    model, v = TOY.model(), TOY.variance
    slopes = torch.tensor([[0.3, 0, 0, 0, -0.2, 0], [0, 0.2, 0, 0.1, 0, 0]], dtype=torch.float64)
    set_affine(model.posterior.logvar, slopes, v.log() - slopes @ TOY.bias)
    spread = (slopes @ EXACT.covariance @ slopes.T).diagonal()
    fisher, power = float((torch.exp(spread / 2) / v).sum()), float(v.log().mean().exp())
    numbers, _ = measured(FisherShannon(num_flow_data=1000), model, TOY.sample(50_000))
    for name, truth in (
        ("posterior_fisher", fisher),
        ("posterior_entropy", math.log(2 * math.pi * math.e * power)),
        ("entropy_power", power),
        ("fisher_shannon_product", power * fisher / 2),
    ):
        yield Row.of(numbers[name], VAE, truth)
