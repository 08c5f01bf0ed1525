// What a screen reader hears: that the guide is thinking, then each sentence of the answer once, when it is whole.

let heard = "";
let thinkingTold = false;

function hush() {
  heard = "";
  thinkingTold = false;
  find("#k-status").replaceChildren();
}

function announce(message, ended) {
  if (!message) return;
  const thinking = message.querySelector(".k-thinking");
  if (thinking && !thinkingTold) tell(thinking);
  thinkingTold = true;
  const answer = message.querySelector(".k-said");
  if (answer) tellSentences(answer, ended);
  if (ended) message.querySelectorAll(".k-stopped, .k-from").forEach((more) => tell(more));
}

function tellSentences(answer, ended) {
  const said = words(answer);
  // Words that took the place of others are told from their beginning.
  if (!said.startsWith(heard)) heard = "";
  const whole = ended ? said : said.slice(0, endOfSentences(said, answer.lang));
  if (whole.length <= heard.length) return;
  tell(answer, whole.slice(heard.length).trim());
  heard = whole;
}

// Where the last sentence begins: it may still grow.
function endOfSentences(said, spoken) {
  const sentences = [...new Intl.Segmenter(spoken || undefined, { granularity: "sentence" }).segment(said)];
  return sentences.length ? sentences[sentences.length - 1].index : 0;
}

function tell(part, sentence = words(part)) {
  const line = document.createElement("p");
  if (part.lang) line.lang = part.lang;
  line.textContent = sentence;
  find("#k-status").append(line);
}
