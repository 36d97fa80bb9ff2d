const UNDOS = 50;
const FAR = 4096; // pixels: shapes are drawn so far outside, and only their soft shadow falls on the mask
const TINT = ["#00e0f0a0", "#00309090"]; // stripes, one of which differs from any picture
const NOTHING = new DataView(new ArrayBuffer(0));

const button = (key, icon, word, title, more = "") =>
  `<button class="jupyter-widgets jupyter-button widget-button ${more}" data-${key} title="${title}">`
  + `<i class="fa fa-${icon}" aria-hidden="true"></i>${word}</button>`;
const slider = (name, word, title, range) =>
  `<label class="jupyter-widgets" title="${title}"><span class="widget-label">${word}</span>`
  + `<input type="range" name="${name}" aria-label="${word}" ${range}><output></output></label>`;

const PARTS = `
  <div class="row">
    <div class="row" role="group" aria-label="Tool">
      ${button("tool=brush", "paint-brush", "Brush", "mark what is to be protected")}
      ${button("tool=eraser", "eraser", "Eraser", "take the mark away")}
      ${button("tool=ellipse", "circle-o", "Ellipse", "mark an ellipse: drag from corner to corner; by keys: Enter")}
    </div>
    <div class="row">
      ${button("act=undo", "undo", "Undo stroke", "take the last change back (Ctrl+Z)")}
      ${button("act=clear", "trash", "Clear", "mark nothing")}
    </div>
  </div>
  <div class="row">
    ${slider("size", "Size", "width of the brush, in parts of the picture's long edge", 'min="1" max="50" value="12"')}
    ${slider("softness", "Softness", "how softly edges fade", 'min="0" max="100" step="5" value="50"')}
  </div>
  <div class="row offer" role="group" aria-label="Proposed ellipse" hidden>
    ${button("act=use", "check", "Use the proposed ellipse", "mark what is inside", "mod-primary")}
    ${button("act=dismiss", "times", "Dismiss", "take the proposal away")}
    <span class="note">Its dots move, size and turn it. By keys: arrows move, Shift and arrows size, [ and ] turn.</span>
  </div>
  <div class="note" role="status"></div>
  <div class="stage" hidden>
    <img alt="" draggable="false"><canvas role="img"></canvas>
    <svg>
      <ellipse class="cursor" visibility="hidden"/><ellipse class="dashed" visibility="hidden"/>
      <g class="proposal" tabindex="0" role="application" aria-roledescription="movable ellipse"
         aria-label="Proposed ellipse. Arrows move it, Shift and arrows size it, [ and ] turn it, Enter uses it, Delete dismisses it.">
        <ellipse class="dashed"/>
        <path class="dot" data-hold="move"/><path class="dot" data-hold="wide"/><path class="dot" data-hold="high"/>
      </g>
    </svg>
  </div>`;

function render({ model, el }) {
  el.classList.add("nsutils-brush");
  el.innerHTML = PARTS;
  const find = selector => el.querySelector(selector);
  const [stage, picture, view, overlay] = [".stage", "img", "canvas", "svg"].map(find);
  const [cursor, drawn, proposal, offer] = [".cursor", "svg > .dashed", ".proposal", ".offer"].map(find);
  const tile = stripes();
  const mask = canvas(0, 0); // white, as opaque as it is marked
  const work = canvas(0, 0); // the mask with the stroke in hand
  const past = [];
  let tool, drag, current = model.get("mask"), queue = Promise.resolve();
  const later = act => (queue = queue.catch(console.error).then(act)); // pictures load one after the other

  // Painting

  function paint(draw, width, erase) {
    const ink = work.getContext("2d");
    copy(mask, work);
    ink.save();
    ink.globalCompositeOperation = erase ? "destination-out" : "source-over";
    Object.assign(ink, { lineWidth: width, lineCap: "round", lineJoin: "round" });
    // A shadow is what every browser blurs; its blur is twice the deviation.
    Object.assign(ink, { shadowColor: "white", shadowOffsetX: FAR, shadowBlur: 0.35 * setting("softness") * width });
    ink.translate(-FAR, 0);
    draw(ink);
    ink.restore();
    tint();
  }

  function tint() {
    const ink = view.getContext("2d");
    ink.globalCompositeOperation = "copy";
    ink.drawImage(work, 0, 0, view.width, view.height);
    ink.globalCompositeOperation = "source-in";
    ink.fillStyle = ink.createPattern(tile, "repeat");
    ink.fillRect(0, 0, view.width, view.height);
  }

  function keep() {
    copy(work, mask);
    const paper = canvas(mask.width, mask.height), ink = paper.getContext("2d");
    ink.fillRect(0, 0, paper.width, paper.height);
    ink.drawImage(mask, 0, 0);
    // At once: toBlob may wait for an idle moment, and the next stroke or Undo would come before it.
    const bytes = Uint8Array.from(atob(paper.toDataURL().split(",")[1]), letter => letter.charCodeAt());
    remember();
    send(new DataView(bytes.buffer));
  }

  function fill(ellipse) {
    const { x, y, wide, high, degrees } = ellipse;
    paint(ink => {
      ink.beginPath();
      ink.ellipse(x, y, wide, high, degrees * Math.PI / 180, 0, 2 * Math.PI);
      ink.fill();
    }, Math.min(wide, high));
    keep();
  }

  function remember() {
    past.push(current);
    past.splice(0, past.length - UNDOS);
  }

  function send(bytes) {
    current = bytes;
    model.set("mask", bytes);
    model.save_changes();
    tell();
  }

  // What is dragged: each is begun by a place, and says what follows the pointer and what its release does.

  const stroke = erase => from => {
    const line = new Path2D();
    line.moveTo(from.x, from.y);
    const follow = at => {
      line.lineTo(at.x + 0.01, at.y); // a line without length would be no dot
      paint(ink => ink.stroke(line), setting("size") * longEdge(), erase);
    };
    return { follow, release: keep };
  };

  const corner = from => {
    let box = {};
    const follow = at => {
      box = { x: (from.x + at.x) / 2, y: (from.y + at.y) / 2, degrees: 0,
              wide: Math.abs(at.x - from.x) / 2, high: Math.abs(at.y - from.y) / 2 };
      put(drawn, box);
      drawn.setAttribute("visibility", "visible");
    };
    const release = () => {
      drawn.setAttribute("visibility", "hidden");
      if (Math.min(box.wide, box.high) > 1) fill(box);
    };
    return { follow, release };
  };

  const grip = changed => from => {
    const old = proposed();
    return { follow: at => propose(changed(old, at, from)), release: () => model.save_changes() };
  };

  const DRAGS = {
    brush: stroke(false),
    eraser: stroke(true),
    ellipse: corner,
    move: grip((old, at, from) => ({ ...old, x: old.x + at.x - from.x, y: old.y + at.y - from.y })),
    wide: grip((old, at) => ({ ...old, wide: Math.hypot(at.x - old.x, at.y - old.y) })),
    high: grip((old, at) => ({ ...old, high: Math.hypot(at.x - old.x, at.y - old.y),
                               degrees: Math.atan2(at.x - old.x, old.y - at.y) * 180 / Math.PI })),
  };

  // The proposal, here in the mask's pixels

  function proposed() {
    const [x, y, wide, high, degrees] = model.get("ellipse");
    const { width, height } = mask;
    return { x: x * width, y: y * height, wide: wide * width, high: high * height, degrees };
  }

  function propose({ x, y, wide, high, degrees }) {
    const { width, height } = mask, least = longEdge() / 100;
    const inside = (value, low, most) => Math.min(Math.max(value, low), most) / most;
    model.set("ellipse", [inside(x, 0, width), inside(y, 0, height), inside(wide, least, width),
                          inside(high, least, height), degrees]);
  }

  function showProposal() {
    offer.hidden = !model.get("ellipse").length;
    proposal.setAttribute("visibility", offer.hidden ? "hidden" : "visible");
    if (offer.hidden || !mask.width) return;
    const ellipse = proposed(), { x, y, wide, high, degrees } = ellipse;
    const [cos, sin] = [Math.cos, Math.sin].map(part => part(degrees * Math.PI / 180));
    put(proposal.querySelector(".dashed"), ellipse);
    const dots = { move: [x, y], wide: [x + wide * cos, y + wide * sin], high: [x + high * sin, y - high * cos] };
    for (const [name, at] of Object.entries(dots)) find(`[data-hold=${name}]`).setAttribute("d", `M${at}h0`);
  }

  function steer(event) {
    const act = { Enter: "use", Delete: "dismiss", Backspace: "dismiss" }[event.key];
    const turn = { "[": -3, "]": 3 }[event.key];
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!act && !turn && !way) return;
    event.preventDefault(); // the page would scroll, or the button that has the focus next be pressed
    if (act) return ACTS[act]();
    const [right, down] = (way ?? [0, 0]).map(part => part * longEdge() / 100), old = proposed();
    if (turn) propose({ ...old, degrees: old.degrees + turn });
    else if (event.shiftKey) propose({ ...old, wide: old.wide + right, high: old.high - down });
    else propose({ ...old, x: old.x + right, y: old.y + down });
    model.save_changes();
    const [x, y, wide, high, degrees] = model.get("ellipse");
    say(`Proposed ellipse: ${percent(x)} across, ${percent(y)} down, ${percent(2 * wide)} wide, `
      + `${percent(2 * high)} high, turned ${Math.round(degrees)}°.`);
  }

  // Tools, buttons, sliders, words

  const ACTS = {
    undo: () => later(() => past.length && (send(past.pop()), showMask())),
    clear: () => later(() => current.byteLength && (remember(), send(NOTHING), showMask())),
    use: () => (fill(proposed()), ACTS.dismiss()),
    dismiss() {
      model.set("ellipse", []);
      model.save_changes();
      choose(tool).focus(); // what had the focus is gone
      tell();
    },
  };

  function choose(name) {
    tool = stage.dataset.tool = name;
    for (const each of el.querySelectorAll("[data-tool]")) {
      each.classList.toggle("mod-active", each.dataset.tool === name);
      each.setAttribute("aria-pressed", each.dataset.tool === name);
    }
    return find(`button[data-tool=${name}]`);
  }

  function press(event) {
    const pressed = event.target.closest("button")?.dataset;
    if (!pressed || stage.hidden) return;
    if (pressed.act) return ACTS[pressed.act]();
    choose(pressed.tool);
    if (tool !== "ellipse" || event.detail) return; // a mouse counts its clicks, keys do not: they need an ellipse to move
    if (offer.hidden) model.set("ellipse", [0.5, 0.5, 0.25, 0.25, 0]);
    model.save_changes();
    proposal.focus();
  }

  function slid(event) {
    for (const input of el.querySelectorAll("input")) {
      input.setAttribute("aria-valuetext", input.nextSibling.textContent = `${input.value} %`);
    }
    if (event?.target.name === "size") ring({ x: mask.width / 2, y: mask.height / 2 });
  }

  function tell() {
    const { data } = read(mask);
    let sum = 0;
    for (let at = 3; at < data.length; at += 4) sum += data[at];
    const share = Math.max(1, Math.round(100 * sum / 255 / (data.length / 4)));
    const words = sum ? `${share} % of the picture is marked.` : "Nothing is marked: paint over what is to be protected, or over the place of one of several styles.";
    view.setAttribute("aria-label", words);
    find("[data-act=undo]").setAttribute("aria-disabled", !past.length);
    find("[data-act=clear]").setAttribute("aria-disabled", !current.byteLength);
    say(words);
  }

  // What comes from the kernel

  async function showPicture() {
    stage.hidden = !model.get("picture").byteLength;
    if (stage.hidden) return say("No picture yet.");
    await load(picture, model.get("picture"));
    const { naturalWidth: wide, naturalHeight: high } = picture, [width, height] = [wide / 2, high / 2];
    if (mask.width !== width || mask.height !== height) {
      past.length = 0;
      for (const each of [mask, work]) Object.assign(each, { width, height });
      Object.assign(view, { width: wide, height: high });
      overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
      stage.style.setProperty("--shape", width / height);
    }
    showProposal();
    await showMask();
  }

  async function showMask() {
    const image = current.byteLength && await load(new Image(), current), ink = mask.getContext("2d");
    if (!mask.width) return;
    ink.clearRect(0, 0, mask.width, mask.height);
    if (image) {
      ink.drawImage(image, 0, 0, mask.width, mask.height);
      const pixels = read(mask), { data } = pixels;
      for (let at = 0; at < data.length; at += 4) data.set([255, 255, 255, data[at]], at);
      ink.putImageData(pixels, 0, 0);
    }
    copy(mask, work);
    tint();
    tell();
  }

  function hear() {
    if (model.get("mask") === current) return; // painted here
    remember();
    current = model.get("mask");
    later(showMask);
  }

  // Pointer and keys

  function place(event) {
    const box = view.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width * mask.width,
             y: (event.clientY - box.top) / box.height * mask.height };
  }

  const hideRing = () => cursor.setAttribute("visibility", "hidden");

  function ring(at) {
    const half = setting("size") * longEdge() / 2;
    put(cursor, { ...at, wide: half, high: half, degrees: 0 });
    cursor.setAttribute("visibility", "visible");
  }

  const takes = {
    pointerdown(event) {
      if (drag || event.button) return;
      const { hold } = event.target.dataset;
      (hold ? proposal : choose(tool)).focus({ preventScroll: true }); // so that keys stay here
      stage.setPointerCapture(event.pointerId);
      drag = { pointer: event.pointerId, hold, ...DRAGS[hold ?? tool](place(event)) };
      drag.follow(place(event));
    },
    pointermove(event) {
      const { hold } = drag ?? event.target.dataset;
      if (hold || tool === "ellipse") hideRing();
      else ring(place(event));
      if (event.pointerId === drag?.pointer) drag.follow(place(event));
    },
    pointerup(event) {
      if (event.pointerId !== drag?.pointer) return;
      drag.release();
      drag = undefined;
    },
    pointerleave: hideRing,
    mousedown: event => event.preventDefault(), // the cell would take the focus
  };

  function key(event) {
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    if (event.target === proposal && !modified) steer(event);
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      event.preventDefault();
      ACTS.undo();
    } else if (modified || event.key === "Escape") return;
    event.stopPropagation(); // a letter would be a command on the cell
  }

  const say = words => (find("[role=status]").textContent = words);
  const setting = name => find(`[name=${name}]`).value / 100;
  const longEdge = () => Math.max(mask.width, mask.height);

  takes.pointercancel = takes.pointerup;
  for (const [name, take] of Object.entries(takes)) stage.addEventListener(name, take);
  el.addEventListener("click", press);
  el.addEventListener("keydown", key);
  el.addEventListener("input", slid);
  el.addEventListener("change", hideRing);
  const heard = { "change:picture": () => later(showPicture), "change:mask": hear, "change:ellipse": showProposal };
  for (const [name, act] of Object.entries(heard)) model.on(name, act);
  choose("brush");
  slid();
  showProposal();
  later(showPicture);
  return () => Object.entries(heard).forEach(([name, act]) => model.off(name, act));
}

function stripes() {
  const tile = canvas(16, 16), ink = tile.getContext("2d");
  for (let at = 0; at < 256; at++) {
    ink.fillStyle = TINT[(at % 16 + (at >> 4)) % 16 >> 3];
    ink.fillRect(at % 16, at >> 4, 1, 1);
  }
  return tile;
}

function canvas(width, height) {
  const made = Object.assign(document.createElement("canvas"), { width, height });
  made.getContext("2d", { willReadFrequently: true });
  return made;
}

function copy(from, to) {
  const ink = to.getContext("2d");
  ink.clearRect(0, 0, to.width, to.height);
  ink.drawImage(from, 0, 0);
}

function read(from) {
  return from.getContext("2d").getImageData(0, 0, from.width, from.height);
}

async function load(image, bytes) {
  image.src = URL.createObjectURL(new Blob([bytes]));
  await image.decode().finally(() => URL.revokeObjectURL(image.src));
  return image;
}

function put(shape, { x, y, wide, high, degrees }) {
  const values = { cx: x, cy: y, rx: wide, ry: high, transform: `rotate(${degrees} ${x} ${y})` };
  for (const [name, value] of Object.entries(values)) shape.setAttribute(name, value);
}

const percent = part => `${Math.round(100 * part)} %`;

export default { render };
