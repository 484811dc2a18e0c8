#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C: seconds until Python has it back, while networks larger than the demonstration's run.

    measure_interrupt.py [--threads 1 2] [--moments 6] [--quick]

PYTHONPATH names the folder of gliomagrading. Each part is interrupted at so many moments, spread over its first seconds.
--quick tries the script with small networks. Seconds count only where nothing else runs.
"""

import argparse
import dataclasses
import os
import pathlib
import signal
import tempfile
import threading
import time
from typing import Callable, Optional

import numpy as np

import gliomagrading as gg
from gliomagrading.images import SEQUENCES

SEGMENTATION = gg.Manifest(
    name="seeded segmentation",
    version="1",
    task="segmentation",
    network="PereiraSegmentationNetwork",
    levels=3,
    channel_names=SEQUENCES,
    class_names=("background", "tumour"),
    bias_correction="none",
    standardization="brain",
    licence="Apache-2.0",
)
GRADING = dataclasses.replace(
    SEGMENTATION,
    name="seeded grading",
    task="grading",
    network="PereiraGradingNetwork",
    levels=0,
    class_names=("LGG", "HGG"),
    region="tumour",
    fit_mode="cube",
    margin=10.0,
    output_size=96,
)


def interrupted(work: Callable[[], object], delay: float) -> Optional[float]:
    """Seconds from the signal to its exception; None where the work had ended before."""
    sent = []

    def send() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(delay, send)
    timer.start()
    try:
        work()
        timer.cancel()
        timer.join()
    except KeyboardInterrupt:
        return time.monotonic() - sent[0]
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--moments", type=int, default=6)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    width = 4 if options.quick else 32
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        gg.write_seeded_bundle(folder / "segmentation", dataclasses.replace(SEGMENTATION, width=2 * width), 1)
        gg.write_seeded_bundle(folder / "grading", dataclasses.replace(GRADING, width=width), 2)
        segmentation, grading = gg.Model(folder / "segmentation"), gg.Model(folder / "grading")
        random = np.random.default_rng(3)
        image = random.standard_normal((160, 160, 160, 4)).astype(np.float32)
        region = random.standard_normal((96, 96, 96, 4)).astype(np.float32)
        parts = {
            "segmentation, one tile": (6.0, lambda: gg.torch_segmentation(image, segmentation, tile_memory=4096)),
            "GradCAM": (3.0, lambda: gg.grad_cam(region, grading, "res3")),
            "guided backpropagation": (6.0, lambda: gg.guided_backpropagation(region, grading)),
            "deletion and insertion": (6.0, lambda: gg.explanation_faithfulness(region, grading, region, class_to_explain=1)),
            "random weights": (14.0, lambda: gg.explanation_sanity(region, grading, ("res3", "res4"), class_to_explain=1)),
        }
        print("| interrupted in | threads | worst, s | at each moment, s |\n| --- | --- | --- | --- |")
        for threads in options.threads:
            gg.set_number_of_threads(threads)
            for part, (last, work) in parts.items():
                delays = np.linspace(0.3, last, options.moments)
                found = [s for s in (interrupted(work, delay) for delay in delays) if s is not None]
                each = ", ".join(f"{s:.2f}" for s in found)
                print(f"| {part} | {threads} | {max(found, default=float('nan')):.2f} | {each} |", flush=True)


if __name__ == "__main__":
    main()
