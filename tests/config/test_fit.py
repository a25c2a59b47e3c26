"""Settings that are each legal and do not fit the dataset."""

from pathlib import Path
from typing import Any

import pytest

from tests.config.helpers import CONF, config_of
from tests.runs import small_config
from vaebench.config.errors import ConfigError
from vaebench.config.fit import NEAREST, check_fit, families_for
from vaebench.data.spec import DataSpec
from vaebench.errors import UserError
from vaebench.runner.prepare import prepare


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


SENTENCES = DataSpec("toy", (9,), "tokens", None, vocabulary=("</s>", "<unk>", "a"))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["vae", "skip_vae", "sa_vae", "skip_sa_vae"])
def test_a_family_for_other_data_is_told_its_counterpart_for_these(family: str) -> None:
    counterpart = family.replace("vae", "lstm_vae")
    with pytest.raises(ConfigError) as caught:
        check_fit(config_of(f"model={family}", "evaluation=none"), SENTENCES, CONF)
    whole, *parts = caught.value.problems
    assert whole.startswith(f"model: {family} does not fit toy; use model={counterpart}, model=")
    assert [part.split(":")[0] for part in parts] == ["model.likelihood", "model.encoder", "model.decoder"]
    with pytest.raises(ConfigError) as caught:
        check_fit(config_of(f"model={counterpart}", "evaluation=none"), spec_of("binary"), CONF)
    assert f"; use model={family}, model=" in caught.value.problems[0]


def test_the_families_that_are_offered_for_sentences_fit_them_and_no_other_does() -> None:
    offered = families_for("tokens", {"name": "vae"}, CONF)
    every = {path.stem for path in CONF.glob("model/*.yaml") if "lstm" in path.stem}
    assert set(offered) <= every
    assert len(offered) == NEAREST
    for family in offered:
        check_fit(config_of(f"model={family}", "evaluation=none"), SENTENCES, CONF)


def test_one_part_that_does_not_fit_is_no_matter_of_the_family() -> None:
    config = config_of("model=lstm_vae", "model/decoder=mlp", "evaluation=none")
    with pytest.raises(ConfigError) as caught:
        check_fit(config, SENTENCES, CONF)
    assert caught.value.problems == (
        "model.decoder: MLPDecoder does not fit toy, whose data are tokens; use model/decoder=lstm.",
    )


@pytest.mark.slow
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


@pytest.mark.parametrize("kind", ["real", "binary"])
def test_pseudo_inputs_between_0_and_1_are_for_data_that_are(kind: str) -> None:
    likelihood = {"real": "gaussian", "binary": "bernoulli"}[kind]
    config = config_of("model=vamp_vae", f"model/likelihood={likelihood}", "evaluation=none")
    if kind == "binary":
        check_fit(config, spec_of(kind), CONF)
        return
    message = "^model.prior: VampPrior does not fit toy, whose data are real; use model/prior=standard.$"
    with pytest.raises(ConfigError, match=message):
        check_fit(config, spec_of(kind), CONF)


@pytest.mark.parametrize(
    ("dataset", "likelihood"), [("mnist_gray", "gaussian"), ("svhn", "discretized_logistic")]
)
def test_only_log_odds_start_from_data(dataset: str, likelihood: str, tmp_path: Path) -> None:
    """A mean, too, has the shape of the data."""
    words = [f"dataset={dataset}", "model=conditional_pixelcnn_vae", f"model/likelihood={likelihood}"]
    with pytest.raises(UserError, match="init_from_data=true needs model/likelihood=bernoulli"):
        prepare(small_config(tmp_path, *words, "evaluation=none", families=True))


@pytest.mark.parametrize("dataset", ["yahoo", "text"])
def test_what_does_not_fit_is_said_before_any_data_are_looked_for(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaebench.data.yahoo.urlopen", lambda *_, **__: pytest.fail("downloaded"))
    words = [f"dataset={dataset}", f"data_root={tmp_path}", f"paths.cache={tmp_path}"]
    with pytest.raises(ConfigError, match="model: vae does not fit "):
        prepare(small_config(tmp_path, *words, families=True))


def test_a_tilde_is_the_home_folder_wherever_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAEBENCH_DATA", "~/data")
    experiment = prepare(small_config(Path("~/runs"), "dataset=mnist", "paths.cache='~/cache'"))
    assert experiment.rundir.path.is_relative_to(tmp_path / "runs")
    assert experiment.dataset.paths.root == tmp_path / "data"  # type: ignore[attr-defined]
    assert experiment.dataset.paths.cache == tmp_path / "cache"  # type: ignore[attr-defined]
