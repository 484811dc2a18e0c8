#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""A segmentation network that AOTInductor compiled here, as models/model.pt2 of a bundle, against eager PyTorch; and the
refusal of one for another processor.

python3 test_compiled_package.py RUN_BUNDLE [GLIOMA]
Exit code 77: torch cannot be imported, or cannot compile here.
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

SIZE = (24, 32, 16)  # x, y, z


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv3d(4, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm3d(8)
        self.last = torch.nn.Conv3d(8, 2, 3, padding=1)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.first(x))))


def write_bundle(folder, package, **more):
    os.makedirs(os.path.join(folder, "configs"))
    os.makedirs(os.path.join(folder, "models"))
    with open(package, "rb") as file:
        content = file.read()
    with open(os.path.join(folder, "models", "model.pt2"), "wb") as file:
        file.write(content)
    own = {
        "task": "segmentation",
        "axis_order": "zyx",
        "output_activation": "logits",
        "patch_size": SIZE,
        "channels": ["T1", "T1c", "T2", "FLAIR"],
        "classes": ["background", "tumour"],
        "weights": {"file": "models/model.pt2", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), **more},
    }
    with open(os.path.join(folder, "configs", "metadata.json"), "w", encoding="utf-8") as file:
        json.dump({"name": "compiled", "version": "1", "gliomagrading": own}, file)


def run(program, bundle, folder, x, size):
    source, target = os.path.join(folder, "in.f32"), os.path.join(folder, "out.f32")
    x.permute(0, 2, 3, 4, 1).contiguous().numpy().tofile(source)
    return subprocess.run([program, "segment", bundle, source, *map(str, size), target], capture_output=True, text=True), target


def main():
    program = sys.argv[1]
    torch.manual_seed(2)
    network = Network().eval()
    network.norm.running_mean.normal_(0.0, 0.3)
    x = torch.randn(1, 4, *reversed(SIZE))
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        package = os.path.join(folder, "package.pt2")
        try:
            torch._inductor.aoti_compile_and_package(torch.export.export(network, (x,)), package_path=package)
        except Exception as error:  # no compiler, or not the one that it wants
            print(f"skipped: AOTInductor does not compile here: {error}")
            sys.exit(77)
        bundle = os.path.join(folder, "bundle")
        write_bundle(bundle, package)
        done, target = run(program, bundle, folder, x, SIZE)
        assert done.returncode == 0, done.stderr
        expected = torch.softmax(network(x), 1)
        found = torch.from_numpy(np.fromfile(target, np.float32)).reshape(*reversed(SIZE), 2).permute(3, 0, 1, 2)
        difference = (found - expected[0]).abs().max().item()
        print(f"compiled package: {difference:.1e}")
        assert expected.var() > 1e-4 and difference < 1e-5, difference

        for glioma in sys.argv[2:]:
            for path in (bundle, os.path.join(bundle, "models", "model.pt2")):
                shown = subprocess.run([glioma, "inspect", path], capture_output=True, text=True)
                assert shown.returncode == 0, shown.stderr
                for part in ("compiled by AOTInductor", "machine code", "not loaded" if path == bundle else "Nothing"):
                    assert part in shown.stdout, shown.stdout

        # Two patches that overlap: MONAI's windows, at starts 0 and 18 along x.
        wide = torch.randn(1, 4, 16, 32, 42)
        done, target = run(program, bundle, folder, wide, (42, 32, 16))
        assert done.returncode == 0, done.stderr
        found = torch.from_numpy(np.fromfile(target, np.float32)).reshape(16, 32, 42, 2)[:, :, 0]
        expected = torch.softmax(network(wide[..., :24]), 1)[0, :, :, :, 0].permute(1, 2, 0)
        assert (found - expected).abs().max() < 1e-5, "the first column belongs to the first patch alone"

        for instruction_set in ("avx1024", "avx2 avx1024"):
            other = os.path.join(folder, instruction_set.replace(" ", "-"))
            write_bundle(other, package, instruction_set=instruction_set)
            done, _ = run(program, other, folder, x, SIZE)
            assert done.returncode == 1 and "instruction set avx1024" in done.stderr, done.stderr
        damaged = os.path.join(folder, "damaged.pt2")
        with open(package, "rb") as file, open(damaged, "wb") as cut:
            cut.write(file.read()[:2000])
        other = os.path.join(folder, "damaged")
        write_bundle(other, damaged)
        done, _ = run(program, other, folder, x, SIZE)
        assert done.returncode == 1 and "model.pt2" in done.stderr, done.stderr


if __name__ == "__main__":
    main()
