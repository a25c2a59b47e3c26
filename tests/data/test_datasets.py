"""Tests of binarisation, batches and scikit-learn's digits."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from vaebench.data.batches import Batches, in_order
from vaebench.data.binarise import binarise_once, content_hash
from vaebench.data.digits import Digits
from vaebench.data.spec import DataPaths, Split, Splits

GREY = 1 / 255


def levels(num: int) -> Tensor:
    """Return `num` examples of 256 pixels, one of each grey level."""
    return torch.arange(256, dtype=torch.uint8).repeat(num, 1)


def assert_frequencies(x: Tensor) -> None:
    """Assert that pixel i is 1 in a fraction i/255 of the data `[N, 256]`, within five standard errors."""
    p = torch.arange(256) / 255
    error = (p * (1 - p) / len(x)).sqrt()
    assert ((x.float().mean(0) - p).abs() <= 5 * error).all()  # black and white without any
    assert set(x.unique().tolist()) == {0, 1}


def test_binarised_pixels_are_one_as_often_as_they_are_bright():
    x = binarise_once(levels(4000), GREY, seed=0)
    assert x.dtype == torch.uint8
    assert_frequencies(x)


def test_binarisation_repeats_by_its_seed_alone():
    grey = levels(50)
    torch.manual_seed(1)
    first = binarise_once(grey, GREY, seed=5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(binarise_once(grey, GREY, seed=5), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(binarise_once(grey, GREY, seed=6), first)


def test_binarisation_of_many_data_repeats_no_random_numbers():
    """They are sampled in parts of 10,000."""
    x = binarise_once(torch.full((20_003, 8), 128, dtype=torch.uint8), GREY, seed=0)
    assert len(x) == 20_003
    assert not torch.equal(x[:10_000], x[10_000:20_000])


def test_content_hash_tells_any_bit():
    x = levels(3)
    other = x.clone()
    other[2, 7] += 1
    assert content_hash(x) == content_hash(x.clone())
    assert content_hash(x) != content_hash(other)


def counted(num: int, stochastic: bool = False) -> Split:
    """Return a split whose example i is the number i or, if stochastic, eight grey pixels."""
    if stochastic:
        return Split(torch.full((num, 8), 128, dtype=torch.uint8), None, scale=GREY, stochastic=True)
    return Split(torch.arange(num, dtype=torch.uint8).view(num, 1), None)


def epoch_of(batches: Batches, epoch: int) -> list[int]:
    """Return the data of an epoch in the order of its batches."""
    return torch.cat([batches(epoch, i) for i in range(len(batches))]).flatten().int().tolist()


@pytest.mark.parametrize("stochastic", [False, True])
def test_a_batch_is_a_pure_function_of_seed_epoch_and_index(stochastic):
    split = counted(50, stochastic)
    batches = Batches(split, batch_size=8, seed=3)
    expected = batches(2, 4)
    for epoch, index in ((2, 5), (0, 4), (7, 0)):
        assert not torch.equal(batches(epoch, index), expected[: len(batches(epoch, index))])
    torch.manual_seed(9)
    assert torch.equal(batches(2, 4), expected)
    assert torch.equal(Batches(split, batch_size=8, seed=3)(2, 4), expected)
    assert not torch.equal(Batches(split, batch_size=8, seed=4)(2, 4), expected)


def test_every_datum_comes_exactly_once_an_epoch_and_the_last_batch_is_ragged():
    batches = Batches(counted(50), batch_size=8, seed=0)
    assert len(batches) == 7
    assert [len(batches(0, i)) for i in range(7)] == [8] * 6 + [2]
    first, second = epoch_of(batches, 0), epoch_of(batches, 1)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first != list(range(50))


def test_a_batch_is_no_larger_than_the_data():
    batches = Batches(counted(5), batch_size=100, seed=0)
    assert len(batches) == 1
    assert sorted(epoch_of(batches, 0)) == list(range(5))


def test_the_same_datum_is_binarised_anew_in_every_epoch():
    batches = Batches(Split(levels(1), None, scale=GREY, stochastic=True), batch_size=1, seed=0)
    looks = torch.cat([batches(epoch, 0) for epoch in range(3000)])
    assert_frequencies(looks)


def test_data_in_order_are_the_same_draws_at_every_call():
    split = counted(20, stochastic=True)
    first = torch.cat(list(in_order(split, 7, seed=1)))
    torch.manual_seed(9)
    assert torch.equal(torch.cat(list(in_order(split, 7, seed=1))), first)
    assert not torch.equal(torch.cat(list(in_order(split, 7, seed=2))), first)
    assert torch.cat(list(in_order(counted(20), 7, seed=1))).flatten().tolist() == list(range(20))


def digits() -> Splits:
    nowhere = DataPaths(root=Path("none"), cache=Path("none"))  # they come with scikit-learn
    return Digits(nowhere, name="digits", binarisation_seed=777).load()


def test_digits_are_the_same_at_every_load():
    """The hash is part of the benchmark: if it changes, earlier results are not comparable."""
    first, second = digits(), digits()
    for name in ("train", "valid", "test"):
        assert torch.equal(first[name].x, second[name].x)
        assert torch.equal(first[name].y, second[name].y)
    assert first.origin["test_hash"] == second.origin["test_hash"] == content_hash(first.test.x)
    assert first.origin["test_hash"] == "56ff10c93a9f6734"


def test_digits_splits_partition_the_images_and_keep_their_labels(monkeypatch):
    """The images encode their own number in black and white, so that the test can identify them."""
    number = np.arange(1797)
    bits = (number[:, None] >> np.arange(64)) & 1
    raw = SimpleNamespace(images=16.0 * bits.reshape(-1, 8, 8), target=number % 10)
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: raw)
    splits, found = digits(), []
    generator = torch.Generator().manual_seed(0)
    for name, size in (("train", 1197), ("valid", 300), ("test", 300)):
        x = splits[name].gather(slice(None), generator)
        assert x.shape == (size, 1, 8, 8)
        numbers = (x.flatten(1).long() << torch.arange(64)).sum(1)
        assert torch.equal(splits[name].y, numbers % 10)
        found += numbers.tolist()
    assert sorted(found) == number.tolist()


def test_digits_training_images_are_stochastic_and_the_others_are_fixed():
    splits = digits()
    one, other = (
        {
            name: splits[name].gather(slice(None), torch.Generator().manual_seed(seed))
            for name in ("train", "test")
        }
        for seed in (0, 1)
    )
    assert not torch.equal(one["train"], other["train"])
    assert torch.equal(one["test"], other["test"])
    for split in (one["train"], splits.valid.x, splits.test.x):
        assert set(split.unique().tolist()) == {0, 1}
    # ink is as frequent in what was drawn as in the grey levels of the other images
    grey = splits.train.x.float().mean() / 16
    assert abs(splits.test.x.float().mean() - grey) < 0.01
