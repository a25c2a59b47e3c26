"""Small archives of images, and where the real ones are."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from vaebench.data.mnist import SHA256
from vaebench.data.spec import DataPaths, Splits


def png(pixels: np.ndarray) -> bytes:
    """The file of an image: `[H, W]` or `[H, W, 3]` of bytes, or `[H, W]` of truth values (1 bit)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def put_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def put_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def break_member(archive: Path, content: bytes) -> None:
    """Change a byte of the archive within the member of that (stored) content."""
    raw = bytearray(archive.read_bytes())
    raw[raw.index(content) + len(content) // 2] ^= 1
    archive.write_bytes(raw)


def same(one: Splits, other: Splits) -> bool:
    return all(
        torch.equal(one[name].x, other[name].x)
        and (one[name].y is None) == (other[name].y is None)
        and (one[name].y is None or torch.equal(one[name].y, other[name].y))
        for name in ("train", "valid", "test")
    )


def real_data(*files: str) -> Path:
    """VAEBENCH_DATA. Skips the test where it is not set or lacks one of the files."""
    if (root := os.environ.get("VAEBENCH_DATA")) is None:
        pytest.skip("VAEBENCH_DATA is not set: no real data to test on")
    if missing := [name for name in files if not Path(root, name).is_file()]:
        pytest.skip(f"VAEBENCH_DATA={root} lacks {missing[0]}")
    return Path(root)


def official_mnist(tmp_path_factory: pytest.TempPathFactory) -> DataPaths:
    """Where the official files are, unpacked once a session. Skips the test where they are not."""
    if (root := os.environ.get("VAEBENCH_DATA")) is None:
        pytest.skip("VAEBENCH_DATA is not set: no real data to test on")
    missing = [n for n in SHA256 if not any(Path(root).glob(f"MNIST/raw/{n}*"))]
    if missing:
        pytest.skip(f"VAEBENCH_DATA={root} lacks MNIST/raw/{missing[0]}[.gz]")
    return DataPaths(root=Path(root), cache=tmp_path_factory.getbasetemp() / "cache")
