// The buttons that copy a text.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      // Over plain HTTP there is no clipboard.
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    document.getElementById("copied").textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
