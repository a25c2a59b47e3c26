"""Settings that are each legal and do not fit the dataset."""

from typing import Any

import pytest

from tests.config.helpers import CONF, config_of
from vaebench.config.check import check_fit
from vaebench.config.errors import ConfigError
from vaebench.data.spec import DataSpec


def spec_of(kind: Any, num_classes: int | None = 10) -> DataSpec:
    return DataSpec(name="toy", shape=(1, 8, 8), kind=kind, num_classes=num_classes)


@pytest.mark.parametrize(
    ("likelihood", "kind", "fitting"),
    [
        ("bernoulli", "unit", "gaussian"),
        ("gaussian", "binary", "bernoulli"),
        ("bernoulli", "uint8", "discretized_logistic or model/likelihood=logistic_mixture"),
    ],
)
def test_a_likelihood_that_does_not_fit_the_data_is_told_which_does(
    likelihood: str, kind: str, fitting: str
) -> None:
    config = config_of(f"model/likelihood={likelihood}", "evaluation=none")
    message = f"^model.likelihood: {likelihood.title()} does not fit toy, whose data are {kind}; use .*"
    with pytest.raises(ConfigError, match=f"{message}model/likelihood={fitting}"):
        check_fit(config, spec_of(kind), CONF)


def test_probes_without_labels_are_refused_unless_the_suite_skips_them() -> None:
    unlabelled = spec_of("binary", num_classes=None)
    with pytest.raises(ConfigError) as caught:
        check_fit(config_of("evaluation=probes"), unlabelled, CONF)
    assert caught.value.problems == tuple(
        f"evaluation.{probe}: toy has no labels to probe; use evaluation=likelihood or evaluation=collapse."
        for probe in ("svm_probe", "mlp_probe")
    )
    for suite in ("quick", "full", "collapse", "likelihood", "figures", "none"):
        check_fit(config_of(f"evaluation={suite}"), unlabelled, CONF)
    check_fit(config_of("evaluation=probes"), spec_of("binary"), CONF)


def test_the_suites_that_a_message_offers_exist() -> None:
    assert {"likelihood", "collapse"} <= {path.stem for path in CONF.glob("evaluation/*.yaml")}
