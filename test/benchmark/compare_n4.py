#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Runs the module's N4 beside SimpleITK's and ANTs' (antspyx) on phantoms with a known field and on real cases, in one go.

  compare_n4.py --build BUILD --cohort COHORT.csv --results FOLDER

BUILD has bin/BenchmarkN4 and bin/glioma. The phantoms are made in FOLDER, where they are not there yet. n4.json and n4.md (the tables of
README.md) are written anew after each step, so that a run that is stopped loses one step; what has not begun after --minutes is left out.

Needs numpy, scipy, SimpleITK and antspyx. Each tool runs in a process of its own, on the same float32
image and the same mask (the positive voxels of the brain), with 4 levels of at most 50 iterations; speed and quality at the threshold
0.001. "fit" is the fit on the shrunken grid (SimpleITK: Execute), "all" goes from the image in memory to the corrected image in memory
(shrink, fit, field at full resolution, division). Memory: highest resident size of the process since the images were loaded, and how
much that is above what it was then. The module's seconds are medians of three runs, the others ran once.

Agreement: largest difference of the log fields inside the mask on the shrunken grid with the threshold 0, of each tool to SimpleITK's
and to the same algorithm in double precision (NumPy, this file), with the seconds of these fits of equally many iterations.
Error: standard deviation over the brain of the estimated minus the true log field (N4 leaves its mean open).
CV: coefficient of variation inside white matter. A phantom knows its own. In a real case it is what lies above the higher of Otsu's two
thresholds of the brain's uncorrected T1, at least 5 voxels from the brain's border and from the tumour, eroded by one voxel.
"""
import argparse
import csv
import importlib.metadata
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from scipy import ndimage
import SimpleITK as sitk

SEQUENCES = ("t1", "t1c", "t2", "flair")


def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key))


# The other tools, each in a process of its own


def run_simpleitk(image, mask, shrink, iterations, threshold):
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([iterations] * 4)
    corrector.SetConvergenceThreshold(threshold)
    start = time.perf_counter()
    small = sitk.Shrink(image, [shrink] * 3) if shrink > 1 else image
    small_mask = sitk.Shrink(mask, [shrink] * 3) if shrink > 1 else mask
    fit = time.perf_counter()
    corrector.Execute(small, small_mask)
    fit = time.perf_counter() - fit
    field = corrector.GetLogBiasFieldAsImage(image)
    corrected = image / sitk.Exp(field)
    seconds = time.perf_counter() - start
    del corrected
    return {"fit_seconds": fit, "seconds": seconds}, field, corrector.GetLogBiasFieldAsImage(small)


def run_ants(image, mask, shrink, iterations, threshold):
    import ants

    # antspyx 0.6.3 takes a mask of another pixel type for something else, and says nothing.
    ours, its_mask = ants.from_sitk(image), ants.from_sitk(sitk.Cast(mask, sitk.sitkFloat32))
    start = time.perf_counter()
    field = ants.n4_bias_field_correction(
        ours, mask=its_mask, shrink_factor=shrink, convergence={"iters": [iterations] * 4, "tol": threshold}, return_bias_field=True
    )
    seconds = time.perf_counter() - start
    return {"fit_seconds": None, "seconds": seconds}, sitk.Log(ants.to_sitk(field)), None


def work(arguments):
    tool, image, mask, shrink, iterations, threshold, output = arguments
    image, mask = sitk.ReadImage(image, sitk.sitkFloat32), sitk.ReadImage(mask, sitk.sitkUInt8)
    if tool == "ants":
        import ants  # noqa: F401  its libraries belong to what is loaded
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    loaded = status("VmRSS")
    run = {"simpleitk": run_simpleitk, "ants": run_ants}[tool]
    report, field, small = run(image, mask, int(shrink), int(iterations), float(threshold))
    report.update(peak_mib=status("VmHWM"), loaded_mib=loaded)
    sitk.WriteImage(field, output)
    if small is not None:
        sitk.WriteImage(small, output.replace(".nii", "-small.nii"))
    print(json.dumps(report))


# The same algorithm in double precision


def spline_weights(samples, spans):
    """[samples, spans + 3]: cubic B-splines over [0, spans], the last sample a thousandth of a step inside."""
    step = spans / (samples - 1)
    p = np.minimum(np.arange(samples) * step, spans - 1e-3 * step)
    first = np.floor(p).astype(int)
    w = np.zeros((samples, spans + 3))
    for j in range(4):
        u = np.abs(p - first - j + 1)
        w[np.arange(samples), first + j] = np.where(u < 1, (4 - 6 * u**2 + 3 * u**3) / 6, np.where(u < 2, (2 - u) ** 3 / 6, 0))
    return w


def contract(ws, volume):
    """Applies the transposed weights of z, y and x."""
    for w in ws:
        volume = np.tensordot(volume, w, axes=(0, 0))
    return volume


def expand(ws, lattice):
    for w in ws:
        lattice = np.tensordot(lattice, w, axes=(0, 1))
    return lattice


def two_scale(coarse):
    m = np.zeros((2 * (coarse - 3) + 3, coarse))
    for k in range(m.shape[0]):
        if k % 2:
            m[k, k // 2 : k // 2 + 3] = 0.125, 0.75, 0.125
        else:
            m[k, k // 2 : k // 2 + 2] = 0.5
    return m


def sharpen(v, bins=200, fwhm=0.15, noise=0.01):
    low = v.min()
    slope = (v.max() - low) / (bins - 1)
    c = (v - low) / slope
    i = np.minimum(c.astype(int), bins - 1)
    o = np.where(i < bins - 1, c - i, 0)
    h = np.bincount(i, 1 - o, bins) + np.bincount(np.minimum(i + 1, bins - 1), o, bins)
    size = 2 ** (math.ceil(math.log2(bins)) + 1)
    start = (size - bins) // 2
    padded = np.zeros(size)
    padded[start : start + bins] = h
    n = np.minimum(np.arange(size), size - np.arange(size))
    width = fwhm / slope
    gauss = np.fft.fft(2 * math.sqrt(math.log(2) / math.pi) / width * np.exp(-4 * math.log(2) * (n / width) ** 2)).real
    u = np.maximum(np.fft.ifft(np.fft.fft(padded) * gauss / (gauss**2 + noise)).real, 0)
    x = low + (np.arange(size) - start) * slope
    top, bottom = (np.fft.ifft(np.fft.fft(a) * gauss).real[start : start + bins] for a in (x * u, u))
    e = np.divide(top, bottom, out=np.zeros(bins), where=bottom != 0)
    e = np.append(e, e[-1])
    return e[i] + (e[i + 1] - e[i]) * o


def fit_in_double(image, mask, iterations):
    """The log field [z, y, x] after so many iterations on each of four levels."""
    log = np.log(image[mask].astype(float))
    lattice, spans, field = np.zeros((4, 4, 4)), 1, np.zeros(log.size)
    volume = np.zeros(image.shape)
    for level in range(4):
        ws = [spline_weights(n, spans) for n in image.shape]
        cubes = [w**3 / (w**2).sum(1, keepdims=True) for w in ws]
        omega = contract([w**2 for w in ws], mask.astype(float))
        for _ in range(iterations):
            uncorrected = log - field
            volume[mask] = uncorrected - sharpen(uncorrected)
            lattice = lattice + np.divide(contract(cubes, volume), omega, out=np.zeros_like(lattice), where=omega > 0)
            field = expand(ws, lattice)[mask]
        if level < 3:
            lattice, spans = expand([two_scale(n) for n in lattice.shape], lattice), 2 * spans
    return expand(ws, lattice)


# The cases


def read(path):
    image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    return image[:, :, :, 0] if image.GetDimension() == 4 else image


def white_matter_of(t1, brain, tumour):
    deep = ndimage.distance_transform_edt(brain & ~tumour) >= 5
    otsu = sitk.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(2)
    # Only the brain counts: its voxels as an image of one row.
    otsu.Execute(sitk.GetImageFromArray(t1[brain][None, :]))
    return ndimage.binary_erosion((t1 > otsu.GetThresholds()[1]) & deep)


class Case:
    """One sequence: an image and its mask as files, and what is known of it."""

    def __init__(self, name, folder, image, brain, white, truth):
        self.name, self.white, self.truth = name, white, truth
        array = sitk.GetArrayFromImage(image)
        self.mask = brain & (array > 0)
        self.image = array
        self.shape = array.shape
        self.files = [os.path.join(folder, f"{name}.nii"), os.path.join(folder, f"{name}-mask.nii")]
        mask = sitk.GetImageFromArray(self.mask.astype(np.uint8))
        mask.CopyInformation(image)
        sitk.WriteImage(image, self.files[0])
        sitk.WriteImage(mask, self.files[1])

    def variation(self, field=None):
        values = self.image[self.white].astype(float)
        if field is not None:
            values = values / np.exp(field[self.white])
        return values.std() / values.mean()

    def error(self, field):
        return None if self.truth is None else float((field - self.truth)[self.mask].std())

    def taken(self, field, shrink):
        """The voxels that are left of a field by shrinking."""
        slices = []
        for size in self.shape:
            count = max(1, size // shrink)
            first = (size - (count - 1) * shrink) // 2
            slices.append(slice(first, first + (count - 1) * shrink + 1, shrink))
        return field[tuple(slices)]


def load(table, names, folder, phantom):
    cases = {}
    with open(table, newline="") as file:
        rows = [row for row in csv.DictReader(file) if names is None or row["case"] in names]
    for row in rows:
        images = {s: read(table.parent / row[s]) for s in SEQUENCES}
        arrays = {s: sitk.GetArrayFromImage(images[s]) for s in SEQUENCES}
        brain = np.any([a != 0 for a in arrays.values()], axis=0)
        tumour = sitk.GetArrayFromImage(read(table.parent / row["seg"])) > 0
        truth = dict.fromkeys(SEQUENCES)
        if phantom:
            stem = str(table.parent / row["t1"]).removesuffix("_t1.nii.gz")
            white = sitk.GetArrayFromImage(read(stem + "_white.nii.gz")) > 0
            for s in SEQUENCES:
                file_name = pathlib.Path(row[s]).name.removesuffix(".nii.gz") + "_log-field.nii.gz"
                truth[s] = sitk.GetArrayFromImage(read((table.parent / row[s]).parent / file_name))
        else:
            white = white_matter_of(arrays["t1"], brain, tumour)
        for s in SEQUENCES:
            name = f"{row['case']}-{s}"
            cases[name] = Case(name, folder, images[s], brain, white, truth[s])
        cases[row["case"]] = [cases[f"{row['case']}-{s}"] for s in SEQUENCES]
    return cases


class Runner:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.environment = dict(os.environ, ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=str(options.threads), OMP_NUM_THREADS=str(options.threads))

    def run(self, tool, case, shrink, iterations=50, threshold=0.001, repeats=3):
        """Report, log field on the whole grid, log field on the shrunken grid where the tool gives it."""
        output = os.path.join(self.folder, "field.nii")
        if tool == "module":
            command = [self.options.program, "correct", *case.files, shrink, self.options.threads, iterations, threshold, repeats, output]
        else:
            command = [sys.executable, __file__, "--worker", tool, *case.files, shrink, iterations, threshold, output]
        done = subprocess.run([str(part) for part in command], env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{tool} failed on {case.name}: {done.stderr.strip().splitlines()[-1:]}")
        report = json.loads(done.stdout.strip().splitlines()[-1])
        field = sitk.GetArrayFromImage(sitk.ReadImage(output))
        small = case.taken(field, shrink) if tool == "module" else None
        if tool == "simpleitk":
            small = sitk.GetArrayFromImage(sitk.ReadImage(output.replace(".nii", "-small.nii")))
        report.update(tool=tool, case=case.name, shrink=shrink, threshold=threshold, level_iterations=iterations)
        print(json.dumps(report), file=sys.stderr, flush=True)
        return report, field, small


def agreement(runner, case, shrink, iterations):
    """Largest differences on the shrunken grid after 4 x `iterations`: module and SimpleITK, and each to double precision."""
    our_report, _, ours = runner.run("module", case, shrink, iterations, 0)
    their_report, _, theirs = runner.run("simpleitk", case, shrink, iterations, 0)
    mask = case.taken(case.mask, shrink)
    double = fit_in_double(case.taken(case.image, shrink), mask, iterations)
    largest = lambda a, b: float(np.abs(a - b)[mask].max())
    return {
        "case": case.name,
        "shrink": shrink,
        "level_iterations": iterations,
        "voxels": int(mask.sum()),
        "module_simpleitk": largest(ours, theirs),
        "module_double": largest(ours, double),
        "simpleitk_double": largest(theirs, double),
        "module_seconds": our_report["fit_seconds"],
        "simpleitk_seconds": their_report["fit_seconds"],
    }


def table(head, rows):
    text = [head, ["---"] * len(head)] + rows
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in text)


def number(value, digits=3):
    return "-" if value is None else f"{value:.{digits}g}"


def measure(options, folder, results, save):
    runner = Runner(options, folder)
    cases = load(options.phantoms, None, folder, True)
    cases.update(load(options.cohort, options.cases, folder, False))
    begin = time.monotonic()

    def step(name, function, *arguments):
        if time.monotonic() - begin > 60 * options.minutes:
            results["left_out"].append(name)
        else:
            start = time.monotonic()
            function(*arguments)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        save()

    # Speed, memory, agreement, and the other tools' quality
    def speed(shrink, case):
        iterations = options.whole_grid_iterations if shrink == 1 else options.agreement_iterations
        results["agreements"].append(agreement(runner, case, shrink, iterations))
        save()
        fields, reports = {}, []
        for tool in ("module", "simpleitk", "ants"):
            if tool == "ants" and shrink in options.without_ants:
                continue
            report, field, _ = runner.run(tool, case, shrink)
            report.update(error=case.error(field), cv=case.variation(field), cv_before=case.variation())
            fields[tool] = (field - field[case.mask].mean())[case.mask]
            if "simpleitk" in fields:
                for known in reports + [report]:
                    known["from_simpleitk"] = float((fields[known["tool"]] - fields["simpleitk"]).std())
            reports.append(report)
            results["speed"].append(report)
            save()

    # The module's quality by shrink factor
    def quality(name, case):
        none = np.zeros(case.shape, np.float32)
        rows = [{"case": name, "shrink": 0, "error": case.error(none), "cv": case.variation(), "fit_seconds": 0.0, "seconds": 0.0}]
        for shrink in options.quality:
            report, field, _ = runner.run("module", case, shrink, repeats=1)
            rows.append({**report, "error": case.error(field), "cv": case.variation(field)})
        results["quality"] += rows

    # The four sequences of a patient
    def patient(shrink):
        four = cases[options.patient]
        command = [
            options.program,
            "patient",
            *(case.files[0] for case in four),
            four[0].files[1],
            shrink,
            options.threads,
            3 if shrink > 1 else 1,
        ]
        done = subprocess.run([str(part) for part in command], env=runner.environment, capture_output=True, text=True, check=True)
        results["patient"].append({"case": options.patient, "shrink": shrink, **json.loads(done.stdout)})

    # What takes longest comes last.
    wanted = sorted(((int(entry.split(":")[0]), entry.split(":")[1]) for entry in options.speed), key=lambda x: -x[0])
    unknown = [name for name in [name for _, name in wanted] + [options.patient] if name not in cases]
    if unknown:
        raise SystemExit(f"No such case: {' '.join(unknown)}. There are {' '.join(cases)}.")
    for shrink, name in wanted:
        if shrink > 2:
            step(f"shrink {shrink}, {name}", speed, shrink, cases[name])
    for shrink in (4, 2, 1):
        step(f"four sequences, shrink {shrink}", patient, shrink)
    for name, case in cases.items():
        if isinstance(case, Case):
            step(f"quality, {name}", quality, name, case)
    for shrink, name in wanted:
        if shrink <= 2:
            step(f"shrink {shrink}, {name}", speed, shrink, cases[name])


def tables(results):
    """All tables as Markdown."""
    text = [
        f"{results['threads']} threads of {results['processor']}, SimpleITK {results['simpleitk']}, antspyx {results['antspyx']}; "
        f"load before: {results['load_before']:.1f}"
    ]
    agreed = {(a["case"], a["shrink"]): a["module_simpleitk"] <= (5e-4 if a["shrink"] == 1 else 1e-4) for a in results["agreements"]}
    rows = []
    for r in results["speed"]:
        base = next((x for x in results["speed"] if (x["case"], x["shrink"], x["tool"]) == (r["case"], r["shrink"], "simpleitk")), None)
        counts = base is not None and (agreed[r["case"], r["shrink"]] or r["tool"] != "module")
        row = [r["shrink"], r["case"], r["tool"]]
        for key in ("fit_seconds", "seconds"):
            row += [number(r[key]), "-" if r[key] is None or not counts else f"{base[key] / r[key]:.3g}"]
        row += [f"{r['peak_mib']:.0f}", f"{r['peak_mib'] - r['loaded_mib']:.0f}", number(r["error"])]
        rows.append(row + [f"{100 * r['cv_before']:.2f}", f"{100 * r['cv']:.2f}", number(r.get("from_simpleitk"))])
    head = ["shrink", "image", "tool", "fit s", "times faster", "all s", "times faster", "peak MiB", "above loaded", "error"]
    text.append(table(head + ["CV % before", "after", "from SimpleITK's"], rows))

    rows = [
        [a["shrink"], a["case"], a["voxels"], f"4 x {a['level_iterations']}"]
        + [f"{a[key]:.1e}" for key in ("module_simpleitk", "module_double", "simpleitk_double")]
        + [number(a["module_seconds"]), number(a["simpleitk_seconds"]), f"{a['simpleitk_seconds'] / a['module_seconds']:.3g}"]
        for a in results["agreements"]
    ]
    head = ["shrink", "image", "voxels", "iterations", "module - SimpleITK", "module - double", "SimpleITK - double"]
    text.append(table(head + ["fit s, module", "SimpleITK", "times faster"], rows))

    rows = []
    kinds = [[q for q in results["quality"] if (q["error"] is not None) == phantom] for phantom in (True, False)]
    for shrink in sorted({q["shrink"] for q in results["quality"]}, key=lambda n: (n > 0, -n)):
        row = ["no correction" if shrink == 0 else shrink]
        for group in filter(None, kinds):
            group = [q for q in group if q["shrink"] == shrink]
            if group[0]["error"] is not None:
                row += [f"{np.mean([q['error'] for q in group]):.4f}"]
            row += [f"{100 * np.mean([q['cv'] for q in group]):.2f}"]
        rows.append(
            row + [number(np.median([q[key] for q in results["quality"] if q["shrink"] == shrink])) for key in ("fit_seconds", "seconds")]
        )
    head = ["shrink"]
    for group, kind in zip(kinds, ("phantoms", "real")):
        images = len({q["case"] for q in group})
        head += [f"error, {images} images of {kind}"] if images and kind == "phantoms" else []
        head += [f"CV %, {images} images of {kind}"] if images else []
    if rows:
        text.append(table(head + ["fit s, median", "all s, median"], rows))
    rows = [[p["case"], p["shrink"], number(p["one_by_one_seconds"]), number(p["batch_seconds"])] for p in results["patient"]]
    if rows:
        text.append(table(["patient", "shrink", "four sequences one after the other, s", "as a batch, s"], rows))
    if results["left_out"]:
        text.append("Left out for lack of time: " + "; ".join(results["left_out"]) + ".")
    return "\n\n".join(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, help="build folder with bin/BenchmarkN4 and bin/glioma")
    parser.add_argument("--results", type=pathlib.Path, required=True, help="folder for phantoms, n4.json and n4.md")
    parser.add_argument("--phantoms", type=pathlib.Path, help="COHORT.csv of glioma synthesize --truth (default: four cases of seed 11)")
    parser.add_argument("--cohort", type=pathlib.Path, help="COHORT.csv of real cases with tumour masks")
    parser.add_argument("--cases", nargs="*", default=["BraTS2021_00014", "BraTS2021_01480"], help="real cases (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--speed",
        nargs="*",
        default=[
            "4:phantom-11-0001-t1",
            "4:phantom-11-0003-flair",
            "4:BraTS2021_00014-t2",
            "4:BraTS2021_01480-t1",
            "2:phantom-11-0001-t1",
            "2:BraTS2021_01480-t1",
            "1:BraTS2021_01480-t1",
        ],
        metavar="SHRINK:CASE-SEQUENCE",
        help="what all tools run on (default: %(default)s)",
    )
    parser.add_argument(
        "--without-ants", nargs="*", type=int, default=[], metavar="SHRINK", help="shrink factors at which ANTs is left out"
    )
    parser.add_argument("--agreement-iterations", type=int, default=20, help="iterations a level where the threshold is 0")
    parser.add_argument("--whole-grid-iterations", type=int, default=5, help="the same at shrink 1")
    parser.add_argument(
        "--quality", nargs="*", type=int, default=[4, 2, 1], metavar="SHRINK", help="what the module runs with on every image"
    )
    parser.add_argument("--patient", metavar="CASE", default="BraTS2021_01480", help="case whose four sequences are timed as a batch")
    parser.add_argument("--minutes", type=float, default=18, help="no step begins after so many minutes (default: %(default)s)")
    parser.add_argument("--tables", action="store_true", help="measure nothing, print the tables of n4.json")
    options = parser.parse_args()
    record = options.results / "n4.json"
    if options.tables:
        print(tables(json.loads(record.read_text())))
        return
    if not options.build or not options.cohort:
        parser.error("--build and --cohort are needed")
    options.program = options.build / "bin" / "BenchmarkN4"
    options.results.mkdir(parents=True, exist_ok=True)
    if not options.phantoms:
        options.phantoms = options.results / "phantoms" / "COHORT.csv"
    if not options.phantoms.exists():
        command = [
            options.build / "bin" / "glioma",
            "synthesize",
            "--truth",
            "--cases",
            "4",
            "--seed",
            "11",
            "--output",
            options.phantoms.parent,
        ]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    with open("/proc/cpuinfo") as file:
        processor = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    results = {
        "threads": options.threads,
        "processor": f"{os.cpu_count()} ({processor})",
        "simpleitk": sitk.Version.VersionString(),
        "antspyx": importlib.metadata.version("antspyx"),
        "load_before": os.getloadavg()[0],
        "agreements": [],
        "speed": [],
        "quality": [],
        "patient": [],
        "left_out": [],
    }

    def save():
        record.write_text(json.dumps(results, indent=1))
        (options.results / "n4.md").write_text(tables(results) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        measure(options, folder, results, save)
    print(tables(results))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2:])
    else:
        main()
