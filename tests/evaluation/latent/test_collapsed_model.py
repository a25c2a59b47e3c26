"""The anchor on real MNIST: what every evaluator says of a model whose decoder ignores its code.

The best input-independent pixel-wise Bernoulli model scores about 206 nats on the 10,000 test images. On the
first 2,500 it scores 199: the official file begins with the easier half.
"""

from pathlib import Path

import pytest
import torch

from tests.archives import official_mnist
from vaebench.data.mnist import MNIST
from vaebench.evaluation.base import Context
from vaebench.evaluation.information.mutual_information import MutualInformation
from vaebench.evaluation.latent.active_units import ActiveUnits
from vaebench.evaluation.latent.probes import SVMProbe
from vaebench.evaluation.likelihood.nll import ImportanceSampledNLL
from vaebench.testing import latent_model, make_context, measure, set_affine


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """The pixel-wise means of the training data as decoder, the prior as posterior."""
    paths = official_mnist(tmp_path_factory)
    dataset = MNIST(paths, name="mnist", binarisation="dynamic", binarisation_seed=777)
    splits = dataset.load()
    model = latent_model(dataset.spec, latent_dim=2)
    pixels = splits.train.x.float().mean(0).flatten() / 255
    set_affine(model.decoder.output, 0.0, torch.logit(pixels.clamp(1e-5, 1 - 1e-5)))
    set_affine(model.posterior.mean, 0.0, 0.0)
    set_affine(model.posterior.logvar, 0.0, 0.0)
    directory: Path = tmp_path_factory.mktemp("collapsed")
    return make_context(model, splits.test, directory, splits=splits, spec=dataset.spec)


def test_best_input_independent_decoder_scores_206_nats(context):
    numbers = measure(ImportanceSampledNLL(num_samples=1, num_data=None, subset="first"), context)
    assert 205 < numbers["nll_nats"].value < 207
    assert numbers["nll_nats"].n == 10_000


def test_importance_sampled_nll_of_an_input_independent_decoder_is_its_cross_entropy(context):
    numbers = measure(ImportanceSampledNLL(num_samples=3, num_data=2500, subset="first"), context)
    p = torch.sigmoid(context.model.decoder.output.bias.detach().double())
    x = context.splits.test.x[:2500].flatten(1).double()
    cross_entropy = -(x @ p.log() + (1 - x) @ (1 - p).log())
    assert numbers["nll_nats"].value == pytest.approx(float(cross_entropy.mean()), abs=1e-3)
    assert numbers["ess_median"].value == pytest.approx(3)


def test_collapsed_code_has_no_information_and_no_active_units(context):
    numbers = measure(MutualInformation(num_data=1000), context)
    assert abs(numbers["mi_lower"].value) < 1e-9
    assert abs(numbers["mi_upper"].value) < 1e-9
    units = measure(ActiveUnits(thresholds=[0.01, 0.02]), context)
    assert [m.value for m in units.values()] == [0, 0]


def test_svm_on_a_collapsed_code_gives_exactly_the_share_of_ones(context):
    """1,135 of the 10,000 test images show a one, the most frequent digit."""
    number = measure(
        SVMProbe(kernel="linear", penalties=[1.0, 10.0], num_train=None, if_unlabelled="refuse"), context
    )
    assert number["svm_linear_accuracy"].value == 0.1135
