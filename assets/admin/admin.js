// Progressive enhancement of the admin: every page works without JavaScript.
"use strict";

document.documentElement.classList.add("has-script");

const createElement = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// Menus close when something else is clicked, or with Escape.
const menus = () => document.querySelectorAll("details.menu[open]");
document.addEventListener("click", (event) => {
  for (const menu of menus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// Ctrl+S, or Command+S, saves.
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "s") {
    const save = document.querySelector("button[name=_save]");
    if (save) {
      event.preventDefault();
      save.click();
    }
  }
});

// Asks before a form with unsaved changes is left.
for (const form of document.querySelectorAll("form[data-guard]")) {
  let isChanged = document.querySelector("#errors, #conflict, #resumed") !== null;
  // Filters and boxes for actions are not part of what is saved.
  form.addEventListener("input", ({ target }) => {
    if (target.name !== "_selected_action" && (target.name || target.matches("[data-inline], .date-time"))) isChanged = true;
  });
  form.addEventListener("submit", () => { isChanged = false; });
  addEventListener("beforeunload", (event) => { if (isChanged) event.preventDefault(); });
}

// Focuses the message about a conflict, errors or a restored form.
document.querySelector("#conflict, #errors, #resumed")?.focus();

// The buttons Today and Now, in the site's time zone.
const zone = document.querySelector(".zone-note")?.textContent.match(/in ([\w/+-]+)\./)?.[1];
const siteTime = () => {
  const parts = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  }).formatToParts(new Date());
  const part = (type) => parts.find((one) => one.type === type).value;
  return { date: `${part("year")}-${part("month")}-${part("day")}`, time: `${part("hour")}:${part("minute")}:${part("second")}` };
};
const addTimeButtons = (root) => {
  for (const dateTime of root.querySelectorAll(".date-time")) {
    const [date, time] = dateTime.querySelectorAll("input");
    const button = (text, set) => createElement("button", {
      type: "button", className: "btn", textContent: text,
      onclick: () => { set(siteTime()); dateTime.dispatchEvent(new Event("input", { bubbles: true })); },
    });
    dateTime.append(
      button("Today", (now) => { date.value = now.date; }),
      button("Now", (now) => { date.value = now.date; time.value = now.time; }),
    );
  }
};
addTimeButtons(document);

// Inlines: adds rows from the template, and numbers the fields of all rows.
for (const inline of document.querySelectorAll("[data-inline]")) {
  const template = inline.querySelector("template[data-empty]");
  if (!template) continue;
  const { inline: prefix, max, name } = inline.dataset;
  const rows = inline.querySelector("[data-rows]");
  const total = inline.querySelector(`[name="${prefix}-TOTAL_FORMS"]`);
  const renumber = () => {
    [...rows.children].forEach((row, index) => {
      for (const element of row.querySelectorAll("[name], [id], [for], [aria-describedby]")) {
        for (const attribute of ["name", "id", "for", "aria-describedby"]) {
          const value = element.getAttribute(attribute);
          if (value) element.setAttribute(attribute, value.replace(new RegExp(`${prefix}-(\\d+|__prefix__)-`, "g"), `${prefix}-${index}-`));
        }
      }
    });
    total.value = rows.children.length;
    add.disabled = rows.children.length >= Number(max);
  };
  const removable = (row) => {
    const button = createElement("button", {
      type: "button", className: "btn btn-sm", textContent: "Remove",
      onclick: () => {
        const next = row.nextElementSibling ?? row.previousElementSibling;
        row.remove();
        renumber();
        (next?.querySelector("input:not([type=hidden])") ?? add).focus();
        inline.dispatchEvent(new Event("input", { bubbles: true }));
      },
    });
    button.setAttribute("aria-label", `Remove this ${name}`);
    (row.querySelector(".delete-cell, .stacked-head") ?? row.lastElementChild).append(button);
  };
  const add = createElement("button", {
    type: "button", className: "btn", textContent: `Add another ${name}`,
    onclick: () => {
      const row = template.content.firstElementChild.cloneNode(true);
      for (const node of row.querySelectorAll("[aria-label]")) {
        node.setAttribute("aria-label", node.getAttribute("aria-label").replace("__number__", rows.children.length + 1));
      }
      for (const node of row.querySelectorAll("label, strong")) {
        for (const text of node.childNodes) {
          if (text.nodeType === Node.TEXT_NODE) text.data = text.data.replace("__number__", rows.children.length + 1);
        }
      }
      rows.append(row);
      addTimeButtons(row);
      removable(row);
      renumber();
      row.querySelector("input:not([type=hidden]), select, textarea")?.focus();
    },
  });
  // Rows of stored objects have a checkbox for deletion instead.
  [...rows.children].filter((row) => !row.querySelector("[name$='-id']")).forEach(removable);
  inline.append(createElement("div", { className: "card-footer" }, add));
  renumber();
}

// `filter_horizontal`: two lists in place of a <select multiple>.
for (const source of document.querySelectorAll("select[data-chooser]")) {
  const title = source.dataset.chooser;
  const side = (heading, moveAllText) => {
    const box = createElement("select", { multiple: true, className: "form-select" });
    const filter = createElement("input", { type: "search", className: "form-control", placeholder: "Filter" });
    box.setAttribute("aria-label", heading);
    filter.setAttribute("aria-label", `Filter ${heading.toLowerCase()}`);
    filter.addEventListener("input", () => fill());
    filter.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      if (box.options.length) move([box.options[0]]);
    });
    box.addEventListener("dblclick", () => move(box.selectedOptions));
    box.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); move(box.selectedOptions); } });
    // Moves the options that match the filter.
    const all = createElement("button", { type: "button", className: "btn btn-sm", textContent: moveAllText, onclick: () => { move(box.options); filter.focus(); } });
    all.setAttribute("aria-label", `${moveAllText} ${title}`);
    return { box, filter, all, element: createElement("div", { className: "chooser-side" }, createElement("span", { className: "chooser-title", textContent: heading }), filter, box, all) };
  };
  const available = side(`Available ${title}`, "Choose all");
  const chosen = side(`Chosen ${title}`, "Remove all");
  const status = createElement("span", { className: "visually-hidden" });
  status.setAttribute("aria-live", "polite");
  const fill = () => {
    for (const { box, filter, all } of [available, chosen]) {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const options = [...source.options].filter((option) =>
        option.selected === (box === chosen.box) && words.every((word) => option.text.toLowerCase().includes(word)));
      box.replaceChildren(...options.map((option) => createElement("option", { value: option.value, text: option.text, title: option.text })));
      all.disabled = options.length === 0;
    }
  };
  const move = (options) => {
    const values = new Set([...options].map((option) => option.value));
    for (const option of source.options) if (values.has(option.value)) option.selected = !option.selected;
    fill();
    status.textContent = `${source.selectedOptions.length} chosen`;
    source.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const button = (text, label, from) => {
    const element = createElement("button", { type: "button", className: "btn", textContent: text, onclick: () => move(from.box.selectedOptions) });
    element.setAttribute("aria-label", label);
    return element;
  };
  const buttons = createElement("div", { className: "chooser-buttons" },
    button("→", `Choose the selected ${title}`, available), button("←", `Remove the selected ${title}`, chosen));
  source.hidden = true;
  source.after(createElement("div", { className: "chooser" }, available.element, buttons, chosen.element), status);
  fill();
}

// Lists: selects all rows of the page, and shows how many are selected.
for (const bar of document.querySelectorAll("[data-actions]")) {
  const form = bar.closest("form");
  const boxes = [...form.querySelectorAll("[name=_selected_action]")];
  const counter = bar.querySelector("[data-counter]");
  const across = bar.querySelector("[data-across]");
  const all = createElement("input", { type: "checkbox", className: "form-check-input" });
  all.setAttribute("aria-label", "Select all on this page");
  form.querySelector("[data-select-all]").append(all);
  const count = () => {
    const number = boxes.filter((box) => box.checked).length;
    all.checked = number === boxes.length;
    all.indeterminate = number > 0 && !all.checked;
    across?.classList.toggle("offered", all.checked);
    if (across && !all.checked) across.querySelector("input").checked = false;
    counter.textContent = across?.querySelector("input").checked
      ? "All selected" : `${number} of ${counter.dataset.total} selected`;
  };
  all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; count(); });
  let last = null;
  form.addEventListener("click", (event) => {
    const index = boxes.indexOf(event.target);
    if (index < 0) return;
    if (event.shiftKey && last !== null) {
      for (const box of boxes.slice(Math.min(last, index), Math.max(last, index) + 1)) box.checked = event.target.checked;
    }
    last = index;
  });
  form.addEventListener("change", count);
  count();
}
