#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Makes one grading bundle of several: a network whose logits are the mean of theirs.

  mean_of_graders.py OUTPUT BUNDLE BUNDLE [BUNDLE ...]

The bundles are trainings of one recipe with other seeds. Their channels lie beside each other in one network of the same kind, as many times as
wide, each in a group of its own (network.groups); so it is graded and explained as every other bundle is. It has the first one's manifest, with
the training and validation cases of all, its own weights and its own golden pair. OUTPUT must not exist. Needs torch.
"""
import copy
import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "test/python"))

import pereira_networks as pn
import torch


WIDEST = 1024  # what the module takes


def same_recipe(metadata):
    """What two trainings of one recipe have in common, with the names of their channels and classes."""
    ours = copy.deepcopy(metadata["gliomagrading"])
    for key in ("golden", "training", "weights", "temperature"):
        ours.pop(key, None)
    return ours, metadata["network_data_format"]


def beside_each_other(name, parts):
    """The parameter or statistic of the whole network, of the parts' ones."""
    if name == "fc3.bias":
        return sum(parts) / len(parts)
    return torch.cat(parts, 1) / len(parts) if name == "fc3.weight" else torch.cat(parts)


def main():
    if len(sys.argv) < 4 or any(word.startswith("-") for word in sys.argv[1:]):
        raise SystemExit(__doc__)
    output, *bundles = (pathlib.Path(word) for word in sys.argv[1:])
    if output.exists():
        raise SystemExit(f"mean_of_graders.py: {output} exists: choose another OUTPUT")
    metadatas = [pn.read_metadata(bundle) for bundle in bundles]
    for bundle, metadata in zip(bundles, metadatas):
        ours = metadata["gliomagrading"]
        if ours["network"]["name"] != "PereiraGradingNetwork":
            raise SystemExit(f"mean_of_graders.py: {bundle} holds a {ours['network']['name']}, no PereiraGradingNetwork")
        if ours["network"].get("groups", 1) != 1:
            raise SystemExit(f"mean_of_graders.py: {bundle} is a mean already: name its parts")
        if "golden" not in ours:
            raise SystemExit(f"mean_of_graders.py: {bundle} has no golden pair: `glioma train` writes one")
        if ours.get("temperature", 1) != 1:
            raise SystemExit(f"mean_of_graders.py: {bundle} has a temperature; fit one on the mean instead")
        if same_recipe(metadata) != same_recipe(metadatas[0]):
            raise SystemExit(f"mean_of_graders.py: the manifests of {bundle} and {bundles[0]} differ in more than their trainings")
    width = metadatas[0]["gliomagrading"]["network"]["width"] * len(bundles)
    if width > WIDEST:
        raise SystemExit(f"mean_of_graders.py: {len(bundles)} such graders are a network of width {width}; the module takes {WIDEST}: name fewer")
    states = [pn.network_of_bundle(bundle).state_dict() for bundle in bundles]
    metadata = metadatas[0]
    ours = metadata["gliomagrading"]
    network = ours["network"]
    network["width"] = width
    network["groups"] = len(bundles)
    whole = pn.network_of(metadata).eval()
    state = whole.state_dict()
    for name in state:
        if not name.endswith("num_batches_tracked"):
            state[name] = beside_each_other(name, [one[name] for one in states])
    whole.load_state_dict(state)

    trainings = [one["gliomagrading"].get("training", {}) for one in metadatas]
    for key in ("cases", "validation"):
        cases = {}
        for training in trainings:
            for case in training.get(key, []):
                cases.setdefault(case["case"], case)
        if cases:
            ours.setdefault("training", {})[key] = list(cases.values())
    golden = ours["golden"]
    channels = metadata["network_data_format"]["inputs"]["image"]["num_channels"]
    with torch.no_grad():
        golden["output"] = whole(pn.golden_input(golden["seed"], golden["size"], channels))[0].tolist()

    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    manifest = partial / "configs/metadata.json"
    for file in (manifest, partial / ours["weights"]["file"]):
        file.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(metadata))
    pn.replace_weights(partial, whole)  # takes the golden pair out
    metadata = pn.read_metadata(partial)
    metadata["gliomagrading"]["golden"] = golden
    manifest.write_text(json.dumps(metadata, indent=2, sort_keys=True) + "\n")
    partial.rename(output)
    print(f"Wrote {output}, the mean of {len(bundles)} graders. Research use only.")


if __name__ == "__main__":
    main()
