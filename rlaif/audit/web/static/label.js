// Keys for the labelling page, which works without them. A key presses the button that shows it, and does nothing else.
"use strict";
document.documentElement.classList.add("js");

const DEAD_MS = 300; // a key pressed so soon after a new item was meant for the one before
const SIDES = ["first", "second", "tie"];
let shownAt = Infinity;
let isSent = false;
let hasSeenEnd = false;

const find = (css) => document.querySelector(css);
const isEarly = () => performance.now() - shownAt < DEAD_MS;
const isTyping = (target) => target.closest("textarea, input, select, [contenteditable]") !== null;

/** The key of the badge that was pressed. Keyboards without Latin letters are read by the place of the key. */
function readKey(event) {
  const key = event.key.toLowerCase();
  if (/^[a-z0-9?]$/.test(key) || event.shiftKey) return key;
  const place = /^(?:Key|Digit|Numpad)([A-Z0-9])$/.exec(event.code);
  return place ? place[1].toLowerCase() : key;
}

function say(sentence, isRefusal) {
  const said = find("#said");
  said.setAttribute("role", isRefusal ? "alert" : "status");
  said.classList.toggle("refusal", isRefusal);
  said.textContent = sentence;
}

/** Whether the end of both replies was on the screen at some time, with nothing folded away. */
function watchEnd() {
  const end = find("#end");
  if (end === null || find(".fold:not([open])") !== null) return;
  const bottom = Math.min(window.innerHeight, find(".choices").getBoundingClientRect().top);
  hasSeenEnd = hasSeenEnd || end.getBoundingClientRect().top <= bottom + 2;
}

function refuseUnread() {
  if (find("#end") === null || hasSeenEnd) return false;
  if (find(".fold:not([open])") !== null) {
    document.querySelectorAll(".fold").forEach((fold) => { fold.open = true; });
    say("The rest of both replies is shown now: read to the end first.", true);
  } else {
    say("Read to the end of both replies first.", true);
  }
  return true;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isTyping(event.target)) return;
  const pressed = find(`[data-key="${CSS.escape(readKey(event))}"]`);
  if (pressed === null) return;
  event.preventDefault();
  if (!event.repeat && !isSent && !isEarly()) pressed.click();
}

function onSubmit(event) {
  const action = event.submitter ? event.submitter.value : "";
  if (isSent || isEarly() || (SIDES.includes(action) && refuseUnread())) {
    event.preventDefault();
    return;
  }
  isSent = true;
  setTimeout(() => { isSent = false; }, 3000); // a server that does not answer leaves the page usable
}

function onNoteKey(event) {
  const note = find("#note");
  if (event.key === "Escape") {
    note.closest("details").open = false;
    note.blur();
  } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!event.repeat) find('button[value="note"]').click();
  }
}

/** One fold opened or closed does the same to the other, so that both replies are cut at one place. */
function joinFolds() {
  const folds = [...document.querySelectorAll(".fold")];
  folds.forEach((fold) => fold.addEventListener("toggle", () => {
    folds.forEach((other) => { other.open = fold.open; });
    watchEnd();
  }));
}

/** The link to the page with differences becomes a switch on this page, which stays where it was scrolled to. */
function switchDifferences() {
  const link = find("#compare");
  if (link === null) return;
  const replies = find("#replies");
  link.setAttribute("role", "button");
  link.setAttribute("aria-pressed", replies.classList.contains("compared"));
  link.addEventListener("click", (event) => {
    event.preventDefault();
    link.setAttribute("aria-pressed", replies.classList.toggle("compared"));
  });
}

function joinDrawers() {
  const drawers = [...document.querySelectorAll(".drawer")];
  drawers.forEach((drawer) => drawer.addEventListener("toggle", () => {
    if (!drawer.open) return;
    drawers.filter((other) => other !== drawer).forEach((other) => { other.open = false; });
    const note = drawer.querySelector("textarea");
    if (note !== null) note.focus();
  }));
}

document.addEventListener("DOMContentLoaded", () => {
  shownAt = performance.now();
  document.addEventListener("keydown", onKey);
  document.querySelectorAll("form").forEach((form) => form.addEventListener("submit", onSubmit));
  if (find("#note") !== null) find("#note").addEventListener("keydown", onNoteKey);
  joinFolds();
  joinDrawers();
  switchDifferences();
  watchEnd();
  document.addEventListener("scroll", watchEnd, { passive: true });
  window.addEventListener("resize", watchEnd);
  const said = find("#said");
  const words = said.textContent; // a screen reader reads what changes, not what a page brings along
  if (words !== "") setTimeout(() => { if (said.textContent === words) { said.textContent = ""; say(words, said.classList.contains("refusal")); } }, 100);
});
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
