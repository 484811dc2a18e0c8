# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while a program of others runs: TorchScript and a compiled package end after the running tile."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import gliomagrading as gg
from gliomagrading._library import core

from conftest import Head

PATCH = 32
TILES_AN_AXIS = 4

# In a process of its own: this one imports no torch. Exit code 77: there is no compiler.
MAKE_BUNDLE = """
import hashlib, json, os, sys
import torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv3d(4, 32, 3, padding=1)
        self.middle = torch.nn.Conv3d(32, 32, 3, padding=1)
        self.last = torch.nn.Conv3d(32, 2, 1, bias=False)

    def forward(self, x):
        y = self.first(x)
        for _ in range(4):
            y = y + torch.relu(self.middle(y))
        return self.last(y)

form, folder, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.manual_seed(4)
network = Network().eval()
for part in ("configs", "models"):
    os.makedirs(os.path.join(folder, part))
name = "models/model." + form
path = os.path.join(folder, name)
with torch.no_grad():
    example = torch.randn(1, 4, size, size, size)
    if form == "ts":
        torch.jit.trace(network, example).save(path)
    else:
        from torch._inductor.exc import InvalidCxxCompiler
        exported = torch.export.export(network, (example,))
        try:
            torch._inductor.aoti_compile_and_package(exported, package_path=path)
        except InvalidCxxCompiler:
            sys.exit(77)
with open(path, "rb") as file:
    content = file.read()
own = {
    "task": "segmentation", "axis_order": "zyx", "output_activation": "logits", "patch_size": [size] * 3,
    "channels": ["T1", "T1c", "T2", "FLAIR"], "classes": ["background", "tumour"],
    "weights": {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
}
with open(os.path.join(folder, "configs", "metadata.json"), "w", encoding="utf-8") as file:
    json.dump({"name": form, "version": "1", "gliomagrading": own}, file)
"""


@pytest.mark.parametrize("form", ["ts", "pt2"])
def test_an_interrupt_ends_a_program_after_its_tile(form: str, head: Head, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle"
    made = subprocess.run([sys.executable, "-c", MAKE_BUNDLE, form, str(bundle), str(PATCH)], capture_output=True, text=True)
    if form == "pt2" and made.returncode == 77:
        pytest.skip("no compiler")
    assert made.returncode == 0, made.stderr[-2000:]

    for folder in ("temporary", "here"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "here")
    model = gg.Model(bundle, trust_model=True)
    one = np.random.default_rng(6).standard_normal((PATCH, PATCH, PATCH, 4)).astype(np.float32)
    want = gg.torch_segmentation(one, model)
    assert 0 < np.count_nonzero(want) < want.size
    files = sorted(tmp_path.rglob("*"))

    runs: "list[Any]" = []
    make = core().TorchSegmentation

    def keep() -> Any:
        runs.append(make())
        return runs[-1]

    seen: "list[float]" = []

    def interrupt(progress: float, stage: str) -> None:
        if progress > 0.0 and not seen:  # a tile is done
            seen.append(progress)
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    with monkeypatch.context() as patch:
        patch.setattr(core(), "TorchSegmentation", keep)
        with pytest.raises(KeyboardInterrupt):
            gg.torch_segmentation(np.tile(one, (TILES_AN_AXIS, TILES_AN_AXIS, TILES_AN_AXIS, 1)), model, progress=interrupt)
    assert len(runs) == 1 and 1 <= runs[0].get_number_of_computed_tiles() < TILES_AN_AXIS**3
    assert seen[0] < 1.0 and sorted(tmp_path.rglob("*")) == files

    # The model, the filters and the interpreter go on.
    np.testing.assert_array_equal(gg.torch_segmentation(one, model), want)
    assert gg.brain_mask(head.arrays[0]).any()
