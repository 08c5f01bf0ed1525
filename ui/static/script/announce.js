// What a screen reader hears: that the guide is thinking, then each sentence of the answer once, when it is whole.

let heard = "";

function hush() {
  heard = "";
  find("#k-status").replaceChildren();
}

function announce(message, ended) {
  if (!message) return;
  const thinking = message.querySelector(".k-thinking");
  const answer = message.querySelector(".k-said");
  if (thinking && !heard) return tell(words(thinking), thinking.lang, (heard = " "));
  if (!answer) return ended ? tell(words(message), "") : undefined;
  const said = words(answer);
  // Words that took the place of others are told from their beginning.
  if (heard.trim() && !said.startsWith(heard)) heard = "";
  const from = heard.trim() ? heard.length : 0;
  const whole = ended ? said : said.slice(0, endOfSentences(said, answer.lang));
  if (whole.length > from) {
    tell(whole.slice(from).trim(), answer.lang);
    heard = whole;
  }
  if (!ended) return;
  for (const more of message.querySelectorAll(".k-stopped, .k-from")) tell(words(more), more.lang);
}

// Where the last sentence begins: it may still grow.
function endOfSentences(said, spoken) {
  const sentences = [...new Intl.Segmenter(spoken || undefined, { granularity: "sentence" }).segment(said)];
  return sentences.length ? sentences[sentences.length - 1].index : 0;
}

function tell(sentence, spoken) {
  if (!sentence) return;
  const line = document.createElement("p");
  if (spoken) line.lang = spoken;
  line.textContent = sentence;
  find("#k-status").append(line);
}
