// Ties the parts to the page's events; runs last.

function onTouch(event) {
  followCorner(event);
  if (topCover() !== "idle") stir();
}

function onAnyClick(event) {
  const first = topCover();
  followTouch(event);
  if (first === "attract") begin(event.target.closest("#k-attract-languages button")?.value ?? data.languages[0].code);
  else if (first === "idle") stir();
  else if (event.target.closest("#k-staff-restart")) startOver();
  else if (event.target.closest("#k-staff-quieter")) changeVolume(-LOUDER);
  else if (event.target.closest("#k-staff-louder")) changeVolume(LOUDER);
  else if (event.target.closest("#k-passage .k-aloud")) touchAloud(event.target.closest(".k-aloud"));
  else if (event.target.closest("#k-staff-dark")) cover("dark");
  else if (event.target.closest(".k-close")) closeCover(first);
}

function closeCover(name) {
  if (name === "staff") return startOver();
  cover(name, false);
  if (name === "passage") forgetPassage();
}

function onAnyKey(event) {
  const first = topCover();
  if (first === "attract" && event.key.length === 1 && event.key !== " ") begin(data.languages[0].code);
  if (event.key === "Escape" && ["passage", "phone", "staff"].includes(first)) closeCover(first);
  if (event.key === "Escape") hideKeyboard();
  if (first === "staff" && /^\d$/.test(event.key) && !find("#k-staff-door").hidden) typePin(event.key);
  stir();
}

function start() {
  forget();
  for (const name of COVERS) find(`#k-${name}`).inert = name !== topCover();
  writeTexts();
  showSize();
  drawCovers();
  let due = 0;
  const soon = () => {
    due ||= setTimeout(() => {
      due = 0;
      follow();
    }, 25);
  };
  new MutationObserver(soon).observe(find("gradio-app") ?? document.body, {
    subtree: true, childList: true, characterData: true, attributes: true,
  });
  follow();
  poll();
  setInterval(poll, POLL_MS);
  setInterval(watchTheTime, 250);
  setInterval(nextLanguage, ATTRACT_MS);
}

addEventListener("pointerdown", onTouch, true);
addEventListener("click", onClick, true);
addEventListener("click", onAnyClick);
addEventListener("keydown", onKey, true);
addEventListener("keydown", onAnyKey);
// No menu, nothing dragged out or dropped in; and no clipboard, in which a visitor's words would await the next one.
for (const way of ["contextmenu", "dragstart", "dragover", "drop", "copy", "cut"]) {
  addEventListener(way, (event) => event.preventDefault());
}
// Two fingers, or a wheel with Ctrl, would make the page larger.
addEventListener("wheel", (event) => event.ctrlKey && event.preventDefault(), { passive: false });
addEventListener("DOMContentLoaded", start);
