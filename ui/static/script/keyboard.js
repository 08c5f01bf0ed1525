// The on-screen keyboard. It opens when a finger touches the question box; a mouse has real keys beside it.

// Letters that a language adds to the plain ones. Chinese has no row: it needs an input method, which the page leaves
// to the machine, and suggested questions serve where the machine has none.
const ACCENTS = {
  en: "",
  vi: "ăâđêôơư",
  fr: "éèêàâçùûîïôœ",
  es: "áéíóúüñ¿¡",
  de: "äöüß",
  it: "àèéìòù",
  pt: "áâãàçéêíóôõú",
};
const TONE_KEYS = [["s", "◌́"], ["f", "◌̀"], ["r", "◌̉"], ["x", "◌̃"], ["j", "◌̣"]];
const ROWS = ["1234567890", "qwertyuiop", "asdfghjkl'", "zxcvbnm,?"];

let capitals = false;

const hasKeys = () => language() in ACCENTS;

function layKeys() {
  if (!hasKeys()) return;
  const accents = [...ACCENTS[language()]].map(letterKey);
  const tones = language() === "vi" ? TONE_KEYS.map(([key, shown]) => toneKey(key, shown)) : [];
  const [digits, first, second, third] = ROWS.map((row) => [...row].map(letterKey));
  const last = [
    key(text("hide_keyboard"), hideKeyboard, "k-key k-key-word"),
    key(text("space"), () => type(" "), "k-key k-key-space"),
    key(text("ask"), askFromKeys, "k-key k-key-ask"),
  ];
  const capital = key("⇧", shift, "k-key k-key-wide", text("capitals"));
  set(capital, "aria-pressed", String(capitals));
  const erase = key("⌫", () => type(null), "k-key k-key-wide", text("delete"));
  const rows = [[...accents, ...tones], digits, first, second, [capital, ...third, erase], last];
  find("#k-keyboard").replaceChildren(...rows.filter((row) => row.length).map((keys) => {
    const line = document.createElement("div");
    line.className = "k-keys";
    line.append(...keys);
    return line;
  }));
}

function key(shown, act, name, label = "") {
  const made = button(shown, act, name);
  if (label) set(made, "aria-label", label);
  // The box keeps the focus, and with it the place where the next letter goes.
  made.addEventListener("mousedown", (event) => event.preventDefault());
  // Not `:active`, which a browser may leave on a key that a finger has left.
  made.addEventListener("pointerdown", () => made.classList.add("k-down"));
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
    made.addEventListener(end, () => made.classList.remove("k-down"));
  }
  return made;
}

function letterKey(letter) {
  const shown = capitals ? letter.toLocaleUpperCase(language()) : letter;
  return key(shown, () => type(shown), "k-key");
}

function toneKey(typed, shown) {
  return key(shown, () => type(typed), "k-key k-key-tone", `${shown} (${typed})`);
}

// Puts a sign where the cursor is, or takes one away; `null` is the delete key.
function type(sign) {
  const box = find("#k-box input");
  const [start, end] = [box.selectionStart ?? box.value.length, box.selectionEnd ?? box.value.length];
  const before = sign === null && start === end ? box.value.slice(0, start).replace(/.$/su, "") : box.value.slice(0, start);
  const written = sign === null ? before : afterTyping(before, sign);
  const whole = (written + box.value.slice(end)).slice(0, box.maxLength > 0 ? box.maxLength : undefined);
  fill(box, whole);
  const at = Math.min(written.length, whole.length);
  box.setSelectionRange(at, at);
  box.scrollLeft = box.scrollWidth;
  if (capitals && sign !== null && sign.trim()) shift();
}

const afterTyping = (before, sign) => (language() === "vi" && /^[a-z]$/i.test(sign) ? telex(before, sign) : before + sign);

function shift() {
  capitals = !capitals;
  layKeys();
}

function askFromKeys() {
  const asked = find("#k-box input").value.trim();
  if (!asked) return;
  hideKeyboard();
  find("#k-ask").click();
}

function showKeyboard() {
  if (!hasKeys() || busySince || topCover()) return;
  capitals = false;
  layKeys();
  find("#k-keyboard").hidden = false;
  document.body.classList.add("k-typing");
}

function hideKeyboard() {
  if (!document.body.classList.contains("k-typing")) return;
  find("#k-keyboard").hidden = true;
  document.body.classList.remove("k-typing");
  find("#k-box input")?.blur();
}

// At the end of a touch: what moves earlier would slide another control under the finger. By the path of the touch, for
// a key that changes all keys is no longer in the page by now.
function followTouch(event) {
  if (event.pointerType !== "touch") return;
  const path = event.composedPath();
  if (path.includes(find("#k-box"))) showKeyboard();
  else if (!path.includes(find("#k-keyboard")) && !path.includes(find("#k-ask"))) hideKeyboard();
}
