const PER_TEN = 40; // positions of a weight's slider for each power of ten
const toWeight = place => Number((10 ** (place / PER_TEN)).toPrecision(2));
const toPlace = weight => Math.round(PER_TEN * Math.log10(weight));

function render({ model, el }) {
  el.classList.add("nsutils-layers");
  let rows = new Map();

  function send(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  function build() {
    const name = model.get("name");
    el.innerHTML = `<div class="heading">${name}</div><div class="note">${model.get("note")}</div>
      <div class="quick" role="group" aria-label="${name}, sets to choose"></div><div class="rows"></div>`;
    const [quick, lines] = [".quick", ".rows"].map(part => el.querySelector(part));
    for (const [word, layers] of Object.entries(model.get("choices"))) quick.append(choice(word, layers));
    rows = new Map(model.get("known").map(({ layer, sight }) => [layer, row(layer, sight)]));
    lines.classList.toggle("plain", !model.get("weighted"));
    lines.append(...[...rows.values()].map(found => found.line));
    draw();
  }

  function choice(word, layers) {
    const button = document.createElement("button");
    button.className = "jupyter-widgets jupyter-button widget-button";
    button.textContent = word;
    button.title = layers.join(", ");
    button.addEventListener("click", () => send("chosen", layers));
    return button;
  }

  function row(layer, sight) {
    const line = document.createElement("div");
    line.className = "layer";
    line.title = sight;
    line.innerHTML = `<label><input type="checkbox">${layer}</label>`;
    const box = line.querySelector("input");
    box.addEventListener("change", () => {
      const chosen = model.get("chosen").filter(other => other !== layer);
      if (!chosen.length) return void (box.checked = true); // one has to count
      send("chosen", box.checked ? [...chosen, layer] : chosen);
    });
    if (!model.get("weighted")) return { line, box };
    line.insertAdjacentHTML("beforeend",
      `<input type="range" class="weight"><output></output><div class="pull" aria-hidden="true"><i></i></div>`);
    const weight = line.querySelector(".weight");
    weight.setAttribute("aria-label", `weight of ${layer}`);
    weight.addEventListener("input", () => line.querySelector("output").textContent = toWeight(weight.value));
    weight.addEventListener("change", () => {
      const { [layer]: old, ...others } = model.get("weights"), now = toWeight(weight.value);
      send("weights", now === 1 ? others : { ...others, [layer]: now });
    });
    return { line, box, weight, words: line.querySelector("output"), bar: line.querySelector("i"), pull: line.lastChild };
  }

  function draw() {
    const [chosen, weights] = [model.get("chosen"), model.get("weights")];
    const exponents = Object.values(weights).filter(weight => weight > 0).map(toPlace);
    for (const [layer, { line, box, weight, words }] of rows) {
      box.checked = chosen.includes(layer);
      line.classList.toggle("out", !box.checked);
      if (!weight) continue;
      weight.min = Math.min(-2 * PER_TEN, ...exponents) - 1;
      weight.max = Math.max(2 * PER_TEN, ...exponents);
      weight.disabled = !box.checked;
      const now = weights[layer] ?? 1;
      weight.value = now > 0 ? toPlace(now) : weight.min;
      words.textContent = Number(now.toPrecision(3));
      weight.setAttribute("aria-valuetext", words.textContent);
    }
    pulls();
  }

  // Not in draw, which would pull a slider out of the hand that moves it.
  function pulls() {
    const shares = model.get("shares"), most = Math.max(1e-9, ...Object.values(shares));
    for (const [layer, { bar, pull }] of rows) {
      if (!bar) continue;
      const share = shares[layer] ?? 0;
      bar.style.width = `${100 * share / most}%`;
      pull.title = layer in shares ? `${Math.round(100 * share)} % of the picture's gradient now` : "";
    }
  }

  model.on("change:known", build);
  model.on("change:chosen change:weights", draw);
  model.on("change:shares", pulls);
  build();
}

export default { render };
