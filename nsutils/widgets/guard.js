const FOLD = ".jupyter-widget-Collapse-header";

// With the focus on a slider, JupyterLab would take a typed "b" or "x" as a command on the cell.
function keepLetters(event) {
  const modified = event.ctrlKey || event.metaKey || event.altKey;
  if (!modified && event.key !== "Escape") event.stopPropagation();
  if (event.target.matches(FOLD) && [" ", "Enter"].includes(event.key)) {
    event.preventDefault(); // a space would scroll
    event.target.click();
  }
}

// Of "0,5" the page would read the 0 alone, and make a weight its smallest.
function pointForComma(event) {
  if (event.data !== "," || !event.target.matches?.(".widget-readout")) return;
  event.preventDefault();
  document.execCommand("insertText", false, ".");
}

// noUiSlider's handles have the role of a slider but no name that a screen reader could say.
function nameSliders(root) {
  for (const handle of root.querySelectorAll("[role=slider]")) {
    const widget = handle.closest(".jupyter-widgets");
    const label = widget?.querySelector(".widget-label");
    const readout = widget?.querySelector(".widget-readout");
    if (label) handle.setAttribute("aria-label", label.textContent);
    if (!readout) continue;
    if (widget.classList.contains("from-zero")) showZero(handle, readout);
    handle.setAttribute("aria-valuetext", readout.textContent);
  }
}

// The lower end of a Weight is 0, not the small power of ten that stands there.
function showZero(handle, readout) {
  const slider = handle.closest(".noUi-target")?.noUiSlider; // aria-valuenow is rounded
  const lowest = slider && slider.get(true) <= slider.options.range.min;
  const typing = readout.contains(document.activeElement);
  if (lowest && !typing && readout.textContent !== "0") readout.textContent = "0";
}

// ipywidgets labels a field with an empty word, which silences its title, and a slider's number with none.
function nameFields(root) {
  for (const field of root.querySelectorAll("input:not([aria-label])[title]:not([title=''])")) {
    if (!field.labels?.[0]?.textContent) field.setAttribute("aria-label", field.title);
  }
  for (const number of root.querySelectorAll(".widget-readout[contenteditable=true]")) {
    const label = number.closest(".jupyter-widgets")?.querySelector(".widget-label");
    number.setAttribute("role", "textbox");
    if (label) number.setAttribute("aria-label", `${label.textContent}, as a number`);
  }
}

// An icon is a letter of a private alphabet: a button's name should be its word alone.
function hideIcons(root) {
  for (const icon of root.querySelectorAll(`button i, ${FOLD} i`)) icon.setAttribute("aria-hidden", "true");
}

// ipywidgets opens an Accordion by the mouse alone.
function openByKeys(root) {
  for (const fold of root.querySelectorAll(FOLD)) {
    fold.tabIndex = 0;
    fold.setAttribute("role", "button");
    fold.setAttribute("aria-expanded", fold.parentElement.classList.contains("jupyter-widget-Collapse-open"));
  }
}

function render({ el }) {
  el.style.display = "none";
  let root, waiting;
  const tend = () => [nameSliders, nameFields, hideIcons, openByKeys].forEach(mend => mend(root));
  const observer = new MutationObserver(tend);
  const attach = () => {
    root = el.closest(".nsutils-panel");
    if (!root) return void (waiting = setTimeout(attach, 50)); // not in the page yet
    root.addEventListener("keydown", keepLetters);
    root.addEventListener("beforeinput", pointForComma);
    observer.observe(root, { subtree: true, childList: true, characterData: true, attributeFilter: ["class"] });
    tend();
  };
  attach();
  return () => {
    clearTimeout(waiting);
    observer.disconnect();
    root?.removeEventListener("keydown", keepLetters);
    root?.removeEventListener("beforeinput", pointForComma);
  };
}

export default { render };
