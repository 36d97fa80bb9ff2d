const TIP = "how much of the picture's gradient this loss brings now; move it to ask for a share";

function render({ model, el }) {
  el.classList.add("nsutils-share");
  el.innerHTML = `<input type="range" min="0" max="100" title="${TIP}"><output></output>`;
  const [bar, words] = el.children;
  bar.setAttribute("aria-label", model.get("name"));
  let held = false, leaving;

  function write() {
    bar.style.setProperty("--share", `${bar.value}%`);
    words.textContent = `${bar.value} %`;
    bar.setAttribute("aria-valuetext", words.textContent);
  }

  function draw() {
    const share = model.get("share");
    const fixed = share <= 0 || share >= 1;
    held &&= !fixed; // to be disabled is a change as well
    bar.disabled = fixed;
    el.classList.toggle("unknown", share < 0);
    if (held) return; // a hand is on it
    bar.value = Math.round(100 * Math.max(0, share));
    write();
  }

  bar.addEventListener("input", () => { clearTimeout(leaving); held = true; write(); });
  bar.addEventListener("change", () => {
    if (!held) return; // it was drawn anew, and then left
    held = false;
    model.set("asked", bar.value / 100);
    model.save_changes();
  });
  // Where it was moved away and back there is no change; where there is one, it comes after these.
  const left = () => { clearTimeout(leaving); leaving = setTimeout(() => { held = false; }); };
  for (const end of ["pointerup", "blur"]) bar.addEventListener(end, left);
  model.on("change:share change:asked", draw);
  draw();
}

export default { render };
