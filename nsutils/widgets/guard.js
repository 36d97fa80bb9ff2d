// With the focus on a slider, JupyterLab would take a typed "b" or "x" as a command on the cell.
function keepLetters(event) {
  const modified = event.ctrlKey || event.metaKey || event.altKey;
  if (!modified && event.key !== "Escape") event.stopPropagation();
}

// noUiSlider's handles have the role of a slider but no name that a screen reader could say.
function nameSliders(root) {
  for (const handle of root.querySelectorAll("[role=slider]")) {
    const widget = handle.closest(".jupyter-widgets");
    const label = widget?.querySelector(".widget-label");
    const readout = widget?.querySelector(".widget-readout");
    if (label && !handle.hasAttribute("aria-label")) handle.setAttribute("aria-label", label.textContent);
    if (readout) handle.setAttribute("aria-valuetext", readout.textContent);
  }
}

function render({ model, el }) {
  el.style.display = "none";
  let observer;
  const attach = () => {
    const root = el.closest("." + model.get("root"));
    if (!root) return void setTimeout(attach, 50); // not in the page yet
    root.addEventListener("keydown", keepLetters);
    nameSliders(root);
    observer = new MutationObserver(() => nameSliders(root));
    observer.observe(root, { subtree: true, childList: true, characterData: true });
  };
  attach();
  return () => observer?.disconnect();
}

export default { render };
