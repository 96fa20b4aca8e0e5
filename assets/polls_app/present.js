// The page for a large screen: F is full screen, H hides the results, Escape leaves.
"use strict";

const results = document.getElementById("results");
const button = (key) => document.querySelector(`[data-key=${key}]`);
const hide = button("h");

const actions = {
  f: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
  // Without results there is no such button.
  ...(hide && { h: () => {
    results.hidden = !results.hidden;
    hide.firstElementChild.textContent = results.hidden ? "Show results" : "Hide results";
    hide.setAttribute("aria-expanded", String(!results.hidden));
  } }),
};

for (const [key, act] of Object.entries(actions)) {
  button(key).hidden = key === "f" && !document.fullscreenEnabled;
  button(key).addEventListener("click", act);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  // In full screen the browser takes Escape to leave that first.
  if (event.key === "Escape" && !document.fullscreenElement) document.querySelector("[data-leave]").click();
  actions[event.key.toLowerCase()]?.();
});
