"""Bundle of everything that a machine without a network needs, and archive of its results.

    python -m scripts.offline_bundle pack .bundle --data data --datasets mnist omniglot
    python -m scripts.offline_bundle collect outputs results.tar.gz

`pack` copies the official files of the datasets unchanged. It also builds wheels, in the tested versions, of
the dependencies that an environment with PyTorch, NumPy and scikit-learn may lack. On the other machine, in a
checkout of the code:

    python -m pip install --no-index --no-deps --target .bundle/site .bundle/wheels/*.whl
    export PYTHONPATH=.bundle/site VAEBENCH_DATA=.bundle/data
    python -m vaebench.train dataset=mnist model=scvae evaluation=full

`collect` leaves out checkpoints and runs without results. If the archive is unpacked in an outputs folder,
`vaebench-status` and reports read its runs. These runs cannot be resumed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from vaebench import layout

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PACKAGES = ["hydra-core", "omegaconf", "antlr4-python3-runtime", "annotated-types"]
"""Packages in pure Python, so that the wheels work on any machine."""
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
LEFT_OUT = {layout.CHECKPOINTS, layout.PARTIAL_RESULTS, layout.LOCK}


def pack(bundle: Path, data: Path, datasets: list[str], wheels: bool) -> None:
    """Write data and wheels to `bundle`. Raises SystemExit if a dataset has no file in `data`."""
    for dataset in datasets:
        files = [path for pattern in FILES[dataset] for path in sorted(data.glob(pattern))]
        # If a file and its .gz exist, take the .gz.
        files = [
            path for path in files if path.suffix == ".gz" or path.with_name(f"{path.name}.gz") not in files
        ]
        if not files:
            sys.exit(f"{dataset}: found no file in {data}, expected {', '.join(FILES[dataset])}; set --data")
        for path in files:
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
    """Archive every finished run below `outputs`, without the files that only resuming needs."""

    def filtered(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if LEFT_OUT & {*Path(member.name).parts} else member

    runs = sorted(path.parent for path in outputs.rglob(layout.RESULTS))
    with tarfile.open(archive, "w:gz") as tar:
        for run in runs:
            tar.add(run, arcname=str(run.relative_to(outputs)), filter=filtered)
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
