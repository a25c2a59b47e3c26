"""True values of the information in codes and in the layers of decoders."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.known_answers.rows import Relation, Row, in_parts, measured
from scripts.known_answers.toys import TOY, VAE, WRONG, WrongPosterior, two_gaussians
from vaebench.evaluation.information.density_ratio_mi import DensityRatioMI
from vaebench.evaluation.information.mutual_information import MutualInformation
from vaebench.evaluation.information.propagation import Propagation
from vaebench.evaluation.latent.active_units import ActiveUnits
from vaebench.evaluation.latent.code_distances import CodeDistances
from vaebench.evaluation.latent.probes import MLPProbe, SVMProbe
from vaebench.models.latent import LatentModel
from vaebench.testing import LinearGaussian, identity_model, latent_model, set_affine, toy_spec

SHORT = "not a bound: classifiers underestimate"


def information() -> Iterator[Row]:
    """Compare Gaussian channels of four units, and the aggregate posterior of an inexact q(z|x)."""
    num = 5000
    evaluator = MutualInformation(num_data=None)
    ends: dict[str, Relation] = {"mi_lower": "<=", "mi_upper": ">=", "mi_interval_high": ">="}
    for snr in (0.25, 2.0, 20.0, 1000.0):
        toy = LinearGaussian.make(gains=[0.6 * snr**0.5] * 4)
        setting = f"Gaussian channel, 4 units, SNR {snr:g}"
        numbers, _ = measured(evaluator, toy.model(), toy.sample(num))
        for name, relation in ends.items():
            yield Row.of(numbers[name], setting, toy.mutual_information, relation)
        cap, saturated = math.log(num), numbers["mi_saturated"]
        if (
            not cap / 2 < toy.mutual_information < cap
        ):  # only if the true value is clearly above or below the cap
            flag = float(toy.mutual_information > cap)
            yield Row.of(saturated, setting, flag, remark=f"cap log {num} = {cap:.2f}")
    numbers, _ = measured(evaluator, WRONG.model(), TOY.sample(num))
    marginal = WRONG.kl - WRONG.mutual_information
    yield Row.of(numbers["marginal_kl_lower"], VAE, marginal, "<=")
    yield Row.of(numbers["marginal_kl_upper"], VAE, marginal, ">=")


def classified_information() -> Iterator[Row]:
    """Compare mutual information from density ratios, estimated by classifiers."""
    toy = LinearGaussian.make(gains=[0.5] * 2)
    evaluator = DensityRatioMI(num_steps=2000, batch_size=512, width=32, lr=5e-3, num_draws=20_000)
    numbers, _ = measured(evaluator, toy.model(), in_parts(toy.sample(50_000), toy.sample(10_000, seed=1)))
    setting = f"Gaussian channel, 2 units, SNR {float(toy.snr[0]):.2f}"
    yield Row.of(numbers["mi_density_ratio"], setting, toy.mutual_information)
    yield Row.of(numbers["mi_density_ratio_dv"], setting, toy.mutual_information, "<=")


def codes() -> Iterator[Row]:
    """Compare active units, and distances of codes from their centre."""
    toy, num = LinearGaussian.make(gains=(1.5, 0.8, 0.05)), 20_000
    numbers, arrays = measured(ActiveUnits(thresholds=[0.01]), toy.model(), toy.sample(num))
    for unit, truth in enumerate((1 - toy.variance).tolist()):
        error = truth * (2 / (num - 1)) ** 0.5
        yield Row(f"variance of mean {unit}", VAE, truth, float(arrays["variance"][unit]), error)
    yield Row.of(numbers["active_units_0.01"], VAE, 2)
    dim = 10
    x = 3 + 0.5**0.5 * torch.randn(num, dim, generator=torch.Generator().manual_seed(1))
    numbers, _ = measured(CodeDistances(num_data=None), identity_model((dim,), std=0.5**0.5), x)
    mean = 2**0.5 * math.gamma((dim + 1) / 2) / math.gamma(dim / 2)
    for name, truth in ("code_distance", mean), ("code_distance_sd", (dim - mean**2) ** 0.5):
        yield Row.of(numbers[name], "q(z) = N(3, I), 10 units", truth)


def probes() -> Iterator[Row]:
    """Compare the accuracy of probes with that of the Bayes classifier, which is the best.

    The data are a Gaussian mixture; labels are its components, codes are its points.
    """
    data = two_gaussians(0.5)
    between = float((data.means[0] - data.means[1]).norm()) / data.std
    shift = math.log(data.weights[0] / data.weights[1]) / between
    sides = torch.tensor([between / 2 + shift, between / 2 - shift], dtype=torch.float64)
    bayes = float(data.weights @ torch.special.ndtr(sides))
    svm = SVMProbe(kernel="linear", penalties=[1.0], num_train=None, if_unlabelled="refuse")
    mlp = MLPProbe(
        hidden=32, dropout=0.0, lr=1e-2, batch_size=100, epochs=5, patience=5, if_unlabelled="refuse"
    )
    for probe, name in (svm, "svm_linear_accuracy"), (mlp, "mlp_accuracy"):
        numbers, _ = measured(probe, identity_model((2,)), data.load())
        yield Row.of(
            numbers[name], "mixture of two Gaussians", bayes, "<=", "the Bayes classifier is the best"
        )


def propagation() -> Iterator[Row]:
    """Compare an affine layer of full rank, which loses no information, and one from two units to one."""
    lossless = WrongPosterior(LinearGaussian.make(gains=(1.2, 0.5)), shift=0.8)
    lossy = latent_model(toy_spec((1,)), 2)
    set_affine(lossy.posterior.mean, torch.tensor([[1.0], [0.6]]), 0.0)
    set_affine(lossy.posterior.logvar, 0.0, torch.tensor([-0.7, 0.0]))
    set_affine(lossy.decoder.output, torch.tensor([[0.0, 2.0]]), 5.0)
    x = torch.randn(22_000, 1, generator=torch.Generator().manual_seed(0))
    lossy_mi = [0.5 * math.log(1 + math.exp(0.7) + 0.36), 0.5 * math.log(1 + 0.36)]
    data = lossless.toy.sample(22_000)
    yield from propagated(
        "affine layer, 2 to 6 units", lossless.model(), data, [lossless.mutual_information] * 2
    )
    yield from propagated("layer from 2 units to 1", lossy, x, lossy_mi)


def propagated(setting: str, model: LatentModel, x: Tensor, mi: list[float]) -> Iterator[Row]:
    """Compare KL and I(x; z_k) at the code and after the layer; the exact KL is over the test data."""
    evaluator = Propagation(
        decoder="trained", num_runs=5, num_steps=3000, batch_size=512, width=32, lr=5e-3, num_draws=20_000
    )
    _, arrays = measured(evaluator, model, in_parts(x[2000:], x[:2000]))
    exact, kl, information = arrays["kl_exact"][0, 0], arrays["kl"][:, 0], arrays["mi"][:, 0]
    over_data = np.hypot(arrays["kl_data_error"], arrays["marginal_kl_data_error"]).mean((0, 1))
    relation: Relation
    for name, truths, values, errors, relation, remark in (
        ("KL", exact, kl, over_runs(kl), "<=", SHORT),
        (
            "I",
            mi,
            information,
            np.hypot(over_runs(information), over_data),
            "=",
            "a difference of two estimates",
        ),
    ):
        for layer, where in enumerate(("code", "layer")):
            truth, estimate, error = truths[layer], values[:, layer].mean(), errors[layer]
            yield Row(
                f"propagation, {name} of the {where}", setting, truth, estimate, error, relation, remark
            )
    rise, loss = kl[:, 1] - kl[:, 0], float(exact[0] - exact[1])
    relation = "<" if loss > 0.01 else "="
    remark = f"exactly {-loss:.4f}" if loss > 0.01 else "no layer can add information"
    yield Row(
        "propagation, KL from code to layer", setting, 0.0, rise.mean(), over_runs(rise), relation, remark
    )


def over_runs(values: Any) -> Any:
    """Compute the standard error of the mean over the first axis of an array."""
    return values.std(0, ddof=1) / len(values) ** 0.5
