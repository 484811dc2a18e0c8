#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Compares the C++ networks with the same ones in eager PyTorch, the weights exchanged as safetensors both ways.

python3 compare_with_pytorch.py RUN_BUNDLE
Exit code 77: torch cannot be imported.
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import pereira_networks as pn

CASES = (
    # kind, width, levels, padded, size of the input x, y, z
    ("segmentation", 4, 3, 0, (48, 64, 52)),
    ("segmentation", 2, 4, 0, (96, 104, 96)),
    ("segmentation", 4, 3, 1, (24, 32, 20)),
    # The first level in several slabs, and in the thinnest ones.
    ("segmentation", 8, 3, 0, (96, 88, 72)),
    ("segmentation", 8, 3, 1, (96, 80, 64)),
    ("segmentation", 8, 3, 0, (176, 152, 48)),
    ("segmentation", 8, 3, 1, (176, 152, 12)),
    ("grading", 4, 0, 0, (72, 72, 72)),
    ("grading", 3, 0, 1, (24, 24, 24)),
)


def randomize(model, seed=5):
    """Every number away from its neutral value, the logits of order 1."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-0.5, 0.5, generator=generator)
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(1.0, 3.0, generator=generator)
        elif isinstance(module, torch.nn.Conv3d):
            module.weight.data.normal_(0.0, (2.0 / module.weight[0].numel()) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.uniform_(-0.5, 0.5, generator=generator)
    return model.eval()


def run(program, bundle, folder, x):
    source, target = os.path.join(folder, "in.f32"), os.path.join(folder, "out.f32")
    x.permute(0, 2, 3, 4, 1).contiguous().numpy().tofile(source)
    size = [str(n) for n in reversed(x.shape[2:])]
    subprocess.run([program, "run", bundle, source, *size, target], check=True)
    return torch.from_numpy(np.fromfile(target, np.float32))


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for number, (kind, width, levels, padded, size) in enumerate(CASES):
            bundle = os.path.join(folder, str(number))
            subprocess.run([program, "write", kind, str(width), str(levels), str(padded), str(size[0]), bundle], check=True)
            golden = pn.read_metadata(bundle)["gliomagrading"]["golden"]
            for weights in ("seeded by C++", "written by PyTorch"):
                model = pn.network_of_bundle(bundle)
                x = pn.golden_input(3, size, 4)
                if weights != "seeded by C++":
                    randomize(model)
                    if kind == "segmentation":
                        # Probabilities of large logits would show the rounding of float32 and little else.
                        largest = model(x).abs().max() / 4
                        model.head.weight.data /= largest
                        model.head.bias.data /= largest
                    pn.replace_weights(bundle, model)
                # In double: the rounding of float32 in eager PyTorch is as large as ours.
                expected = model.double()(x.double())
                model.float()
                scale = max(1.0, expected.abs().max().item())
                if kind == "segmentation":
                    expected = torch.softmax(expected, 1).permute(0, 2, 3, 4, 1)
                    assert expected.var() > 1e-6, "an output that says nothing"
                    scale = 1.0
                found = run(program, bundle, folder, x).reshape(expected.shape).double()
                difference = (found - expected).abs().max().item() / scale
                print(f"{kind} w={width} L={levels} padded={padded} {size}, {weights}: {difference:.1e}")
                assert difference < 1e-5, difference
                if weights == "seeded by C++":
                    output = model(pn.golden_input(golden["seed"], golden["size"], 4))
                    if kind == "segmentation":
                        output = torch.softmax(output, 1)
                        middle = [n // 2 for n in output.shape[2:]]
                        output = torch.cat([output.mean((2, 3, 4)), output[:, :, middle[0], middle[1], middle[2]]], 1)
                    assert np.allclose(output.flatten().double(), golden["output"], rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    main()
