// Draws a mosaic's page from data.js, and values.js for the read-out. Nothing is fetched from elsewhere.
(() => {
  "use strict";
  const data = window.RCM;
  const [height, width] = data.shape;
  const unit = 2 ** data.levels;
  const um = data.pixel_size_um;
  const $ = (id) => document.getElementById(id);
  const at = (x, y) => L.latLng(-y / unit, x / unit);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const length = (px) => (um ? `${((px * um) / 1000).toFixed(2)} mm` : `${Math.round(px)} px`);
  const bounds = L.latLngBounds(at(0, 0), at(width, height));
  const map = L.map("map", {
    crs: L.CRS.Simple, minZoom: -2, maxZoom: data.levels + 3, zoomSnap: 0.25, keyboard: false, attributionControl: false,
    maxBounds: bounds.pad(0.5), zoomAnimation: !still, fadeAnimation: false,
  });
  $("size").textContent = `${length(width)} × ${length(height)}, ${((width * height) / 1e6).toFixed(1)} megapixels.`;

  // Layers: a tile that is not listed is empty and is not asked for.
  const Tiles = L.GridLayer.extend({
    createTile(coords, done) {
      const name = `${coords.x}_${coords.y}`;
      if (!this.options.has[coords.z] || !this.options.has[coords.z].has(name)) {
        setTimeout(() => done(null, null), 0);
        return document.createElement("div");
      }
      const tile = document.createElement("img");
      tile.alt = "";
      tile.onload = () => done(null, tile);
      tile.onerror = () => done(new Error(name), tile);
      tile.src = `${this.options.folder}/${coords.z}/${name}.${this.options.folder === "image" ? "jpg" : "png"}`;
      return tile;
    },
  });
  const layers = {};
  for (const [folder, levels] of Object.entries(data.tiles)) {
    const has = {};
    for (const [level, names] of Object.entries(levels)) has[level] = new Set(names.split(" "));
    layers[folder] = new Tiles({
      folder, has, tileSize: data.side, bounds, minZoom: -2, maxZoom: data.levels + 3, minNativeZoom: 0, maxNativeZoom: data.levels,
      noWrap: true, keepBuffer: 1, zIndex: folder === "image" ? 1 : folder === "entropy" ? 3 : folder === "truth" ? 4 : 2,
    });
  }
  layers.image.addTo(map);
  const tinted = Object.keys(layers).filter((name) => name.startsWith("class") || name === "truth");
  const fade = () => {
    for (const name of tinted) layers[name].setOpacity($("opacity").value / 100);
  };
  const boxes = [...document.querySelectorAll("[data-layer]")];
  const show = () => {
    for (const box of boxes) {
      const layer = layers[box.dataset.layer];
      if (!layer) continue;
      const hidden = flickering && box.dataset.layer !== "entropy" && (box.dataset.layer === "truth") !== odd;
      if ((box.checked || (flickering && box.dataset.layer === "truth")) && !hidden) layer.addTo(map);
      else layer.remove();
    }
  };
  let flickering = 0;
  let odd = false;
  for (const box of boxes) box.addEventListener("change", show);
  $("opacity").addEventListener("input", fade);
  if ($("flicker")) {
    $("flicker").addEventListener("click", () => {
      if (flickering) {
        clearInterval(flickering);
        flickering = 0;
      } else {
        flickering = setInterval(() => {
          odd = !odd;
          show();
        }, 800);
      }
      $("flicker").setAttribute("aria-pressed", String(Boolean(flickering)));
      show();
    });
  }
  show();
  fade();

  // Fields of 0.5 mm.
  const lines = { color: "#ffffff", weight: 1, opacity: 0.6, interactive: false };
  const grid = L.layerGroup([
    ...data.fields.tops.map((y) => L.polyline([at(0, y), at(width, y)], lines)),
    ...data.fields.lefts.map((x) => L.polyline([at(x, 0), at(x, height)], lines)),
  ]);
  $("grid").addEventListener("change", (event) => (event.target.checked ? grid.addTo(map) : grid.remove()));

  // Scale bar.
  const Scale = L.Control.extend({
    onAdd() {
      const bar = L.DomUtil.create("div", "scale");
      const draw = () => {
        const perPx = (um || 1) * 2 ** (data.levels - map.getZoom());
        const most = 160 * perPx;
        const power = 10 ** Math.floor(Math.log10(most));
        const nice = [5, 2, 1].map((step) => step * power).find((value) => value <= most) || power;
        bar.style.width = `${nice / perPx}px`;
        bar.textContent = !um ? `${nice} px` : nice >= 1000 ? `${nice / 1000} mm` : `${nice} µm`;
      };
      map.on("zoomend", draw);
      draw();
      return bar;
    },
  });

  // Read-out under the cursor.
  const Cursor = L.Control.extend({
    onAdd() {
      const box = L.DomUtil.create("div", "cursor");
      box.id = "cursor";
      return box;
    },
  });
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  let values = null;
  const readValues = () => {
    const found = window.RCM_VALUES;
    if (values || !found) return values;
    const runs = new Uint32Array(bytes(found.runs).buffer);
    const ids = new Uint8Array(found.shape[0] * found.shape[1]);
    for (let i = 0, place = 0; i < runs.length; i += 2) {
      ids.fill(runs[i], place, place + runs[i + 1]);
      place += runs[i + 1];
    }
    values = { ids, shape: found.shape, entropy: found.entropy && bytes(found.entropy), cells: found.entropy_shape };
    return values;
  };
  const look = (array, shape, x, y) => array[Math.floor((y / height) * shape[0]) * shape[1] + Math.floor((x / width) * shape[1])];
  map.on("mousemove", (event) => {
    const x = event.latlng.lng * unit;
    const y = -event.latlng.lat * unit;
    const inside = x >= 0 && y >= 0 && x < width && y < height && readValues();
    if (!inside) return;
    const class_ = data.classes[look(values.ids, values.shape, x, y)];
    const sure = values.entropy && `${Math.round((1 - look(values.entropy, values.cells, x, y) / 255) * 100)} % confident`;
    const place = `${length(x)} from the left, ${length(y)} from the top`;
    $("cursor").textContent = [class_ && class_.name, sure, place].filter(Boolean).join(", ");
  });

  // Regions, and what a reader says of them.
  const outlines = L.layerGroup();
  const items = [];
  let current = -1;
  const key = `rcm-marks:${data.sha256 || data.stem}`;
  let marks = {};
  const served = location.protocol !== "file:";
  const address = `../marks?mosaic=${encodeURIComponent(data.stem)}`;
  const say = (text) => ($("saved").textContent = text);
  const remember = () => {
    try {
      localStorage.setItem(key, JSON.stringify(marks));
      return true;
    } catch (error) {
      return false;
    }
  };
  const save = async () => {
    const kept = remember();
    if (!served) {
      say(kept ? "Kept in this browser." : "This browser keeps nothing: download the marks.");
      return;
    }
    try {
      const answer = await fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(rows()) });
      if (!answer.ok) throw new Error(await answer.text());
      say(`Saved beside the page, ${new Date().toLocaleTimeString()}.`);
    } catch (error) {
      say(`Not saved (${error.message}): kept in this browser.`);
    }
  };
  const rows = () =>
    data.regions.filter((r) => marks[r.number]).map((r) => ({
      region: r.number, class: r.class, row: Math.round(r.centroid_px.row), column: Math.round(r.centroid_px.column), ...marks[r.number],
    }));
  const refresh = () => {
    items.forEach((item, i) => {
      const mark = marks[data.regions[i].number];
      item.querySelector(".mark").textContent = mark && mark.mark ? mark.mark : "";
      item.setAttribute("aria-current", String(i === current));
    });
    const any = Object.keys(marks).length > 0;
    $("download").hidden = !any;
    if (current < 0) return;
    const region = data.regions[current];
    const mark = marks[region.number] || {};
    $("mark").hidden = false;
    $("marked").textContent = `${region.number}, ${region.class}`;
    for (const radio of $("mark").elements.mark) radio.checked = radio.value === mark.mark;
    $("mark").elements.note.value = mark.note || "";
  };
  const go = (index) => {
    if (!data.regions.length) return;
    current = (index + data.regions.length) % data.regions.length;
    const box = data.regions[current].bounding_box_px;
    const target = L.latLngBounds(at(box.left, box.top), at(box.left + box.width, box.top + box.height)).pad(0.15);
    if (still) map.fitBounds(target, { animate: false });
    else map.flyToBounds(target, { duration: 0.7 });
    refresh();
  };
  data.regions.forEach((region, i) => {
    const rings = data.outlines[i].map((ring) => ring.map(([x, y]) => at(x, y)));
    const edge = L.polygon(rings, { color: "#000000", weight: 5, opacity: 0.7, fill: false, interactive: false });
    const line = L.polygon(rings, { color: "#ffffff", weight: 2, fill: false, interactive: false });
    const icon = L.divIcon({ className: "number", html: String(region.number), iconSize: [24, 24] });
    const { row, column } = region.centroid_px;
    for (const layer of [edge, line, L.marker(at(column, row), { icon, interactive: false, keyboard: false })]) outlines.addLayer(layer);
    const button = document.createElement("button");
    button.type = "button";
    const area = region.area_mm2 === null ? `${region.pixels} px` : `${region.area_mm2.toFixed(2)} mm²`;
    button.textContent = `${region.number}  ${region.class}, ${area}`;
    const mark = document.createElement("span");
    mark.className = "mark";
    button.append(mark);
    if (region.reason) {
      const reason = document.createElement("span");
      reason.className = "hint";
      reason.textContent = ` ${region.reason}`;
      button.append(reason);
    }
    button.addEventListener("click", () => go(i));
    const item = document.createElement("li");
    item.append(button);
    $("regions").append(item);
    items.push(button);
  });
  outlines.addTo(map);
  $("outlines").addEventListener("change", (event) => (event.target.checked ? outlines.addTo(map) : outlines.remove()));
  if (data.regions.length) {
    const form = $("mark");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => {
      const chosen = form.querySelector("input[name=mark]:checked");
      marks[data.regions[current].number] = {
        mark: chosen ? chosen.value : "", note: form.elements.note.value, time: new Date().toISOString(),
      };
      refresh();
      save();
    });
    $("download").addEventListener("click", () => {
      const safe = (cell) => `"${String(cell).replace(/^[=+\-@\t\r]/, "'$&").replace(/"/g, '""')}"`;
      const heads = ["region", "class", "row", "column", "mark", "note", "time"];
      const text = [heads, ...rows().map((row) => heads.map((head) => row[head]))].map((line) => line.map(safe).join(",")).join("\r\n");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([`${text}\r\n`], { type: "text/csv" }));
      link.download = `${data.stem}.marks.csv`;
      link.click();
    });
    try {
      marks = JSON.parse(localStorage.getItem(key)) || {};
    } catch (error) {
      marks = {};
    }
    if (served) {
      fetch(address).then((answer) => (answer.ok ? answer.json() : [])).then((found) => {
        for (const { region, mark, note, time } of found) marks[region] = { mark, note, time };
        refresh();
      }).catch(() => say("Marks cannot be read: is `rcm-cascade review` still running?"));
    }
    refresh();
  }
  document.addEventListener("keydown", (event) => {
    const tag = event.target.tagName;
    if (event.altKey || event.ctrlKey || event.metaKey || (tag === "INPUT" && event.target.type !== "checkbox")) return;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && event.shiftKey) map.panBy({ ArrowRight: [120, 0], ArrowLeft: [-120, 0], ArrowDown: [0, 120], ArrowUp: [0, -120] }[event.key]);
    else if (step) go(current < 0 && step < 0 ? -1 : current + step);
    else if (event.key === "+" || event.key === "=") map.zoomIn(0.5);
    else if (event.key === "-") map.zoomOut(0.5);
    else if (event.key === "0") map.fitBounds(bounds);
    else return;
    event.preventDefault();
  });
  map.fitBounds(bounds);
  map.addControl(new Scale({ position: "bottomleft" }));
  map.addControl(new Cursor({ position: "bottomright" }));
  window.RCM_MAP = map;
})();
