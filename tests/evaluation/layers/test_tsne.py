"""What is shown of each layer of the encoder."""

import numpy as np
import pytest
import torch
from torch import nn

from vaebench.data.spec import Split
from vaebench.evaluation.base import NotApplicableError
from vaebench.evaluation.layers.tsne import LayerTSNE, representations
from vaebench.testing import identity_model, latent_model, make_context, measure, saved, toy_spec

SHAPE = (1, 2, 3)


def images(num: int) -> torch.Tensor:
    return torch.rand(num, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_a_layer_is_shown_as_the_next_one_sees_it():
    model, x = latent_model(toy_spec(SHAPE), 2, depth=3), images(1200)  # two batches
    data, *hidden = representations(model, x)
    h = x.flatten(1)
    torch.testing.assert_close(data, h)
    linear = [module for module in model.encoder.modules() if isinstance(module, nn.Linear)]
    assert len(hidden) == len(linear) == 3
    for layer, found in zip(linear, hidden, strict=True):
        h = torch.tanh(layer(h))
        torch.testing.assert_close(found, h)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


@pytest.mark.slow
@pytest.mark.parametrize("labels", [None, torch.arange(30) % 3], ids=["without labels", "with labels"])
def test_first_middle_last_and_code_are_embedded_each(labels, tmp_path):
    model = latent_model(toy_spec(SHAPE), 2, depth=5)
    context = make_context(model, Split(images(30), labels), tmp_path)
    assert measure(LayerTSNE(num_data=25, perplexity=4.0), context) == {}
    stored = saved(context, "layer_tsne")
    assert [*stored["titles"]] == ["data", "layer 1 of 5", "layer 3 of 5", "layer 5 of 5", "code"]
    assert stored["points"].shape == (5, 25, 2)
    assert len(np.unique(stored["points"].round(3), axis=0)) == 5
    assert (tmp_path / "figures/layer_tsne.png").stat().st_size > 1000


def test_an_encoder_without_hidden_layers_shows_none(tmp_path):
    context = make_context(identity_model(SHAPE), images(30), tmp_path)
    with pytest.raises(NotApplicableError, match="no encoder with hidden layers"):
        measure(LayerTSNE(num_data=25, perplexity=4.0), context)


def test_encoders_side_by_side_have_no_layers_in_a_row(tmp_path):
    model = latent_model(toy_spec(SHAPE), 2, depth=2)
    model.encoder = nn.ModuleList([model.encoder, latent_model(toy_spec(SHAPE), 2, depth=2).encoder])
    x = images(30)
    (data,) = representations(model, x)
    torch.testing.assert_close(data, x.flatten(1))
    with pytest.raises(NotApplicableError, match="or more than one"):
        measure(LayerTSNE(num_data=25, perplexity=4.0), make_context(model, x, tmp_path))
