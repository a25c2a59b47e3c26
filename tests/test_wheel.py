"""What is installed from a wheel works where there is no checkout."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with our wheel; everything else is borrowed from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("vaebench-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    # Comes after ours; the .pth files in it, the editable vaebench's among them, do not work from there.
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_installed_package_is_complete_and_its_own(python: Path, tmp_path: Path) -> None:
    code = "import vaebench; from vaebench.config.paths import conf_dir; print(vaebench.__file__, conf_dir())"
    package, conf = (Path(path) for path in run(python, "-c", code, cwd=tmp_path).split())
    assert package.is_relative_to(python.parents[1])
    assert conf == package.parent / "conf"

    def files(root: Path, pattern: str) -> set[str]:
        return {str(path.relative_to(root)) for path in root.rglob(pattern)}

    assert files(conf, "*.yaml") == files(ROOT / "conf", "*.yaml")
    assert files(package.parent, "*.py") == files(ROOT / "vaebench", "*.py")


@pytest.mark.slow
def test_the_installed_command_trains_the_default_in_another_folder(python: Path, tmp_path: Path) -> None:
    program = python.with_name("vaebench")
    words = (
        "training.steps=3",
        "evaluation=none",
        "runtime.device=cpu",
        "runtime.threads=1",
        "paths.outputs=here",
    )
    out = run(program, *words, cwd=tmp_path)
    (file,) = tmp_path.glob("here/digits/vae/*/seed0/v0/results.json")
    assert str(file.parent.relative_to(tmp_path)) in out
    assert json.loads(file.read_text())["training"]["steps"] == 3
    assert {path.name for path in tmp_path.iterdir()} == {"here"}
    assert python.with_name("vaebench-status").is_file()
