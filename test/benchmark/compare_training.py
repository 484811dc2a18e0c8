#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Seconds of a training step of `glioma train` beside the same network, batch, loss and optimizer in eager PyTorch.

  compare_training.py GLIOMA --work DIR [--threads 2] [--device cuda] [--steps 8] [--only TEXT] [--json FILE]

Ours is the whole command on four phantoms: its steps cut, turn and change their samples on a thread of their own, on the same
processors. PyTorch's batch lies ready in memory, in channels-last; in bfloat16 it runs under torch.autocast, as ours does. Each
row is two processes that follow each other, its seconds the time of the steps after the first three over their number. On a GPU
cuDNN chooses PyTorch's algorithms by their speed (benchmark); take hundreds of steps. Seconds count only where nothing else runs.
"""
import argparse
import csv
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))

# task, width, levels, padded, patch, batch
NETWORKS = [
    ("segmentation", 8, 3, False, 92, 2),
    ("segmentation", 8, 3, True, 64, 2),
    ("grading", 8, 0, False, 96, 4),
    ("grading", 8, 0, True, 96, 4),
    ("segmentation", 16, 4, True, 64, 2),
    ("segmentation", 16, 4, False, 136, 2),
    ("grading", 16, 0, False, 96, 4),
]
WARM_UP = 3


def eager(task, width, levels, padded, patch, batch, precision, threads, steps, device):
    import torch
    from torch.nn import functional

    import pereira_networks as pn

    torch.manual_seed(1)
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    if task == "segmentation":
        network = pn.SegmentationNetwork(width, levels, padded, spatial_dropout=0.05)
    else:
        network = pn.GradingNetwork(width, padded, dropout=0.4)
    network = network.to(device, memory_format=torch.channels_last_3d).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    x = torch.randn(batch, 4, patch, patch, patch).to(device).contiguous(memory_format=torch.channels_last_3d)
    label = (torch.arange(batch) % 2).to(device)
    target = None

    def step():
        nonlocal target
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            y = network(x)
        y = y.float()
        if task == "segmentation":
            if target is None:
                target = (torch.rand_like(y[:, :1]) < 0.1).float()
            logarithm = functional.log_softmax(y, 1)
            loss = -(logarithm[:, 1:] * target + logarithm[:, :1] * (1 - target)).mean()
            p = logarithm[:, 1:].exp()
            loss = loss + 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
        else:
            loss = functional.cross_entropy(y, label)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        loss.item()
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    print((time.perf_counter() - start) / steps)


def ours(options, network, precision, work):
    task, width, levels, padded, patch, batch = network
    output = work / "bundle"
    for path in work.glob("bundle*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    command = [options.glioma, "train", task, "--recipe", "demonstration", "--cohort", work / "phantoms" / "COHORT.csv"]
    command += ["--output", output, "--cache", work / "cache", "--bias-correction", "none", "--precision", precision]
    command += ["--width", width, "--padded", str(padded).lower(), "--patch", patch, "--batch", batch]
    command += ["--threads", options.threads, "--device", options.device]
    command += ["--steps", WARM_UP + options.steps]
    if task == "segmentation":
        command += ["--levels", levels]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    with open(work / "bundle.csv", newline="", encoding="utf-8") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    return (seconds[-1] - seconds[WARM_UP - 1]) / options.steps


def main():
    if sys.argv[1:2] == ["eager"]:
        task, width, levels, padded, patch, batch, precision, threads, steps, device = sys.argv[2:]
        numbers = int(threads), int(steps)
        return eager(task, int(width), int(levels), padded == "True", int(patch), int(batch), precision, *numbers, device)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("glioma")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "phantoms" / "COHORT.csv").exists():
        subprocess.run([options.glioma, "synthesize", "--cases", "4", "--seed", "77", "--output", str(work / "phantoms")], check=True)
    rows = []
    print("| network | precision | module, s a step | eager PyTorch, s a step | steps per second, times |")
    print("| --- | --- | --- | --- | --- |")
    for network in NETWORKS:
        task, width, levels, padded, patch, batch = network
        name = f"{task}, width {width}, {'padded, ' if padded else ''}{batch} of {patch}^3"
        if options.only not in name:
            continue
        for precision in options.precisions:
            times = {"module": [], "eager": []}
            for _ in range(options.repeats):
                times["module"].append(ours(options, network, precision, work))
                words = [sys.executable, __file__, "eager", *network, precision, options.threads, options.steps, options.device]
                times["eager"].append(
                    float(subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout)
                )
            module, other = (statistics.median(times[key]) for key in ("module", "eager"))
            print(f"| {name} | {precision} | {module:.4g} | {other:.4g} | {other / module:.2f} |", flush=True)
            rows.append({"network": name, "precision": precision, "seconds": times})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
