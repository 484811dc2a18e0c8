# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Compares MaskedStandardizeFilter and BoundingBoxROIFilter with SimpleITK, NumPy/SciPy, torch and MONAI, in one run.

    python compare_standardize_region.py PROGRAM [--threads N] [--repeats N] [--sides 256,512,1024] [--folder DIR]

PROGRAM is the built BenchmarkStandardizeRegion. Needs SimpleITK, SciPy, torch and monai. The image is a phantom of
240x240x155 voxels and four sequences whose mean is about 1e4 times their deviation in the last of them. Prints the
tables of README.md. MONAI's NormalizeIntensity takes no mask: it is given the voxels that are not 0, which here are
those of the brain. Regions that MONAI's transforms give are not the paper's cube; torch's grid_sample is what they
end in.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

import numpy as np
import scipy.ndimage
import SimpleITK as sitk
import torch
from monai.transforms import NormalizeIntensity

SHAPE = (155, 240, 240)
OUTPUT_SIZE = 96
MARGIN = 10


def make_phantom():
    random = np.random.default_rng(5)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE), indexing="ij")
    brain = x**2 / 0.55**2 + y**2 / 0.7**2 + z**2 / 0.8**2 < 1
    tumour = (x - 0.2) ** 2 / 0.2**2 + (y + 0.1) ** 2 / 0.3**2 + (z - 0.1) ** 2 / 0.3**2 < 1
    noise = random.standard_normal(SHAPE + (4,), dtype=np.float32)
    mean = np.array([300, 500, 800, 1e6], np.float32)
    deviation = np.array([40, 80, 150, 100], np.float32)
    image = np.where(brain[..., None], mean + deviation * (noise + tumour[..., None]), 0).astype(np.float32)
    return image, brain.astype(np.uint8), (tumour & brain).astype(np.uint8)


def median(repeats, function):
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[repeats // 2], result


def standardize_numpy(image, mask):
    inside = mask != 0
    output = np.zeros_like(image)
    for c in range(image.shape[3]):
        values = image[..., c][inside].astype(np.float64)
        output[..., c][inside] = (values - values.mean()) / values.std()
    return output


def standardize_simpleitk(sequences, mask):
    outputs = []
    for sequence in sequences:
        statistics = sitk.LabelStatisticsImageFilter()
        statistics.Execute(sequence, mask)
        count = statistics.GetCount(1)
        deviation = statistics.GetSigma(1) * ((count - 1) / count) ** 0.5
        outputs.append(sitk.Mask((sequence - statistics.GetMean(1)) / deviation, mask))
    return outputs


def standardize_torch(image, mask):
    output = torch.zeros_like(image)
    for c in range(image.shape[0]):
        values = image[c][mask]
        output[c][mask] = (values - values.mean()) / values.std(unbiased=False)
    return output


def standardize_monai(image):
    return NormalizeIntensity(nonzero=True, channel_wise=True)(image.clone()).as_tensor()


def box_of(mask):
    labels, count = scipy.ndimage.label(mask, np.ones((3, 3, 3)))
    voxels = np.bincount(labels.ravel())[1:]
    boxes = scipy.ndimage.find_objects(labels)
    kept = [boxes[k] for k in range(count) if voxels[k] >= 0.05 * voxels.max()]
    lower = [min(box[d].start for box in kept) for d in range(3)]
    upper = [max(box[d].stop for box in kept) for d in range(3)]
    return np.array(lower), np.array(upper)


def cube_of(lower, upper):
    side = float((upper - lower).max() + 2 * MARGIN)
    first = 0.5 * (lower + upper - 1) - 0.5 * side * (1 - 1 / OUTPUT_SIZE)
    return first, side / OUTPUT_SIZE


def region_scipy(image, mask):
    first, step = cube_of(*box_of(mask))
    coordinates = np.meshgrid(*(first[d] + step * np.arange(OUTPUT_SIZE) for d in range(3)), indexing="ij")
    return np.stack([scipy.ndimage.map_coordinates(image[..., c], coordinates, order=1) for c in range(image.shape[3])], -1)


def region_torch(image, mask):
    first, step = cube_of(*box_of(mask))
    scale = [2 * step / (n - 1) for n in SHAPE]
    axes = [torch.arange(OUTPUT_SIZE) * scale[d] + (2 * first[d] / (SHAPE[d] - 1) - 1) for d in range(3)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([x, y, z], -1).float()[None]
    return torch.nn.functional.grid_sample(image[None], grid, mode="bilinear", align_corners=True)[0]


def region_simpleitk(image, mask):
    components = sitk.ConnectedComponent(mask, True)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(components)
    largest = max(shape.GetNumberOfPixels(k) for k in shape.GetLabels())
    boxes = [np.array(shape.GetBoundingBox(k)) for k in shape.GetLabels() if shape.GetNumberOfPixels(k) >= 0.05 * largest]
    lower = np.min([box[:3] for box in boxes], 0)
    upper = np.max([box[:3] + box[3:] for box in boxes], 0)
    first, step = cube_of(lower, upper)
    resample = sitk.ResampleImageFilter()
    resample.SetSize([OUTPUT_SIZE] * 3)
    resample.SetOutputOrigin([float(v) for v in first])
    resample.SetOutputSpacing([step] * 3)
    return resample.Execute(image)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sides", default="256,512,1024")
    parser.add_argument("--folder")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(arguments.threads)

    image, brain, tumour = make_phantom()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:

        def run(*options):
            lines = subprocess.run([arguments.program, *options], check=True, capture_output=True, text=True).stdout
            return json.loads(lines)

        files = [os.path.join(folder, name + ".mha") for name in ("image", "brain", "tumour")]
        vector = sitk.GetImageFromArray(image, isVector=True)
        masks = [sitk.GetImageFromArray(brain), sitk.GetImageFromArray(tumour)]
        for file, each in zip(files, [vector] + masks):
            sitk.WriteImage(each, file)
        ours = run("time", *files, folder, str(arguments.threads), str(arguments.repeats))
        standardized = sitk.GetArrayFromImage(sitk.ReadImage(os.path.join(folder, "standardized.mha")))
        region = sitk.GetArrayFromImage(sitk.ReadImage(os.path.join(folder, "region.mha")))

        sequences = [sitk.VectorIndexSelectionCast(vector, c) for c in range(4)]
        planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, 3, 0)))
        inside = torch.from_numpy(brain != 0)
        inside_array = brain != 0
        truth = None
        rows = [("MaskedStandardizeFilter", ours["standardize"], standardized)]
        for name, function in (
            ("NumPy, double", lambda: standardize_numpy(image, brain)),
            ("SimpleITK", lambda: standardize_simpleitk(sequences, masks[0])),
            ("torch, float32", lambda: standardize_torch(planes, inside)),
            ("MONAI NormalizeIntensity", lambda: standardize_monai(planes)),
        ):
            seconds, result = median(arguments.repeats, function)
            if name == "SimpleITK":
                result = np.stack([sitk.GetArrayFromImage(each) for each in result], -1)
            elif name.startswith(("torch", "MONAI")):
                result = np.moveaxis(result.numpy(), 0, 3)
            else:
                # NumPy's double result, before it is rounded to float32
                values = image[inside_array].astype(np.float64)
                truth = (values - values.mean(0)) / values.std(0)
            rows.append((name, seconds, result))
        print("| standardization in the brain mask | seconds | times | error, mean 300 to 800 | mean 1e4 deviations |")
        print("|---|---|---|---|---|")
        for name, seconds, result in rows:
            error = np.abs(result[inside_array] - truth) / np.maximum(1, np.abs(truth))
            print(f"| {name} | {seconds:.3f} | {seconds / rows[0][1]:.1f} | " f"{error[:, :3].max():.1e} | {error[:, 3].max():.1e} |")
        print(f"\nof ours the statistics take {ours['statistics']:.3f} s\n")

        rows = [("BoundingBoxROIFilter", ours["region"], region)]
        for name, function in (
            ("SimpleITK", lambda: region_simpleitk(vector, masks[1])),
            ("SciPy", lambda: region_scipy(image, tumour)),
            ("SciPy's box, torch's grid_sample", lambda: region_torch(planes, tumour)),
        ):
            seconds, result = median(arguments.repeats, function)
            if name == "SimpleITK":
                result = sitk.GetArrayFromImage(result)
            elif "torch" in name:
                result = np.moveaxis(result.numpy(), 0, 3)
            rows.append((name, seconds, result))
        print("| region of 96^3 around the tumour | seconds | times | largest difference, of the range |")
        print("|---|---|---|---|")
        spread = image.reshape(-1, 4).max(0)
        for name, seconds, result in rows:
            difference = (np.abs(result - region).reshape(-1, 4).max(0) / spread).max()
            print(f"| {name} | {seconds:.3f} | {seconds / rows[0][1]:.1f} | {difference:.1e} |")
        print(f"\nof ours the box takes {ours['box']:.3f} s\n")

        print("| streamed standardization, float voxels | image, MB | peak memory, MB | seconds |")
        print("|---|---|---|---|")
        for side in (int(each) for each in arguments.sides.split(",") if each):
            file = os.path.join(folder, "streamed.mha")
            result = run("memory", str(side), file, str(arguments.threads))
            assert os.path.getsize(file) > 4 * side**3
            os.remove(file)
            print(
                f"| {side}x{side}x{side} | {result['image_megabytes']:.0f} | {result['peak_megabytes']:.0f} | " f"{result['seconds']:.1f} |"
            )


if __name__ == "__main__":
    main()
