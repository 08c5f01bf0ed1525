// What Gradio's page cannot do by itself: one question at a time, start over, rest, and speak once to screen readers.
(() => {
  "use strict";

  const STATE_PATH = "/kiosk/state";
  const POLL_MS = 3000;
  const POLL_TIMEOUT_MS = 2000;
  const MISSES_TO_REST = 2;
  const TOUCH_MS = 2500; // a touch the server has not taken up by then may be repeated
  const BUSY_MS = 75000; // beyond the longest answer; a Stop button that outlives it is a fault
  const data = JSON.parse(document.getElementById("k-data").textContent);

  let busySince = 0;
  let touchedAt = 0;
  let misses = data.known ? 0 : MISSES_TO_REST;
  let polling = false;
  let leaving = false;

  const find = (selector) => document.querySelector(selector);
  const words = (element) => (element ? element.innerText.replace(/\s+/g, " ").trim() : "");

  // Setting an attribute to what it is would wake the observer again, and for ever.
  function set(element, name, value) {
    if (element && element.getAttribute(name) !== value) element.setAttribute(name, value);
  }

  // ---- follow what Gradio draws ----

  function follow() {
    const title = words(find("#k-header h1"));
    if (!title) return;
    if (!leaving) find("#k-first").hidden = true;
    const language = find("#k-languages label.selected input")?.value;
    const guide = words(find("#k-header .k-guide"));
    if (language) set(document.documentElement, "lang", language);
    if (document.title !== `${guide} · ${title}`) document.title = `${guide} · ${title}`;
    for (const choice of document.querySelectorAll("#k-languages input")) {
      set(choice.closest("label"), "lang", choice.value);
      set(choice, "name", "k-language");
    }
    quieten(guide);
    followAnswer();
    followCover();
  }

  // The message list would read out every few letters of a growing answer, and calls itself by English names.
  function quieten(guide) {
    const list = find("#k-chat [role=log]");
    set(list, "aria-live", "off");
    set(list, "aria-label", guide);
    set(list, "tabindex", "0");
    for (const said of document.querySelectorAll("#k-chat [data-testid], #k-chat .top-panel button")) {
      said.removeAttribute("aria-label");
      said.removeAttribute("title");
    }
    document.body.classList.remove("dark");
  }

  function followAnswer() {
    const busy = Boolean(find("#k-stop"));
    if (busy === Boolean(busySince)) return;
    busySince = busy ? Date.now() : 0;
    touchedAt = 0;
    document.body.classList.toggle("k-busy", busy);
    const last = [...document.querySelectorAll("#k-chat [data-testid=bot]")].pop();
    if (last) say(words(last), last.querySelector("[lang]")?.lang);
  }

  function say(text, language) {
    const status = find("#k-status");
    if (language) status.lang = language;
    status.textContent = text;
  }

  // ---- one question at a time ----

  const waiting = () => Boolean(busySince) || Date.now() - touchedAt < TOUCH_MS;

  function refuse(event) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  function beforeAsking(event, question) {
    if (waiting() || !question.trim()) return refuse(event);
    touchedAt = Date.now();
    document.body.classList.add("k-busy");
    setTimeout(() => document.body.classList.toggle("k-busy", Boolean(busySince)), TOUCH_MS);
  }

  function onClick(event) {
    const button = event.target.closest?.("#k-page button");
    if (!button) return;
    if (button.id === "k-over") return startOver();
    if (button.id === "k-ask") return beforeAsking(event, find("#k-box input").value);
    if (button.matches(".k-chip")) return beforeAsking(event, button.innerText);
  }

  function onKey(event) {
    if (event.key === "Enter" && !event.isComposing && event.target.matches?.("#k-box input")) {
      beforeAsking(event, event.target.value);
    }
  }

  // ---- covers ----

  function followCover() {
    const resting = misses >= MISSES_TO_REST;
    const covered = resting || leaving;
    if (find("gradio-app").inert !== covered) find("gradio-app").inert = covered;
    const screen = find("#k-resting");
    if (screen.classList.contains("k-open") === resting) return;
    const said = data.resting[document.documentElement.lang];
    find("#k-resting-title").textContent = said ? said.title : "";
    find("#k-resting-hint").textContent = said ? said.hint : "";
    screen.classList.toggle("k-open", resting);
    if (resting) screen.focus();
  }

  // A fresh page, not an emptied one: emptying while an answer streams in lost that race.
  async function startOver() {
    if (leaving) return;
    leaving = true;
    find("#k-first").hidden = false;
    await endAnswer();
    forget();
    followCover();
    const reply = await state();
    leaving = false;
    if (reply) return location.replace(location.pathname);
    misses = MISSES_TO_REST; // the kiosk itself is gone; the page comes back with it
    followCover();
  }

  // A page left in the middle of an answer makes Gradio write errors to the console.
  async function endAnswer() {
    find("#k-stop")?.click();
    for (let tries = 0; tries < 20 && find("#k-stop"); tries += 1) await new Promise((done) => setTimeout(done, 40));
  }

  function forget() {
    const box = find("#k-box input");
    if (box) box.value = "";
    find("#k-status").textContent = "";
    localStorage.clear();
    sessionStorage.clear();
  }

  // ---- is anybody there? ----

  async function state() {
    try {
      const reply = await fetch(STATE_PATH, { cache: "no-store", signal: AbortSignal.timeout(POLL_TIMEOUT_MS) });
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
      if (misses >= MISSES_TO_REST) return startOver();
      misses = 0;
    } else {
      misses += 1;
    }
    followCover();
  }

  function begin() {
    forget();
    followCover();
    let due = 0;
    const soon = () => {
      clearTimeout(due);
      due = setTimeout(follow, 25);
    };
    new MutationObserver(soon).observe(document.body, {
      subtree: true, childList: true, characterData: true, attributes: true,
    });
    follow();
    poll();
    setInterval(poll, POLL_MS);
  }

  addEventListener("click", onClick, true);
  addEventListener("keydown", onKey, true);
  addEventListener("contextmenu", (event) => event.preventDefault());
  addEventListener("dragstart", (event) => event.preventDefault());
  addEventListener("DOMContentLoaded", begin);
})();
