const CLOSER = 1.5; // by a press of + or −
const CLOSEST = 8; // the page's pixels for one of the picture's, or boxes for a small picture's width
const STRIDE = 0.1; // of the box, by an arrow key
const STRETCH = 0.02; // pictures of other scales are rounded to other shapes: the box need not follow

const button = (act, word, name, title) =>
  `<button class="jupyter-widgets jupyter-button widget-button" data-act="${act}" aria-label="${name}" title="${title}">`
  + `${word}</button>`;

const PARTS = `
  <div class="stage" tabindex="0" role="group" hidden
       aria-label="Picture. Plus and minus zoom, 0 fits it into the box, 1 shows its own pixels, arrows move it.">
    <div class="under"></div><div class="over"></div><div class="line"></div>
    <input class="divider" type="range" min="0" max="100" step="any" value="50">
  </div>
  <div class="captions"><span></span><span></span></div>
  <div class="row">
    <label class="row steps" title="one of the kept steps, or the newest at the right end">
      <span>Step</span><input type="range" min="0" aria-label="Step"><span class="said"></span>
    </label>
    <div class="row zoom" role="group" aria-label="Zoom">
      ${button("out", "−", "Zoom out", "zoom out (key −)")}
      <span title="the picture's own pixels at 100 %; a double click or the key 1 shows them so"></span>
      ${button("in", "+", "Zoom in", "zoom in (key +)")}
      ${button("fit", "Fit", "Fit", "the whole picture in the box (key 0)")}
    </div>
  </div>`;

function render({ model, el }) {
  el.classList.add("nsutils-viewer");
  el.innerHTML = PARTS;
  const find = selector => el.querySelector(selector);
  const [stage, under, over, divider] = [".stage", ".under", ".over", ".divider"].map(find);
  const [steps, scrubber, percent] = [".steps", ".steps input", ".zoom span"].map(find);
  const pointers = new Map();
  let view = { zoom: 1, x: 0, y: 0 }; // the picture's left upper corner, in parts of the box
  let pending, gone;

  // Pictures

  // One at a time, then the newest: a slow page leaves pictures out and never shows an older one after a newer.
  function follow(name, slot, act) {
    let busy, missed;
    return async () => {
      if (busy) return void (missed = true);
      busy = true;
      do {
        missed = false;
        await put(model.get(name), slot).catch(console.error); // what cannot be read leaves the last one
        if (gone) return drop(slot);
        act();
      } while (missed);
      busy = false;
    };
  }

  function shape() {
    const image = under.firstChild, old = el.style.getPropertyValue("--shape");
    stage.hidden = !image;
    if (!image) return;
    const { naturalWidth: width, naturalHeight: height } = image;
    if (!(Math.abs(width / height / old - 1) < STRETCH)) el.style.setProperty("--shape", width / height);
    look(view); // 100 % is elsewhere
  }

  // Where the view is

  const pixels = () => model.get("width") || under.firstChild.naturalWidth;
  const own = () => pixels() / devicePixelRatio / (stage.clientWidth || 1); // the zoom of 100 %
  const most = () => CLOSEST * Math.max(1, own());
  const within = (low, value, high) => Math.min(Math.max(value, low), high);

  function look({ zoom, x, y }) {
    if (!under.firstChild) return;
    zoom = within(1, zoom, most());
    view = { zoom, x: within(1 - zoom, x, 0), y: within(1 - zoom, y, 0) };
    stage.style.setProperty("--zoom", zoom);
    stage.style.setProperty("--x", `${100 * view.x}%`);
    stage.style.setProperty("--y", `${100 * view.y}%`);
    stage.classList.toggle("zoomed", zoom > 1);
    percent.textContent = `${Math.round(100 * zoom / own())} %`;
    const ends = { out: zoom === 1, fit: zoom === 1, in: zoom === most() };
    for (const [act, end] of Object.entries(ends)) find(`[data-act=${act}]`).setAttribute("aria-disabled", end);
  }

  // What is at `from` comes to `to`, `times` as large.
  function carry(from, to, times = 1) {
    const { zoom, x, y } = view, real = within(1, zoom * times, most()) / zoom;
    look({ zoom: zoom * real, x: to.x - (from.x - x) * real, y: to.y - (from.y - y) * real });
  }

  const MIDDLE = { x: 0.5, y: 0.5 };
  const move = (x, y) => carry({ x: 0, y: 0 }, { x: x * STRIDE, y: y * STRIDE });
  const closer = (times, at = MIDDLE) => carry(at, at, times);

  function press(times) {
    const passes = (own() / view.zoom - 1) * (own() / view.zoom - times) < 0; // 100 % is a stop on the way
    closer(passes ? own() / view.zoom : times);
  }

  function toggle(at) {
    const near = own() > 1.05 ? own() : 2; // a small picture is larger than its pixels already
    closer(view.zoom === 1 ? near : 1 / view.zoom, at);
  }

  const ACTS = {
    in: () => press(CLOSER),
    out: () => press(1 / CLOSER),
    fit: () => look({ zoom: 1, x: 0, y: 0 }),
    own: () => closer(own() / view.zoom),
  };
  const KEYS = { "+": ACTS.in, "=": ACTS.in, "-": ACTS.out, "−": ACTS.out, 0: ACTS.fit, 1: ACTS.own };
  const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

  // Pointer and keys

  function place({ clientX, clientY }) {
    const box = stage.getBoundingClientRect();
    return { x: (clientX - box.left) / box.width, y: (clientY - box.top) / box.height };
  }

  // One finger, or the mouse, moves the picture; two also zoom.
  function grip() {
    const [one, two = one] = pointers.values();
    const middle = { x: (one.clientX + two.clientX) / 2, y: (one.clientY + two.clientY) / 2 };
    return { clientX: middle.x, clientY: middle.y, apart: Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY) };
  }

  const takes = {
    pointerdown(event) {
      if (event.target === divider || event.button) return;
      stage.focus({ preventScroll: true }); // so that keys come here
      stage.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
    },
    pointermove(event) {
      if (!pointers.has(event.pointerId)) return;
      const from = grip();
      pointers.set(event.pointerId, event);
      const to = grip();
      carry(place(from), place(to), to.apart / from.apart || 1);
    },
    lostpointercapture: event => pointers.delete(event.pointerId),
    mousedown: event => event.target !== divider && event.preventDefault(), // the cell would take the focus
    dblclick: event => event.target !== divider && toggle(place(event)),
    wheel(event) {
      if (!event.ctrlKey && view.zoom === 1) return; // the page scrolls
      event.preventDefault();
      closer(Math.exp(-within(-0.2, event.deltaY / 100, 0.2)), place(event)); // a notch is 20 %, a pinch's many are fewer
    },
  };

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape") return;
    event.stopPropagation(); // an arrow would fold cells, 0 pressed twice restart the kernel
    const arrow = event.target === stage && view.zoom > 1 && ARROWS[event.key];
    const act = arrow ? () => move(...arrow) : stage.contains(event.target) && KEYS[event.key];
    if (!act) return;
    event.preventDefault(); // the page would scroll
    act();
  }

  // Words and sliders

  function divide() {
    const words = ["before", "after"].map((word, at) => model.get(["other_caption", "caption"][at]) || word);
    over.hidden = divider.hidden = find(".line").hidden = !over.firstChild;
    over.classList.toggle("apart", !alike(over.firstChild, under.firstChild));
    stage.style.setProperty("--at", `${divider.value}%`);
    divider.setAttribute("aria-label", `Divider between ${words.join(" and ")}`);
    divider.setAttribute("aria-valuetext", `${Math.round(divider.value)} %`);
    const [left, right] = find(".captions").children;
    left.textContent = over.firstChild ? model.get("other_caption") : "";
    right.textContent = model.get("caption");
    for (const [slot, at] of [[over, 0], [under, 1]]) if (slot.firstChild) slot.firstChild.alt = words[at];
  }

  function showStep() {
    const kept = model.get("steps"), step = model.get("step");
    steps.hidden = !kept.length;
    scrubber.max = kept.length;
    scrubber.value = step < 0 ? kept.length : kept.filter(each => each < step).length;
    const words = { "-1": "newest", "-2": "–" }[step] ?? `step ${step}`;
    scrubber.setAttribute("aria-valuetext", find(".said").textContent = words);
  }

  function scrub() {
    const step = model.get("steps")[scrubber.value] ?? -1;
    if (step === model.get("step")) return;
    model.set("step", step);
    pending ??= requestAnimationFrame(() => {
      pending = undefined;
      model.save_changes();
    });
  }

  for (const [name, take] of Object.entries(takes)) stage.addEventListener(name, take, { passive: false });
  el.addEventListener("keydown", key);
  find(".zoom").addEventListener("click", event => ACTS[event.target.dataset.act]?.());
  divider.addEventListener("input", divide);
  for (const name of ["input", "click", "keyup"]) scrubber.addEventListener(name, scrub); // even to where it stands
  const resized = new ResizeObserver(() => look(view));
  resized.observe(stage);
  const heard = {
    "change:picture": follow("picture", under, () => (shape(), divide())),
    "change:other": follow("other", over, divide),
    "change:steps": showStep,
    "change:step": showStep,
    "change:caption": divide,
    "change:other_caption": divide,
  };
  for (const [name, act] of Object.entries(heard)) model.on(name, act), act();
  return () => {
    gone = true;
    resized.disconnect();
    for (const [name, act] of Object.entries(heard)) model.off(name, act);
    [under, over].forEach(drop);
  };
}

// The bytes' picture in the slot, decoded before it takes the last one's place, so that nothing flickers.
async function put(bytes, slot) {
  if (!bytes.byteLength) return drop(slot);
  const image = Object.assign(new Image(), { draggable: false, src: URL.createObjectURL(new Blob([bytes])) });
  try {
    await image.decode();
  } catch (error) {
    URL.revokeObjectURL(image.src);
    throw error;
  }
  drop(slot);
  slot.append(image);
}

const shapeOf = image => image.naturalWidth / image.naturalHeight;
const alike = (one, other) => !one || !other || Math.abs(shapeOf(one) / shapeOf(other) - 1) < STRETCH;

function drop(slot) {
  if (slot.firstChild) URL.revokeObjectURL(slot.firstChild.src);
  slot.replaceChildren();
}

export default { render };
