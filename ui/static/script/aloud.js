// Reading aloud: a sentence at a time, marked while it is heard, the next one on its way meanwhile. Only when asked to.

const READING_MS = 20000; // for one sentence to come
const LONGEST_HEARD_MS = 120000; // one sentence; a player that never ends would keep the visit for ever
const LONGEST_SENTENCE = 1000; // characters the kiosk takes
const LOUDER = 10; // per cent, a touch
const VOLUME = "volume"; // the one thing this browser keeps, set by staff

let reading = null; // { place, leave }: "answer" or "passage", and what ends it
let cannotRead = ""; // the place where it just failed
let volume = Number(localStorage.getItem(VOLUME) ?? data.volume);

// Touched again, it stops.
async function readAloud(place, part, spoken) {
  const again = reading?.place === place;
  stopReading();
  if (again) return;
  const mine = { place, leave: new AbortController() };
  reading = mine;
  labelAloud();
  try {
    await readSentences(sentencesOf(part, spoken), spoken, mine.leave.signal);
  } catch {
    if (reading === mine) cannotRead = place;
  }
  if (reading === mine) endReading();
}

async function readSentences(sentences, spoken, leave) {
  let next = fetchReading(sentences[0], spoken, leave);
  for (const [at, sentence] of sentences.entries()) {
    const sound = await next;
    next = fetchReading(sentences[at + 1], spoken, leave);
    CSS.highlights.set("k-read", new Highlight(sentence.range));
    await play(sound, leave);
  }
}

// Each sentence with its place on the screen; none goes beyond the line that the museum ended.
function sentencesOf(part, spoken) {
  const lines = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
  const found = [];
  while (lines.nextNode()) {
    const line = lines.currentNode;
    for (const { segment, index } of new Intl.Segmenter(spoken, { granularity: "sentence" }).segment(line.data)) {
      const range = new Range();
      range.setStart(line, index);
      range.setEnd(line, index + segment.length);
      if (/[\p{L}\p{N}]/u.test(segment)) found.push({ said: segment.trim().slice(0, LONGEST_SENTENCE), range });
    }
  }
  return found;
}

function fetchReading(sentence, spoken, leave) {
  if (!sentence) return null;
  const coming = fetchSound(sentence.said, spoken, AbortSignal.any([leave, AbortSignal.timeout(READING_MS)]));
  coming.catch(() => {}); // told when its turn has come
  return coming;
}

async function fetchSound(said, spoken, signal) {
  const reply = await post("/kiosk/speak", { text: said, lang: spoken }, { signal });
  if (!reply.ok) throw new Error("no voice");
  return reply.blob();
}

function play(sound, leave) {
  const audio = new Audio(URL.createObjectURL(sound));
  audio.volume = volume / 100;
  return new Promise((done, fail) => {
    leave.throwIfAborted();
    leave.addEventListener("abort", fail);
    audio.addEventListener("ended", done);
    audio.addEventListener("error", fail);
    setTimeout(fail, LONGEST_HEARD_MS);
    audio.play().catch(fail);
  }).finally(() => {
    audio.pause();
    URL.revokeObjectURL(audio.src);
  });
}

function stopReading() {
  cannotRead = "";
  const ended = reading;
  endReading();
  ended?.leave.abort();
}

function endReading() {
  reading = null;
  CSS.highlights.delete("k-read");
  labelAloud();
  stir();
}

const placeOf = (aloud) => (aloud.closest("#k-passage") ? "passage" : "answer");

function labelAloud() {
  for (const aloud of findAll(".k-aloud")) {
    const place = placeOf(aloud);
    const name = reading?.place === place ? "stop_reading" : cannotRead === place ? "not_aloud" : "read_aloud";
    write(aloud.querySelector("span"), text(name));
  }
}

function touchAloud(aloud) {
  const place = placeOf(aloud);
  const part = place === "passage" ? find("#k-passage-text") : aloud.closest("[data-testid=bot]").querySelector(".k-said");
  readAloud(place, part, place === "passage" ? part.lang : aloud.value);
}

// ---- how loud; behind the staff's PIN ----

function changeVolume(by) {
  volume = Math.max(0, Math.min(100, volume + by));
  localStorage.setItem(VOLUME, volume);
  showVolume();
}

function showVolume() {
  find("#k-staff-volume").hidden = !data.speak.length;
  write(find("#k-staff-loud"), `${volume} %`);
}
