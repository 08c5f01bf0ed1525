// What Gradio's page cannot do by itself: names in the visitor's language, and one question at a time.

const TOUCH_MS = 2500; // a touch the server has not taken up by then may be repeated
const rated = new Map();
let size = data.text_size;
let busySince = 0;
let lastAsk = { at: -TOUCH_MS, asked: 0 }; // the last touch that asks, and how many questions stood there then

// ---- follow what Gradio draws ----

function follow() {
  const title = words(find("#k-header h1"));
  if (!title) return;
  const guide = words(find("#k-header .k-guide"));
  const spoken = find("#k-languages label.selected input")?.value;
  if (spoken && spoken !== root.lang) {
    set(root, "lang", spoken);
    layKeys();
  }
  if (document.title !== `${guide} · ${title}`) document.title = `${guide} · ${title}`;
  for (const choice of findAll("#k-languages input")) {
    set(choice.closest("label"), "lang", choice.value);
    set(choice, "name", "k-language");
  }
  set(find("#k-box input"), "inputmode", hasKeys() ? "none" : "text");
  writeTexts();
  showSize();
  quieten(guide);
  followAnswer();
  followBeginning(spoken);
}

// The message list would read out every few letters of a growing answer, and calls itself by English names.
function quieten(guide) {
  const list = find("#k-chat [role=log]");
  set(list, "aria-live", "off");
  set(list, "aria-label", guide);
  set(list, "tabindex", "0");
  for (const said of findAll("#k-chat [data-testid], #k-chat .top-panel button")) {
    said.removeAttribute("aria-label");
    said.removeAttribute("title");
  }
  for (const thumb of findAll(".k-thumb")) {
    set(thumb, "title", text(thumb.name === "up" ? "helpful" : "not_helpful"));
    set(thumb, "aria-pressed", String(rated.get(thumb.value) === thumb.name));
  }
  document.body.classList.remove("dark");
}

// ---- text size ----

function showSize() {
  set(root, "data-size", String(size));
  const label = find("#k-size");
  const wanted = text(size < 3 ? "larger_text" : "normal_text");
  if (label && words(label) !== wanted) label.textContent = wanted;
}

function nextSize() {
  size = size < 3 ? size + 1 : 1;
  showSize();
  const list = find("#k-chat [role=log]");
  if (list) list.scrollTop = list.scrollHeight;
}

// ---- an answer begins, grows, ends ----

function followAnswer() {
  const busy = Boolean(find("#k-stop"));
  const last = findAll("#k-chat [data-testid=bot]").pop();
  if (busy && !busySince) hush();
  if (busy) announce(last, false);
  if (busy === Boolean(busySince)) return;
  busySince = busy ? Date.now() : 0;
  document.body.classList.toggle("k-busy", busy);
  if (busy) {
    stopReading();
    stopListening();
    hideKeyboard();
  } else {
    announce(last, true);
  }
  stir();
}

// ---- one question at a time ----

// By the page as it stands: an answer may begin and end between two looks of `follow`.
const asked = () => findAll("#k-chat [data-testid=user]").length;
const waiting = () => Boolean(find("#k-stop")) || (asked() === lastAsk.asked && Date.now() - lastAsk.at < TOUCH_MS);

function refuse(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
}

function beforeAsking(event, question) {
  if (waiting() || !question.trim()) return refuse(event);
  lastAsk = { at: Date.now(), asked: asked() };
  document.body.classList.add("k-busy");
  setTimeout(() => document.body.classList.toggle("k-busy", Boolean(busySince)), TOUCH_MS);
}

function onClick(event) {
  const touched = event.target.closest?.("#k-page button");
  if (!touched) return;
  if (touched.id === "k-over") return startOver();
  if (touched.id === "k-size") return nextSize();
  if (touched.id === "k-take") return showPhone();
  if (touched.id === "k-ask") return beforeAsking(event, find("#k-box input").value);
  if (touched.matches(".k-chip")) return beforeAsking(event, touched.innerText);
  if (touched.matches(".k-from")) return showPassage(touched);
  if (touched.matches(".k-thumb")) return rate(touched);
  if (touched.matches(".k-aloud")) return touchAloud(touched);
  if (touched.id === "k-listen") return touchListen();
}

function rate(thumb) {
  if (rated.get(thumb.value) === thumb.name) return;
  rated.set(thumb.value, thumb.name);
  for (const each of findAll(".k-thumb")) set(each, "aria-pressed", String(rated.get(each.value) === each.name));
  // Nobody is told when it is lost: the visitor has done a kindness.
  post("/kiosk/feedback", { id: thumb.value, rating: thumb.name }).catch(() => {});
}

function onKey(event) {
  // Print, save, search, reload, close, back, home: ways out of the page. What a field needs (mark all, undo) stays.
  const letter = event.key.toLowerCase();
  const ways =
    ((event.ctrlKey || event.metaKey) && !"az".includes(letter)) ||
    (event.altKey && /^(arrow(left|right)|home)$/.test(letter));
  if (ways || /^f\d+$/.test(letter) || event.key === "BrowserBack" || event.key === "ContextMenu") return refuse(event);
  if (event.key === "Enter" && !event.isComposing && event.target.matches?.("#k-box input")) {
    beforeAsking(event, event.target.value);
  }
}
