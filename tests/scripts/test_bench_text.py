"""The benchmark of sentences runs, and at the paper's sizes it is the experiments that it times."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest

from scripts import bench_text
from tests.config.helpers import config_of

SMALL = {"paper": 0, "embedding": 4, "hidden": 4, "words": 20, "tokens": 3}


@pytest.mark.parametrize("family", ["lstm_lm", "skip_sa_lstm_vae"])
def test_a_family_is_timed(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    bench_text.measure(family, SMALL, 1, 1, "cpu", "highest", True)
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"step", "mib", "parameters", "encoding", "decoding"}
    assert found["step"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("family", "experiment"), bench_text.FAMILIES.items())
def test_the_papers_sizes_are_the_experiments(family: str, experiment: str) -> None:
    sizes = bench_text.sizes_of(Namespace(paper=True, tokens=None))
    assert bench_text.overrides_of(family, sizes) == [f"experiment=skipvae/{experiment}"]
    model = config_of(f"experiment=skipvae/{experiment}")["model"]
    assert model["name"] == family
    assert (model["decoder"]["embedding"], model["decoder"]["hidden"]) == (
        sizes["embedding"],
        sizes["hidden"],
    )


def test_ours_and_the_bare_loop_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    bench_text.compare(SMALL, 2, "cpu")
    assert capsys.readouterr().out.splitlines()[-1].startswith("ratio ")
