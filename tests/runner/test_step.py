"""A compiled step: one graph of every family's forward pass, and the numbers of the step as written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from tests.runs import small_config, tiny
from vaebench.runner.prepare import build_model, make_training, prepare

SETTINGS = ["training.batch_size=20", "runtime.device=cpu", "runtime.threads=1"]
CALL = torch.compile


def two_steps(outputs: Path, family: str, how: str) -> tuple[list[float], list[Tensor]]:
    """The losses of two steps, and the parameters after them."""
    words = [*SETTINGS, *tiny(family), f"runtime.compile={how}"]
    experiment = prepare(small_config(outputs, *words, families=True))
    torch.manual_seed(0)
    training = make_training(experiment, build_model(experiment.config, experiment.dataset))
    losses = []
    for number in range(2):
        training.finished_steps.fill_(number)
        logged = training.step(training.batches(0, number), training.finished_steps)
        losses.append(float(logged["loss"].detach()))
    return losses, [parameter.detach() for parameter in training.model.parameters()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch hides it, but not from pytest
@pytest.mark.parametrize(
    "family", ["vae", "vamp_vae", "iaf_vae", "mae", "fae", "iwae", "skip_vae", "infovae", "pixelcnn_vae"]
)
def test_a_compiled_step_is_one_graph_and_the_same_step(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut in it, which is no error, would be several graphs on CUDA with Python between them."""
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    def compiled(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        return CALL(function, backend=backend, dynamic=False)

    torch._dynamo.reset()
    written = two_steps(tmp_path, family, "never")
    monkeypatch.setattr(torch, "compile", compiled)
    losses, parameters = two_steps(tmp_path, family, "always")
    assert len(graphs) == 1
    assert losses == written[0]
    torch.testing.assert_close(parameters, written[1])
