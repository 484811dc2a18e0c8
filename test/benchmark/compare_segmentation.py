#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""TorchSegmentationFilter beside MONAI's sliding_window_inference, on one real case, the same weights and threads.

python compare_segmentation.py --programs build/bin --case FOLDER --work WORK [--rows TEXT]... [--threads 2] [--quick]
                               [--models examples/glioma/models] [--long 512,512,2000] [--tables]

wants numpy, SimpleITK, torch and monai, and the targets BenchmarkSegmentation, RunBundle and glioma. FOLDER holds one
BraTS case (..._t1.nii.gz, _t1ce, _t2, _flair). Files are read before the clock starts, on both sides. Each row runs in a
process of its own; seconds are the best of --repeats after one run that warms up, peak memory is the process's.

What is measured goes to WORK/segmentation.json, with the labels of each row beside it: --rows measures the rows whose name
holds TEXT (again) and keeps the others, --list names them, --tables prints what is there.

The network is the paper's with width 16 and four levels, seeded. MONAI's window wants a network that keeps the size of its
patch, so both run the padded variant; the unpadded one, which MONAI cannot tile, is reported besides.
  MONAI, as users run it   TorchScript, window 128^3, overlap 0.25, Gaussian, whole volume, float32
  MONAI, its best          crop to the brain's box, channels-last, frozen TorchScript, bfloat16 by autocast where asked; the
                           best of the windows 96^3, 128^3 and 160^3
  module, same windows     patches of 128^3, overlap 0.25, over the brain's box inside the mask
  module, padded           the same with the patch that the filter chooses; MONAI besides with that window
  module, whole, no mask   the same over the whole volume: no tile is skipped
  module, unpadded         tiles as the filter chooses them; smaller ones besides, whose labels must be the same
  glioma grade             the whole command, every file written, files read, with the unpadded network (prepared with N4) or
                           the bundles of --models
  long                     a procedural volume of --long voxels and of its first quarter, in pieces, by the bundle of --models
"""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))


def megabytes(name):
    """VmHWM, the peak, or VmRSS, what is held now; not getrusage(), which counts what the program that started this one held."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name + ":"))


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
    # What the reading took does not count.
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
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
    peak = megabytes("VmHWM")
    print(json.dumps({"seconds": seconds, "peak_megabytes": peak}))


def run_peak(settings):
    """The convolution at which this processor does most, in operations a second."""
    import torch

    torch.set_num_threads(settings["threads"])
    best = 0.0
    for channels, side in ((64, 48), (128, 32), (256, 24)):
        for dtype in (getattr(torch, settings["type"]),):
            x = torch.randn(1, channels, side, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last_3d)
            convolution = torch.nn.Conv3d(channels, channels, 3, bias=False).to(dtype=dtype, memory_format=torch.channels_last_3d)
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
        "differing": int((a != b).sum()),
        "share": float((a != b).mean()),
        "dice": 2 * both / max(1, int(a.sum()) + int(b.sum())),
    }


class Comparison:
    """Runs rows by their name and keeps what they gave in a folder."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.folder = arguments.work
        os.makedirs(self.folder, exist_ok=True)
        self.path = self.at("segmentation.json")
        self.results = {"rows": {}}
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.results = json.load(file)
        self.rows = {}  # name: what runs it
        self.truths = {}  # name: the row whose labels it is compared with
        self.plan()

    def at(self, name):
        return os.path.join(self.folder, name)

    def labels(self, name):
        return self.at("labels-" + "".join(c if c.isalnum() else "-" for c in name) + ".npy")

    def plan(self):
        side = 64 if self.arguments.quick else 128
        patch = {"patch": f"{side},{side},{side}"}
        precisions = ("float32", "bfloat16")

        def add(name, run, truth=None):
            self.rows[name] = run
            if truth:
                self.truths[name] = truth

        def ours(name, truth, bundle, mask="mask.mha", image="volume.mha", **options):
            add(name, lambda: self.run_ours(name, bundle, image, mask, options), truth)

        def monai(name, truth, window, best, bfloat16=False):
            add(name, lambda: self.run_monai(name, window, best, bfloat16), truth)

        users = f"MONAI, as users run it, window {side}, float32"
        # Labels are compared where the windows are the same: those of the whole volume, or those of the brain's box.
        boxed = f"MONAI, its best, window {side}, float32"
        monai(users, None, lambda: [side] * 3, False)
        for precision in precisions:
            for one in (side,) if self.arguments.quick else (side, 96, 160):
                name = f"MONAI, its best, window {one}, {precision}"
                truth = boxed if one == side and name != boxed else None
                monai(name, truth, lambda one=one: [one] * 3, True, precision == "bfloat16")
        ours("module, whole, no mask, float32", users, self.at("padded"), mask=None, **patch)
        for precision in precisions:
            ours(f"module, same windows, {precision}", boxed, self.at("padded"), precision=precision, **patch)
        own = "module, padded, float32"
        for precision in precisions:
            name = f"module, padded, {precision}"
            ours(name, own if name != own else None, self.at("padded"), precision=precision)
        for precision in precisions:
            monai(
                f"MONAI, its best, window of the module, {precision}",
                own,
                lambda: self.results["rows"][own]["tile"][::-1],
                True,
                precision == "bfloat16",
            )
        unpadded = "module, unpadded, float32"
        for precision in precisions:
            name = f"module, unpadded, {precision}"
            ours(name, unpadded if name != unpadded else None, self.at("unpadded"), precision=precision)
        ours("module, unpadded, smaller tiles, float32", unpadded, self.at("unpadded"), **{"tile-memory": 500})
        ours("module, unpadded, whole, no mask, float32", unpadded, self.at("unpadded"), mask=None)
        if self.arguments.models:
            demonstration = os.path.join(self.arguments.models, "segmentation")
            truth = "module, demonstration bundle at 2 mm, float32"
            for precision in precisions:
                name = f"module, demonstration bundle at 2 mm, {precision}"
                ours(name, truth if name != truth else None, demonstration, mask="small-mask.mha", image="small.mha", precision=precision)
            for network in ("width 16", "demonstration bundles"):
                for precision in precisions:
                    name = f"glioma grade, {network}, {precision}"
                    add(name, lambda name=name, network=network, precision=precision: self.run_grade(name, network, precision))
            if self.arguments.long:
                x, y, z = self.arguments.long.split(",")
                for slices in (int(z) // 4, int(z)):
                    name = f"long, {x} x {y} x {slices}, float32"
                    add(name, lambda name=name, n=(x, y, str(slices)): self.run_long(name, demonstration, n))
        for precision in precisions:
            add(
                f"convolution peak, {precision}",
                lambda precision=precision: self.keep(
                    f"convolution peak, {precision}", worker("peak", threads=self.arguments.threads, type=precision)
                ),
            )

    def prepare(self):
        """The case and the networks, once a folder."""
        if os.path.exists(self.at("prepared")):
            return
        import SimpleITK as sitk
        import torch

        import pereira_networks as pn

        images = load_case(self.arguments.case)
        volume, mask = standardized(images)
        np.save(self.at("volume.npy"), volume)
        np.save(self.at("mask.npy"), mask)
        write_image(self.at("volume.mha"), volume, images[0])
        write_image(self.at("mask.mha"), mask, images[0])
        width, levels = (4, 3) if self.arguments.quick else (16, 4)
        for name, padded in (("padded", 1), ("unpadded", 0)):
            subprocess.run(
                [
                    os.path.join(self.arguments.programs, "RunBundle"),
                    "write",
                    "segmentation",
                    str(width),
                    str(levels),
                    str(padded),
                    "0",
                    self.at(name),
                ],
                check=True,
            )
        with torch.no_grad():
            torch.jit.trace(pn.network_of_bundle(self.at("padded")), torch.randn(1, 4, 32, 32, 32)).save(self.at("program.ts"))
        # The same as a user's model: 1 mm, prepared with N4.
        subprocess.run(["cp", "-r", self.at("unpadded"), self.at("unpadded-n4")], check=True)
        metadata = pn.read_metadata(self.at("unpadded-n4"))
        metadata["gliomagrading"]["preparation"]["bias_correction"] = "n4"
        metadata["gliomagrading"]["spacing"] = [1.0, 1.0, 1.0]
        with open(self.at("unpadded-n4/configs/metadata.json"), "w", encoding="utf-8") as file:
            json.dump(metadata, file)
        # Only its time and its labels in both precisions are asked for: half of every axis, not the module's own way there.
        half = [
            sitk.Resample(
                sitk.DiscreteGaussian(image, (0.54, 0.54, 0.54)),
                [n // 2 for n in image.GetSize()],
                sitk.Transform(),
                sitk.sitkLinear,
                image.GetOrigin(),
                (2.0, 2.0, 2.0),
                image.GetDirection(),
            )
            for image in images
        ]
        for image in half:
            image.SetDirection(np.eye(3).ravel().tolist())
        small, brain = standardized(half)
        write_image(self.at("small.mha"), small, half[0])
        write_image(self.at("small-mask.mha"), brain, half[0])
        np.save(self.at("small-mask.npy"), brain)
        self.results.update(
            case=os.path.basename(self.arguments.case.rstrip("/")), threads=self.arguments.threads, brain_voxels=int(mask.sum())
        )
        with open(self.at("prepared"), "w", encoding="ascii"):
            pass

    def keep(self, name, result):
        import monai
        import torch

        self.results.update(torch=torch.__version__, monai=monai.__version__, processor=processor())
        self.results["rows"][name] = {**result, "date": time.strftime("%Y-%m-%d")}
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(self.results, file, indent=1)
        print(name, json.dumps(result), flush=True)

    def run_program(self, *command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"error: {' '.join(command)}: {done.stderr}")
        return done.stdout

    def run_ours(self, name, bundle, image, mask, options):
        import SimpleITK as sitk

        result = json.loads(
            self.run_program(
                os.path.join(self.arguments.programs, "BenchmarkSegmentation"),
                "case",
                bundle,
                self.at(image),
                self.at(mask) if mask else "-",
                self.at("labels.mha"),
                f"threads={self.arguments.threads}",
                f"repeats={self.arguments.repeats + 1}",
                *(f"{key}={value}" for key, value in options.items()),
            )
        )
        np.save(self.labels(name), sitk.GetArrayFromImage(sitk.ReadImage(self.at("labels.mha"))))
        self.keep(name, result)

    def run_monai(self, name, window, best, bfloat16):
        result = worker(
            "monai",
            threads=self.arguments.threads,
            repeats=self.arguments.repeats,
            volume=self.at("volume.npy"),
            mask=self.at("mask.npy"),
            program=self.at("program.ts"),
            labels=self.labels(name),
            window=window(),
            best=best,
            bfloat16=bfloat16,
        )
        self.keep(name, result)

    def run_grade(self, name, network, precision):
        command = [os.path.join(self.arguments.programs, "glioma"), "grade", "--threads", str(self.arguments.threads)]
        for option, channel in (("t1", "t1"), ("t1c", "t1ce"), ("t2", "t2"), ("flair", "flair")):
            command += ["--" + option, glob.glob(os.path.join(self.arguments.case, f"*_{channel}.nii.gz"))[0]]
        segmentation = self.at("unpadded-n4") if network == "width 16" else os.path.join(self.arguments.models, "segmentation")
        command += ["--segmentation-model", segmentation, "--grading-model", os.path.join(self.arguments.models, "grading")]
        command += ["--precision", precision]
        said = self.run_program(*command, "--estimate")
        estimate = re.search(r"nothing is written\): ([0-9.]+) s, ([0-9.]+) GiB", said)
        output = self.at("graded")
        start = time.perf_counter()
        self.run_program(*command, "--output", output, "--force")
        seconds = time.perf_counter() - start
        with open(os.path.join(output, "result.json"), encoding="utf-8") as file:
            written = json.load(file)
        if written["grade"] is None:
            sys.exit(f"error: {name}: no tumour was found, so that stages were left out")
        provenance = written["provenance"]
        self.keep(
            name,
            {
                "seconds": seconds,
                "peak_megabytes": provenance["peak_memory_mib"],
                "estimated_seconds": float(estimate[1]),
                "estimated_megabytes": 1024 * float(estimate[2]),
                "stages": provenance["stages"],
            },
        )

    def run_long(self, name, bundle, size):
        self.keep(
            name,
            json.loads(
                self.run_program(
                    os.path.join(self.arguments.programs, "BenchmarkSegmentation"),
                    "long",
                    bundle,
                    *size,
                    f"threads={self.arguments.threads}",
                    "tile-memory=300",
                )
            ),
        )

    def agreements(self):
        """Of all rows whose labels are there."""
        for name, truth in self.truths.items():
            if name in self.results["rows"] and os.path.exists(self.labels(name)) and os.path.exists(self.labels(truth)):
                mask = np.load(self.at("small-mask.npy" if "demonstration" in name else "mask.npy"))
                self.results["rows"][name].update(agreement(np.load(self.labels(name)), np.load(self.labels(truth)), mask))
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(self.results, file, indent=1)

    def run(self):
        self.prepare()
        for name, row in self.rows.items():
            if not self.arguments.rows or any(text in name for text in self.arguments.rows):
                before = busy_seconds()
                row()
                everybody, own = (b - a for a, b in zip(before, busy_seconds()))
                # Seconds count only where nothing else runs.
                self.results["rows"][name]["processor_share_of_others"] = round(max(0.0, 1 - own / everybody), 3)
                print(f"  {self.results['rows'][name]['processor_share_of_others']:.0%} of the work was somebody else's", flush=True)
                self.agreements()


def busy_seconds():
    """Of all processes, and of this one with the ones that it ran."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq = (int(word) for word in file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def processor():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        lines = file.read().splitlines()
    said = {line.split(":")[0].strip(): line.split(":", 1)[1].strip() for line in lines if ":" in line}
    sets = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in said.get("flags", "").split()]
    return f"{said.get('model name', 'unknown')} with {', '.join(sets)}"


def show(results, order):
    rows = [(name, results["rows"][name]) for name in order if name in results["rows"]]
    users = next((row["seconds"] for name, row in rows if "users" in name), None)
    peaks = {name.rsplit(" ", 1)[1]: row["operations_a_second"] for name, row in rows if "convolution peak" in name}
    kinds = lambda *words: [(n, r) for n, r in rows if n.startswith(words)]
    print(
        f"\n{results['case']}, {results['brain_voxels']} voxels of brain, {results['threads']} threads of {results.get('processor')}, "
        f"torch {results.get('torch')}, MONAI {results.get('monai')}, {', '.join(sorted({row['date'] for _, row in rows}))}\n"
    )
    print("| | seconds | times faster than the first | peak memory, MiB | differing labels in the brain | Dice |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, row in kinds("MONAI", "module"):
        other = f"{row['differing']} ({row['share']:.1e}) | {row['dice']:.5f}" if "dice" in row else "- | -"
        ratio = "-" if "demonstration" in name or users is None else f"{users / row['seconds']:.1f}"
        print(f"| {name} | {row['seconds']:.2f} | {ratio} | {row['peak_megabytes']:.0f} | {other} |")
    print(
        "\n| | tiles run of all | tile | GFLOP/s | share of the convolution peak | seconds estimated / measured | MiB estimated / measured |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in kinds("module"):
        rate = row["operations"] / row["seconds"]
        peak = peaks.get(name.rsplit(" ", 1)[1])
        print(
            f"| {name} | {row['computed']} of {row['tiles']} | {'x'.join(map(str, row['tile']))} | {rate / 1e9:.0f} | "
            f"{f'{rate / peak:.2f}' if peak else '-'} | {row['estimated_seconds']:.2f} / {row['seconds']:.2f} | "
            f"{row['estimated_megabytes']:.0f} / {row['update_megabytes']:.0f} |"
        )
    for kind, peak in peaks.items():
        print(f"\nLargest convolution rate measured, {kind}: {peak / 1e9:.0f} GFLOP/s")
    print("\n| | seconds | estimated | peak memory, MiB | estimated | longest stages |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, row in kinds("glioma grade"):
        stages = sorted(row["stages"], key=lambda stage: -stage["seconds"])[:4]
        longest = ", ".join(f"{stage['name']} {stage['seconds']:.1f}" for stage in stages)
        print(
            f"| {name} | {row['seconds']:.1f} | {row['estimated_seconds']:.1f} | {row['peak_megabytes']:.0f} | "
            f"{row['estimated_megabytes']:.0f} | {longest} |"
        )
    print("\n| | seconds | peak memory, MiB | pieces | tiles |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in kinds("long"):
        print(f"| {name} | {row['seconds']:.0f} | {row['peak_megabytes']:.0f} | {row['pieces']} | {row['tiles']} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--programs", help="folder of BenchmarkSegmentation, RunBundle and glioma")
    parser.add_argument("--case", help="folder of a BraTS case")
    parser.add_argument("--work", help="folder of what is prepared and measured")
    parser.add_argument("--rows", action="append", metavar="TEXT", help="measure the rows with this in their name, again")
    parser.add_argument("--models", help="folder of the demonstration bundles: examples/glioma/models")
    parser.add_argument("--long", help="X,Y,Z of a procedural volume for the demonstration bundle")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--tables", action="store_true", help="print the tables of what was measured")
    parser.add_argument("--quick", action="store_true", help="a small network and one window: tries the script out")
    arguments = parser.parse_args()
    if arguments.worker:
        settings = json.loads(arguments.worker[1])
        return run_monai(settings) if arguments.worker[0] == "monai" else run_peak(settings)
    if not arguments.work:
        parser.error("--work is needed")
    comparison = Comparison(arguments)
    if arguments.list:
        return print("\n".join(comparison.rows))
    if not arguments.tables:
        if not (arguments.programs and arguments.case):
            parser.error("--programs and --case are needed")
        comparison.run()
    return show(comparison.results, list(comparison.rows))


if __name__ == "__main__":
    sys.exit(main())
