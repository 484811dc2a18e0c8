'use strict';
(function () {
  // A printed page shows everything.
  addEventListener('beforeprint', function () {
    for (const details of document.querySelectorAll(':is(header, main) details:not([open])')) {
      details.open = true;
      details.dataset.opened = '';
    }
  });
  addEventListener('afterprint', function () {
    for (const details of document.querySelectorAll('details[data-opened]')) {
      details.open = false;
      delete details.dataset.opened;
    }
  });

  const holder = document.getElementById('viewer-data');
  const message = document.getElementById('viewer-message');
  if (!holder) {
    return;
  }
  const byId = (id) => document.getElementById(id);
  const canvas = byId('canvas');
  const panel = byId('viewer');

  function element(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  function slider(text, properties, format, changed) {
    const input = element('input', Object.assign({ type: 'range' }, properties));
    const output = element('output', {});
    const show = () => {
      output.textContent = format(Number(input.value));
      input.setAttribute('aria-valuetext', output.textContent);
    };
    input.addEventListener('input', () => {
      show();
      changed(Number(input.value));
    });
    show();
    const label = element('label', { className: 'slider' }, element('span', { textContent: text }), input, output);
    return { label, input, show };
  }

  function choices(parent, group, names, chosen, changed) {
    names.forEach((name, index) => {
      const input = element('input', { type: 'radio', name: group, value: String(index), checked: index === chosen });
      input.addEventListener('change', () => changed(index));
      parent.append(element('label', {}, input, name));
    });
  }

  /** At most one call a frame: the sliders move faster than volumes are drawn. */
  function onceAFrame(work) {
    let isPlanned = false;
    return () => {
      if (!isPlanned) {
        isPlanned = true;
        requestAnimationFrame(() => {
          isPlanned = false;
          work();
        });
      }
    };
  }

  async function start() {
    const data = JSON.parse(holder.textContent);
    const { Niivue, NVImage, SHOW_RENDER, DRAG_MODE, MULTIPLANAR_TYPE } = window.niivue;
    if (!document.createElement('canvas').getContext('webgl2')) {
      throw new Error('WebGL 2 is missing.');
    }
    panel.hidden = false;
    const viewer = new Niivue({
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      multiplanarPadPixels: 24, // room for the letters of the sides
      showAllOrientationMarkers: true,
      dragMode: DRAG_MODE.windowing,
      dragAndDropEnabled: false,
      scrollRequiresFocus: true,
      show3Dcrosshair: true,
      isOrientCube: true,
      isClipAllVolumes: true,
      backColor: [0, 0, 0, 1],
      fontColor: [0.92, 0.92, 0.92, 1],
      crosshairColor: [0.35, 0.75, 1, 0.9],
      crosshairWidthUnit: 'mm', // one voxel of a coarse grid would hide a small lesion
      clipPlaneColor: [0, 0, 0, 0],
      loadingText: '',
      logLevel: 'error',
    });
    await viewer.attachToCanvas(canvas);
    viewer.addColormap('report-heat', Object.assign({ A: [0, 150, 190, 220, 255] }, data.heat));
    viewer.addColormap('report-plus', { R: [20, 255], G: [20, 70], B: [24, 40], A: [0, 255], I: [0, 255] });
    viewer.addColormap('report-minus', { R: [20, 50], G: [20, 130], B: [24, 255], A: [0, 255], I: [0, 255] });
    // Black where it is transparent: the viewer mixes that colour into the edges of the maps below.
    viewer.addColormap('report-outline', { R: [0, 60], G: [0, 255], B: [0, 120], A: [0, 255], I: [0, 255] });

    const made = new Map();
    /** The volume of an entry for a sequence: its only one, or that of the sequence; made when it is first shown. */
    async function volumeOf(entry, sequence, options) {
      const key = entry.name + '/' + (entry.data.length > 1 ? sequence : 0);
      if (!made.has(key)) {
        const base64 = entry.data[entry.data.length > 1 ? sequence : 0];
        const volume = await NVImage.loadFromBase64(Object.assign({ base64, name: 'volume.nii.gz' }, options));
        if (!volume) {
          throw new Error('A volume of this page cannot be read.');
        }
        volume.name = entry.name;
        made.set(key, volume);
      }
      return made.get(key);
    }

    let sequence = Math.min(1, data.sequences.length - 1);
    const firstMap = data.overlays.findIndex((overlay) => overlay.kind !== 'outline');
    const overlays = data.overlays.map((entry, index) => ({
      entry,
      isOn: entry.kind === 'outline' || index === firstMap,
      opacity: entry.kind === 'outline' ? 1 : 0.7,
      threshold: entry.kind === 'outline' ? 0.5 : 0.2,
    }));

    async function show() {
      const base = data.sequences[sequence];
      const volumes = [await volumeOf(base, 0, { colormap: 'gray', cal_min: base.low, cal_max: base.high })];
      // Outlines lie above the maps.
      const inOrder = overlays.filter((o) => o.entry.kind !== 'outline').concat(overlays.filter((o) => o.entry.kind === 'outline'));
      for (const overlay of inOrder) {
        if (!overlay.isOn) {
          continue;
        }
        const { kind, largest } = overlay.entry;
        const volume = await volumeOf(overlay.entry, sequence, {
          colormap: kind === 'outline' ? 'report-outline' : kind === 'heat' ? 'report-heat' : 'report-plus',
          colormapNegative: kind === 'signed' ? 'report-minus' : '',
        });
        // Of a map the colours go from 0 to the largest value, and what is below the threshold is hidden: a value keeps its
        // colour. (Of volumes this is the viewer's type 2; with 1 it fades below, and above the opacity says nothing.)
        volume.colormapType = kind === 'outline' ? 0 : 2;
        volume.cal_min = overlay.threshold * largest;
        volume.cal_max = largest;
        volume.cal_minNeg = -overlay.threshold * largest;
        volume.cal_maxNeg = -largest;
        volume.opacity = overlay.opacity;
        volumes.push(volume);
      }
      viewer.volumes = volumes;
      viewer.back = volumes[0];
      viewer.overlays = volumes.slice(1);
      viewer.updateGLVolume();
      viewer.createOnLocationChange();
    }
    byId('overlays').hidden = overlays.length === 0;
    // One change after the other, and of many waiting ones the last.
    let running = Promise.resolve();
    let waiting = 0;
    const refresh = onceAFrame(() => {
      ++waiting;
      running = running.then(() => (--waiting === 0 ? show() : undefined)).catch(fail);
    });

    choices(byId('sequence-choice'), 'sequence', data.sequences.map((s) => s.name), sequence, (index) => {
      sequence = index;
      refresh();
    });
    const views = [
      ['All', viewer.sliceTypeMultiplanar],
      ['Axial', viewer.sliceTypeAxial],
      ['Coronal', viewer.sliceTypeCoronal],
      ['Sagittal', viewer.sliceTypeSagittal],
      ['3-D', viewer.sliceTypeRender],
    ];
    choices(byId('view-choice'), 'view', views.map((v) => v[0]), 0, (index) => viewer.setSliceType(views[index][1]));

    const percent = (value) => value + ' %';
    const short = (value) => String(Number(value.toPrecision(3))).replace(/^-/, '−');
    for (const overlay of overlays) {
      const { kind, name, largest_text: largest } = overlay.entry;
      const box = element('input', { type: 'checkbox', checked: overlay.isOn });
      box.addEventListener('change', () => {
        overlay.isOn = box.checked;
        refresh();
      });
      const isMap = kind !== 'outline';
      const ramp = element('span', { className: 'ramp ' + kind });
      const row = element('div', { className: 'overlay' }, element('label', {}, box, name, ...(isMap ? [] : [ramp])));
      if (isMap) {
        const range = kind === 'heat' ? '0 to ' + largest : '−' + largest + ' to +' + largest;
        row.append(element('p', { className: 'scale' }, ramp, ' ' + range));
      }
      const opacity = slider('Opacity', { min: 0, max: 100, step: 5, value: 100 * overlay.opacity }, percent, (value) => {
        overlay.opacity = value / 100;
        refresh();
      });
      opacity.input.setAttribute('aria-label', 'Opacity of ' + name);
      row.append(opacity.label);
      if (isMap) {
        const above = slider('Show above', { min: 0, max: 95, step: 5, value: 100 * overlay.threshold }, percent, (value) => {
          overlay.threshold = value / 100;
          refresh();
        });
        above.input.setAttribute('aria-label', 'Show above: ' + name + ', share of ' + largest);
        above.label.title = '100 % is ' + largest;
        row.append(above.label);
      }
      byId('overlays').append(row);
    }

    // The place, by sliders, by keys and by what the viewer says.
    await show();
    const size = viewer.volumes[0].dimsRAS.slice(1, 4);
    // The viewer's axes point to the right, the front and the head; sliders and numbers to the left, the back and the head, as ITK's.
    const signs = [-1, -1, 1];
    const ends = ['Right–left', 'Front–back', 'Feet–head'];
    const place = () => Array.from(viewer.scene.crosshairPos);
    // The last argument: of an oblique image the true places, not those of the straightened one that the viewer draws.
    const inPatient = () => Array.from(viewer.frac2mm(place(), 0, true)).slice(0, 3);
    const millimetres = () => inPatient().map((value, axis) => signs[axis] * value);
    const flipped = (axis, index) => (signs[axis] < 0 ? size[axis] - 1 - index : index);
    const voxel = (axis) => flipped(axis, Math.round(place()[axis] * size[axis] - 0.5));
    const number = (value, digits) => value.toFixed(digits).replace('-', '−');
    const cut = byId('cut');
    function draw() {
      viewer.setClipPlane(cut.checked ? [place()[2] - 0.5, 0, 90] : [2, 0, 0]);
      viewer.drawScene();
      viewer.createOnLocationChange();
    }
    const redraw = onceAFrame(draw);
    function move(axis, index) {
      const at = place();
      at[axis] = (flipped(axis, Math.min(size[axis] - 1, Math.max(0, index))) + 0.5) / size[axis];
      viewer.scene.crosshairPos = at;
      redraw();
    }
    const places = ends.map((name, axis) => {
      const made = slider(name, { min: 0, max: size[axis] - 1, step: 1, value: voxel(axis) }, () => number(millimetres()[axis], 0) + ' mm', (value) => move(axis, value));
      byId('place').append(made.label);
      return made;
    });
    const readout = byId('readout');
    viewer.onLocationChange = (location) => {
      places.forEach((made, axis) => {
        made.input.value = String(voxel(axis));
        made.show();
      });
      const lines = [millimetres().map((value) => number(value, 1)).join(', ') + ' mm (LPS, as in result.json)'];
      (location.values || []).forEach(({ name, value, vox }, index) => {
        // The viewer takes the nearest voxel of a volume that ends before: there a map is 0, and there is no brain.
        const isInside = Array.from(vox).every((at, axis) => at >= 0 && at < viewer.volumes[index].dimsRAS[axis + 1]);
        const { scl_slope: slope, scl_inter: background } = viewer.volumes[index].hdr;
        const isBrain = isInside && value > background + slope / 2;
        if (name !== 'Tumour outline' && Number.isFinite(value) && (index > 0 || isBrain)) {
          lines.push(name + ': ' + short(isInside ? value : 0));
        }
      });
      readout.replaceChildren(...lines.map((line) => element('span', { textContent: line })));
    };
    const home = () => {
      viewer.scene.crosshairPos = viewer.mm2frac(data.start, 0, true);
      // From the side of the tumour.
      viewer.setRenderAzimuthElevation(place()[0] > 0.5 ? 230 : 130, 20);
      draw();
    };
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, -1], ArrowDown: [1, 1], PageUp: [2, 1], PageDown: [2, -1] };
    // The viewer's own keys would change what the controls say.
    canvas.parentElement.addEventListener(
      'keydown',
      (event) => {
        const step = steps[event.key];
        if (step) {
          event.preventDefault();
          move(step[0], voxel(step[0]) + step[1]);
        }
        event.stopPropagation();
      },
      true,
    );
    canvas.parentElement.addEventListener('keyup', (event) => event.stopPropagation(), true);
    cut.addEventListener('change', draw);
    byId('cross').addEventListener('change', (event) => viewer.setCrosshairWidth(event.target.checked ? 1 : 0));
    byId('reset').addEventListener('click', () => {
      viewer.setPan2Dxyzmm([0, 0, 0, 1]);
      viewer.setScale(1);
      for (const entry of data.sequences) {
        const volume = made.get(entry.name + '/0');
        if (volume) {
          Object.assign(volume, { cal_min: entry.low, cal_max: entry.high });
        }
      }
      viewer.updateGLVolume();
      home();
    });
    home();
    message.hidden = true;
    document.documentElement.dataset.viewer = 'ready';
  }

  function fail(error) {
    console.error(error);
    panel.hidden = true;
    message.hidden = false;
    message.textContent = 'The interactive view could not start in this browser: ' + error.message + ' The slices below show the most important planes.';
    document.documentElement.dataset.viewer = 'failed';
    for (const details of document.querySelectorAll('#slices-title ~ details')) {
      details.open = true;
    }
  }

  start().catch(fail);
})();
