"""Shared parts of the benchmarks: one VAE in vaebench and in pythae, with the same weights, and MNIST."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault(
    "TQDM_DISABLE", "1"
)  # before the first import of tqdm: progress bars would hide the numbers

import torch
from torch import Tensor, nn

from vaebench.config.build import build
from vaebench.data.mnist import MNIST
from vaebench.data.spec import DataPaths, DataSpec, Splits
from vaebench.models.latent import LatentModel

HIDDEN, LATENT = 500, 50
MLP = {
    "depth": 1,
    "width": HIDDEN,
    "activation": "relu",
    "skip": "none",
    "bridge": "identity",
    "init": "default",
}
NODE: dict[str, Any] = {
    "_target_": "vaebench.models.latent.LatentModel",
    "name": "vae",
    "latent_dim": LATENT,
    "encoder": {"_target_": "vaebench.networks.mlp.MLPEncoder", **MLP},
    "decoder": {"_target_": "vaebench.networks.mlp.MLPDecoder", **MLP},
    "posterior": {"_target_": "vaebench.posteriors.diagonal.DiagonalPosterior", "logvar_range": None},
    "prior": {"_target_": "vaebench.priors.standard.StandardPrior"},
    "likelihood": {"_target_": "vaebench.likelihoods.bernoulli.Bernoulli"},
}


def load_mnist() -> Splits:
    """Load MNIST, binarised once with a seed: vaebench and pythae get the same data."""
    paths = DataPaths(
        root=Path(os.environ.get("VAEBENCH_DATA", "data")),
        cache=Path(os.environ.get("VAEBENCH_CACHE", "~/.cache/vaebench")).expanduser(),
    )
    return MNIST(paths, name="mnist_static_seeded", binarisation="static", binarisation_seed=777).load()


def our_vae(seed: int) -> LatentModel:
    """Build vaebench's VAE: 784-500-50-500-784, ReLU, Bernoulli."""
    torch.manual_seed(seed)
    return build(NODE, spec=DataSpec("mnist", (1, 28, 28), "binary", 10))


def pythae_vae(ours: LatentModel) -> Any:
    """Build pythae's VAE with networks of the same shapes and the same weights."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU())
            self.mean, self.logvar = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

        def forward(self, x: Tensor) -> Any:
            features = self.hidden(x.flatten(1))
            return ModelOutput(embedding=self.mean(features), log_covariance=self.logvar(features))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU())
            self.output = nn.Linear(HIDDEN, 784)

        def forward(self, z: Tensor) -> Any:
            logits = self.output(self.hidden(z))
            return ModelOutput(reconstruction=torch.sigmoid(logits).reshape(-1, 1, 28, 28))

    encoder, decoder = Encoder(), Decoder()
    encoder.hidden[0].load_state_dict(ours.encoder.hidden.layers[0].state_dict())
    encoder.mean.load_state_dict(ours.posterior.mean.state_dict())
    encoder.logvar.load_state_dict(ours.posterior.logvar.state_dict())
    decoder.hidden[0].load_state_dict(ours.decoder.hidden.layers[0].state_dict())
    decoder.output.load_state_dict(ours.decoder.output.state_dict())
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    return VAE(config, encoder=encoder, decoder=decoder)
