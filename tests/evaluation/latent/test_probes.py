"""Probes on codes whose best accuracy is known."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vaebench.data.spec import Split, Splits
from vaebench.evaluation.base import Context, NotApplicableError
from vaebench.evaluation.latent.probes import MLPProbe, SVMProbe
from vaebench.parts import Evaluator
from vaebench.testing import identity_model, make_context, measure, toy_spec


def svm(kernel: str = "linear", num_train: int | None = None) -> SVMProbe:
    return SVMProbe(kernel=kernel, penalties=[1.0], num_train=num_train, if_unlabelled="skip")  # type: ignore[arg-type]


def mlp(epochs: int = 20, patience: int = 20) -> MLPProbe:
    return MLPProbe(
        hidden=32,
        dropout=0.1,
        lr=0.01,
        batch_size=20,
        epochs=epochs,
        patience=patience,
        if_unlabelled="skip",
    )


PROBES = [
    pytest.param(svm(), "svm_linear_accuracy", id="linear"),
    pytest.param(svm(), "svm_linear_ovr_accuracy", id="linear ovr"),
    pytest.param(svm("rbf"), "svm_rbf_accuracy", id="rbf"),
    pytest.param(mlp(), "mlp_accuracy", id="mlp"),
]


def separable(num: int, seed: int) -> Split:
    """Three classes around the corners of a triangle, far apart."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (num,), generator=generator)
    corners = torch.tensor([[0.0, 3.0], [3.0, -2.0], [-3.0, -2.0]])
    return Split(corners[y] + 0.3 * torch.randn(num, 2, generator=generator), y)


def of_codes(train: Split, valid: Split, test: Split, directory, **fields) -> Context:
    """A context in which the codes are the data."""
    spec = toy_spec(tuple(test.x.shape[1:]), num_classes=3)
    splits = Splits(train, valid, test)
    return make_context(identity_model(spec.shape), test, directory, splits=splits, spec=spec, **fields)


def accuracy(probe: Evaluator, name: str, context: Context) -> float:
    return measure(probe, context)[name].value


@pytest.mark.slow
@pytest.mark.parametrize(("probe", "name"), PROBES)
def test_separable_codes_give_accuracy_one(probe, name, tmp_path):
    context = of_codes(separable(90, 0), separable(60, 1), separable(60, 2), tmp_path)
    assert accuracy(probe, name, context) == 1


def labelled(constant: float, counts: tuple[int, int, int]) -> Split:
    """Equal codes for as many data of each class as `counts` says."""
    y = torch.arange(3).repeat_interleave(torch.tensor(counts))
    return Split(torch.full((len(y), 2), constant), y)


@pytest.mark.parametrize("constant", [0.0, 0.3, -17.0])
@pytest.mark.parametrize(("probe", "name"), PROBES)
def test_codes_without_information_give_the_share_of_the_most_frequent_class(probe, name, constant, tmp_path):
    """The most frequent of the training data: in the test data here it is the rarest."""
    train, test = labelled(constant, (20, 60, 20)), labelled(constant, (30, 13, 57))
    assert accuracy(probe, name, of_codes(train, train, test, tmp_path)) == pytest.approx(0.13)


def test_standard_error_is_binomial(tmp_path):
    test = separable(80, 2)
    wrong = test.y.clone()
    wrong[:20] = (wrong[:20] + 1) % 3
    context = of_codes(separable(90, 0), separable(60, 1), replace(test, y=wrong), tmp_path)
    number = measure(svm(), context)["svm_linear_accuracy"]
    assert number.value == pytest.approx(0.75)
    assert number.n == 80
    assert number.standard_error == pytest.approx((0.75 * 0.25 / 80) ** 0.5)


def test_one_against_one_reads_classes_between_others_and_one_against_rest_does_not(tmp_path):
    """Six classes on a line: no half-line holds one of the inner four."""

    def on_a_line(seed: int) -> Split:
        y = torch.arange(300) % 6
        return Split((y + 0.1 * torch.randn(300, generator=torch.Generator().manual_seed(seed)))[:, None], y)

    numbers = measure(svm(), of_codes(on_a_line(0), on_a_line(1), on_a_line(2), tmp_path))
    assert numbers["svm_linear_accuracy"].value > 0.98
    assert numbers["svm_linear_ovr_accuracy"].value < 0.8


def test_linear_probe_is_linear_and_rbf_probe_is_not(tmp_path):
    """A disc inside a ring."""

    def ring(seed: int) -> Split:
        angle = 6.3 * torch.rand(200, generator=torch.Generator().manual_seed(seed))
        y = torch.arange(200) % 2
        return Split((0.2 + y)[:, None] * torch.stack([angle.cos(), angle.sin()], 1), y)

    context = of_codes(ring(0), ring(1), ring(2), tmp_path)
    assert accuracy(svm("linear"), "svm_linear_accuracy", context) < 0.75
    assert accuracy(svm("rbf"), "svm_rbf_accuracy", context) > 0.99


def test_dead_units_stay_dead_to_the_linear_probe(tmp_path):
    """The label is in a unit of 1e-4, beside one of noise of scale 1: scaling by unit would reveal it."""

    def hidden(seed: int) -> Split:
        generator = torch.Generator().manual_seed(seed)
        y = torch.arange(400) % 2
        units = [1e-4 * (2.0 * y - 1), torch.randn(400, generator=generator)]
        return Split(torch.stack(units, 1), y)

    context = of_codes(hidden(0), hidden(1), hidden(2), tmp_path)
    assert accuracy(svm(), "svm_linear_accuracy", context) < 0.6


def test_only_the_first_training_data_are_fitted(tmp_path):
    """The labels of the others are false."""
    train = separable(300, 0)
    false: Tensor = train.y.clone()
    false[60:] = (false[60:] + 1) % 3
    context = of_codes(replace(train, y=false), separable(30, 1), separable(60, 2), tmp_path)
    assert accuracy(svm(num_train=60), "svm_linear_accuracy", context) == 1
    assert accuracy(svm(), "svm_linear_accuracy", context) < 0.1


def test_mlp_probe_stops_when_validation_no_longer_improves(tmp_path):
    """Every validation label is false: no epoch after the first can be better than it."""
    valid = separable(60, 1)
    epochs: list[None] = []
    train = separable(300, 0)
    splits = train, replace(valid, y=(valid.y + 1) % 3), train
    context = of_codes(*splits, tmp_path, check_stop=lambda: epochs.append(None))
    measure(mlp(epochs=50, patience=3), context)
    assert len(epochs) == 1 + 3


def test_mlp_probe_keeps_the_weights_of_the_best_validation_epoch(tmp_path):
    """With false validation labels the best epoch is an early one, before the probe has learned the truth."""
    train, valid = separable(90, 0), separable(60, 1)
    context = of_codes(train, replace(valid, y=(valid.y + 1) % 3), valid, tmp_path)
    untrained, trained = (
        MLPProbe(hidden=32, dropout=0.0, lr=1e-3, batch_size=90, epochs=n, patience=n, if_unlabelled="skip")
        for n in (1, 300)
    )
    first = accuracy(untrained, "mlp_accuracy", context)
    assert first < 0.9
    assert accuracy(trained, "mlp_accuracy", context) < 0.95


@pytest.mark.parametrize(("probe", "name"), PROBES)
def test_data_without_labels_are_not_applicable(probe, name, tmp_path):
    context = make_context(identity_model((2,)), separable(20, 0).x, tmp_path)
    with pytest.raises(NotApplicableError, match="toy has no labels"):
        measure(probe, context)


@pytest.mark.slow
def test_svm_takes_the_penalty_that_is_best_on_the_validation_split(tmp_path):
    """Some of the training labels are wrong: the weaker the penalty, the more of them it learns."""
    train, valid, test = separable(90, 0), separable(200, 1), separable(200, 2)
    wrong = torch.rand(90, generator=torch.Generator().manual_seed(3)) < 0.2
    context = of_codes(replace(train, y=(train.y + wrong) % 3), valid, test, tmp_path)
    found = {}
    for penalties in ([1.0], [1e7], [1.0, 1e7], [1e7, 1.0]):
        probe = SVMProbe(kernel="rbf", penalties=penalties, num_train=None, if_unlabelled="skip")
        found[tuple(penalties)] = accuracy(probe, "svm_rbf_accuracy", context)
    assert found[1e7,] < found[1.0,] - 0.02
    assert found[1.0, 1e7] == found[1e7, 1.0] == found[1.0,]


@pytest.mark.parametrize(
    "probe", [svm(), svm("rbf"), svm(num_train=20), mlp()], ids=["linear", "rbf", "first", "mlp"]
)
def test_training_data_of_one_class_are_not_applicable(probe, tmp_path):
    """Also where only the first, which the machine sees, are."""
    counts = (20, 20, 0) if getattr(probe, "num_train", None) else (60, 0, 0)
    train = labelled(0.3, counts)
    with pytest.raises(NotApplicableError, match="one class"):
        measure(probe, of_codes(train, train, separable(30, 2), tmp_path))
