# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Opens report.html of `glioma grade` in a headless Chromium: quiet, offline, switchable, readable, safe.

usage: test_report_page.py GLIOMA [unittest options]
CHROMIUM names the browser where it is not on the PATH.
"""
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

try:
    import numpy as np
    import SimpleITK as sitk
except ImportError as error:
    print(f"SKIPPED: {error}; pip install -r test/requirements.txt")
    sys.exit(77)

from headless_browser import Browser, find_chromium

if find_chromium() is None:
    print("SKIPPED: no Chromium was found; apt-get install chromium, or set CHROMIUM")
    sys.exit(77)

GLIOMA = os.path.abspath(sys.argv[1])
VIEWER = os.path.join(os.path.dirname(os.path.dirname(GLIOMA)), "share", "GliomaGrading", "report", "niivue.umd.js")
MODELS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "examples", "glioma", "models")
SUFFIXES = {"t1": "_t1", "t1c": "_t1ce", "t2": "_t2", "flair": "_flair"}
NASTY = "</script><img src=x onerror=window.pwned=1>"
NASTY_NAME = "<img src=x onerror=window.pwned=1>\"'&amp;"
OUTLINE = (60, 255, 120)
MEGABYTE = 1000 * 1000

# Contrast of every text with what is behind it (WCAG 2), by relative luminance.
CONTRAST = """(() => {
  const parse = (c) => { const n = c.match(/[\\d.]+/g).map(Number); return { rgb: n.slice(0, 3), a: n.length > 3 ? n[3] : 1 }; };
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const bad = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || ['SCRIPT', 'STYLE'].includes(element.tagName) || !element.checkVisibility()) continue;
    let behind = element;
    while (behind && parse(getComputedStyle(behind).backgroundColor).a < 1) behind = behind.parentElement;
    const a = light(parse(getComputedStyle(element).color).rgb);
    const b = light(behind ? parse(getComputedStyle(behind).backgroundColor).rgb : [255, 255, 255]);
    ++seen;
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push([node.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return [seen, bad];
})()"""


def pixels(png):
    """Rows of red, green, blue."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(png)
        file.flush()
        return sitk.GetArrayFromImage(sitk.ReadImage(file.name))[..., :3].astype(int)


def place_of_outline(picture):
    """Where the tumour's outline lies in the brain's box: across and down, 0 to 1."""
    green = np.abs(picture - OUTLINE).max(axis=2) < 40
    # The letters at the edges are less than a hundredth of what is not black.
    rows, columns = (np.percentile(places, [1, 99]) for places in np.nonzero(picture.max(axis=2) > 25))
    down, across = np.nonzero(green)
    assert len(down) > 20, "no outline is drawn"
    centre = np.array([(across.min() + across.max()) / 2, (down.min() + down.max()) / 2])
    return (centre - (columns[0], rows[0])) / (columns[1] - columns[0], rows[1] - rows[0])


class ReportPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        phantom = os.path.join(cls.folder, "phantom")
        subprocess.run(
            [GLIOMA, "synthesize", "--cases", "1", "--seed", "7", "--spacing", "3", "--output", phantom],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        case = next(entry.path for entry in os.scandir(phantom) if entry.is_dir())
        stem = os.path.join(case, os.path.basename(case))
        cls.case = {name: f"{stem}{suffix}.nii.gz" for name, suffix in SUFFIXES.items()}
        cls.seg = f"{stem}_seg.nii.gz"
        cls.page = cls.grade("plain", cls.case, cls.seg)
        cls.browser = Browser(find_chromium())
        cls.addClassCleanup(cls.browser.close)
        cls.has_viewer = os.path.exists(VIEWER)

    @classmethod
    def grade(cls, name, case, seg, *more):
        output = os.path.join(cls.folder, name)
        command = [GLIOMA, "grade", "--output", output, "--tumour-mask", seg, *more]
        for sequence, path in case.items():
            command += [f"--{sequence}", path]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return os.path.join(output, "report.html")

    def need_viewer(self):
        if not self.has_viewer:
            self.skipTest("glioma was built without the viewer's library (GliomaGrading_REPORT_VIEWER)")

    def show(self, page=None, width=1280, height=1000, scheme="light", medium="", browser=None, script=True):
        browser = browser or self.browser
        browser.size(width, height, mobile=width < 600)
        browser.media(scheme, medium)
        browser.open(page or self.page, script)
        if self.has_viewer and script:
            browser.wait("document.documentElement.dataset.viewer")
        return browser

    def canvas(self):
        """The canvas once it stands still."""
        before = None
        until = time.monotonic() + 240
        while time.monotonic() < until:
            self.browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 60))))")
            now = self.browser.picture("#canvas")
            if now == before:
                return pixels(now)
            before = now
        self.fail("the picture does not come to rest")

    def control(self, selector, value=None):
        """A click, or another value of a slider."""
        change = ".click()" if value is None else f".value = {json.dumps(str(value))}, e.dispatchEvent(new Event('input'))"
        self.browser.evaluate(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e{change}; }})()")

    def slices(self):
        """The static slices by group: caption and picture."""
        groups = self.browser.evaluate(
            "[...document.querySelectorAll('#slices-title ~ details')].map((d) => [d.querySelector('summary').innerText.trim(),"
            " [...d.querySelectorAll('figure')].map((f) => [f.querySelector('figcaption').textContent, f.querySelector('img').src])])"
        )
        return {title: {caption: pixels(base64.b64decode(data.split(",")[1])) for caption, data in figures} for title, figures in groups}

    # What it shows

    def test_loads_quietly_and_says_what_it_must(self):
        browser = self.show()
        self.assertEqual(browser.complaints(), [])
        self.assertEqual(browser.requests(), [])
        if self.has_viewer:
            self.assertEqual(browser.evaluate("document.documentElement.dataset.viewer"), "ready")
            self.assertFalse(browser.evaluate("document.getElementById('viewer-message').checkVisibility()"))
        text = browser.evaluate("document.body.innerText")
        with open(os.path.join(os.path.dirname(self.page), "result.json"), encoding="utf-8") as file:
            result = json.load(file)
        with open(os.path.join(MODELS, "grading", "configs", "metadata.json"), encoding="utf-8") as file:
            trained = json.load(file)["gliomagrading"]["training"]["data"]
        self.assertRegex(trained, "trained on .*twelve patients, not validated")
        for part in (
            f"Grade {result['grade']}",
            "Research use only.",
            "not a clinical acceptance",
            trained,
            "does not tell the classes apart",
            "patient's right (R) is on the left",
            "Energy inside the tumour",
            *result["reasons"],
        ):
            self.assertIn(part, text)
        # Cells of res3 are 4 voxels of the region, those of res4 8.
        for step in (4, 8):
            self.assertIn(f"cells of {step * result['roi']['spacing_mm'][0]:.1f} mm", text)
        self.assertIn(result["provenance"]["models"]["grading"]["sha256"], text)
        self.assertIn("report.html", result["outputs"])
        self.assertLess(os.path.getsize(self.page), 15 * MEGABYTE)

    def test_two_runs_differ_in_times_alone(self):
        pages = []
        for name in ("plain", "again"):
            path = self.page if name == "plain" else self.grade("again", self.case, self.seg)
            with open(path, encoding="utf-8") as file:
                pages.append(re.sub(r">\d+\.\d s<|seconds: [\d.e-]+<", "<", file.read()).splitlines())
        # Lines are long: the first that differs says enough.
        self.assertEqual(len(pages[0]), len(pages[1]))
        for first, second in zip(*pages):
            at = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second)))
            self.assertTrue(first == second, f"{first[max(0, at - 80) : at + 80]} is {second[max(0, at - 80) : at + 80]} in the second run")

    def test_switching_changes_the_picture(self):
        self.need_viewer()
        # A small window: the processor draws the 3-D view.
        self.show(width=640, height=560)
        before = self.canvas()
        self.assertGreater((before.max(axis=2) > 25).mean(), 0.1)

        def changes(selector, value=None, least=100):
            nonlocal before
            self.control(selector, value)
            now = self.canvas()
            self.assertEqual(now.shape, before.shape)
            self.assertGreater((np.abs(now - before).max(axis=2) > 8).sum(), least, f"{selector} {value or ''} changes nothing")
            before = now

        names = self.browser.evaluate("[...document.querySelectorAll('.overlay')].map((o) => o.querySelector('label').textContent)")
        with open(os.path.join(os.path.dirname(self.page), "result.json"), encoding="utf-8") as file:
            layers = json.load(file)["explanation"]["gradcam"]
        # A map without a positive cell is no overlay.
        layers = [f"GradCAM {layer}" for layer, found in layers.items() if found["has_positive_cell"]]
        self.assertGreater(len(layers), 0, "no layer has a map: take another seed")
        self.assertEqual(names, ["Tumour outline", *layers, "Guided backpropagation"])
        # All off, then one by one: what an overlay changes is its own.
        self.browser.evaluate("document.querySelectorAll('.overlay input:checked').forEach((b) => b.click())")
        before = plain = self.canvas()
        for number in range(1, len(names) + 1):
            box = f".overlay:nth-of-type({number}) input[type=checkbox]"
            changes(box)
            changes(f".overlay:nth-of-type({number}) .slider input", 30, least=25)
            if number > 1:
                changes(f".overlay:nth-of-type({number}) .slider:last-child input", 0, least=25)
            self.control(box)
            before = self.canvas()
            self.assertLess((np.abs(before - plain).max(axis=2) > 8).sum(), 20, f"{names[number - 1]} leaves something behind")
        for number in (1, 3, 4):
            changes(f"#sequence-choice label:nth-child({number}) input")
        changes("#cut")
        for number in (2, 3, 4, 5, 1):
            changes(f"#view-choice label:nth-child({number}) input")
        self.assertEqual(self.browser.complaints(), [])

    def map_on_axial(self):
        """The map that fills the most of the axial slice, alone above the outline and without the cross-hair: its place in the list."""
        self.show(width=900, height=900)
        self.control("#view-choice label:nth-child(2) input")
        self.control("#sequence-choice label:nth-child(1) input")
        self.control("#cross")
        self.browser.evaluate("document.querySelectorAll('.overlay input:checked').forEach((b, i) => i && b.click())")
        filled = {}
        for number in range(2, 1 + self.browser.evaluate("document.querySelectorAll('.overlay').length")):
            box = f".overlay:nth-of-type({number})"
            self.control(f"{box} input")
            self.control(f"{box} .slider input", 100)
            picture = self.canvas()
            filled[box] = int((picture.max(axis=2) - picture.min(axis=2) > 60).sum())
            self.control(f"{box} input")
        box = max(filled, key=filled.get)
        self.control(f"{box} input")
        return box

    @staticmethod
    def spread(places, dots, how=np.any):
        for axis in (0, 1):
            places = how([np.roll(places, step, axis) for step in range(-dots, dots + 1)], axis=0)
        return places

    def test_only_the_tumour_has_a_green_outline(self):
        self.need_viewer()
        box = self.map_on_axial()
        green = lambda picture: picture[..., 1] - np.maximum(picture[..., 0], picture[..., 2])
        for threshold in (20, 50):
            self.control(f"{box} .slider:last-child input", threshold)
            picture = self.canvas()
            self.control(f"{box} input")
            without = self.canvas()
            self.control(f"{box} input")
            self.assertGreater((np.abs(picture - without).max(axis=2) > 40).sum(), 500, "no map is drawn")
            far = ~self.spread(np.abs(without - OUTLINE).max(axis=2) < 90, 6)
            self.assertGreater((green(picture) > 60).sum(), 100, "no outline is drawn")
            # Green is no colour of a map.
            self.assertLess(((green(picture) > np.maximum(green(without), 0) + 8) & far).sum(), 5, f"above {threshold} %")

    def test_a_value_has_one_colour(self):
        self.need_viewer()
        box = self.map_on_axial()
        self.control(".overlay:nth-of-type(1) input")
        self.control(f"{box} .slider:last-child input", 0)
        every = self.canvas()
        self.control(f"{box} input")
        without = self.canvas()
        self.control(f"{box} input")
        shown = []
        for threshold in (10, 30, 50):
            self.control(f"{box} .slider:last-child input", threshold)
            picture = self.canvas()
            # Not at the rim, where the viewer mixes it with nothing.
            drawn = self.spread(np.abs(picture - without).max(axis=2) > 30, 6, np.all)
            shown.append(int(drawn.sum()))
            self.assertGreater(shown[-1], 50)
            self.assertGreater((np.abs(picture - every).max(axis=2)[drawn] < 16).mean(), 0.85, f"above {threshold} %")
        self.assertLess(shown[-1], shown[0])
        # The range beside the ramp is that of the slices.
        scales = self.browser.evaluate(
            "['.overlay', '#slices-title ~ details'].map((s) => Object.fromEntries([...document.querySelectorAll(s)].filter((e) => "
            "e.querySelector('.scale')).map((e) => [e.querySelector('label, h3').textContent, e.querySelector('.scale').textContent.trim()])))"
        )
        self.assertGreater(len(scales[0]), 1)
        for name, scale in scales[0].items():
            self.assertEqual(scale, scales[1][name])

    def test_names_of_the_controls_begin_with_what_is_seen(self):
        self.need_viewer()
        self.show()
        controls = self.browser.evaluate(
            "[...document.querySelectorAll('label.slider')].map((l) => [l.querySelector('span').textContent,"
            " l.querySelector('input').ariaLabel, l.querySelector('output').textContent])"
        )
        self.assertGreater(len(controls), 5)
        for seen, name, value in controls:
            self.assertTrue(name is None or name.startswith(seen), (seen, name))
            self.assertRegex(value, r"^−?\d+ (%|mm)$")

    def test_viewer_slices_and_overview_agree_on_sides(self):
        # The same voxels in another order: nothing may hang on how a file stores them.
        turned = {}
        for name, path in {**self.case, "seg": self.seg}.items():
            turned[name] = os.path.join(self.folder, f"turned{SUFFIXES.get(name, '_seg')}.nii.gz")
            sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(path), "RSA"), turned[name])
        seg = turned.pop("seg")
        places = []
        for page in (self.page, self.grade("turned", turned, seg)):
            self.show(page, width=640, height=560)
            slices = self.slices()
            overview = sitk.GetArrayFromImage(sitk.ReadImage(os.path.join(os.path.dirname(page), "overview.png")))
            cell = slices["Sequences"]["T1, axial"]
            rows = range(overview.shape[0] - cell.shape[0])
            self.assertTrue(
                any(np.array_equal(overview[y : y + cell.shape[0], 8 : 8 + cell.shape[1]], cell) for y in rows),
                "overview.png has another slice",
            )
            if not self.has_viewer:
                continue
            self.browser.evaluate("document.querySelectorAll('.overlay input:checked').forEach((b, i) => i && b.click())")
            self.control("#cross")
            for number, plane in ((2, "axial"), (3, "coronal"), (4, "sagittal")):
                self.control(f"#view-choice label:nth-child({number}) input")
                np.testing.assert_allclose(
                    place_of_outline(self.canvas()), place_of_outline(slices["Sequences"][f"T1c, {plane}"]), atol=0.06, err_msg=plane
                )
                places.append(place_of_outline(slices["Sequences"][f"T1c, {plane}"]))
        if self.has_viewer:
            np.testing.assert_allclose(places[:3], places[3:], atol=0.02)
        # The truth: on which side of the brain's middle the tumour lies. Across grows to the patient's left.
        seg = sitk.DICOMOrient(sitk.ReadImage(self.seg), "LPS")
        brain = np.nonzero(sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(self.case["t1"]), "LPS")))[2]
        left = (np.nonzero(sitk.GetArrayFromImage(seg))[2].mean() - brain.min()) / (brain.max() - brain.min())
        self.assertGreater(abs(left - 0.5), 0.08, "the tumour lies in the middle: take another seed")
        across = place_of_outline(self.slices()["Sequences"]["T1c, axial"])[0]
        self.assertEqual(left > 0.5, across > 0.5)

    def read_out(self, moves):
        """What the read-out says after each of these moves, lists of an axis and a slider's value."""
        script = """(async () => {
          const said = [];
          for (const [axis, value] of MOVES) {
            const input = document.querySelectorAll('#place input')[axis];
            input.value = String(value);
            input.dispatchEvent(new Event('input'));
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            said.push([...document.querySelectorAll('#readout span')].map((line) => line.textContent));
          }
          return said;
        })()"""
        said = self.browser.evaluate(script.replace("MOVES", json.dumps(moves)))
        outs = []
        for place, *values in said:
            place = [float(n) for n in re.findall(r"-?[\d.]+", place.replace("−", "-"))[:3]]
            outs.append((place, {name: float(v.replace("−", "-")) for name, v in (line.split(": ") for line in values)}))
        return outs

    def oblique(self):
        """The case on a grid that is turned by two angles and stored from the side."""
        a, b = np.deg2rad((17, -12))
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        axes = turn @ tilt @ np.array([[0, 0, -1], [1, 0, 0], [0, 1, 0]])
        size, spacing = (80, 72, 56), (3.0, 3.0, 3.2)
        images = {}
        for name, path in {**self.case, "seg": self.seg}.items():
            image = sitk.ReadImage(path)
            centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
            origin = np.array(centre) - axes @ ((np.array(size) - 1) / 2 * spacing)
            interpolator = sitk.sitkNearestNeighbor if name == "seg" else sitk.sitkLinear
            turned = sitk.Resample(image, size, sitk.Transform(), interpolator, origin.tolist(), spacing, axes.ravel().tolist(), 0.0)
            images[name] = os.path.join(self.folder, f"oblique{SUFFIXES.get(name, '_seg')}.nii.gz")
            sitk.WriteImage(turned, images[name])
        return images, images.pop("seg")

    def test_place_and_values_are_those_of_the_files(self):
        self.need_viewer()
        with self.subTest("straight"):
            self.check_places(self.case, self.page)
        with self.subTest("oblique"):
            case, seg = self.oblique()
            self.check_places(case, self.grade("oblique", case, seg))

    def check_places(self, case, page):
        self.show(page, width=640, height=560)
        self.control("#view-choice label:nth-child(2) input")
        self.browser.evaluate("document.querySelectorAll('.overlay input:not(:checked)').forEach((b) => b.click())")
        self.canvas()
        start = self.browser.evaluate("JSON.parse(document.getElementById('viewer-data').textContent).start")
        sliders = self.browser.evaluate("[...document.querySelectorAll('#place input')].map((i) => [Number(i.value), Number(i.max)])")
        moves = [[0, sliders[0][0]]]
        for axis in (2, 1, 0):
            value, largest = sliders[axis]
            moves += [[axis, v] for v in (*range(0, largest + 1, 2), value)]
        outs = self.read_out(moves)
        np.testing.assert_allclose(outs[0][0], np.multiply(start, (-1, -1, 1)), atol=0.06)

        t1c = sitk.ReadImage(case["t1c"])
        read = lambda name: sitk.ReadImage(os.path.join(os.path.dirname(page), f"{name}.nii.gz"))
        maps = {f"GradCAM {layer}": read(f"gradcam-{layer}") for layer in ("res3", "res4")}
        maps["Guided backpropagation"] = sitk.VectorIndexSelectionCast(read("guided-backprop"), 1)
        largest = {name: np.abs(sitk.GetArrayViewFromImage(image)).max() for name, image in maps.items()}
        brightest = sitk.GetArrayViewFromImage(t1c).max()
        seen = outside = zeros = 0
        for place, values in outs:
            index = t1c.TransformPhysicalPointToIndex(place)
            # The middle of a voxel; the read-out has tenths of a mm.
            np.testing.assert_allclose(t1c.TransformIndexToPhysicalPoint(index), place, atol=0.11)
            self.assertEqual("T1c" in values, t1c[index] > 0, place)
            outside += t1c[index] == 0
            # The brightest voxels are cut off.
            if 0 < t1c[index] < 0.5 * brightest:
                seen += 1
                self.assertAlmostEqual(values["T1c"], t1c[index], delta=0.01 * brightest, msg=place)
            for name in set(maps) & set(values):
                zeros += maps[name][index] == 0
                if abs(maps[name][index]) < 0.2 * largest[name]:
                    self.assertAlmostEqual(values[name], maps[name][index], delta=0.01 * largest[name], msg=f"{name} at {place}")
        self.assertGreater(min(seen, outside, zeros), 5)

    def test_cross_hair_is_thin_on_a_coarse_grid(self):
        self.need_viewer()
        self.show(width=640, height=560)
        self.browser.evaluate("document.querySelectorAll('.overlay input:checked').forEach((b) => b.click())")
        self.control("#view-choice label:nth-child(2) input")

        def line():
            """Columns of the cross-hair in the rows above the head."""
            columns = np.nonzero((np.abs(self.canvas() - (89, 191, 255)).max(axis=2) < 60).mean(axis=0) > 0.5)[0]
            self.assertGreater(len(columns), 0, "no cross-hair")
            return columns

        before = line()
        value = self.browser.evaluate("Number(document.querySelector('#place input').value)")
        self.control("#place input", value + 4)
        voxel = abs(line().mean() - before.mean()) / 4  # 3 mm
        self.assertLess(len(before), 0.6 * voxel)

    def test_canvas_stays_in_the_window_beside_many_controls(self):
        self.need_viewer()
        browser = self.show()
        browser.evaluate("document.querySelector('.controls').append(document.createElement('div'))")
        browser.evaluate("document.querySelector('.controls').lastChild.style.height = '3000px'")
        browser.evaluate("scrollTo(0, document.getElementById('canvas').getBoundingClientRect().top + scrollY + 1500)")
        top, bottom = browser.evaluate(
            "(() => { const r = document.getElementById('canvas').getBoundingClientRect(); return [r.top, r.bottom]; })()"
        )
        self.assertGreaterEqual(top, -1)
        self.assertLessEqual(bottom, 1001)
        self.assertGreater(bottom - top, 400)

    def test_reset_is_of_every_sequence(self):
        self.need_viewer()
        browser = self.show(width=640, height=560)
        self.control("#view-choice label:nth-child(2) input")
        picture = lambda: self.canvas()[8:-8, 8:-8]  # without the frame of the focus
        before = picture()
        browser.evaluate("document.getElementById('canvas').scrollIntoView()")
        left, top, right, bottom = browser.evaluate(
            "(() => { const r = document.getElementById('canvas').getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; })()"
        )
        x, y = (left + right) / 2, (top + bottom) / 2
        for kind, dx in (("mousePressed", 0), ("mouseMoved", 30), ("mouseMoved", 60), ("mouseReleased", 60)):
            browser.call("Input.dispatchMouseEvent", type=kind, x=x + dx, y=y + dx, button="right", buttons=2, clickCount=1)
        changed = picture()
        self.assertGreater((np.abs(changed - before).max(axis=2) > 8).sum(), 200, "the right button changes nothing")
        self.control("#sequence-choice label:nth-child(1) input")
        self.canvas()
        self.control("#reset")
        self.control("#sequence-choice label:nth-child(2) input")
        self.assertLess((np.abs(picture() - before).max(axis=2) > 8).sum(), 20)

    def test_overview_says_phantom_and_warns(self):
        # Each in another's place: a long reason to look.
        swapped = dict(zip(self.case, [self.case[name] for name in ("t1c", "t2", "flair", "t1")]))
        page = self.grade("swapped", swapped, self.seg, "--explain", "none")
        with open(os.path.join(os.path.dirname(page), "result.json"), encoding="utf-8") as file:
            reasons = json.load(file)["reasons"]
        self.assertGreater(len(f"Review ({len(reasons)}): {reasons[0]}"), 88)
        picture = pixels(open(os.path.join(os.path.dirname(page), "overview.png"), "rb").read())
        self.assertLess(picture.shape[1], 1300)
        lines = []
        for top in range(10, 10 + 6 * 20, 20):
            band = picture[top : top + 16]
            lines.append([int((np.abs(band - colour).max(axis=2) < 3).sum()) for colour in ((255, 190, 60), (235, 235, 235))])
        # Phantom, grade, review and its second line, research use.
        self.assertEqual([warning > white for warning, white in lines[:5]], [True, False, True, True, True], lines)

    # How it is used

    def test_keyboard(self):
        self.need_viewer()
        browser = self.show()
        reached = []
        for _ in range(60):
            browser.key("Tab")
            reached.append(
                browser.evaluate("(() => { const e = document.activeElement; return e.id || e.name || e.type || e.tagName; })()")
            )
        for wanted in ("sequence", "view", "canvas", "checkbox", "range", "cut", "cross", "reset", "SUMMARY"):
            self.assertIn(wanted, reached)
        browser.evaluate("document.getElementById('canvas').focus()")
        for key, axis, sign in (
            ("ArrowLeft", 0, -1),
            ("ArrowRight", 0, 1),
            ("ArrowUp", 1, -1),
            ("ArrowDown", 1, 1),
            ("PageUp", 2, 1),
            ("PageDown", 2, -1),
        ):
            read = (
                "document.getElementById('readout').firstChild.textContent.replaceAll('−', '-').match(/-?[\\d.]+/g).slice(0, 3).map(Number)"
            )
            before = browser.evaluate(read)
            browser.key(key)
            browser.wait(f"JSON.stringify({read}) !== {json.dumps(json.dumps(before, separators=(',', ':')))}")
            self.assertAlmostEqual((browser.evaluate(read)[axis] - before[axis]) * sign, 3.0, delta=0.15, msg=key)
        browser.evaluate("document.querySelector('.overlay input').focus()")
        browser.key(" ")
        self.assertFalse(browser.evaluate("document.querySelector('.overlay input').checked"))
        self.assertEqual(browser.complaints(), [])

    def test_fits_a_phone(self):
        for width in (360, 320):
            browser = self.show(width=width, height=740)
            self.assertLessEqual(browser.evaluate("document.scrollingElement.scrollWidth"), width)
            if self.has_viewer:
                self.assertGreater(browser.evaluate("document.getElementById('canvas').clientWidth"), 0.8 * width)
            wide = browser.evaluate(
                f"[...document.querySelectorAll('main *')].filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > {width} + 1).length"
            )
            self.assertEqual(wide, 0)
            self.assertEqual(browser.complaints(), [])

    def test_can_be_read_in_light_and_dark_and_printed(self):
        grounds = []
        for scheme in ("light", "dark"):
            browser = self.show(scheme=scheme)
            browser.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
            seen, bad = browser.evaluate(CONTRAST)
            self.assertGreater(seen, 80)
            self.assertEqual(bad, [], scheme)
            grounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
        self.assertNotEqual(*grounds)
        browser = self.show(medium="print")
        browser.evaluate("dispatchEvent(new Event('beforeprint'))")
        self.assertTrue(
            browser.evaluate("[...document.querySelectorAll('figure img')].every((i) => i.checkVisibility() && i.naturalWidth > 50)")
        )
        self.assertFalse(browser.evaluate("!!document.getElementById('viewer')?.checkVisibility()"))
        # All of 10 pt or less, and the verdict says what was checked.
        sizes = browser.evaluate(
            "['.research p', 'p.note', 'figcaption', 'td'].map((s) => getComputedStyle(document.querySelector(s)).fontSize)"
        )
        for size in sizes:
            self.assertLess(float(size.removesuffix("px")), 13.4, sizes)
        self.assertTrue(browser.evaluate("document.querySelector('header details').open"))
        browser.evaluate("dispatchEvent(new Event('afterprint'))")
        self.assertFalse(browser.evaluate("document.querySelector('header details').open"))

    def test_colours_that_mean_something_stay_where_others_are_forced(self):
        browser = self.show()
        browser.media("light", **{"forced-colors": "active"})
        self.assertTrue(browser.evaluate("matchMedia('(forced-colors: active)').matches"))
        key = browser.evaluate("getComputedStyle(document.querySelector('.outline-key')).borderTopColor")
        self.assertEqual(tuple(map(int, re.findall(r"\d+", key))), OUTLINE)
        if self.has_viewer:
            # What is chosen looks like it.
            grounds = browser.evaluate(
                "[...document.querySelectorAll('#view-choice label')].map((l) => getComputedStyle(l).backgroundColor)"
            )
            self.assertNotEqual(grounds[0], grounds[1])

    def test_colours_of_the_maps_rise_in_brightness(self):
        self.need_viewer()
        self.show()
        heat = self.browser.evaluate("JSON.parse(document.getElementById('viewer-data').textContent).heat")
        # As seen by eyes without long-, middle- or short-wave cones (Viénot et al. 1999, Brettel et al. 1997), the order stays.
        colours = (np.array([heat[c] for c in "RGB"]).T / 255.0) ** 2.2
        eyes = [
            np.eye(3),
            [[0.112, 0.888, 0], [0.112, 0.888, 0], [0.004, -0.004, 1]],
            [[0.292, 0.708, 0], [0.292, 0.708, 0], [-0.022, 0.022, 1]],
            [[1.01, 0.12, -0.13], [0, 0.88, 0.12], [0, 0.88, 0.12]],
        ]
        for eye in eyes:
            brightness = (colours @ np.array(eye).T) @ [0.2126, 0.7152, 0.0722]
            self.assertTrue((np.diff(brightness) > 0.01).all(), brightness)

    # What it withstands

    def test_names_and_keys_of_a_case_stay_text(self):
        images = {}
        for name, path in self.case.items():
            image = sitk.ReadImage(path)
            image.SetMetaData("PatientName", NASTY)
            image.SetMetaData(NASTY_NAME.replace(" ", "").replace("=", ""), NASTY)
            images[name] = os.path.join(self.folder, f"{NASTY_NAME}{SUFFIXES[name]}.nrrd")
            sitk.WriteImage(image, images[name])
        bundle = os.path.join(self.folder, "bundle")
        shutil.copytree(os.path.join(MODELS, "grading"), bundle)
        manifest = os.path.join(bundle, "configs", "metadata.json")
        with open(manifest, encoding="utf-8") as file:
            metadata = json.load(file)
        metadata["name"] = NASTY
        metadata["gliomagrading"]["training"]["data"] = NASTY
        with open(manifest, "w", encoding="utf-8") as file:
            json.dump(metadata, file)
        page = self.grade("nasty", images, self.seg, "--keep-identifiers", "--format", "nrrd", "--grading-model", bundle)
        browser = self.show(page)
        text = browser.evaluate("document.body.textContent")
        self.assertIn(NASTY_NAME, browser.evaluate("document.querySelector('.case').textContent"))
        self.assertGreaterEqual(text.count(NASTY), 3)
        self.assertEqual(browser.evaluate("document.querySelectorAll('img:not([src^=\"data:image/png\"]), [onerror]').length"), 0)
        self.assertIsNone(browser.evaluate("window.pwned"))
        self.assertEqual((browser.complaints(), browser.requests()), ([], []))
        with open(page, "rb") as file:
            self.assertNotIn(b"PatientName", file.read())

    def test_policy_forbids_the_network_and_foreign_scripts(self):
        browser = self.show()
        kinds = browser.evaluate(
            """new Promise((done) => {
          const kinds = new Set();
          addEventListener('securitypolicyviolation', (event) => {
            kinds.add(event.effectiveDirective);
            if (kinds.size === 5) done([...kinds].sort());
          });
          setTimeout(() => done([...kinds].sort()), 5000);
          fetch('https://example.invalid/').catch(() => {});
          const add = (name, properties) => document.body.append(Object.assign(document.createElement(name), properties));
          add('img', { src: 'https://example.invalid/a.png' });
          add('script', { textContent: 'window.pwned = 2' });
          add('style', { textContent: 'body { color: red }' });
          document.body.insertAdjacentHTML('beforeend', '<a id="trap" onclick="window.pwned = 3">x</a>');
          document.getElementById('trap').click();
        })"""
        )
        self.assertEqual(kinds, ["connect-src", "img-src", "script-src-attr", "script-src-elem", "style-src-elem"])
        self.assertIsNone(browser.evaluate("window.pwned"))

    def test_without_webgl_or_scripts_the_slices_remain(self):
        with Browser(find_chromium(), ["--disable-3d-apis"]) as browser:
            for script in (True, False):
                if not script:
                    browser.size(1000, 800)
                self.show(browser=browser, script=script)
                # Reading the page is done from outside of its own scripts.
                if not script:
                    browser.call("Emulation.setScriptExecutionDisabled", value=False)
                message = browser.evaluate(
                    "document.getElementById('viewer-message')?.checkVisibility() ? document.getElementById('viewer-message').textContent : ''"
                )
                self.assertRegex(message, "interactive view")
                self.assertRegex(message, "slices below show the most important planes")
                self.assertFalse(browser.evaluate("!!document.getElementById('viewer')?.checkVisibility()"))
                self.assertTrue(browser.evaluate("[...document.querySelectorAll('[open] figure img')].every((i) => i.naturalWidth > 50)"))
                self.assertGreaterEqual(browser.evaluate("document.querySelectorAll('[open] figure img').length"), 12)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2, warnings="ignore")
