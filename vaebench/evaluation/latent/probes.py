"""Probes: classifiers that predict the label from the posterior mean."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vaebench.data.spec import SplitName
from vaebench.evaluation.base import Context, Measurement, NotApplicableError
from vaebench.ranges import Count, Momentum, Positive
from vaebench.seeding import derive_seed

HELD_OUT: tuple[SplitName, SplitName] = ("valid", "test")

IfUnlabelled = Literal["refuse", "skip"]
"""Behaviour on a dataset without labels: an error before anything runs, or a result `not applicable`."""


class SVMProbe:
    """Test accuracy of a support vector machine on posterior means (SCVAE, Table 1).

    `linear` is scikit-learn's LinearSVC (squared hinge) with one machine per pair of classes, like libsvm and
    most uses of "an SVM". `svm_linear_ovr_accuracy` has one machine per class, the default of LinearSVC, and
    is lower on the same code. `rbf` is SVC; its cost is quadratic in `num_train`. Each takes the best of
    `penalties` (C) on the validation split. The means keep the scale of the prior, so that a collapsed code
    is not rescaled into a useful one. Standard errors are binomial, over test examples.
    """

    version: ClassVar = 1

    def __init__(
        self,
        *,
        kernel: Literal["linear", "rbf"],
        penalties: list[Positive],
        num_train: Count | None,
        if_unlabelled: IfUnlabelled,
    ) -> None:
        self.kernel = kernel
        self.penalties = penalties
        self.num_train = num_train

    def run(self, context: Context) -> Iterator[Measurement]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.multiclass import OneVsOneClassifier
        from sklearn.svm import SVC, LinearSVC

        context.require(latent=True, labels=True)
        x, y = features(context, "train")
        require_classes(y[: self.num_train])
        train = x[: self.num_train].numpy(), y[: self.num_train].numpy()
        valid, test = (tuple(part.numpy() for part in features(context, split)) for split in HELD_OUT)

        def linear(penalty: float) -> Any:
            return LinearSVC(C=penalty, dual=False, random_state=0)

        kinds: dict[str, dict[str, Callable[[float], Any]]] = {
            "linear": {"svm_linear": lambda c: OneVsOneClassifier(linear(c)), "svm_linear_ovr": linear},
            "rbf": {"svm_rbf": lambda c: SVC(C=c, kernel="rbf")},
        }
        for name, make in kinds[self.kernel].items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # an unfinished fit shows in its accuracy
                machines = [make(penalty).fit(*train) for penalty in self.penalties]
            best = max(machines, key=lambda machine: machine.score(*valid))
            yield accuracy(f"{name}_accuracy", float(best.score(*test)), len(test[1]))


class MLPProbe:
    """Test accuracy of an MLP with one hidden layer on posterior means (Skip-VAE, section 4.1).

    1024 ReLU units, dropout 0.5, Adam; early stopping keeps the weights of the best validation epoch. The
    standard error is binomial, over test examples.
    """

    version: ClassVar = 1

    def __init__(
        self,
        *,
        hidden: Count,
        dropout: Momentum,
        lr: Positive,
        batch_size: Count,
        epochs: Count,
        patience: Count,
        if_unlabelled: IfUnlabelled,
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.lr = lr
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience

    def run(self, context: Context) -> Iterator[Measurement]:
        context.require(latent=True, labels=True)
        device = context.device
        (x, y), (valid_x, valid_y), (test_x, test_y) = (
            tuple(part.to(device) for part in features(context, split))
            for split in ("train", "valid", "test")  # type: ignore[arg-type]
        )
        require_classes(y)
        assert context.spec.num_classes is not None
        probe = nn.Sequential(
            nn.Linear(x.shape[1], self.hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            nn.Linear(self.hidden, context.spec.num_classes),
        ).to(device)
        best, best_state, impatience = -1.0, probe.state_dict(), 0
        optimizer = torch.optim.Adam(probe.parameters(), lr=self.lr, fused=device.type != "mps")
        shuffle = torch.Generator().manual_seed(derive_seed(context.seed, "mlp_probe"))
        for _ in context.track(range(self.epochs), "MLP probe"):
            probe.train()
            for batch in torch.randperm(len(x), generator=shuffle).to(device).split(self.batch_size):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(probe(x[batch]), y[batch]).backward()
                optimizer.step()
            probe.eval()
            valid = _share_correct(probe, valid_x, valid_y)
            if valid > best:
                best, impatience = valid, 0
                best_state = {key: value.clone() for key, value in probe.state_dict().items()}
            else:
                impatience += 1
                if impatience >= self.patience:
                    break
        probe.load_state_dict(best_state)
        yield accuracy("mlp_accuracy", _share_correct(probe.eval(), test_x, test_y), len(test_y))


def features(context: Context, split: SplitName) -> tuple[Tensor, Tensor]:
    """Return posterior means `[N, D]` and labels `[N]` of a split, on the CPU."""
    labels = context.splits[split].y
    assert labels is not None
    return context.encoded(split).mean.cpu(), labels.cpu()


def require_classes(y: Tensor) -> None:
    """Raise NotApplicableError if the labels have fewer than two classes."""
    if len(y.unique()) < 2:
        raise NotApplicableError("all training examples have one class; a probe needs two or more")


def accuracy(name: str, value: float, n: int) -> Measurement:
    """Return the measurement of an accuracy, with its binomial standard error."""
    return Measurement(name, value, "fraction", True, n, (value * (1 - value) / n) ** 0.5)


@torch.no_grad()
def _share_correct(probe: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the accuracy of `probe` on `x`, `y`."""
    return float((probe(x).argmax(-1) == y).double().mean())
