// Live results: the bars follow the server's events. Without a connection the page says as of when they are.
"use strict";

const live = document.querySelector("[data-live]");
const state = live?.querySelector("[data-state]");
const SUMMARY_PERIOD = 15000;
const MAX_DELAY = 30000;
let source = null;
let delay = 1000;
let timer = 0;
let asOf = new Date();
let summary = { text: "", at: 0, timer: 0 };

const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };

const show = (update) => {
  setText(live.querySelector("[data-votes]"), update.votes);
  for (const choice of update.choices) {
    const row = live.querySelector(`[data-choice="${choice.id}"]`);
    row.querySelector("progress").value = choice.percent;
    setText(row.querySelector(".result-share"), choice.share);
    setText(row.querySelector(".result-votes"), choice.votes);
    row.classList.toggle("result-leads", choice.leads);
    const text = row.querySelector(".result-text");
    const mark = text.querySelector(":scope > .visually-hidden");
    if (choice.leads && !mark) {
      text.firstElementChild.insertAdjacentHTML("afterend", '<span class="visually-hidden"> (leads)</span>');
    } else if (!choice.leads) {
      mark?.remove();
    }
  }
};

// Screen readers hear the results when they have changed, at most every 15 seconds.
const tell = (update) => {
  const names = update.choices.map((choice) => {
    const name = live.querySelector(`[data-choice="${choice.id}"] .result-text > [dir]`).textContent;
    return `${name}: ${choice.share}`;
  });
  const text = `${update.votes}. ${names.join(", ")}.`;
  if (!summary.text) {
    // What the page shows has been read.
    summary.text = text;
    return;
  }
  if (text === summary.text) return;
  clearTimeout(summary.timer);
  summary.timer = setTimeout(() => {
    summary = { text, at: Date.now(), timer: 0 };
    live.querySelector("[data-summary]").textContent = text;
  }, Math.max(0, summary.at + SUMMARY_PERIOD - Date.now()));
};

// All pages are told at once; they are loaded again within two seconds.
const reload = () => {
  disconnect();
  setTimeout(() => location.reload(), Math.random() * 2000);
};

const disconnect = () => {
  clearTimeout(timer);
  source?.close();
  source = null;
};

const connect = () => {
  disconnect();
  source = new EventSource(live.dataset.live);
  source.addEventListener("open", () => {
    delay = 1000;
    if (state) setText(state, "· Live");
  });
  source.addEventListener("message", (event) => {
    const update = JSON.parse(event.data);
    asOf = new Date();
    if (update.version !== live.dataset.version) return reload();
    show(update);
    tell(update);
    // From the first event on: what the page shows at first does not move.
    live.classList.add("is-live");
  });
  source.addEventListener("reload", reload);
  // The server checks the rights of staff again.
  source.addEventListener("renew", connect);
  source.addEventListener("error", () => {
    disconnect();
    if (state) setText(state, `· Reconnecting… as of ${asOf.toLocaleTimeString("en-GB")}`);
    timer = setTimeout(connect, delay * (0.5 + Math.random() / 2));
    delay = Math.min(2 * delay, MAX_DELAY);
  });
};

// Hidden results appear when voting ends. Longer times do not fit a timer.
const hidden = document.querySelector("[data-reload-at]");
const wait = hidden ? new Date(hidden.dataset.reloadAt) - Date.now() : 0;
if (hidden && wait < 2 ** 31) setTimeout(reload, Math.max(wait, 0) + 1000);

if (live && window.EventSource) {
  // Browsers have few connections for each site: tabs in the background give theirs back.
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  if (!document.hidden) connect();
}
