"""The precision of float32 products, within and after."""

import torch

from vaebench.runner.device import matmul_precision


def test_one_switch_is_for_matrix_products_convolutions_and_lstms() -> None:
    """cuDNN's own default is the reduced precision, whatever is said of matrix products."""

    def now() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = now()
    with matmul_precision("highest"):
        assert now() == ("highest", False)
        with matmul_precision("high"):
            assert now() == ("high", True)
        assert now() == ("highest", False)
    assert now() == before
