"""scikit-learn's 8x8 digits: the default dataset, since it needs no file and no network."""

from __future__ import annotations

import torch

from vaebench.data.binarise import binarise_once, content_hash
from vaebench.data.spec import DataPaths, DataSpec, Split, Splits

LEVELS = 16  # pixels are counts from 0 to 16
SPLIT_SEED = 0
NUM_VALID = NUM_TEST = 300  # of 1,797 images


class Digits:
    """UCI optical digits, dynamically binarised: 1,197 / 300 / 300 images."""

    def __init__(self, paths: DataPaths, *, name: str, binarisation_seed: int) -> None:
        self.spec = DataSpec(name=name, shape=(1, 8, 8), kind="binary", num_classes=10)
        self.binarisation_seed = binarisation_seed

    def load(self) -> Splits:
        from sklearn.datasets import load_digits

        raw = load_digits()
        x = torch.from_numpy(raw.images).to(torch.uint8).unsqueeze(1)
        y = torch.from_numpy(raw.target).long()
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(SPLIT_SEED))
        x, y = x[order], y[order]
        scale = 1 / LEVELS
        held_out = binarise_once(x[-NUM_VALID - NUM_TEST :], scale, self.binarisation_seed)
        train = slice(None, -NUM_VALID - NUM_TEST)
        valid, test = held_out.split([NUM_VALID, NUM_TEST])
        return Splits(
            train=Split(x[train], y[train], scale=scale, stochastic=True),
            valid=Split(valid, y[-NUM_VALID - NUM_TEST : -NUM_TEST]),
            test=Split(test, y[-NUM_TEST:]),
            origin={
                "source": "sklearn.datasets.load_digits",
                "binarisation_seed": self.binarisation_seed,
                "test_hash": content_hash(test),
            },
        )
