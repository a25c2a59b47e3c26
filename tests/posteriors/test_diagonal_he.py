"""The posterior whose heads start as Skip-VAE's code has them."""

import torch

from tests.config.helpers import config_of
from vaebench.posteriors.diagonal import DiagonalPosterior
from vaebench.posteriors.diagonal_he import HeDiagonalPosterior


def test_the_heads_start_with_variance_two_over_fan_in_and_are_otherwise_the_plain_ones() -> None:
    torch.manual_seed(0)
    posterior, plain = (
        kind(200, 50, logvar_range=(-1.0, 0.5)) for kind in (HeDiagonalPosterior, DiagonalPosterior)
    )
    for head in (posterior.mean, posterior.logvar):
        torch.testing.assert_close(head.weight.var().item(), 2 / 200, rtol=0.05, atol=0)
        assert 0 < head.bias.abs().max() <= 200**-0.5  # PyTorch's
    plain.load_state_dict(posterior.state_dict())
    features = torch.randn(30, 200)
    q, expected = (kind(features, lambda q, z: z) for kind in (posterior, plain))
    torch.testing.assert_close(q.mean, expected.mean)
    torch.testing.assert_close(q.logvar, expected.logvar)
    assert (q.logvar.min(), q.logvar.max()) == (-1, 0.5)


def test_skip_vaes_pixelcnns_start_so_its_perceptrons_and_sentences_do_not() -> None:
    for row, is_he in {"table1_skip_d2": True, "table3_vae_l4": False, "table4_vae": False}.items():
        target = config_of(f"experiment=skipvae/{row}")["model"]["posterior"]["_target_"]
        assert target.endswith("HeDiagonalPosterior") == is_he
