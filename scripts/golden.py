"""Fingerprints of small runs: `python -m scripts.golden` compares them with results/golden.json.

A change of structure must not change a bit. Each run trains a few steps of small networks on the CPU. Its
fingerprint is the config hash and the SHA-256 of the final weights, of the epoch lines, and of all numbers
and arrays measured. Bits depend on the processor and on PyTorch; the file names both. On another machine,
write the list of the old commit with `--write FILE` and compare the new commit with `--against FILE`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import logging
import platform
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from vaebench import layout
from vaebench.config.paths import conf_dir
from vaebench.runner.experiment import run

FILE = Path(__file__).parents[1] / "results/golden.json"

BASE = "training.steps=6 training.batch_size=200"
HERE = "runtime.device=cpu runtime.threads=1 runtime.progress=never"
LIKELIHOOD = (
    "evaluation=likelihood evaluation.bound.num_samples=2 evaluation.nll.num_samples=4 "
    "evaluation.nll.num_data=10"
)
MLP = "model.encoder.width=16 model.decoder.width=16 model.latent_dim=4"
CNN = "model.encoder.channels=4 model.decoder.channels=4 model.decoder.depth=3 model.latent_dim=4"
SVI = "model.posterior.num_steps=2"
TEXT = (
    "dataset=text dataset.folder={corpus} training.batch_size=2 "
    "model.decoder.embedding=5 model.decoder.hidden=6"
)
LSTM = f"{TEXT} model.encoder.embedding=5 model.encoder.hidden=6 model.latent_dim=3"
SAMPLES = (
    "evaluation=code_use evaluation.chain.num_chains=3 evaluation.chain.num_steps=2 "
    "evaluation.chain.num_data=20 evaluation.chain.num_train=20"
)
EVERYTHING = (
    "evaluation=full evaluation.bound.num_samples=2 evaluation.nll.num_samples=4 "
    "evaluation.nll_5000.num_samples=5 evaluation.mlp_probe.hidden=16 evaluation.mlp_probe.epochs=2 "
    "evaluation.layer_fisher.num_data=50 evaluation.ais.num_data=10 evaluation.ais.num_simulated=5 "
    "evaluation.ais.num_chains=2 evaluation.ais.num_temperatures=20 evaluation.posterior_gaps.num_data=10 "
    "evaluation.posterior_gaps.num_steps=20 evaluation.tsne.num_data=100"
)
CLASSIFIERS = " ".join(
    f"evaluation.{name}.num_steps=20 evaluation.{name}.num_draws=200"
    for name in ("propagation", "density_ratio_mi")
)
PLANE = (
    "evaluation.variance_map.num_cells=8 evaluation.variance_map.num_digits=3 "
    "evaluation.variance_map.num_codes=200"
)

RUNS = {
    "default": "evaluation=quick",
    "vae, full suite": f"model=vae {MLP} {EVERYTHING}",
    "vae, layer pictures": f"model=vae {MLP} evaluation=layer_tsne evaluation.layer_tsne.num_data=60",
    "vae, propagation": f"model=vae {MLP} evaluation=propagation {CLASSIFIERS} "
    "evaluation.propagation.num_runs=1",
    "vae, variance map": f"model=vae {MLP} model.latent_dim=2 evaluation=variance_map {PLANE}",
    "vae on a mixture": f"model=vae {MLP} dataset=gmm dataset.num_train=400 model/likelihood=gaussian",
    "vae_deep_encoder": f"model=vae_deep_encoder {MLP}",
    "vae_deep_decoder": f"model=vae_deep_decoder {MLP}",
    "scvae": f"model=scvae {MLP}",
    "scvae_long": f"model=scvae_long {MLP}",
    "vamp_vae": f"model=vamp_vae {MLP} model.prior.num_components=7",
    "scvae_vamp": f"model=scvae_vamp {MLP} model.prior.num_components=7",
    "skip_vae": f"model=skip_vae {MLP}",
    "pixel_vae": "model=pixel_vae model.decoder.channels=4 model.decoder.depth=2 model.latent_dim=4",
    "scvae_pixel": "model=scvae_pixel model.encoder.width=16 model.decoder.base.width=16 "
    "model.decoder.channels=4 model.decoder.depth=2 model.latent_dim=4",
    "scvae_pixel_vamp": "model=scvae_pixel_vamp model.encoder.width=16 model.decoder.base.width=16 "
    "model.decoder.channels=4 model.decoder.depth=2 model.latent_dim=4 model.prior.num_components=7",
    "pixelcnn_vae": f"model=pixelcnn_vae {CNN}",
    "pixelcnn_vae in bfloat16": f"model=pixelcnn_vae {CNN} runtime.convolutions=bfloat16",
    "pixelcnn_vae, code use": f"model=pixelcnn_vae {CNN} {SAMPLES}",
    "pixelcnn_skip_vae": f"model=pixelcnn_skip_vae {CNN}",
    "conditional_pixelcnn_vae": "model=conditional_pixelcnn_vae model.encoder.width=16 "
    "model.decoder.channels=4 model.latent_dim=4",
    "pixelcnnpp_vae": "model=pixelcnnpp_vae model.decoder.channels=4 model.decoder.resnets=1 "
    "model.latent_dim=4 training.steps=2",
    "sa_vae": f"model=sa_vae {CNN} {SVI} training.batch_size=20",
    "skip_sa_vae": f"model=skip_sa_vae {CNN} {SVI} training.batch_size=20",
    "svi, annealed": f"model=vae {MLP} model/posterior=svi {SVI} model/objective=annealed_elbo",
    "svi, iwae": f"model=vae {MLP} model/posterior=svi {SVI} model/objective=iwae",
    "svi, warm-up and beta": f"model=vae {MLP} model/posterior=svi {SVI} model.objective.warmup_epochs=1 "
    "model.objective.beta=2",
    "svi, full suite": f"model=vae {MLP} model/posterior=svi {SVI} {EVERYTHING}",
    "iaf_vae": f"model=iaf_vae {MLP} model.posterior.width=16",
    "iaf, full suite": f"model=iaf_vae {MLP} model.posterior.width=16 {EVERYTHING} "
    "evaluation.fisher_shannon.num_flow_data=20",
    "sigmoid posterior": f"model=vae {MLP} model/posterior=sigmoid",
    "clamped posterior": f"model=vae {MLP} model/posterior=diagonal_clamped",
    "he posterior": f"model=vae {MLP} model/posterior=diagonal_he",
    "fae": f"model=fae {MLP}",
    "fae_conv": "model=fae_conv model.decoder.channels=4 model.decoder.width=8 model.latent_dim=4",
    "mae": f"model=mae {MLP}",
    "mae in bfloat16": "model=mae model/decoder=gated_conv model.decoder.channels=4 model.decoder.width=8 "
    "model.latent_dim=4 runtime.convolutions=bfloat16",
    "iwae": f"model=iwae {MLP}",
    "infovae": f"model=infovae {MLP}",
    "elbo with its knobs": f"model=vae {MLP} model.objective.beta=2 model.objective.warmup_epochs=1 "
    "model.objective.free_bits=0.1",
    "annealed, exponential": f"model=vae {MLP} model/objective=annealed_elbo_exponential",
    "unregularized": f"model=vae {MLP} model/objective=unregularized",
    "logistic mixture": "model=pixelcnnpp_vae dataset=image_folder dataset.path={images} dataset.size=16 "
    "model/likelihood=logistic_mixture model.likelihood.num_components=2 model.decoder.channels=4 "
    "model.decoder.resnets=1 model.latent_dim=4 training.batch_size=10",
    "discretized logistic": f"model=vae {MLP} dataset=image_folder dataset.path={{images}} dataset.size=8 "
    "model/likelihood=discretized_logistic",
    "sequential_vae": "model=sequential_vae dataset=image_folder dataset.path={images} dataset.size=16 "
    "model.steps=2 model.channels=[4,4] model.codes=[2,2] model.width=8 training.batch_size=10 "
    "evaluation=sequential evaluation.sequential.num_data=10 evaluation.sequential.num_samples=10 "
    "evaluation.sequential.num_shown=2",
    "lstm_lm": f"model=lstm_lm {TEXT} evaluation=text",
    "lstm_vae": f"model=lstm_vae {LSTM}",
    "lstm_vae, text suite": f"model=lstm_vae {LSTM} evaluation=text",
    "skip_lstm_vae": f"model=skip_lstm_vae {LSTM}",
    "sa_lstm_vae": f"model=sa_lstm_vae {LSTM} {SVI}",
    "skip_sa_lstm_vae": f"model=skip_sa_lstm_vae {LSTM} {SVI}",
    "averaged": f"model=vae {MLP} training/optimizer=adam_averaged",
    "normalised gradients": f"model=vae {MLP} training/optimizer=adam_norm_grad",
    "sgd, plateau": f"model=vae {MLP} training/optimizer=sgd training/schedule=plateau "
    "training.clip_grad_norm=5",
    "cosine, exponential": f"model=vae {MLP} training/schedule=exponential runtime.track_information=50",
}

WORDS = ["the cat sat", "a dog ran off", "the dog sat", "a cat", "the cat ran to a dog", "off", "a dog sat"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the list of fingerprints")
    parser.add_argument("--against", type=Path, metavar="FILE", default=FILE, help="compare with this list")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the runs whose name contains TEXT")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    runs: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        places = {"corpus": write_corpus(Path(folder)), "images": write_images(Path(folder))}
        for name in (name for name in RUNS if arguments.only in name):
            runs[name] = fingerprint(name, Path(folder) / str(len(runs)), places)
            print(f"{name:28} {runs[name]['hash']} {runs[name]['weights'][:12]}", file=sys.stderr)
    if arguments.write:
        listed = {"machine": machine(), "runs": runs}
        arguments.write.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
        return 0
    return compare(json.loads(arguments.against.read_text()), runs)


def compare(listed: dict[str, Any], runs: dict[str, dict[str, str]]) -> int:
    """Print every difference; return how many runs differ."""
    if listed["machine"] != machine():
        print(
            f"The list was written on {listed['machine']}; this is {machine()}, which alone may change bits."
        )
    differing = 0
    for name, ours in runs.items():
        theirs = listed["runs"].get(name, {})
        differ = [key for key in ours if ours[key] != theirs.get(key)]
        differing += bool(differ)
        if differ:
            print(f"{name}: {', '.join(differ)} {'differ' if theirs else 'are not in the list'}")
    print(f"{len(runs) - differing} of {len(runs)} runs have the same bits.")
    return differing


def fingerprint(name: str, outputs: Path, places: dict[str, str]) -> dict[str, str]:
    """Return config hash and SHA-256 of the weights, epoch lines, numbers and arrays of one run."""
    words = HERE.split() + ([] if name == "default" else BASE.split())
    words += LIKELIHOOD.split() if "evaluation=" not in RUNS[name] else []
    words += [word.format_map(places) for word in RUNS[name].split()]
    words += [f"paths.outputs={outputs}", f"paths.cache={outputs}/cache", f"data_root={outputs}"]
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        config = compose("train", overrides=words)
    with redirect_stdout(io.StringIO()):
        results = run(config)
    (directory,) = layout.find_run_directories(outputs)
    weights = torch.load(directory / layout.CHECKPOINTS / "best.pt", weights_only=True)["model"]
    arrays = {
        str(path.relative_to(directory)): stored
        for path in sorted(directory.glob(f"{layout.ARRAYS}/*.npz"))
        for stored in [dict(np.load(path))]
    }
    texts = {str(path.name): path.read_text() for path in sorted(directory.glob("sentences/*.txt"))}
    lines = [json.loads(line) for line in (directory / layout.METRICS).read_text().splitlines()]
    facts = {key: value for key, value in results.items() if key != "run"}
    return {
        # The hash contains the paths of the corpus and the images.
        "hash": directory.parents[1].name if not {"{corpus}", "{images}"} & set(_places(name)) else "-",
        "weights": sha256({key: value.numpy() for key, value in weights.items()}),
        "epochs": sha256(lines),
        "numbers": sha256(facts),
        "arrays": sha256([arrays, texts]),
    }


def _places(name: str) -> list[str]:
    return [place for place in ("{corpus}", "{images}") if place in RUNS[name]]


def sha256(value: Any) -> str:
    digest = hashlib.sha256()
    _update(digest, value)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    """Add a tree of arrays and plain values, in the order of its keys, without times, paths and sentences."""
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, dict):
        for key in sorted(value):
            if key not in ("seconds", "data", "reason"):
                digest.update(str(key).encode())
                _update(digest, value[key])
    elif isinstance(value, list):
        for item in value:
            _update(digest, item)
    else:
        digest.update(repr(value).encode())


def machine() -> dict[str, str]:
    """Return what the bits of a run depend on besides the code."""
    capability = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "cpu": f"{platform.machine()} {capability}", "numpy": np.__version__}


def write_corpus(folder: Path) -> str:
    corpus = folder / "corpus"
    corpus.mkdir()
    for part, lines in {"train": WORDS * 3, "valid": WORDS[:3], "test": WORDS[3:]}.items():
        (corpus / f"{part}.txt").write_text("".join(f"{line}\n" for line in lines))
    return str(corpus)


def write_images(folder: Path) -> str:
    """Write forty coloured images of 16 x 16 pixels, smooth so that a network can learn them."""
    from PIL import Image

    images = folder / "images"
    images.mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((16, 16), Image.Resampling.BILINEAR).save(images / f"{number:02}.png")
    return str(images)


if __name__ == "__main__":
    sys.exit(main())
