#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Networks that MONAI defines, exported to TorchScript in a MONAI bundle, against MONAI's own numbers: one patch, and
sliding_window_inference with its ways to blend and to pad.

python3 test_monai_models.py RUN_BUNDLE [GLIOMA]
Exit code 77: torch or monai cannot be imported.
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
    from monai.inferers import sliding_window_inference
    from monai.networks.nets import SegResNet, UNet
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


class Many(torch.nn.Module):
    """The prediction first in a tuple, as networks with deep supervision give it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        y = self.network(x)
        return y, y[:, :, ::2]


def image_format(channels, shape):
    """What MONAI's bundles write."""
    return {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": len(channels),
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": {str(i): name for i, name in enumerate(channels)},
    }


def write_bundle(folder, program, classes, activation):
    """configs/metadata.json as MONAI has it, models/model.ts, and what MONAI does not say in a sidecar."""
    os.makedirs(os.path.join(folder, "configs"))
    os.makedirs(os.path.join(folder, "models"))
    metadata = {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": "0.5.3",
        "changelog": {"0.1.0": "complete the model package"},
        "monai_version": "1.4.0",
        "pytorch_version": "2.4.0",
        "numpy_version": "1.24.4",
        "required_packages_version": {"nibabel": "5.2.1"},
        "name": "Tumor segmentation",
        "task": "Multimodal Brain Tumor segmentation",
        "description": "random weights",
        "authors": "nobody",
        "copyright": "none",
        "data_type": "nibabel",
        "image_classes": "4 channel data",
        "label_classes": "3 channel data",
        "pred_classes": "3 channels OneHot data",
        "eval_metrics": {"val_mean_dice": 0.0},
        "intended_use": "This is an example, not to be used for diagnostic purposes",
        "references": [],
        "network_data_format": {
            "inputs": {"image": image_format(["T1c", "T1", "T2", "FLAIR"], ["8*n", "8*n", "8*n"])},
            "outputs": {"pred": image_format(classes, ["8*n", "8*n", "8*n"])},
        },
    }
    path = os.path.join(folder, "models", "model.ts")
    program.save(path)
    with open(path, "rb") as file:
        content = file.read()
    sidecar = {
        "task": "segmentation",
        "axis_order": "zyx",
        "output_activation": activation,
        "weights": {"file": "models/model.ts", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
    }
    for name, values in (("configs/metadata.json", metadata), ("gliomagrading.json", sidecar)):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(values, file)


def run(program, command, bundle, folder, x, classes, *options):
    source, target = os.path.join(folder, "in.f32"), os.path.join(folder, "out.f32")
    x.permute(0, 2, 3, 4, 1).contiguous().numpy().tofile(source)
    size = [str(n) for n in reversed(x.shape[2:])]
    done = subprocess.run([program, command, bundle, source, *size, target, *options], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return torch.from_numpy(np.fromfile(target, np.float32)).reshape(1, *x.shape[2:], classes).permute(0, 4, 1, 2, 3)


def check(what, found, expected, limit):
    difference = (found - expected).abs().max().item()
    print(f"{what}: {difference:.1e}", flush=True)
    assert expected.var() > 1e-5, "an output that says nothing"
    assert difference < limit, difference


def main():
    program = sys.argv[1]
    torch.manual_seed(3)
    x = torch.randn(1, 4, 20, 40, 45)  # z, y, x
    three = ["tumor core", "whole tumor", "enhancing tumor"]
    segresnet = SegResNet(3, init_filters=8, in_channels=4, out_channels=3, blocks_down=(1, 1, 2), blocks_up=(1, 1))
    unet = UNet(3, 4, 2, channels=(8, 16, 32), strides=(2, 2), num_res_units=1, norm="batch")
    for module in unet.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0.0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    patch = x[:, :, :16, :32, :40]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        scripted = torch.jit.script(segresnet)  # in training mode: the module loads it for evaluation
        segresnet.eval()
        unet.eval()
        windows = (
            ((16, 32, 24), 0.25, "gaussian", 0.125, "constant"),
            ((16, 24, 32), 0.25, "constant", 0.125, "constant"),
            ((32, 48, 48), 0.25, "constant", 0.125, "replicate"),
            ((16, 32, 24), 0.5, "gaussian", 0.2, "constant"),
            ((32, 32, 48), 0.25, "gaussian", 0.125, "reflect"),
            ((24, 40, 48), 0.6, "gaussian", 0.125, "circular"),
        )
        for name, network, exported, classes, activation, final, settings in (
            ("SegResNet", segresnet, scripted, three, "sigmoid-logits", torch.sigmoid, windows[:3]),
            (
                "UNet",
                unet,
                torch.jit.trace(Many(unet), patch),
                ["background", "tumor"],
                "logits",
                lambda y: torch.softmax(y, 1),
                windows[3:],
            ),
        ):
            bundle = os.path.join(folder, name)
            write_bundle(bundle, exported, classes, activation)
            for glioma in sys.argv[2:]:
                for path in (bundle, os.path.join(bundle, "models", "model.ts")):
                    shown = subprocess.run([glioma, "inspect", path], check=True, capture_output=True, text=True).stdout
                    for part in (f"class             {exported.original_name}", "Conv3d", "not loaded" if path == bundle else "Nothing"):
                        assert part in shown, shown
            found = run(program, "run", bundle, folder, patch, len(classes))
            check(f"{name}, one patch", found, final(network(patch)), 1e-5)
            for roi, overlap, mode, sigma, padding in settings:
                expected = final(sliding_window_inference(x, roi, 1, network, overlap, mode, sigma_scale=sigma, padding_mode=padding))
                found = run(
                    program,
                    "segment",
                    bundle,
                    folder,
                    x,
                    len(classes),
                    f"patch={roi[2]},{roi[1]},{roi[0]}",
                    f"overlap={overlap}",
                    f"blend={mode}",
                    f"sigma={sigma}",
                    f"border={padding}",
                )
                check(f"{name}, windows {roi}, overlap {overlap}, {mode}, {padding}", found, expected, 1e-5)
            try:
                found = run(program, "segment", bundle, folder, patch, len(classes), "precision=bfloat16")
            except RuntimeError as error:
                assert "bfloat16" in str(error), error
                print(f"{name}: {error}")
            else:
                check(f"{name}, bfloat16", found, final(network(patch)), 0.1)


if __name__ == "__main__":
    main()
