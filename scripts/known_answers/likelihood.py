"""True values of log p(x), its bounds, and inference gaps."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from scripts.known_answers.rows import Relation, Row, measured
from scripts.known_answers.toys import EXACT, TOY, VAE, WRONG, tilted_toy
from vaebench.evaluation.likelihood.ais import AnnealedImportanceSampling
from vaebench.evaluation.likelihood.bound import EvidenceLowerBound
from vaebench.evaluation.likelihood.nll import ImportanceSampledNLL
from vaebench.evaluation.likelihood.posterior_gaps import PosteriorGaps


def likelihood() -> Iterator[Row]:
    """Compare the ELBO and its terms with their expectations, the IW-NLL with log p(x) of the same data."""
    x = TOY.sample(50_000)
    numbers, _ = measured(EvidenceLowerBound(num_samples=10), WRONG.model(), x)
    for name, truth in ("elbo", WRONG.elbo), ("kl", WRONG.kl), ("reconstruction", WRONG.elbo + WRONG.kl):
        yield Row.of(numbers[name], VAE, truth)
    x = x[:5000]
    truth = -float(TOY.log_px(x).mean())
    for num in (10, 1000):
        evaluator = ImportanceSampledNLL(num_samples=num, num_data=None, subset="first")
        numbers, _ = measured(evaluator, WRONG.model(), x)
        above = TOY.relative_variance(WRONG.shift, WRONG.log_ratio) / 2 / num
        error = numbers["nll_mc_error"].value
        setting, remark = f"{VAE}, S = {num}", f"Var w / 2S E[w]^2 = {above:.4f} above, to first order"
        yield Row("nll_nats", setting, truth, numbers["nll_nats"].value, error, ">=", remark)


def annealing() -> Iterator[Row]:
    """Compare AIS with log p(x) of the same data, and its bounds on simulated data with E log p(x)."""
    x = TOY.sample(500)
    truth = -float(TOY.log_px(x).mean())
    bounds: dict[str, tuple[float, Relation]] = {
        "bdmc_lower_nats": (-EXACT.entropy, "<="),
        "bdmc_upper_nats": (-EXACT.entropy, ">="),
        "bdmc_gap_nats": (0.0, ">="),
    }
    for num in (5, 500):
        evaluator = AnnealedImportanceSampling(
            num_data=None, subset="first", num_simulated=1000, num_chains=8, num_temperatures=num,
            num_leapfrog=2, schedule="sigmoid", start="prior",
        )  # fmt: skip
        numbers, _ = measured(evaluator, EXACT.model(), x)
        setting, error = f"{VAE}, T = {num}, K = 8", numbers["ais_mc_error"].value
        yield Row("ais_nll_nats", setting, truth, numbers["ais_nll_nats"].value, error, ">=")
        for name, (bounded, relation) in bounds.items():
            yield Row.of(numbers[name], setting, bounded, relation)


def gaps() -> Iterator[Row]:
    """Compare gaps of a diagonal exact posterior (only amortisation) and a correlated one (approximation)."""
    evaluator = PosteriorGaps(
        num_data=None, subset="first", num_steps=300, lr=0.1, num_samples=16, num_importance=2000
    )
    numbers, _ = measured(evaluator, WRONG.model(), TOY.sample(300))
    gap, remark = TOY.gap(WRONG.shift, WRONG.log_ratio), "the optimisation of q* is not exact"
    yield Row.of(numbers["amortisation_gap_nats"], VAE, gap, "<=", remark)
    yield Row.of(numbers["approximation_gap_nats"], VAE, 0.0, ">=", remark)
    yield Row.of(numbers["inference_gap_nats"], VAE, gap)
    tilted, precision = tilted_toy()
    numbers, _ = measured(evaluator, tilted.model(), tilted.sample(300))
    lost = 0.5 * float(precision.diagonal().log().sum() - torch.logdet(precision))
    yield Row.of(numbers["approximation_gap_nats"], f"{VAE}, correlated", lost, ">=", remark)
