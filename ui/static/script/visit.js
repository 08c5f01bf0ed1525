// A visit from its first touch to its last: begin, be asked whether anybody is there, start over, rest.

const POLL_MS = 3000;
const POLL_TIMEOUT_MS = 2800; // a busy machine is not a dead service, which refuses at once
const MISSES_TO_REST = 2;
const BUSY_MS = 75000; // beyond the longest answer; a Stop button that outlives it is a fault
const WORD_MS = 400; // reading a word
const LONGEST_IDLE_MS = 150000;
const FRESH_MS = 350; // the second touch of an eager finger is not yet a question
const SPEAK_MS = 2000; // a page takes a fifth of a second to change its language
const ATTRACT_MS = 7000; // the attract screen says its sentence in one language after the other

let misses = data.known ? 0 : MISSES_TO_REST;
let polling = false;
let leaving = false;
let chosen = ""; // the language touched on the attract screen, until the page speaks it
let stirredAt = Date.now();
let warnedAt = 0;

// ---- begin ----

function begin(spoken) {
  if (leaving || topCover() !== "attract") return;
  chosen = spoken;
  stir();
  for (const choice of findAll("#k-attract-languages button")) {
    choice.classList.toggle("k-chosen", choice.value === spoken);
  }
  follow();
  askForLanguage();
}

// The attract screen stays until the page beneath it speaks the language that was touched.
function followBeginning(spoken) {
  if (!chosen || spoken !== chosen) return;
  chosen = "";
  cover("attract", false);
  document.body.classList.add("k-fresh");
  setTimeout(() => document.body.classList.remove("k-fresh"), FRESH_MS);
}

// Again while nothing follows: a page that is only just drawn may not listen yet.
function askForLanguage() {
  if (!chosen) return;
  const choice = find(`#k-languages input[value="${CSS.escape(chosen)}"]`);
  if (choice) {
    choice.checked = false;
    choice.click();
  }
  setTimeout(askForLanguage, choice ? SPEAK_MS : 100);
}

let sentence = 0;

function nextLanguage() {
  if (topCover() !== "attract" || chosen || data.languages.length < 2) return;
  sentence = (sentence + 1) % data.languages.length;
  const { code } = data.languages[sentence];
  const { touch_to_begin, computer_notice, words_kept } = data.texts[code];
  const [before, name, after] = data.attract[code];
  const strong = document.createElement("strong");
  strong.textContent = name;
  find("#k-attract-title").classList.toggle("k-long", name.length > data.long_name);
  sayInAttract("title", code, before, strong, after);
  sayInAttract("touch", code, touch_to_begin);
  sayInAttract("notice", code, `${computer_notice} ${words_kept}`);
}

function sayInAttract(part, code, ...said) {
  const line = find(`#k-attract-${part}`);
  line.lang = code;
  line.replaceChildren(...said);
}

// ---- is anybody there? ----

function stir() {
  stirredAt = Date.now();
  warnedAt = 0;
  cover("idle", false);
}

function idleAfter() {
  const read = words(find("#k-passage.k-open") ?? findAll("#k-chat [data-testid=bot]").pop());
  const count = [...new Intl.Segmenter(language(), { granularity: "word" }).segment(read)].filter((s) => s.isWordLike);
  return Math.max(data.idle_s * 1000, Math.min(data.idle_s * 1000 + WORD_MS * count.length, LONGEST_IDLE_MS));
}

function watchTheTime() {
  if (leaving || busySince || reading || recorder || ["attract", "resting", "dark"].includes(topCover())) return stirQuietly();
  const now = Date.now();
  if (topCover() === "staff") return now - stirredAt > 60000 ? startOver() : undefined;
  if (!warnedAt && now - stirredAt < idleAfter()) return;
  if (!warnedAt) warnedAt = now;
  const left = Math.ceil((warnedAt + data.warning_s * 1000 - now) / 1000);
  if (left <= 0) return startOver();
  write(find("#k-idle-left"), text("seconds_left", { seconds: left }));
  find("#k-idle .k-idle-bar span").style.width = `${(100 * left) / data.warning_s}%`;
  cover("idle");
}

function stirQuietly() {
  stirredAt = Date.now();
  warnedAt = 0;
}

// ---- start over ----

// A fresh page, not an emptied one: emptying while an answer streams in lost that race.
async function startOver() {
  if (leaving) return;
  leaving = true;
  for (const name of COVERS) open.delete(name);
  forget();
  cover("attract");
  await endAnswer();
  forget();
  const reply = await state();
  leaving = false;
  if (reply) return location.replace(location.pathname);
  misses = MISSES_TO_REST; // the kiosk itself is gone; the page comes back with it
  cover("resting");
}

// A page left in the middle of an answer makes Gradio write errors to the console.
async function endAnswer() {
  find("#k-stop")?.click();
  for (let tries = 0; tries < 20 && find("#k-stop"); tries += 1) await pause(40);
}

function forget() {
  const box = find("#k-box input");
  if (box) box.value = "";
  stopReading();
  stopListening();
  hush();
  forgetPassage();
  rated.clear();
  const loud = localStorage.getItem(VOLUME);
  localStorage.clear();
  if (loud !== null) localStorage.setItem(VOLUME, loud);
  sessionStorage.clear();
}

// ---- does the service answer? ----

async function state() {
  try {
    const reply = await fetchJson("/kiosk/state", { signal: AbortSignal.timeout(POLL_TIMEOUT_MS) });
    return reply.ok ? await reply.json() : null;
  } catch {
    return null; // not reachable: that is the answer
  }
}

async function poll() {
  if (busySince && Date.now() - busySince > BUSY_MS) return startOver();
  if (polling || leaving) return;
  polling = true;
  const reply = await state();
  polling = false;
  if (reply?.ready) {
    // Whoever was here when the guide went to rest has left: the next visitor gets a new page.
    if (misses >= MISSES_TO_REST && topCover() !== "staff" && topCover() !== "dark") return startOver();
    if (misses < MISSES_TO_REST) misses = 0;
  } else {
    misses += 1;
  }
  cover("resting", misses >= MISSES_TO_REST);
}
