# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The paper's two networks in eager PyTorch, written apart from the C++ ones, and their bundles without this module.

Names of the parameters are those of a bundle's safetensors file, so that load_state_dict() takes it as it is.
"""
import hashlib
import json
import os
import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional

DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U8": np.uint8}


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {
        name: torch.from_numpy(np.frombuffer(data[slice(*entry["data_offsets"])], DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy())
        for name, entry in header.items()
    }


def write_safetensors(path, tensors):
    header, blocks, position = {}, [], 0
    for name, tensor in tensors.items():
        block = tensor.detach().numpy().astype(np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [position, position + len(block)]}
        position += len(block)
        blocks.append(block)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def center_crop(x, like):
    for axis in (2, 3, 4):
        surplus = x.shape[axis] - like.shape[axis]
        assert surplus >= 0 and surplus % 2 == 0
        x = x.narrow(axis, surplus // 2, like.shape[axis])
    return x


class Residual(nn.Module):
    def __init__(self, given, out, padded, spatial_dropout=0.0, groups=1):
        super().__init__()
        self.spatial_dropout = spatial_dropout
        self.bn1, self.bn2 = nn.BatchNorm3d(given), nn.BatchNorm3d(out)
        self.conv1 = nn.Conv3d(given, out, 3, padding=int(padded), bias=False, groups=groups)
        self.conv2 = nn.Conv3d(out, out, 3, padding=int(padded), bias=False, groups=groups)
        if given != out:
            self.shortcut = nn.Conv3d(given, out, 1, bias=False, groups=groups)

    def forward(self, x):
        y = functional.relu(self.bn2(self.conv1(functional.relu(self.bn1(x)))))
        if self.spatial_dropout > 0:
            y = functional.dropout3d(y, self.spatial_dropout, self.training)
        y = self.conv2(y)
        x = center_crop(x, y)
        return y + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class Stem(nn.Module):
    def __init__(self, channels, width, padded, groups=1):
        super().__init__()
        self.conv1 = nn.Conv3d(channels, width, 3, padding=int(padded), bias=False)
        self.bn = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=int(padded), bias=False, groups=groups)

    def forward(self, x):
        return self.conv2(functional.relu(self.bn(self.conv1(x))))


class SegmentationNetwork(nn.Module):
    def __init__(self, width, levels, padded=False, channels=4, classes=2, spatial_dropout=0.0):
        super().__init__()
        self.levels = levels
        self.stem = Stem(channels, width, padded)
        for level in range(levels):
            setattr(self, f"enc{level}", Residual(width * 2 ** max(level - 1, 0), width * 2**level, padded, spatial_dropout))
        for level in range(levels - 1):
            setattr(self, f"red{level}", nn.Conv3d(width * 2 ** (level + 1), width * 2**level, 1, bias=False))
            setattr(self, f"dec{level}", Residual(width * 2**level, width * 2**level, padded, spatial_dropout))
        self.bn = nn.BatchNorm3d(width)
        self.head = nn.Conv3d(width, classes, 1)

    def forward(self, x):
        skips = []
        x = self.enc0(self.stem(x))
        for level in range(1, self.levels):
            skips.append(x)
            x = getattr(self, f"enc{level}")(functional.max_pool3d(x, 2))
        for level in reversed(range(self.levels - 1)):
            # After the upsampling, as the text has it; the C++ network reduces before, which is the same for nearest.
            x = getattr(self, f"red{level}")(functional.interpolate(x, scale_factor=2, mode="nearest"))
            x = getattr(self, f"dec{level}")(x + center_crop(skips[level], x))
        return self.head(functional.relu(self.bn(x)))


class GradingNetwork(nn.Module):
    def __init__(self, width, padded=False, channels=4, classes=2, dropout=0.0, groups=1):
        super().__init__()
        self.dropout = dropout
        self.stem = Stem(channels, width, padded, groups)
        self.res1 = Residual(width, width, padded, groups=groups)
        self.res2 = Residual(width, 2 * width, padded, groups=groups)
        self.res3 = Residual(2 * width, 4 * width, padded, groups=groups)
        self.res4 = Residual(4 * width, 8 * width, padded, groups=groups)
        self.bn = nn.BatchNorm3d(8 * width)
        self.fc1 = nn.Conv3d(8 * width, 8 * width, 1, groups=groups)
        self.fc2 = nn.Conv3d(8 * width, 4 * width, 1, groups=groups)
        self.fc3 = nn.Conv3d(4 * width, classes, 1)

    def forward(self, x, taps=None):
        """taps: a dictionary that takes the outputs of stem and res1 to res4."""
        taps = {} if taps is None else taps
        taps["stem"] = x = self.stem(x)
        taps["res1"] = x = self.res1(x)
        for name in ("res2", "res3", "res4"):
            taps[name] = x = getattr(self, name)(functional.max_pool3d(x, 2))
        x = functional.relu(self.bn(x)).mean((2, 3, 4), keepdim=True)
        for layer in (self.fc1, self.fc2):
            x = functional.dropout(functional.relu(layer(x)), self.dropout, self.training)
        return self.fc3(x).flatten(1)


def read_metadata(bundle):
    with open(os.path.join(bundle, "configs", "metadata.json"), encoding="utf-8") as file:
        return json.load(file)


def network_of(metadata):
    """The network that a manifest describes, without its weights."""
    network = metadata["gliomagrading"]["network"]
    formats = metadata["network_data_format"]
    sizes = {"channels": formats["inputs"]["image"]["num_channels"], "classes": formats["outputs"]["pred"]["num_channels"]}
    if network["name"] == "PereiraSegmentationNetwork":
        return SegmentationNetwork(network["width"], network["levels"], network["padded"], **sizes)
    return GradingNetwork(network["width"], network["padded"], groups=network.get("groups", 1), **sizes)


def network_of_bundle(bundle):
    """The bundle's network, filled and in evaluation mode."""
    metadata = read_metadata(bundle)
    model = network_of(metadata)
    state = read_safetensors(os.path.join(bundle, metadata["gliomagrading"]["weights"]["file"]))
    missing, surplus = model.load_state_dict(state, strict=False)
    assert not surplus and all(name.endswith("num_batches_tracked") for name in missing), (missing, surplus)
    return model.eval()


def replace_weights(bundle, model):
    """Puts a network's weights into a bundle, with their digest and without a golden pair."""
    metadata = read_metadata(bundle)
    weights = metadata["gliomagrading"]["weights"]
    path = os.path.join(bundle, weights["file"])
    write_safetensors(path, {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")})
    with open(path, "rb") as file:
        content = file.read()
    weights.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    metadata["gliomagrading"].pop("golden", None)
    with open(os.path.join(bundle, "configs", "metadata.json"), "w", encoding="utf-8") as file:
        json.dump(metadata, file)


def golden_input(seed, size, channels):
    """SplitMix64 as 24-bit fractions in [-2, 2); x, y, z to a tensor [1, C, z, y, x]."""
    count = channels * size[0] * size[1] * size[2]
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    values = ((z >> np.uint64(40)).astype(np.float64) / 2.0**22 - 2.0).astype(np.float32)
    return torch.from_numpy(values.reshape(1, size[2], size[1], size[0], channels)).permute(0, 4, 1, 2, 3).contiguous()
