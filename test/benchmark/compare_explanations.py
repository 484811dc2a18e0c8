#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Seconds of one forward, GradCAM of res3 and res4 and guided backpropagation on a grading network, of this module beside
Captum, MONAI and pytorch-grad-cam, on the same weights, region and threads.

  compare_explanations.py BENCHMARK_EXPLANATIONS RUN_BUNDLE [--width 16] [--size 96] [--threads 2] [--repeats 5] [--json FILE]

Every tool runs in a process of its own, alternating with the others, one untimed run first; the table has the median and the
lowest. "eager" is one forward and one backward to the input in PyTorch, no explanation. Each tool's maps are compared with
ours by test/python/test_explanations_equal_tools.py. Seconds count only where nothing else runs.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))


def run_tool(name, bundle, size, label, threads, repeats, channels_last):
    import warnings

    import torch

    import explanation_tools
    import pereira_networks as pn

    warnings.filterwarnings("ignore")
    torch.set_num_threads(threads)
    network = pn.network_of_bundle(bundle)
    x = pn.golden_input(7, (size,) * 3, 4)
    if channels_last:
        network = network.to(memory_format=torch.channels_last_3d)
        x = x.contiguous(memory_format=torch.channels_last_3d)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    if name == "eager":

        def explain(given, which):
            leaf = given.clone().requires_grad_()
            network(leaf)[0, which].backward()
            return leaf.grad

    else:
        explain = getattr(explanation_tools, name)(network)
    explain(x, label)
    for _ in range(repeats):
        start = time.perf_counter()
        explain(x, label)
        print(time.perf_counter() - start)


def main():
    if sys.argv[1:2] == ["tool"]:
        name, bundle, size, label, threads, repeats, channels_last = sys.argv[2:]
        return run_tool(name, bundle, int(size), int(label), int(threads), int(repeats), channels_last == "1")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("run_bundle")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()

    import pereira_networks as pn

    size, label = options.size, 1
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        bundle, source = os.path.join(folder, "bundle"), os.path.join(folder, "in.f32")
        subprocess.run([options.run_bundle, "write", "grading", str(options.width), "0", "0", str(size), bundle], check=True)
        pn.golden_input(7, (size,) * 3, 4).permute(0, 2, 3, 4, 1).contiguous().numpy().tofile(source)
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        ours = [options.program, bundle, source, *[str(size)] * 3, str(label), str(options.threads), "2"]
        commands = {"this module": ours}
        for layout, name in ((0, ""), (1, ", channels last")):
            for tool in ("eager", "captum", "monai", "pytorch_grad_cam"):
                commands[tool.replace("_", "-") + name] = [
                    sys.executable,
                    __file__,
                    "tool",
                    tool,
                    bundle,
                    str(size),
                    str(label),
                    str(options.threads),
                    "1",
                    str(layout),
                ]
        for _ in range(options.repeats):
            for name, command in list(commands.items()):
                answer = subprocess.run(command, capture_output=True, text=True, env=environment)
                if answer.returncode != 0:
                    print(f"{name} is left out: {answer.stderr.strip().splitlines()[-1] if answer.stderr.strip() else answer.returncode}")
                    del commands[name]
                    continue
                seconds.setdefault(name, []).append(float(answer.stdout.split()[-1]))
    print(f"width {options.width}, {size}x{size}x{size} voxels, {options.threads} threads, {options.repeats} runs each\n")
    print("| tool | median, s | lowest, s | median of this module / its |\n| --- | --- | --- | --- |")
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"| {name} | {middle[name]:.3f} | {min(values):.3f} | {middle['this module'] / middle[name]:.2f} |")
    if options.json:
        options.json.write_text(json.dumps({"options": {k: str(v) for k, v in vars(options).items()}, "seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
