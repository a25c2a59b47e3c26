"""Every family trains and is measured; any axis combines with any other, or is refused with the reason."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.archives import png, put_folder
from tests.config.helpers import CONF
from tests.runs import only_run, read, small_config, tiny
from tests.sentences import write_corpus
from vaebench.errors import UserError
from vaebench.runner.experiment import run
from vaebench.runner.prepare import prepare

FAMILIES = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
QUICK = [
    "training.steps=2",
    "training.batch_size=20",
    "evaluation=likelihood",
    "evaluation.bound.num_samples=1",
    "evaluation.nll.num_samples=2",
    "evaluation.nll.num_data=5",
    "runtime.device=cpu",
    "runtime.threads=1",
    "runtime.progress=never",
]
WITHOUT_LIKELIHOOD = {"sequential_vae"}
COMBINATIONS = {  # axes that no family has together
    "vamp pixelcnn iwae": [
        *tiny("pixelcnn_vae"),
        "model/prior=vamp",
        "model.prior.num_components=7",
        "model/objective=iwae",
        "model.objective.num_samples=3",
    ],
    "skip pixelcnn, skip encoder": [
        "model=scvae",
        "model.encoder.width=16",
        "model/decoder=gated_pixelcnn",
        "model.decoder.channels=4",
        "model.decoder.depth=3",
    ],
    "iaf head": [
        "model=iaf_vae",
        "model.encoder.width=16",
        "model.posterior.width=16",
        "model/decoder=pixel_head",
        "model.decoder.channels=4",
        "model.decoder.depth=2",
    ],
    "fae conv": ["model=fae", "model/encoder=conv4", "model.decoder.width=16"],
    "infovae iaf": [*tiny("vae"), "model/objective=infovae", "model/posterior=iaf"],
    "svi skip mlp iwae": [
        *tiny("skip_vae"),
        "model/posterior=svi",
        "model.posterior.num_steps=2",
        "model/objective=iwae",
        "model.objective.num_samples=3",
    ],
    "svi fae conv": [*tiny("fae_conv"), "model/posterior=svi", "model.posterior.num_steps=2"],
    "mae vamp": [*tiny("mae"), "model/prior=vamp", "model.prior.num_components=7"],
    "adam_averaged": [*tiny("vae"), "training/optimizer=adam_averaged"],
    "adam_norm_grad": [*tiny("vae"), "training/optimizer=adam_norm_grad"],
}
SCVAE_TABLE_2 = [  # as the README has them
    ("scvae_vamp", ["model/prior=vamp", "model.posterior.logvar_range=[-6,2]"]),
    ("scvae_pixel", ["model/decoder=pixel_head", "model/decoder@model.decoder.base=residual_mlp"]),
    (
        "scvae_pixel_vamp",
        [
            "model/prior=vamp",
            "model/decoder=pixel_head",
            "model/decoder@model.decoder.base=residual_mlp",
            "model.posterior.logvar_range=[-6,2]",
        ],
    ),
]


def check_run(outputs: Path, *overrides: str, statuses: tuple[str, str] = ("complete",) * 2) -> None:
    config = small_config(outputs, *QUICK, *overrides, families=True)
    entries = run(config)["evaluations"]
    assert tuple(entry["status"] for entry in entries) == statuses
    assert read(only_run(outputs), "status.json")["state"] == "complete"


def of_sentences(family: str) -> bool:
    """Whether a family writes sentences, or is made from one that does."""
    text = (CONF / f"model/{family}.yaml").read_text()
    bases = [word for word in yaml.safe_load(text)["defaults"] if isinstance(word, str) and word != "_self_"]
    return "likelihood: categorical" in text or any(of_sentences(base) for base in bases)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_and_is_measured(family: str, tmp_path: Path) -> None:
    statuses = dict.fromkeys(WITHOUT_LIKELIHOOD, ("not_applicable", "not_applicable"))
    statuses["lstm_lm"] = ("not_applicable", "complete")  # no bound, since its likelihood is exact
    words = tiny(family)
    if of_sentences(family):
        words += ["dataset=text", f"dataset.folder={write_corpus(tmp_path / 'corpus')}"]
    check_run(tmp_path / "outputs", *words, statuses=statuses.get(family, ("complete", "complete")))


@pytest.mark.slow
@pytest.mark.parametrize("choices", COMBINATIONS.values(), ids=COMBINATIONS)
def test_axes_combine(choices: list[str], tmp_path: Path) -> None:
    check_run(tmp_path, *choices)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "overrides"), SCVAE_TABLE_2)
def test_combinations_of_scvaes_table_2_are_overrides(family: str, overrides: list[str]) -> None:
    def model(*choices: str) -> dict:
        return {**small_config(Path("outputs"), *choices, families=True).model, "name": "same"}

    assert model("model=scvae", *overrides) == model(f"model={family}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        (["model=vamp_vae", "model/posterior=iaf"], "VampPrior evaluates"),
        (
            ["model=vamp_vae", "model/posterior=svi"],
            "SVIPosterior would be optimised against a prior that depends on it",
        ),
        (["model=fae", "model/posterior=iaf"], "FAE needs a posterior"),
        (["model=mae", "model/decoder=gated_pixelcnn"], "MAE samples x at every step"),
        (["dataset=gmm", "model/likelihood=gaussian", "model/encoder=resnet"], "works on images"),
        (["model=vae", "model/encoder=lstm"], r"LSTMEncoder does not fit digits.*model/encoder=mlp"),
        (["model=vae", "model/decoder=lstm"], r"LSTMDecoder does not fit digits.*model/decoder=mlp"),
        (
            ["model/decoder=pixel_head", "model/decoder@model.decoder.base=lstm"],
            "model/decoder=lstm works on sentences",
        ),
        (
            ["model/decoder=pixel_head", "model/decoder@model.decoder.base=gated_pixelcnn"],
            r"base is autoregressive.*use model/decoder@model\.decoder\.base=mlp",
        ),
        (
            ["dataset=image_folder", "dataset.path={images}", "model=sequential_vae", "model/objective=iwae"],
            "SequentialVAE has no likelihood",
        ),
        (["model=lstm_vae"], "Categorical does not fit digits, whose data are binary"),
    ],
)
def test_what_cannot_be_combined_is_refused_with_the_reason(
    choices: list[str], reason: str, tmp_path: Path
) -> None:
    black = png(np.zeros((32, 32, 3), np.uint8))
    images = put_folder(tmp_path / "images", {f"{number}.png": black for number in range(10)})
    words = [choice.format(images=images) for choice in choices]
    with pytest.raises(UserError, match=reason):
        prepare(small_config(tmp_path, *words, families=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        (
            ["model/encoder=mlp"],
            r"MLPEncoder does not fit text, whose data are tokens; use model/encoder=lstm\.",
        ),
        (["model/encoder=conv"], r"ConvEncoder does not fit .* use model/encoder=lstm\."),
        (["model/decoder=gated_pixelcnn"], r"does not fit text, .*; use model/decoder=lstm\."),
        (["model/likelihood=bernoulli"], r"use model/likelihood=categorical\."),
        (["model/prior=vamp"], r"VampPrior does not fit text, .*; use model/prior=standard\."),
        (["model/objective=mae"], "MAE samples x at every step"),
        (["model=lstm_lm", "model/objective=infovae"], "InfoVAE needs a model with a code"),
    ],
)
def test_what_does_not_fit_sentences_is_refused_with_the_reason(
    choices: list[str], reason: str, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    words = ["model=lstm_vae", "dataset=text", f"dataset.folder={corpus}", *choices]
    words = [word for word in words if word != "model=lstm_vae" or "model=lstm_lm" not in choices]
    with pytest.raises(UserError, match=reason):
        prepare(small_config(tmp_path, *words, families=True))
