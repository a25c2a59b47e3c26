"""The chain where its law is known at every step: a Gaussian AR(1), and a table of four states."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from tests.stopped import Stopped, stopping_after
from vaebench.data.spec import DataSpec, Split, Splits
from vaebench.distributions import Gaussian
from vaebench.evaluation import partial_results
from vaebench.evaluation import plots as figures
from vaebench.evaluation.base import Context, NotApplicableError
from vaebench.evaluation.samples import markov_chain
from vaebench.evaluation.samples.markov_chain import MarkovChain, kept_steps
from vaebench.model import Model
from vaebench.models.latent import LatentModel
from vaebench.testing import (
    LinearGaussian,
    identity_model,
    latent_model,
    make_context,
    measure,
    saved,
    toy_spec,
)

TOY = LinearGaussian.make(gains=(1.5, 0.8))
SMALLEST = 1000.0  # bytes, which make the usual least number of rows a chunk, 64


@pytest.fixture(autouse=True)
def no_curve(monkeypatch, request) -> None:
    """Drawing takes longer than the chains of these tests."""
    if "figure" not in request.node.name:
        monkeypatch.setattr(markov_chain, "draw", lambda *_: None)
        monkeypatch.setattr(Context, "save_figure", lambda *_: None)


def chain(**options: Any) -> MarkovChain:
    known = {
        "num_chains": 1000, "num_steps": 4, "num_kept": 10, "start": "both", "num_data": 200, "num_train": 200
    }  # fmt: skip
    return MarkovChain(**(known | options))


def assert_moments(x: np.ndarray, mean: Tensor, covariance: Tensor) -> None:
    """Within 4.5 standard errors, of Gaussian draws `[N, D]`."""
    found, n = torch.from_numpy(x).double(), len(x)
    variance = covariance.diagonal()
    assert ((found.mean(0) - mean).abs() < 4.5 * (variance / n).sqrt()).all()
    error = ((covariance.square() + torch.outer(variance, variance)) / n).sqrt()
    assert ((torch.cov(found.T) - covariance).abs() < 4.5 * error).all()


SHIFT, LOG_RATIO = 0.6, 0.7


def after(step: int, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Of x after the steps of the chain: z = P (x - b) + shift + noise, x = W z + b + noise."""
    project = (TOY.weight * TOY.variance / TOY.std**2).T
    for _ in range(step):
        z_mean = project @ (mean - TOY.bias) + SHIFT * TOY.variance.sqrt()
        z_covariance = project @ covariance @ project.T + (TOY.variance * np.exp(LOG_RATIO)).diag()
        mean = TOY.weight @ z_mean + TOY.bias
        covariance = TOY.weight @ z_covariance @ TOY.weight.T + TOY.std**2 * torch.eye(6).double()
    return mean, covariance


MODEL_LAW = (TOY.bias, TOY.weight @ TOY.weight.T + TOY.std**2 * torch.eye(6).double())


@pytest.mark.slow
def test_every_kept_step_has_the_moments_of_the_ar1_chain_and_the_last_is_stationary(tmp_path):
    """Also that the noise is uniform on the data's range, and that draws from the prior are the model's."""
    x = TOY.sample(8000)
    context = make_context(TOY.model(SHIFT, LOG_RATIO), x, tmp_path)
    numbers = measure(chain(num_chains=4000, num_steps=40, num_kept=5), context)
    arrays = saved(context, "chain")
    assert arrays["steps"].tolist() == [0, 1, 3, 12, 40]
    low, high = x.min().double(), x.max().double()
    uniform = ((low + high) / 2 * torch.ones(6).double(), (high - low) ** 2 / 12 * torch.eye(6).double())
    for start, law in (("noise", uniform), ("data", MODEL_LAW)):
        for index, step in enumerate(arrays["steps"]):
            assert_moments(arrays[f"chain_{start}"][index], *after(step, *law))
    stationary = after(2000, *MODEL_LAW)
    # With r the ratio of variances, z has mean shift / sqrt(v) and variance (1 - v + r) / (2 - v).
    v, r = TOY.variance, np.exp(LOG_RATIO)
    closed = TOY.weight @ ((1 - v + r) / (2 - v)).diag() @ TOY.weight.T + TOY.std**2 * torch.eye(6).double()
    torch.testing.assert_close(stationary[0], TOY.weight @ (SHIFT / v.sqrt()) + TOY.bias)
    torch.testing.assert_close(stationary[1], closed)
    for start in ("noise", "data"):
        assert_moments(arrays[f"chain_{start}"][-1], *stationary)
    assert_moments(arrays["ancestral"], *MODEL_LAW)
    # The posterior is wrong: only the draws from the prior are like the data.
    for name in ("ancestral", "test"):
        energy = numbers[f"{name}_energy_distance"]
        assert abs(energy.value) < 4 * energy.standard_error
    for name in ("chain_noise", "chain_data"):
        energy = numbers[f"{name}_energy_distance"]
        assert energy.value > 5 * energy.standard_error
    assert numbers["chain_data_energy_distance"].n == numbers["chain_noise_energy_distance"].n == 4000


class Codes(Gaussian):
    """One of three codes, its number in a column, of a categorical law whose shares are the means."""

    def rsample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        drawn = torch.multinomial(self.mean, num_samples, replacement=True, generator=generator)
        return drawn.T.unsqueeze(-1).float()


class Tables(Model):
    """Two pixels, three codes, and a table for each conditional law; the prior likes the last code."""

    has_latent: ClassVar = True
    has_density: ClassVar = True
    spec = DataSpec("toy", (2,), "binary", None)
    parameters_per_datum = 2
    q = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6], [0.25, 0.25, 0.5]])
    p = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.05, 0.1, 0.25, 0.6]])
    prior = torch.tensor([[0.1, 0.1, 0.8]])

    def encode(self, x: Tensor) -> Codes:
        shares = self.q[number(x)]
        return Codes(shares, shares)

    def prior_distribution(self) -> Any:
        return type("Prior", (), {"rsample": lambda _, n: Codes(self.prior, self.prior).rsample(n)[:, 0]})()

    def sample_x(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        state = torch.multinomial(self.p[z[:, 0].long()], 1, generator=generator)
        return torch.cat([state // 2, state % 2], 1).float()


def number(x: Tensor) -> Tensor:
    """Of the states 00, 01, 10, 11."""
    return (2 * x[..., 0] + x[..., 1]).long()


@pytest.mark.slow
def test_a_chain_of_four_states_has_its_law_at_each_step_and_ends_at_its_stationary_one(tmp_path):
    """The first step tells a chain that skips its start, or draws one of the two from a mean."""
    x = torch.tensor([[0, 0], [0, 0], [0, 0], [1, 0]]).repeat(1500, 1)
    context = make_context(Tables(), Split(x, None), tmp_path, spec=Tables.spec)
    measure(chain(num_chains=3000, num_steps=30, num_kept=4), context)
    arrays = saved(context, "chain")
    transition = (Tables.q @ Tables.p).double().numpy()
    values, vectors = np.linalg.eig(transition.T)
    stationary = vectors[:, values.real.argmax()].real
    stationary /= stationary.sum()
    starts = np.bincount(number(x[arrays["test_index"]]), minlength=4)  # three in four are 00
    for start, law in (("noise", np.full(4, 0.25)), ("data", starts / starts.sum())):
        assert arrays[f"chain_{start}"].dtype == np.uint8
        counts = [
            np.bincount(number(torch.from_numpy(kept)), minlength=4) for kept in arrays[f"chain_{start}"]
        ]
        if start == "noise":
            assert chisquare(counts[0], 3000 * law).pvalue > 0.001
        else:
            assert counts[0].tolist() == starts.tolist()
        for step, found in zip(arrays["steps"][1:], counts[1:], strict=True):
            expected = law @ np.linalg.matrix_power(transition, step)
            assert chisquare(found, 3000 * expected / expected.sum()).pvalue > 0.001
        assert chisquare(counts[-1], 3000 * stationary).pvalue > 0.001
    ancestral = (Tables.prior @ Tables.p).double().numpy()[0]
    found = np.bincount(number(torch.from_numpy(arrays["ancestral"])), minlength=4)
    assert chisquare(found, 3000 * ancestral / ancestral.sum()).pvalue > 0.001
    assert chisquare(found, 3000 * stationary).pvalue < 1e-6


def test_chains_from_data_are_compared_with_other_data_than_they_start_from(tmp_path):
    context = make_context(TOY.model(), x := TOY.sample(50), tmp_path)
    numbers = measure(chain(num_chains=1000, num_data=None), context)
    arrays = saved(context, "chain")
    first, others = arrays["test_index"], arrays["compared_index"]
    assert sorted([*first, *others]) == list(range(50))
    assert len(first) == 25
    np.testing.assert_array_equal(arrays["chain_data"][0], x[first].half().numpy())
    assert arrays["chain_data_energy_distance"][0] == arrays["test_energy_distance"][0]
    assert arrays["chain_data_energy_distance"][-1] == numbers["chain_data_energy_distance"].value
    assert numbers["chain_data_energy_distance"].n == numbers["test_energy_distance"].n == 25
    assert numbers["chain_noise_energy_distance"].n == numbers["ancestral_energy_distance"].n == 1000
    some = measure(chain(num_chains=10, num_data=7, start="data"), context)
    assert len(saved(context, "chain")["compared_index"]) == 7
    assert not [name for name in some if "noise" in name]


def test_grey_noise_has_all_levels_and_binary_noise_two(tmp_path):
    grey = Split(torch.randint(256, (60, 1, 2, 2), dtype=torch.uint8), None, scale=1 / 255)
    kinds = (("uint8", grey, 256), ("binary", Split(torch.rand(60, 1, 2, 2).round(), None), 2))
    for kind, split, levels in kinds:
        spec = DataSpec("toy", (1, 2, 2), kind, None)  # type: ignore[arg-type]
        context = make_context(identity_model((1, 2, 2)), split, tmp_path / kind, spec=spec)
        measure(chain(num_chains=2000, num_steps=1, start="noise"), context)
        counts = np.unique(saved(context, "chain")["chain_noise"][0], return_counts=True)[1]
        assert len(counts) == levels
        assert chisquare(counts).pvalue > 0.001


LABELS = torch.arange(40) % 2


@pytest.mark.parametrize("labelled", [True, False])
def test_with_labels_the_classes_of_samples_are_counted(tmp_path, labelled):
    """Codes are data, and a decoder adds noise of 0.1: a chain from data keeps its class for a few steps."""
    model = LinearGaussian(
        torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), 0.1
    ).model()
    x = 5.0 * LABELS[:, None] + 0.1 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    split = Split(x, LABELS if labelled else None)
    spec = toy_spec((2,), 2 if labelled else None)
    context = make_context(model, split, tmp_path, spec=spec)
    numbers = measure(chain(start="data", num_steps=2), context)
    arrays = saved(context, "chain")
    assert ("classifier_accuracy" in numbers) == ("test_class_entropy" in numbers) == labelled
    assert ("chain_data_histogram" in arrays) == labelled
    if labelled:
        assert numbers["classifier_accuracy"].value == 1
        counts = np.bincount(LABELS[arrays["test_index"]])
        assert arrays["chain_data_histogram"].tolist() == [counts.tolist()] * 3
        assert arrays["test_histogram"].tolist() == [counts.tolist()]


@pytest.mark.parametrize(
    ("num_steps", "num_kept", "expected"),
    [
        (20, 6, [0, 1, 2, 4, 9, 20]),
        (3, 4, [0, 1, 2, 3]),
        (3, 100, [0, 1, 2, 3]),
        (4, 4, [0, 1, 2, 4]),
        (100, 2, [0, 100]),
        (1, 2, [0, 1]),
        (1000, 3, [0, 1, 1000]),
    ],
)
def test_kept_steps_have_the_first_and_the_last_and_are_ever_longer_apart(num_steps, num_kept, expected):
    assert kept_steps(num_steps, num_kept) == expected


def count_steps(model: LatentModel, monkeypatch) -> list[int]:
    """How many data each call of `model.sample_x` draws, from now on."""
    counts: list[int] = []
    draw = model.sample_x
    monkeypatch.setattr(model, "sample_x", lambda z: counts.append(len(z)) or draw(z))
    return counts


@pytest.mark.slow
def test_interrupted_between_any_chunks_it_goes_on_to_the_bit_identical_result(tmp_path, monkeypatch):
    """Two chunks of chains, three steps from noise and three from data, then draws from the prior.

    It asks before each step and before each chunk; no chunk is ever drawn twice.
    """
    monkeypatch.setattr(partial_results, "SAVE_SECONDS", -1.0)
    model, x = TOY.model(SHIFT), TOY.sample(200)
    options = {"num_chains": 70, "num_steps": 3, "num_kept": 2}

    def context(folder: str, **fields: object) -> Context:
        return make_context(model, x, tmp_path / folder, batch_bytes=SMALLEST, **fields)

    whole = context("whole")
    counts = count_steps(model, monkeypatch)
    expected = measure(chain(**options), whole)
    assert counts == [64, 6] * 7
    drawn = []
    for done in range(6 * 3 + 2):
        counts.clear()
        with pytest.raises(Stopped):
            measure(chain(**options), context(f"cut{done}", check_stop=stopping_after(done)))
        drawn.append(len(counts))
        rest = context(f"cut{done}")
        assert measure(chain(**options), rest, seed=9) == expected
        assert counts == [64, 6] * 7
        ours = saved(rest, "chain")
        assert ours.keys() == saved(whole, "chain").keys()
        for key, array in saved(whole, "chain").items():
            np.testing.assert_array_equal(ours[key], array)
        assert list((rest.directory / "scratch").iterdir()) == []
    assert sorted({*drawn}) == [*range(14)]  # before every one of the chunks


def test_samples_depend_on_the_contexts_seed_and_no_two_chunks_are_alike(tmp_path):
    model, x = TOY.model(), TOY.sample(256)
    contexts = [make_context(model, x, tmp_path / str(i), seed=i, batch_bytes=SMALLEST) for i in (0, 1)]
    for context in contexts:
        measure(chain(num_chains=128), context)
    one, other = (saved(context, "chain") for context in contexts)
    for name in ("ancestral", "chain_noise", "chain_data"):
        last, of_other = (arrays[name].reshape(-1, 128, 6)[-1] for arrays in (one, other))
        assert not (last == of_other).all(-1).any()
        assert not (last[:64] == last[64:]).all(-1).any()


def test_the_figure_has_a_row_per_chain_its_steps_and_then_a_draw_from_the_prior(tmp_path, monkeypatch):
    shown: dict[str, tuple[Tensor, int]] = {}
    monkeypatch.setattr(
        markov_chain,
        "save_images",
        lambda context, name, images, columns, title: shown.update({name: (images, columns)}),
    )
    shape = (1, 2, 2)
    context = make_context(identity_model(shape), torch.randn(60, *shape), tmp_path)
    measure(chain(num_chains=12, num_steps=5, num_kept=3), context)
    arrays = saved(context, "chain")
    assert shown.keys() == {"chain_noise", "chain_data"}
    for name, (images, columns) in shown.items():
        assert columns == 4
        table = images.view(10, 4, *shape)
        for row, column in ((0, 0), (3, 1), (9, 2)):
            np.testing.assert_array_equal(table[row, column], arrays[name][column, row].astype(np.float32))
        np.testing.assert_array_equal(table[:, 3], arrays["ancestral"][:10].astype(np.float32))
    assert (tmp_path / "figures/chain_energy.png").read_bytes().startswith(b"\x89PNG")


def test_the_curve_in_the_figure_is_the_energy_by_step(tmp_path, monkeypatch):
    drawn = []
    original = markov_chain.draw
    monkeypatch.setattr(markov_chain, "draw", lambda *given: drawn.append(original(*given)) or drawn[-1])
    monkeypatch.setattr(figures, "image_grid", lambda *_: pytest.fail("these are no images"))
    context = make_context(TOY.model(), TOY.sample(40), tmp_path)
    measure(chain(num_chains=10, start="noise"), context)
    arrays = saved(context, "chain")
    lines = {container.get_label(): container.lines[0] for container in drawn[0].axes[0].containers}
    np.testing.assert_array_equal(lines["chain_noise"].get_data()[0], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(lines["chain_noise"].get_data()[1], arrays["chain_noise_energy_distance"])
    levels = {line.get_label(): line.get_ydata()[0] for line in drawn[0].axes[0].lines}
    assert levels["ancestral"] == arrays["ancestral_energy_distance"]
    assert levels["test"] == arrays["test_energy_distance"]


class NoLatent(LatentModel):
    has_latent: ClassVar = False


def test_what_it_cannot_measure_is_not_applicable_with_the_reason(tmp_path):
    x = TOY.sample(20)
    with pytest.raises(NotApplicableError, match="no latent code"):
        measure(chain(), make_context(latent_model(toy_spec((6,)), 2, family=NoLatent), x, tmp_path))
    with pytest.raises(NotApplicableError, match="too few test data: 5"):
        measure(chain(), make_context(TOY.model(), x[:5], tmp_path))
    tokens = DataSpec("toy", (6,), "tokens", None)
    with pytest.raises(NotApplicableError, match="token ids"):
        measure(chain(), make_context(TOY.model(), x, tmp_path, spec=tokens))


def test_training_data_are_the_neighbours_and_test_data_are_not(tmp_path):
    """Training data are far away, and the noise is spread over their range."""
    train, test = Split(TOY.sample(30) + 100, None), Split(TOY.sample(30), None)
    context = make_context(TOY.model(), test, tmp_path, splits=Splits(train, test, test))
    numbers = measure(chain(num_chains=10, num_steps=1), context)
    assert 200 < numbers["test_neighbour_distance"].value < 290
    assert saved(context, "chain")["chain_noise"][0].min() > 80
