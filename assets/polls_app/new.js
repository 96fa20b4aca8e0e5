// The form of a new poll: rows for choices are added without loading the page, by the button, by Enter and by pasted lines.
"use strict";

const form = document.querySelector(".new-poll");
const rows = form.querySelector(".rows");
const inputs = () => [...rows.querySelectorAll("input")];

const question = form.querySelector("#question_text");
const counter = form.querySelector(".counter");
const showLength = () => { counter.textContent = `${[...question.value].length}/${form.dataset.max}`; };
counter.hidden = false;
counter.nextElementSibling.hidden = true;
question.addEventListener("input", showLength);
showLength();

// As many as the server takes; with more than 100 it says that there are too many.
const MAX_ROWS = 500;

// A row after another one, or at the end.
const addRow = (after, text = "") => {
  if (inputs().length >= MAX_ROWS) return inputs().at(-1);
  const row = rows.firstElementChild.cloneNode(true);
  const input = row.querySelector("input");
  row.querySelector(".field-error")?.remove();
  input.removeAttribute("aria-invalid");
  input.removeAttribute("aria-describedby");
  input.removeAttribute("autofocus");
  input.value = text;
  (after ?? rows.lastElementChild).after(row);
  for (const [index, one] of inputs().entries()) {
    one.id = `choice${index + 1}`;
    one.setAttribute("aria-label", `Choice ${index + 1}`);
    const error = one.parentElement.querySelector(".field-error");
    if (error) {
      error.id = `${one.id}-error`;
      one.setAttribute("aria-describedby", error.id);
    }
  }
  return input;
};

form.querySelector("[name=add_choice]").addEventListener("click", (event) => {
  event.preventDefault();
  addRow().focus();
});

rows.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  const row = event.target.closest("li");
  const next = row.nextElementSibling?.querySelector("input");
  (next && !next.value ? next : addRow(row)).focus();
});

rows.addEventListener("paste", (event) => {
  const lines = event.clipboardData.getData("text").split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
  if (lines.length < 2) return;
  event.preventDefault();
  let input = event.target;
  const [first, ...others] = lines;
  input.setRangeText(first, input.selectionStart, input.selectionEnd, "end");
  for (const line of others) {
    const next = input.closest("li").nextElementSibling?.querySelector("input");
    if (next && !next.value) {
      input = next;
      input.value = line;
    } else {
      input = addRow(input.closest("li"), line);
    }
  }
  input.focus();
});

// A time is of use only for a poll that is published later.
const time = form.querySelector("#pub_date");
time.addEventListener("input", () => { if (time.value) form.querySelector("[name=publish][value=later]").checked = true; });
