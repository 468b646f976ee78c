// Keys of a decision: r, w and u say right, wrong or unclear; after w a reason's letter, Enter without one, or Escape.
// Without this file the form's buttons do the same.
"use strict";
const form = document.getElementById("dispute");
const status = document.getElementById("said-so");
const says = { r: "right", w: "wrong", u: "unclear" };
let waits = false;

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName) && target.type !== "radio");
}

function send(value) {
  const button = form.querySelector(`button[name="says"][value="${value}"]`);
  waits = false;
  button.click();
}

document.addEventListener("keydown", (event) => {
  if (!form || event.ctrlKey || event.metaKey || event.altKey || event.repeat || isTyping(event.target)) return;
  if (waits) {
    if (event.key === "Escape") { waits = false; status.textContent = ""; return; }
    if (event.key === "Enter") { event.preventDefault(); send("wrong"); return; }
    const reason = [...form.elements.reason].find((one) => one.dataset.key === event.key);
    if (reason) { event.preventDefault(); reason.checked = true; send("wrong"); }
    return;
  }
  if (!(event.key in says)) return;
  event.preventDefault();
  if (event.key === "w") {
    waits = true;
    status.textContent = "Wrong: now a reason's letter, or Enter for none. Escape takes it back.";
    form.scrollIntoView({ block: "nearest" });
    return;
  }
  send(says[event.key]);
});
