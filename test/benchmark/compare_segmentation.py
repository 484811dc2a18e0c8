#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""TorchSegmentationFilter beside MONAI's sliding_window_inference, on one real case, the same weights and threads.

python compare_segmentation.py --programs build/bin --case FOLDER [--threads 2] [--json segmentation.json] [--quick]
                               [--demonstration examples/glioma/models/segmentation] [--long 512,512,2000]

wants numpy, SimpleITK, torch and monai, and the targets BenchmarkSegmentation and RunBundle. FOLDER holds one BraTS case
(..._t1.nii.gz, _t1ce, _t2, _flair). Files are read before the clock starts, on both sides. Each row runs in a process of
its own; seconds are the best of --repeats after one run that warms up, peak memory is the process's.

The network is the paper's with width 16 and four levels, seeded. MONAI's window wants a network that keeps the size of its
patch, so both run the padded variant; the unpadded one, which MONAI cannot tile, is reported besides.
  MONAI, as users run it   TorchScript, window 128^3, overlap 0.25, Gaussian, whole volume, float32
  MONAI, its best          crop to the brain's box, channels-last, frozen TorchScript, bfloat16 by autocast where asked; the
                           best of the windows 96^3, 128^3 and 160^3
  module, same windows     patches of 128^3, overlap 0.25, over the brain's box inside the mask
  module, padded           the same with the patch that the filter chooses; MONAI besides with that window
  module, whole, no mask   the same over the whole volume: no tile is skipped
  module, unpadded         tiles as the filter chooses them
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))


def peak_megabytes():
    # Not getrusage(), which counts what the program that started this one held.
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))


def best_of(repeats, function):
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def box_of(mask, step=8):
    # From a multiple of the network's step on, as the module cuts it.
    return tuple(slice(int(i.min()) // step * step, int(i.max()) + 1) for i in np.nonzero(mask))


def run_monai(settings):
    """In a process of its own: prints seconds and peak memory as JSON, writes the labels."""
    import torch
    from monai.inferers import sliding_window_inference

    torch.set_num_threads(settings["threads"])
    volume = np.load(settings["volume"], mmap_mode="r")
    mask = np.load(settings["mask"])
    network = torch.jit.load(settings["program"]).eval()
    # Not a view: MONAI's users hold the volume in memory.
    whole = torch.from_numpy(np.ascontiguousarray(volume))[None]
    before = peak_megabytes()
    window = settings["window"]
    box = box_of(mask) if settings["best"] else tuple(slice(0, n) for n in mask.shape)
    if settings["best"]:
        for module in network.modules():
            for parameter in module.parameters(recurse=False):
                if parameter.dim() == 5:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
        network = torch.jit.freeze(network)
        if not settings["bfloat16"]:
            network = torch.jit.optimize_for_inference(network)
    labels = np.zeros(mask.shape, np.uint8)

    def predict(x):
        if settings["best"]:
            x = x.contiguous(memory_format=torch.channels_last_3d)
        return network(x)

    def run():
        x = whole[(slice(None), slice(None)) + box]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=settings["bfloat16"]):
            y = sliding_window_inference(x, window, 1, predict, 0.25, "gaussian")
        labels[box] = y[0].argmax(0).to(torch.uint8).numpy()

    with torch.no_grad():
        seconds = best_of(settings["repeats"], run)
    np.save(settings["labels"], labels)
    peak = peak_megabytes()
    print(json.dumps({"seconds": seconds, "peak_megabytes": peak, "before_megabytes": before}))


def run_peak(settings):
    """The convolution at which this processor does most, in operations a second."""
    import torch

    torch.set_num_threads(settings["threads"])
    best = 0.0
    for channels, side in ((64, 48), (128, 32), (256, 24)):
        for dtype in (getattr(torch, settings["type"]),):
            x = torch.randn(1, channels, side, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last_3d)
            convolution = torch.nn.Conv3d(channels, channels, 3, bias=False).to(
                dtype=dtype, memory_format=torch.channels_last_3d)
            with torch.no_grad():
                seconds = best_of(5, lambda: convolution(x))
            best = max(best, 2 * 27 * channels**2 * (side - 2) ** 3 / seconds)
    print(json.dumps({"operations_a_second": best}))


def worker(kind, **settings):
    command = [sys.executable, os.path.abspath(__file__), "--worker", kind, json.dumps(settings)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def load_case(folder, channels=("t1", "t1ce", "t2", "flair")):
    import SimpleITK as sitk

    images = []
    for name in channels:
        found = glob.glob(os.path.join(folder, f"*_{name}.nii.gz"))
        if len(found) != 1:
            sys.exit(f"error: '{folder}' has {len(found)} files *_{name}.nii.gz; give the folder of one BraTS case")
        images.append(sitk.ReadImage(found[0], sitk.sitkFloat32))
    return images


def standardized(images):
    """[C, z, y, x] with mean 0 and deviation 1 inside the brain, 0 outside, and the brain."""
    import SimpleITK as sitk

    volume = np.stack([sitk.GetArrayFromImage(image) for image in images])
    mask = (volume != 0).any(0)
    for one in volume:
        one[mask] = (one[mask] - one[mask].mean()) / one[mask].std()
        one[~mask] = 0
    return volume, mask


def write_image(path, array, like):
    import SimpleITK as sitk

    vector = array.ndim == 4
    image = sitk.GetImageFromArray(np.moveaxis(array, 0, -1) if vector else array.astype(np.uint8), isVector=vector)
    image.SetSpacing(like.GetSpacing())
    image.SetOrigin(like.GetOrigin())
    image.SetDirection(like.GetDirection())
    sitk.WriteImage(image, path)


def agreement(found, truth, mask):
    a, b = found[mask] != 0, truth[mask] != 0
    both = int((a & b).sum())
    return {
        "differing": int((a != b).sum()), "share": float((a != b).mean()),
        "dice": 2 * both / max(1, int(a.sum()) + int(b.sum())),
    }


def compare(arguments):
    import SimpleITK as sitk
    import torch

    import pereira_networks as pn

    program = os.path.join(arguments.programs, "BenchmarkSegmentation")
    rows, results = [], {"case": os.path.basename(arguments.case.rstrip("/")), "threads": arguments.threads}
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        images = load_case(arguments.case)
        volume, mask = standardized(images)
        np.save(at("volume.npy"), volume)
        np.save(at("mask.npy"), mask)
        write_image(at("volume.mha"), volume, images[0])
        write_image(at("mask.mha"), mask, images[0])
        width, levels = (4, 3) if arguments.quick else (16, 4)
        for name, padded in (("padded", 1), ("unpadded", 0)):
            subprocess.run(
                [os.path.join(arguments.programs, "RunBundle"), "write", "segmentation", str(width), str(levels),
                 str(padded), "0", at(name)], check=True)
        network = pn.network_of_bundle(at("padded"))
        with torch.no_grad():
            torch.jit.trace(network, torch.randn(1, 4, 32, 32, 32)).save(at("program.ts"))
        del network
        results["brain_voxels"] = int(mask.sum())
        print(f"{results['case']}: {results['brain_voxels']} voxels of brain", flush=True)

        def add(name, result, labels, truth=None):
            if truth is not None:
                result.update(agreement(labels, truth, mask))
            rows.append({"row": name, **result})
            print(json.dumps(rows[-1]), flush=True)

        def ours(name, bundle, truth, image="volume.mha", with_mask="mask.mha", **options):
            command = [program, "case", bundle, at(image), at(with_mask) if with_mask else "-", at("labels.mha"),
                       f"threads={arguments.threads}", f"repeats={arguments.repeats + 1}"]
            command += [f"{key}={value}" for key, value in options.items()]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            labels = sitk.GetArrayFromImage(sitk.ReadImage(at("labels.mha")))
            add(name, result, labels, truth)
            return labels

        def monai(name, truth, **options):
            result = worker("monai", threads=arguments.threads, repeats=arguments.repeats, volume=at("volume.npy"),
                            mask=at("mask.npy"), program=at("program.ts"), labels=at("labels.npy"), **options)
            labels = np.load(at("labels.npy"))
            add(name, result, labels, truth)
            return labels

        patch = "patch=64,64,64" if arguments.quick else "patch=128,128,128"
        window = int(patch.rsplit(",", 1)[1])
        patch = {"patch": patch.split("=")[1]}
        # Labels are compared where the windows are the same: those of the whole volume, or those of the brain's box.
        users = monai(f"MONAI, as users run it, window {window}", None, window=[window] * 3, best=False, bfloat16=False)
        boxed = None
        for bfloat16 in (False, True):
            precision = "bfloat16" if bfloat16 else "float32"
            for side in (window,) if arguments.quick else (128, 96, 160):
                found = monai(f"MONAI, its best, {precision}, window {side}", boxed if side == window else None,
                              window=[side] * 3, best=True, bfloat16=bfloat16)
                boxed = found if boxed is None else boxed
        ours("module, whole, no mask, float32", at("padded"), users, with_mask=None, **patch)
        for precision in ("float32", "bfloat16"):
            ours(f"module, same windows, {precision}", at("padded"), boxed, precision=precision, **patch)
        # The window that the module chooses, and MONAI with the same one.
        own = None
        for precision in ("float32", "bfloat16"):
            found = ours(f"module, padded, {precision}", at("padded"), own, precision=precision)
            if own is None:
                own, chosen = found, rows[-1]["tile"][::-1]
        for bfloat16 in (False, True):
            monai("MONAI, its best, window of the row above, " + ("bfloat16" if bfloat16 else "float32"), own, window=chosen,
                  best=True, bfloat16=bfloat16)
        whole = None
        for precision in ("float32", "bfloat16"):
            found = ours(f"module, unpadded, {precision}", at("unpadded"), whole, precision=precision)
            whole = found if whole is None else whole
        ours("module, unpadded, whole, no mask, float32", at("unpadded"), whole, with_mask=None)
        if arguments.demonstration:
            half = [
                sitk.Resample(
                    sitk.DiscreteGaussian(image, (0.54, 0.54, 0.54)), [n // 2 for n in image.GetSize()],
                    sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), (2.0, 2.0, 2.0), image.GetDirection())
                for image in images
            ]
            like = half[0]
            for image in half:
                image.SetDirection(np.eye(3).ravel().tolist())
            small, brain = standardized(half)
            write_image(at("small.mha"), small, like)
            write_image(at("small-mask.mha"), brain, like)
            mask, truth = brain, None
            for precision in ("float32", "bfloat16"):
                found = ours(f"module, demonstration bundle at 2 mm, {precision}", arguments.demonstration, truth,
                             image="small.mha", with_mask="small-mask.mha", precision=precision)
                truth = found if truth is None else truth
        for kind in ("float32", "bfloat16"):
            results[f"convolution_peak_{kind}"] = worker("peak", threads=arguments.threads, type=kind)["operations_a_second"]
        if arguments.long and arguments.demonstration:
            x, y, z = (int(n) for n in arguments.long.split(","))
            results["long"] = []
            for slices in (z // 4, z):
                command = [program, "long", arguments.demonstration, str(x), str(y), str(slices),
                           f"threads={arguments.threads}", "tile-memory=700"]
                results["long"].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
                print(json.dumps(results["long"][-1]), flush=True)
    results["rows"] = rows
    return results


def show(results):
    rows = results["rows"]
    users = rows[0]["seconds"]
    print(f"\n{results['case']}, {results['threads']} threads, {results['brain_voxels']} voxels of brain\n")
    print("| | seconds | times faster than the first | peak memory, MB | differing labels in the brain | Dice |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        other = f"{row['differing']} ({row['share']:.1e}) | {row['dice']:.5f}" if "dice" in row else "- | -"
        ratio = "-" if "demonstration" in row["row"] else f"{users / row['seconds']:.1f}"
        print(f"| {row['row']} | {row['seconds']:.2f} | {ratio} | {row['peak_megabytes']:.0f} | {other} |")
    print("\n| | tiles run of all | share of the convolution peak | estimated seconds / measured | estimated MB / measured |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        if "tiles" in row:
            kind = "bfloat16" if row["row"].endswith("bfloat16") else "float32"
            share = row["operations"] / row["seconds"] / results[f"convolution_peak_{kind}"]
            print(f"| {row['row']} | {row['computed']} of {row['tiles']} | {share:.2f} | {row['estimated_seconds']:.2f} / {row['seconds']:.2f} | "
                  f"{row['estimated_megabytes']:.0f} / {row['peak_megabytes'] - row['before_megabytes']:.0f} |")
    for kind in ("float32", "bfloat16"):
        print(f"\nLargest convolution rate measured, {kind}: {results[f'convolution_peak_{kind}'] / 1e9:.0f} GFLOP/s")
    for row in results.get("long", []):
        print(f"\nProcedural volume of {row['slices']} slices: {row['seconds']:.0f} s, peak {row['peak_megabytes']:.0f} MB, "
              f"{row['pieces']} pieces, {row['tiles']} tiles")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--programs", help="folder of BenchmarkSegmentation and RunBundle")
    parser.add_argument("--case", help="folder of a BraTS case")
    parser.add_argument("--demonstration", help="bundle of the demonstration's segmentation")
    parser.add_argument("--long", help="X,Y,Z of a procedural volume for the demonstration bundle")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json")
    parser.add_argument("--tables", action="store_true", help="print the tables of --json again")
    parser.add_argument("--quick", action="store_true", help="a small network and one window: tries the script out")
    arguments = parser.parse_args()
    if arguments.worker:
        settings = json.loads(arguments.worker[1])
        return run_monai(settings) if arguments.worker[0] == "monai" else run_peak(settings)
    if arguments.tables:
        with open(arguments.json, encoding="utf-8") as file:
            return show(json.load(file))
    results = compare(arguments)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    return show(results)


if __name__ == "__main__":
    sys.exit(main())
