// Screens that lie over the page. The first of those that are open can be used, and nothing beneath it.

const COVERS = ["dark", "staff", "resting", "idle", "passage", "phone", "attract"];
const open = new Set(findAllOpen());
let used = "";
let focusBefore = null;

function findAllOpen() {
  return COVERS.filter((name) => find(`#k-${name}`).classList.contains("k-open"));
}

const topCover = () => COVERS.find((name) => open.has(name)) ?? "";

function cover(name, wanted = true) {
  if (wanted === open.has(name)) return;
  if (wanted && !open.size) focusBefore = document.activeElement;
  if (wanted) open.add(name);
  else open.delete(name);
  drawCovers();
}

function drawCovers() {
  const first = topCover();
  for (const name of COVERS) {
    const screen = find(`#k-${name}`);
    screen.classList.toggle("k-open", open.has(name));
    screen.inert = name !== first;
  }
  find("gradio-app").inert = Boolean(first);
  if (first) hideKeyboard();
  if (first === used) return;
  used = first;
  const main = first && findAll(`#k-${first} :is(.k-main, .k-close)`).find((each) => each.checkVisibility());
  if (first) (main ?? find(`#k-${first}`)).focus({ preventScroll: true });
  else if (focusBefore?.isConnected) focusBefore.focus({ preventScroll: true });
}

// ---- the passage behind an answer, and the page to take home ----

async function showPassage(source) {
  let passage = null;
  try {
    const reply = await fetchJson(`/kiosk/sources/${encodeURIComponent(source.value)}`);
    if (reply.ok) passage = await reply.json();
  } catch {
    // said below: there is no passage just now
  }
  if (open.size) return; // the visitor has gone on to something else
  const told = passage?.paragraphs.length ? passage.paragraphs : [text("passage_missing")];
  const spoken = passage?.paragraphs.length ? passage.lang : language();
  write(find("#k-passage-title"), passage?.title ?? words(source));
  write(find("#k-passage-section"), passage?.section ?? "");
  find("#k-passage-text").replaceChildren(...told.map((sentence) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = sentence;
    return paragraph;
  }));
  for (const part of ["title", "section", "text"]) set(find(`#k-passage-${part}`), "lang", spoken);
  const name = data.languages.find((known) => known.code === spoken)?.name ?? spoken;
  write(find("#k-passage-language"), spoken === language() ? "" : text("passage_language", { language: name }));
  find("#k-passage .k-aloud").hidden = !data.speak.includes(spoken);
  stopReading();
  cover("passage");
  find("#k-passage-text").scrollTop = 0;
}

function showPhone() {
  set(find("#k-phone-code"), "src", data.codes[language()] ?? "");
  write(find("#k-phone-address"), text("take_away_address"));
  cover("phone");
}

function forgetPassage() {
  if (reading?.place === "passage") stopReading();
  for (const part of ["title", "section", "text", "language"]) find(`#k-passage-${part}`).replaceChildren();
}
