const PIECE = 2 ** 20; // bytes; Jupyter's own server cuts the connection at a message of ten times that

function render({ model, el }) {
  el.classList.add("nsutils-upload");
  el.innerHTML = `<button class="jupyter-button"></button><input type="file" accept="image/*" hidden>`;
  const [button, input] = el.children;
  button.title = model.get("tip");
  let file = null;

  function say(words) {
    button.innerHTML = `<i class="fa fa-upload"></i> ${words}`;
    button.disabled = file !== null;
  }

  function begin(chosen) {
    if (!chosen || file) return;
    file = chosen;
    say("0 %");
    send(0);
  }

  async function send(at) {
    const piece = await file.slice(at, at + PIECE).arrayBuffer().catch(() => null);
    if (!piece) return end(); // the file was moved or changed since it was chosen
    model.send({ name: file.name, size: file.size, at }, undefined, [piece]);
  }

  function end() {
    file = null;
    input.value = ""; // so that the same file can be chosen again
    say("Upload");
  }

  // The kernel asks for each piece, so that no more than one is on its way.
  model.on("msg:custom", ({ name, received }) => {
    if (file?.name !== name) return; // another page's
    if (received >= file.size) return end();
    say(`${Math.floor(100 * received / file.size)} %`);
    send(received);
  });
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => begin(input.files[0]));
  button.addEventListener("dragover", event => event.preventDefault());
  button.addEventListener("drop", event => {
    event.preventDefault();
    begin(event.dataTransfer.files[0]);
  });
  say("Upload");
}

export default { render };
