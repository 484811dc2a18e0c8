#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""GradCAM and guided backpropagation of C++ against hooks in eager PyTorch, for three forms of one grading network: the
native bundle, and its scripted and traced TorchScript exports.

python3 test_explanations_equal_pytorch.py RUN_BUNDLE EXPLAIN_PROGRAM
Exit code 77: torch cannot be imported.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import types
import warnings

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import pereira_networks as pn
from compare_with_pytorch import randomize

SIZE = (80, 96, 88)  # x, y, z
LAYERS = ("res3", "res4")


class Exported(torch.nn.Module):
    """The network in words that torch.jit.script reads, on the same modules."""

    def __init__(self, network):
        super().__init__()
        for name, module in network.named_children():
            self.add_module(name, module)

    def forward(self, x):
        x = self.res1(self.stem(x))
        x = self.res2(torch.nn.functional.max_pool3d(x, 2))
        x = self.res3(torch.nn.functional.max_pool3d(x, 2))
        x = self.res4(torch.nn.functional.max_pool3d(x, 2))
        x = torch.nn.functional.relu(self.bn(x)).mean((2, 3, 4), keepdim=True)
        x = torch.nn.functional.relu(self.fc1(x))
        return self.fc3(torch.nn.functional.relu(self.fc2(x))).flatten(1)


def explain_with_hooks(model, x, label):
    """GradCAM by a hook on each layer's output; guided backpropagation by a full backward hook on the ReLU module."""
    kept = {}

    def keep(name):
        def hook(_module, _inputs, output):
            output.retain_grad()
            kept[name] = output

        return hook

    handles = [getattr(model, name).register_forward_hook(keep(name)) for name in LAYERS]
    leaf = x.clone().requires_grad_()
    model(leaf)[0, label].backward()
    for handle in handles:
        handle.remove()
    maps = {}
    for name in LAYERS:
        alpha = kept[name].grad.mean((2, 3, 4), keepdim=True)
        weighted = (alpha * kept[name]).sum(1)[0].detach()
        maps[name] = (weighted.clamp(min=0), weighted.abs().max().item())

    relu = torch.nn.ReLU()
    calls = []
    relu.register_forward_hook(lambda *_: calls.append(1))
    relu.register_full_backward_hook(lambda _module, given, _taken: (given[0].clamp(min=0),))
    functional = pn.functional
    pn.functional = types.SimpleNamespace(**{**vars(functional), "relu": relu})
    try:
        leaf = x.clone().requires_grad_()
        model(leaf)[0, label].backward()
    finally:
        pn.functional = functional
    # A backward hook may clamp only what the ReLU's own backward masked already: the same rule.
    maps["guided"] = (leaf.grad[0].permute(1, 2, 3, 0), leaf.grad.abs().max().item())
    return maps, len(calls)


def export(native, bundle, program):
    """A copy of the bundle that holds a TorchScript program instead of weights."""
    shutil.copytree(native, bundle)
    metadata = pn.read_metadata(bundle)
    own = metadata["gliomagrading"]
    os.remove(os.path.join(bundle, own["weights"]["file"]))
    path = os.path.join(bundle, "models", "model.ts")
    program.save(path)
    with open(path, "rb") as file:
        content = file.read()
    own["weights"] = {"file": "models/model.ts", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    own.pop("golden", None)
    own.pop("network", None)
    with open(os.path.join(bundle, "configs", "metadata.json"), "w", encoding="utf-8") as file:
        json.dump(metadata, file)


def main():
    write, explain = sys.argv[1:3]
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        native = os.path.join(folder, "native")
        subprocess.run([write, "write", "grading", "4", "0", "0", "0", native], check=True)
        model = randomize(pn.network_of_bundle(native))
        pn.replace_weights(native, model)
        x = pn.golden_input(7, SIZE, 4)
        with torch.no_grad():
            scripted = torch.jit.script(Exported(model).eval())
            traced = torch.jit.trace(Exported(model).eval(), x)
        export(native, os.path.join(folder, "scripted"), scripted)
        export(native, os.path.join(folder, "traced"), traced)
        source = os.path.join(folder, "in.f32")
        x.permute(0, 2, 3, 4, 1).contiguous().numpy().tofile(source)

        speaking = set()
        for label in (0, 1):
            expected, relus = explain_with_hooks(model, x, label)
            assert relus == 12, relus
            for form in ("native", "scripted", "traced"):
                prefix = os.path.join(folder, f"{form}-{label}-")
                command = [explain, os.path.join(folder, form), source, *map(str, SIZE), str(label), prefix]
                counts = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                assert counts == ["12", "12"], counts
                for name, (truth, scale) in expected.items():
                    found = torch.from_numpy(np.fromfile(prefix + name, np.float32)).reshape(truth.shape)
                    difference = (found - truth).abs().max().item() / max(scale, 1e-30)
                    print(f"class {label}, {form}, {name} {tuple(truth.shape)}: {difference:.1e}")
                    assert difference < 1e-4, difference
                    if truth.abs().max() > 0:
                        speaking.add((form, name))
        assert len(speaking) == 9, f"some map was empty for both classes: {speaking}"


if __name__ == "__main__":
    main()
