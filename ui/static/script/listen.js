// A spoken question: recorded from one touch to the next, then written into the question box, for the visitor to see.

const LONGEST_QUESTION_MS = 15000;
const UNDERSTANDING_MS = 20000;

let recorder = null; // while the microphone is open
let understanding = null; // what ends the wait for the words
let notHeard = false;

async function touchListen() {
  if (recorder) return recorder.state === "recording" && recorder.stop();
  if (understanding || busySince) return;
  hideKeyboard();
  stopReading();
  notHeard = false;
  understanding = new AbortController();
  try {
    await record(understanding.signal);
  } catch {
    stopListening();
    notHeard = true;
  }
  showListening();
}

async function record(leave) {
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const mine = new MediaRecorder(microphone);
  const parts = [];
  mine.addEventListener("dataavailable", (event) => parts.push(event.data));
  mine.addEventListener("stop", () => {
    microphone.getTracks().forEach((track) => track.stop());
    if (recorder === mine) recorder = null;
    stir();
    if (!leave.aborted) understand(new Blob(parts, { type: mine.mimeType }), leave);
  });
  leave.addEventListener("abort", () => mine.state === "recording" && mine.stop());
  mine.start();
  recorder = mine;
  setTimeout(() => mine.state === "recording" && mine.stop(), LONGEST_QUESTION_MS);
  if (leave.aborted) mine.stop(); // the visitor left while the browser opened the microphone
}

async function understand(recording, leave) {
  let heard = "";
  try {
    const reply = await fetchJson(`/kiosk/listen?lang=${encodeURIComponent(language())}`, {
      method: "POST",
      headers: { "Content-Type": recording.type },
      body: recording,
      signal: AbortSignal.any([leave, AbortSignal.timeout(UNDERSTANDING_MS)]),
    });
    if (reply.ok) heard = (await reply.json()).text;
  } catch {
    // said below: nothing was understood
  }
  if (leave.aborted) return;
  understanding = null;
  notHeard = !heard;
  if (heard) fill(find("#k-box input"), heard);
  showListening();
  stir();
}

function stopListening() {
  understanding?.abort();
  understanding = null;
  recorder = null;
  notHeard = false;
}

// The box says what is going on, and a screen reader hears it.
function showListening() {
  const touched = find("#k-listen");
  const label = text(recorder ? "said_all" : "say");
  if (touched && words(touched) !== label) touched.textContent = label;
  document.body.classList.toggle("k-recording", Boolean(recorder));
  const box = find("#k-box input");
  const told = recorder ? "listening" : understanding ? "thinking" : notHeard ? "not_heard" : "placeholder";
  if (!box || box.placeholder === text(told)) return;
  box.placeholder = text(told);
  if (touched && told !== "placeholder") tell(find("#k-box"), text(told));
}
