"""Cost of the LSTM families: tokens per second and memory, and a comparison with a plain nn.LSTM loop.

Uses random sentences of one length, batch 32, and SGD with gradients clipped at 5. Each family runs in its
own process, so that the peak memory is that of the family. The plain loop has an embedding, nn.LSTM and
nn.Linear of the language model's sizes, and cross entropy. One process trains it and vaebench's language
model in turn on the same batch; the last line is the ratio of the median times of a step. --paper uses the
sizes of Yahoo Answers (512, 1024, 20,000 words, 80 tokens), also measures evaluation, and prints the
estimated time of full training and perplexity. A semi-amortised step costs about twenty times as much as the
others, so that only a tenth as many are timed.

    python -m scripts.bench_text [--paper] [--hidden 256] [--tokens 14] [--steps 20] [--threads 2]
                                 [--device cpu] [--precision highest] [--families lstm_lm ...]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import scripts.bench_common  # noqa: F401  (first: it disables progress bars before tqdm is imported)

BATCH = 32
FAMILIES = {  # family: the experiment of Table 4 that trains it on Yahoo Answers
    "lstm_lm": "table4_lm",
    "lstm_vae": "table4_vae",
    "skip_lstm_vae": "table4_skip_vae",
    "sa_lstm_vae": "table4_sa_vae",
    "skip_sa_lstm_vae": "table4_skip_sa_vae",
}
CLIP = 5.0
TRAIN_SENTENCES, EVALUATED_SENTENCES, IMPORTANCE_SAMPLES = 100_000, 10_000, 200  # of Yahoo Answers
EPOCHS = 30


def sizes_of(options: argparse.Namespace) -> dict[str, int]:
    """Return the sizes of the networks and sentences.

    With `paper` 1 the family gets its sizes from the experiment; these are then for the plain loop.
    """
    if options.paper:
        tokens = options.tokens or 80  # the mean length; the longest batches have 201
        return {"paper": 1, "embedding": 512, "hidden": 1024, "words": 20_000, "tokens": tokens}
    hidden = options.hidden
    return {
        "paper": 0,
        "embedding": hidden,
        "hidden": hidden,
        "words": 10_000,
        "tokens": options.tokens or 14,
    }


def overrides_of(family: str, sizes: dict[str, int]) -> list[str]:
    if sizes["paper"]:
        return [f"experiment=skipvae/{FAMILIES[family]}"]
    parts = ("decoder",) if family == "lstm_lm" else ("encoder", "decoder")
    words = [f"model.{part}.{key}={sizes[key]}" for part in parts for key in ("embedding", "hidden")]
    return [f"model={family}", *words]


def family_step(family: str, sizes: dict[str, int], device: str) -> tuple[Callable[[], Any], Any, Any]:
    """Return one training step of a family on random sentences, the model, and the batch."""
    import torch
    from hydra import compose, initialize_config_dir

    from vaebench.config.build import build
    from vaebench.config.check import checked
    from vaebench.config.paths import conf_dir
    from vaebench.data.spec import DataSpec
    from vaebench.runner.step import make_step
    from vaebench.seeding import set_seed
    from vaebench.text import END, MARKS

    with initialize_config_dir(conf_dir(), version_base="1.3"):
        config = checked(compose("train", overrides=overrides_of(family, sizes)))
    decoder = config["model"]["decoder"]
    assert (decoder["embedding"], decoder["hidden"]) == (sizes["embedding"], sizes["hidden"])
    set_seed(0)
    vocabulary = (*MARKS, *(f"w{number}" for number in range(sizes["words"])))
    spec = DataSpec("random", (sizes["tokens"],), "tokens", None, vocabulary=vocabulary)
    node = {key: value for key, value in config["model"].items() if key != "objective"}
    model = build(node, spec=spec).to(device)
    objective = build(config["model"]["objective"], steps_per_epoch=TRAIN_SENTENCES // BATCH, model=model).to(
        device
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    step = make_step(model, objective, optimizer, None, schedule, CLIP, compiled=False)
    x = torch.randint(1, len(vocabulary), (BATCH, sizes["tokens"]), device=device)
    x[:, -1] = END
    finished = torch.zeros((), dtype=torch.int64, device=device)
    model.train()
    return lambda: step(x, finished), model, x


def bare_step(sizes: dict[str, int], device: str, x: Any) -> Callable[[], Any]:
    """Return one training step of a plain PyTorch loop on the same batch."""
    import torch
    from torch import nn

    num_words = sizes["words"] + 3  # END, <unk> and the begin mark
    embedding = nn.Embedding(num_words, sizes["embedding"]).to(device)
    lstm = nn.LSTM(sizes["embedding"], sizes["hidden"], batch_first=True).to(device)
    output = nn.Linear(sizes["hidden"], num_words - 1).to(device)
    dropout = nn.Dropout(0.5)
    parameters = [p for module in (embedding, lstm, output) for p in module.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1, fused=True)
    begin = torch.full((BATCH, 1), num_words - 1, device=device)

    def step() -> Any:
        states, _ = lstm(dropout(embedding(torch.cat([begin, x[:, :-1]], 1))))
        logits = output(dropout(states))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="sum") / BATCH
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        return loss.detach()

    return step


def timed(step: Callable[[], Any], device: str) -> float:
    import torch

    started = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(
    family: str, sizes: dict[str, int], steps: int, threads: int, device: str, precision: str, evaluate: bool
) -> None:
    """Print a JSON line: seconds per step (median), per encoded and per decoded sentence; peak MiB."""
    import resource

    import torch

    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step, model, x = family_step(family, sizes, device)
    if model.has_iterative_posterior:
        steps = math.ceil(steps / 10)
    warm = 2 if steps > 1 else 0  # the first steps allocate memory
    times = [timed(step, device) for _ in range(warm + steps)][warm:]
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else used / 2**10
    numbers = {
        "step": statistics.median(times),
        "mib": peak,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    if evaluate:
        model.eval()
        with torch.no_grad():
            q = model.encode(x)
            numbers["encoding"] = timed(lambda: model.encode(x), device) / BATCH
            numbers["decoding"] = timed(lambda: model.terms(x, q=q), device) / BATCH
    print(json.dumps(numbers))


def in_its_own_process(family: str, sizes: dict[str, int], options: argparse.Namespace) -> dict[str, Any]:
    arguments = [
        family,
        json.dumps(sizes),
        options.steps,
        options.threads,
        options.device,
        options.precision,
        int(options.paper),
    ]
    process = subprocess.run(
        [sys.executable, "-m", "scripts.bench_text", "--one", *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(process.stdout.splitlines()[-1])


def print_families(sizes: dict[str, int], options: argparse.Namespace) -> None:
    print(
        f"{'family':16s} parameters  ms/step  tokens/s  peak MiB"
        + "  ms per sentence encoded, decoded" * options.paper
    )
    for family in options.families:
        result = in_its_own_process(family, sizes, options)
        line = (
            f"{family:16s} {result['parameters']:10d} {1e3 * result['step']:8.1f} "
            f"{BATCH * sizes['tokens'] / result['step']:9.0f} {result['mib']:9.0f}"
        )
        if options.paper:
            draws = 1 if family == "lstm_lm" else IMPORTANCE_SAMPLES
            training = EPOCHS * TRAIN_SENTENCES / BATCH * result["step"] / 3600
            evaluation = EVALUATED_SENTENCES * (result["encoding"] + draws * result["decoding"]) / 3600
            line += (
                f" {1e3 * result['encoding']:10.1f} {1e3 * result['decoding']:10.1f}   "
                f"{EPOCHS} epochs of Yahoo: {training:.0f} h; perplexity, {draws} samples: {evaluation:.1f} h"
            )
        print(line, flush=True)


def compare(sizes: dict[str, int], steps: int, device: str) -> None:
    """Time vaebench's step and the plain loop in turn; print the ratio of the medians as the last line."""
    ours, _, x = family_step("lstm_lm", sizes, device)
    bare = bare_step(sizes, device, x)
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    warm = 2 if steps > 1 else 0  # the first steps allocate memory
    for number in range(steps + warm):
        pair = (("ours", ours), ("bare", bare)) if number % 2 else (("bare", bare), ("ours", ours))
        for name, step in pair:
            seconds = timed(step, device)
            if number >= warm:
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(
        f"median ms per step: ours {1e3 * medians['ours']:.1f}, plain nn.LSTM loop "
        f"{1e3 * medians['bare']:.1f}"
    )
    print(f"ratio {medians['ours'] / medians['bare']:.3f}")


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        family, sizes_json, steps, threads, device, precision, evaluate = sys.argv[2:]
        measure(
            family, json.loads(sizes_json), int(steps), int(threads), device, precision, bool(int(evaluate))
        )
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--paper", action="store_true")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--tokens", type=int, help="length of the sentences (default: 14; with --paper 80)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="highest", choices=["highest", "high", "medium"])
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision(options.precision)
    sizes = sizes_of(options)
    print(
        f"torch {torch.__version__}, {options.device}, {options.threads} threads, "
        f"products {options.precision}, batch {BATCH}, {sizes}"
    )
    print_families(sizes, options)
    compare(sizes, options.steps, options.device)


if __name__ == "__main__":
    main()
