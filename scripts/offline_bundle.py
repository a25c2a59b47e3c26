"""What a machine without a network needs, in one folder; and what it measured, in one archive.

    python -m scripts.offline_bundle pack .bundle --data data --datasets mnist omniglot
    python -m scripts.offline_bundle collect outputs results.tar.gz

`pack` copies the datasets' official files, as they are, and makes wheels of those dependencies that an
environment with PyTorch, NumPy and scikit-learn may lack, in the tested versions. Beside a checkout of the
code, on the other machine:

    python -m pip install --no-index --no-deps --target .bundle/site .bundle/wheels/*.whl
    export PYTHONPATH=.bundle/site VAEBENCH_DATA=.bundle/data
    python -m vaebench.train dataset=mnist model=scvae evaluation=full

`collect` leaves out checkpoints and what is half done; unpacked below an outputs folder, its runs are read by
`vaebench-status` and by reports, but cannot be gone on with.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PACKAGES = ["hydra-core", "omegaconf", "antlr4-python3-runtime", "annotated-types"]
"""Pure Python, so that the wheels fit any machine."""
FILES = {  # below the data root
    "mnist": ["MNIST/raw/*-ubyte.gz", "MNIST/raw/*-ubyte"],
    "mnist_static": ["**/binarized_mnist_*.amat"],
    "omniglot": ["**/chardata.mat", "**/images_background.zip", "**/images_evaluation.zip"],
    "svhn": ["**/*_32x32.mat"],
    "cifar10": ["**/cifar-10-*"],
    "celeba": ["**/img_align_celeba.zip"],
    "lsun": ["**/bedroom_train_lmdb/data.mdb"],
    "text": ["*/train.txt", "*/valid.txt", "*/val.txt", "*/dev.txt", "*/test.txt"],
    "yahoo": ["**/[yY]ahoo/train.txt", "**/[yY]ahoo/val.txt", "**/[yY]ahoo/test.txt"],
}
LEFT_OUT = {"checkpoints", "scratch", "lock"}


def pack(bundle: Path, data: Path, datasets: list[str], wheels: bool) -> None:
    """Fill `bundle`. Raises SystemExit for a dataset of which no file is there."""
    for dataset in datasets:
        found = [path for pattern in FILES[dataset] for path in sorted(data.glob(pattern))]
        # Of a file and its compressed form one is enough.
        found = [
            path for path in found if path.suffix == ".gz" or path.with_name(f"{path.name}.gz") not in found
        ]
        if not found:
            sys.exit(f"{dataset}: none of {', '.join(FILES[dataset])} is in {data}")
        for path in found:
            target = bundle / "data" / path.relative_to(data)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, target)
    if wheels:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        options = ["--constraint", str(CONSTRAINTS), "--wheel-dir", str(bundle / "wheels")]
        subprocess.run([*command, *options, *PACKAGES], check=True)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    print(f"{bundle}: {size / 2**20:.1f} MiB")


def collect(outputs: Path, archive: Path) -> None:
    """Every run below `outputs`, without what only resuming needs."""

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if LEFT_OUT & {*Path(member.name).parts} else member

    runs = sorted(path.parent for path in outputs.rglob("results.json"))
    with tarfile.open(archive, "w:gz") as tar:
        for run in runs:
            tar.add(run, arcname=str(run.relative_to(outputs)), filter=wanted)
    print(f"{archive}: {len(runs)} runs, {archive.stat().st_size / 2**20:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("bundle", type=Path)
    packing.add_argument("--data", type=Path, default=Path("data"))
    packing.add_argument("--datasets", nargs="*", choices=sorted(FILES), default=["mnist"])
    packing.add_argument("--no-wheels", action="store_true")
    collecting = commands.add_parser("collect")
    collecting.add_argument("outputs", type=Path)
    collecting.add_argument("archive", type=Path)
    options = parser.parse_args()
    if options.command == "pack":
        pack(options.bundle, options.data, options.datasets, not options.no_wheels)
    else:
        collect(options.outputs, options.archive)


if __name__ == "__main__":
    main()
