// What every part below uses: the page's data, its words in the visitor's language, and small helpers.

const data = JSON.parse(document.getElementById("k-data").textContent);
const root = document.documentElement;

const find = (selector) => document.querySelector(selector);
const findAll = (selector) => [...document.querySelectorAll(selector)];
const words = (element) => (element ? element.innerText.replace(/\s+/g, " ").trim() : "");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Setting an attribute to what it is would wake the observer again, and for ever.
function set(element, name, value) {
  if (element && element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function write(element, value) {
  if (element && element.textContent !== value) element.textContent = value;
}

const language = () => (data.texts[root.lang] ? root.lang : data.languages[0]?.code);

function text(name, values = {}) {
  const sentence = data.texts[language()]?.[name] ?? "";
  return sentence.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

function writeTexts() {
  for (const element of findAll("[data-text]")) write(element, text(element.dataset.text));
  for (const element of findAll("[data-label]")) set(element, "aria-label", text(element.dataset.label));
}

function button(label, act, name = "") {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.textContent = label;
  made.addEventListener("click", act);
  return made;
}

// What Gradio's field takes for typing: the browser's own way to set a value, and the event that follows it.
function fill(field, value) {
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, value);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

async function fetchJson(path, options = {}) {
  return fetch(data.root + path, { cache: "no-store", signal: AbortSignal.timeout(8000), ...options });
}

function post(path, body, options = {}) {
  return fetchJson(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...options,
  });
}
