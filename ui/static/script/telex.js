// Telex: how Vietnamese is typed on keys without accents. `aa` is â, `dd` đ, `w` the horn; s f r x j are tones, z none.

const TONES = { s: "\u0301", f: "\u0300", r: "\u0309", x: "\u0303", j: "\u0323" };
const TONE_MARKS = /[\u0300\u0301\u0303\u0309\u0323]/g;
const MARKED = { a: { a: "â", w: "ă" }, e: { e: "ê" }, o: { o: "ô", w: "ơ" }, u: { w: "ư" }, d: { d: "đ" } };

// `before` with `key` typed after it.
function telex(before, key) {
  const start = before.search(/[\p{L}\p{M}]*$/u);
  const word = before.slice(start);
  const changed = changeWord(word, key.toLowerCase());
  return changed === null ? before + key : before.slice(0, start) + changed;
}

// The word as the key changes it, or null where the key is a letter like any other.
function changeWord(word, key) {
  if (!word) return null;
  const { letters, tone } = bare(word);
  if (key === "z") return tone ? letters : null;
  if (TONES[key]) {
    const at = placeOfTone(letters);
    if (at < 0) return null;
    // The same tone twice takes it back and writes the letter.
    return tone === TONES[key] ? letters + key : withTone(letters, TONES[key]);
  }
  const marked = mark(letters, key);
  return marked === null ? null : withTone(marked, tone);
}

// The word's letters with their hats and horns, and its tone apart.
function bare(word) {
  const apart = word.normalize("NFD");
  return { letters: apart.replace(TONE_MARKS, "").normalize("NFC"), tone: apart.match(TONE_MARKS)?.[0] ?? "" };
}

function mark(letters, key) {
  if (key === "w" && /uo[\p{L}]*$/iu.test(letters) && !/quo$/iu.test(letters)) {
    return letters.replace(/(u)(o)([\p{L}]*)$/iu, (_, u, o, rest) => like(u, "ư") + like(o, "ơ") + rest);
  }
  if (key === "w" && /ưo[\p{L}]*$/iu.test(letters)) return letters.replace(/o([\p{L}]*)$/iu, (o, rest) => like(o[0], "ơ") + rest);
  for (let at = letters.length - 1; at >= 0; at -= 1) {
    const letter = letters[at];
    const changed = MARKED[letter.toLowerCase()]?.[key];
    // Only over the consonants that may end a syllable: `vaan` and `vana` are both vân, but `d` waits at the front.
    if (changed && mayReach(letters, at, key)) return letters.slice(0, at) + like(letter, changed) + letters.slice(at + 1);
    const written = Object.values(MARKED[plainLetter(letter)] ?? {});
    // The same mark twice takes it back and writes the letter.
    if (written.includes(letter.toLowerCase()) && MARKED[plainLetter(letter)][key] === letter.toLowerCase()) {
      return letters.slice(0, at) + like(letter, plainLetter(letter)) + letters.slice(at + 1) + key;
    }
  }
  return null;
}

function mayReach(letters, at, key) {
  const after = letters.slice(at + 1).toLowerCase();
  if (key === "d") return at === 0;
  if (key === "w" && letters[at].toLowerCase() === "u") return /^([iay]?|ng?|[ctm])$/.test(after);
  return /^(|[iuyao]|ch?|nh?|ng|[mpt]|u|y)$/.test(after);
}

const plainLetter = (letter) => letter.normalize("NFD")[0].toLowerCase().replace("đ", "d");

const like = (model, letter) => (model === model.toUpperCase() && model !== model.toLowerCase() ? letter.toUpperCase() : letter);

function withTone(letters, tone) {
  const at = tone ? placeOfTone(letters) : -1;
  if (at < 0) return letters;
  return letters.slice(0, at) + (letters[at] + tone).normalize("NFC") + letters.slice(at + 1);
}

// Where the tone stands: on the marked vowel; else on the last of two before a consonant; else on the first of them.
function placeOfTone(letters) {
  const vowels = /^(?:qu|gi(?=[\p{L}]*[aeiouyăâêôơư]))?/iu.exec(letters)[0].length;
  const places = [...letters].map((letter, at) => (at >= vowels && /[aeiouyăâêôơư]/iu.test(letter) ? at : -1));
  const found = places.filter((at) => at >= 0);
  if (!found.length) return [...letters].findIndex((letter) => /[aeiouyăâêôơư]/iu.test(letter));
  // Vowels apart from each other make no Vietnamese word, but a name from elsewhere.
  if (found[found.length - 1] - found[0] >= found.length) return -1;
  const marked = found.filter((at) => /[ăâêôơư]/iu.test(letters[at]));
  if (marked.length) return marked[marked.length - 1];
  if (found.length === 1) return found[0];
  const endsInConsonant = found[found.length - 1] < letters.length - 1;
  if (endsInConsonant || found.length === 3) return found[1];
  return found[0];
}
