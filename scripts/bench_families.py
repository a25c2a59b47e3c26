"""Cost of a training step of each family at the paper's size: milliseconds, examples per second, memory.

Measures every family of conf/model for binary 28 x 28 images, on random bits. Each family runs in its own
process, so that the peak memory is that of the family. With --convolutions bfloat16, each family runs with
float32 and with bfloat16 convolutions, and trains for --steps on MNIST from the same weights and batches. The
last column is then the ELBO (nats, in float32, on the same 1,000 validation images).

    python -m scripts.bench_families [family ...] [--convolutions bfloat16] [--steps 20] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import scripts.bench_common as common  # first: it disables progress bars before tqdm is imported

BATCH = 100
VALIDATION = 1000


def measure(family: str, convolutions: str, steps: int, threads: int, device: str, real: bool) -> None:
    """Print a JSON line: milliseconds per step (median), peak memory in MiB, parameters, ELBO."""
    import resource

    import torch
    from hydra import compose, initialize_config_dir

    from vaebench.config.build import build
    from vaebench.config.check import checked
    from vaebench.config.paths import conf_dir
    from vaebench.data.batches import Batches
    from vaebench.data.spec import DataSpec, Split
    from vaebench.evaluation.validation import validate
    from vaebench.runner.step import make_step
    from vaebench.seeding import set_seed

    torch.set_num_threads(threads)
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        config = checked(compose("train", overrides=[f"model={family}", "dataset=mnist"]))
    set_seed(0)
    node = {key: value for key, value in config["model"].items() if key != "objective"}
    model = build(node, spec=DataSpec("mnist", (1, 28, 28), "binary", 10)).to(device)
    model.convolution_dtype = getattr(torch, convolutions)
    if real:
        splits = common.load_mnist()
        train, valid = splits.train, Split(splits.valid.x[:VALIDATION], None)
    else:
        train = Split(torch.randint(0, 2, (steps * BATCH + BATCH, 1, 28, 28), dtype=torch.uint8), None)
    batches = Batches(train.to(torch.device(device)), BATCH, 0)
    objective = build(config["model"]["objective"], steps_per_epoch=len(batches), model=model).to(device)
    optimizer = build(config["training"]["optimizer"], parameters=model.parameters())
    schedule = build(config["training"]["schedule"], optimizer=optimizer, num_steps=10**6)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make_step(
        model,
        objective,
        optimizer,
        objective.auxiliary_optimizer(),
        schedule,
        None,
        compiled=device == "cuda",
    )
    times = []
    for number in range(steps + 3):
        x = batches(0, number % len(batches))
        started = time.perf_counter()
        step(x, torch.tensor(number, device=device))
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else used / 2**10
    elbo = validate(model, valid.to(torch.device(device)), 0)["elbo"] if real else None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    median = statistics.median(times[3:])  # the first steps allocate memory, or compile
    print(json.dumps({"ms": 1e3 * median, "mib": peak, "parameters": parameters, "elbo": elbo}))


def in_its_own_process(family: str, convolutions: str, options: argparse.Namespace, real: bool) -> Any:
    arguments = [family, convolutions, options.steps, options.threads, options.device, int(real)]
    process = subprocess.run(
        [sys.executable, "-m", "scripts.bench_families", "--one", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    if process.returncode:
        return process.stderr.strip().splitlines()[-1]
    return json.loads(process.stdout.splitlines()[-1])


def families() -> list[str]:
    from vaebench.config.paths import conf_dir

    options = sorted(path.stem for path in Path(conf_dir()).glob("model/*.yaml"))
    return [
        option for option in options if "lstm" not in option
    ]  # scripts.bench_text measures the families of sentences


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        family, convolutions, steps, threads, device, real = sys.argv[2:]
        measure(family, convolutions, int(steps), int(threads), device, bool(int(real)))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("families", nargs="*", metavar="family")
    parser.add_argument("--convolutions", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    print(f"batch {BATCH}, {options.steps} steps, {options.threads} threads, {options.device}")
    print(f"{'family':20s} {'convolutions':12s} parameters  ms/step  examples/s  peak MiB   ELBO")
    for family in options.families or families():
        both = options.convolutions == "bfloat16"
        for convolutions in ("float32", "bfloat16") if both else ("float32",):
            result = in_its_own_process(family, convolutions, options, real=both)
            if isinstance(result, str):
                print(f"{family:20s} {convolutions:12s} {result}")
                continue
            elbo = "" if result["elbo"] is None else f"{result['elbo']:9.3f}"
            print(
                f"{family:20s} {convolutions:12s} {result['parameters']:10d} {result['ms']:8.1f} "
                f"{1e3 * BATCH / result['ms']:11.0f} {result['mib']:9.0f} {elbo}",
                flush=True,
            )


if __name__ == "__main__":
    main()
