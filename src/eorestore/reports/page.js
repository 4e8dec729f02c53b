(() => {
  "use strict";
  const stage = document.getElementById("stage");
  const divider = document.getElementById("divider");
  const panes = [...stage.querySelectorAll(".pane")];
  const names = panes.map((pane) => pane.dataset.name);
  const state = { left: stage.dataset.left, right: stage.dataset.right, split: 50, zoom: 1, x: 0, y: 0 };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  const label = (slug) => names[panes.findIndex((pane) => pane.dataset.layer === slug)];

  function draw() {
    for (const pane of panes) {
      pane.classList.toggle("left", pane.dataset.layer === state.left);
      pane.classList.toggle("right", pane.dataset.layer === state.right);
    }
    for (const side of ["left", "right"]) {
      const radio = document.querySelector(`input[name="${side}"][value="${state[side]}"]`);
      if (radio) radio.checked = true;
      document.getElementById(`tag-${side}`).textContent = label(state[side]);
    }
    document.getElementById("tag-left").classList.toggle("away", state.split < 14);
    document.getElementById("tag-right").classList.toggle("away", state.split > 86);
    state.x = clamp(state.x, 1 - state.zoom, 0);
    state.y = clamp(state.y, 1 - state.zoom, 0);
    for (const key of ["split", "zoom", "x", "y"]) stage.style.setProperty(`--${key}`, state[key]);
    stage.classList.toggle("zoomed", state.zoom > 1);
    const natural = panes[0].firstElementChild.naturalWidth || 1;
    stage.classList.toggle("crisp", (stage.clientWidth * state.zoom) / natural >= 2.5);
    for (const button of document.querySelectorAll("[data-zoom]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.zoom) === state.zoom));
    }
    divider.setAttribute("aria-valuenow", Math.round(state.split));
    divider.setAttribute("aria-valuetext", `${Math.round(state.split)} % ${label(state.left)}, the rest ${label(state.right)}`);
  }

  function remember() {
    const hash = new URLSearchParams({ left: state.left, right: state.right, split: Math.round(state.split), zoom: state.zoom });
    if (document.documentElement.dataset.theme) hash.set("theme", document.documentElement.dataset.theme);
    history.replaceState(null, "", `#${hash}`);
  }

  function recall() {
    const hash = new URLSearchParams(location.hash.slice(1));
    for (const side of ["left", "right"]) {
      if (label(hash.get(side))) state[side] = hash.get(side);
    }
    if (Number.isFinite(parseFloat(hash.get("split")))) state.split = clamp(parseFloat(hash.get("split")), 0, 100);
    if (["1", "2", "4"].includes(hash.get("zoom"))) zoomTo(Number(hash.get("zoom")));
    if (["light", "dark"].includes(hash.get("theme"))) document.documentElement.dataset.theme = hash.get("theme");
    draw();
  }

  function zoomTo(zoom) {
    // The middle of the stage stays where it is.
    state.x = 0.5 - ((0.5 - state.x) / state.zoom) * zoom;
    state.y = 0.5 - ((0.5 - state.y) / state.zoom) * zoom;
    state.zoom = zoom;
  }

  let drag = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const box = stage.getBoundingClientRect();
    const pans = state.zoom > 1 && !divider.contains(event.target);
    drag = { pans, x: event.clientX, y: event.clientY, box };
    stage.setPointerCapture(event.pointerId);
    divider.focus({ preventScroll: true });
    if (!pans) move(event);
  });
  function move(event) {
    if (!drag) return;
    if (drag.pans) {
      state.x += (event.clientX - drag.x) / drag.box.width;
      state.y += (event.clientY - drag.y) / drag.box.height;
      [drag.x, drag.y] = [event.clientX, event.clientY];
    } else {
      state.split = clamp(((event.clientX - drag.box.left) / drag.box.width) * 100, 0, 100);
    }
    draw();
  }
  stage.addEventListener("pointermove", move);
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, () => {
      if (drag) remember();
      drag = null;
    });
  }

  divider.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 2;
    const targets = {
      ArrowLeft: state.split - step, ArrowDown: state.split - step, ArrowRight: state.split + step, ArrowUp: state.split + step,
      PageDown: state.split - 10, PageUp: state.split + 10, Home: 0, End: 100,
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    state.split = clamp(targets[event.key], 0, 100);
    draw();
    remember();
  });

  function choose(side, slug) {
    const other = side === "left" ? "right" : "left";
    // Choosing what the other side shows exchanges the two, so that the sides always differ.
    if (state[other] === slug) state[other] = state[side];
    state[side] = slug;
    draw();
    remember();
  }
  for (const radio of document.querySelectorAll(".side input")) {
    radio.addEventListener("change", () => choose(radio.name, radio.value));
  }
  for (const choice of document.querySelectorAll(".choice")) {
    choice.addEventListener("click", () => choose("right", choice.dataset.layer));
  }
  document.getElementById("swap").addEventListener("click", () => choose("left", state.right));
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      zoomTo(Number(button.dataset.zoom));
      draw();
      remember();
    });
  }
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember();
  });

  function thumbnails() {
    panes.forEach((pane) => {
      const image = pane.firstElementChild;
      const canvas = document.querySelector(`.choice[data-layer="${pane.dataset.layer}"] canvas`);
      const side = Math.min(image.naturalWidth, image.naturalHeight);
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(image, (image.naturalWidth - side) / 2, (image.naturalHeight - side) / 2, side, side, 0, 0, canvas.width, canvas.height);
    });
    draw();
  }

  addEventListener("hashchange", recall);
  addEventListener("resize", draw);
  addEventListener("load", thumbnails);
  recall();
})();
