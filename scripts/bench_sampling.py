"""Cost of sampling from PixelCNN decoders with cached activations, in full forward passes of the decoder.

Measures the nine-layer decoders of Skip-VAE's Table 1 and the eight-layer head of SCVAE's Table 2, on 28 x 28
binary images. The naive sampler needs 784 full passes. The last column says whether both samplers return the
same image. The last line is the cost of one image per call for the Skip-VAE decoder, in full passes.

    python -m scripts.bench_sampling [--threads 1] [--device cpu]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaebench.networks.gated_pixelcnn import GatedPixelCNNDecoder
from vaebench.networks.mlp import MLPDecoder
from vaebench.networks.pixel_head import PixelHeadDecoder
from vaebench.networks.raster import generate_naively

SHAPE = (1, 28, 28)
REPEATS = 5


def decoders() -> dict[str, Any]:
    gated: dict[str, Any] = {
        "depth": 9, "channels": 32, "kernel_size": 3, "first_kernel_size": 3, "code_maps": 1,
        "v_shift": "accumulate", "init": "default", "init_from_data": False,
    }  # fmt: skip
    mlp: dict[str, Any] = {
        "depth": 2, "width": 300, "activation": "relu", "skip": "none", "bridge": "identity",
        "init": "default",
    }  # fmt: skip
    head: dict[str, Any] = {"maps": 1, "depth": 8, "channels": 64, "kernel_size": 3}
    return {
        "pixel_vae": PixelHeadDecoder(50, SHAPE, SHAPE, base=partial(MLPDecoder, **mlp), **head),
        "pixelcnn_vae": GatedPixelCNNDecoder(20, SHAPE, SHAPE, z_enters="first", **gated),
        "pixelcnn_skip_vae": GatedPixelCNNDecoder(20, SHAPE, SHAPE, z_enters="every", **gated),
    }


def draw(generator: torch.Generator, logits: Tensor) -> Tensor:
    return torch.bernoulli(torch.sigmoid(logits), generator=generator)


def seconds(works: list[Callable[[], Any]], device: torch.device) -> list[float]:
    """Return the median time of each function; they run in turn, with one warm-up run each."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(REPEATS + 1):
        for work, times in zip(works, taken, strict=True):
            started = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
    return [statistics.median(times[1:]) for times in taken]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads")
    print(f"{'decoder':18s} images  full pass ms  sample ms  full passes  same as naive")
    for name, decoder in decoders().items():
        torch.manual_seed(0)
        decoder.to(device).eval()
        latent_dim = 50 if name == "pixel_vae" else 20
        for num in (1, 64):
            z = torch.randn(num, latent_dim, device=device)
            x = torch.rand(num, *SHAPE, device=device).round()
            pick = partial(draw, torch.Generator(device).manual_seed(0))
            one_pass, sampling = seconds([partial(decoder, z, x), partial(decoder.sample, z, pick)], device)
            agrees = "-"
            if num == 1:
                images = [
                    sample(partial(draw, torch.Generator(device).manual_seed(1)))
                    for sample in (
                        partial(decoder.sample, z),
                        partial(generate_naively, decoder, z, SHAPE),
                    )
                ]
                agrees = str(torch.equal(*images))
            ratio = sampling / one_pass
            print(
                f"{name:18s} {num:6d} {1e3 * one_pass:13.1f} {1e3 * sampling:10.1f} {ratio:12.2f} "
                f"{agrees:>14s}"
            )
            if num == 1:
                for_one = ratio
    print(f"ratio {for_one:.2f}")


if __name__ == "__main__":
    main()
