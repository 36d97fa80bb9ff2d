// What a page can do beyond being read: compare, play, copy. It works on what the page shows already.
"use strict";

const made = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const slider = (label, max, value) => {
  const range = made("input", { type: "range", min: 0, max, value });
  range.setAttribute("aria-label", label);
  return range;
};

// The content over the result, up to the handle.
function compare(article) {
  const content = article.querySelector(".content img"), frame = article.querySelector(".result .frame");
  if (!content || !frame) return;
  const range = slider("Content against result: how much of the content is shown, from the left", 100, 0);
  const over = content.cloneNode();
  over.className = "over";
  range.oninput = () => frame.style.setProperty("--at", range.value + "%");
  frame.append(over, made("div", { className: "handle" }), range);
  frame.classList.add("compare");
  frame.nextElementSibling.append(made("span", { className: "live", textContent: " – drag to see the content" }));
}

// The kept steps and the result, one after the other.
function play(article) {
  const steps = [...article.querySelectorAll(".steps figure"), ...article.querySelectorAll("figure.result")];
  if (steps.length < 3) return;
  const range = slider("Kept step", steps.length - 1, 0);
  const picture = made("img"), said = made("output"), button = made("button", { type: "button" });
  let timer = 0;
  const show = () => {
    const shown = steps[range.value].querySelector("img");
    picture.src = shown.src;
    picture.alt = shown.alt;
    said.textContent = steps[range.value].querySelector("figcaption").firstChild.textContent;
    range.setAttribute("aria-valuetext", said.textContent);
  };
  const stop = () => { clearTimeout(timer); timer = 0; button.textContent = "Play"; };
  const next = () => {
    range.value = (+range.value + 1) % steps.length;
    show();
    timer = setTimeout(next, +range.value === steps.length - 1 ? 1500 : Math.max(80, 5000 / steps.length));
  };
  button.onclick = () => { if (timer) return stop(); button.textContent = "Pause"; next(); };
  range.oninput = () => { stop(); show(); };
  stop();
  show();
  const controls = made("div", { className: "controls" }, button, range, said);
  article.querySelector(".steps").before(made("div", { className: "player" }, picture, controls));
}

function copyable(pre) {
  const button = made("button", { type: "button", className: "copy", textContent: "Copy" });
  button.onclick = async () => {
    getSelection().selectAllChildren(pre);
    await navigator.clipboard?.writeText(pre.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  pre.before(button);
}

for (const article of document.querySelectorAll("article")) { compare(article); play(article); }
document.querySelectorAll("figure > pre").forEach(copyable);
