"""Makes the embedded base model, `models/mini`: `python -m training mini --text DIR --out models/mini`.

Two kinds of documents are mixed: running text, and reading exercises in the chat format (museum notes, a question
made of a note's rarest words, the note as the answer, or `I do not know.` when no note fits). The exercises are cut
from the same running text, so the model sees the shape of the guide's work and none of any museum's content.
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

log = logging.getLogger(__name__)

ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
END, PAD = "<|end|>", "<|pad|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
BLOCK = 256
"""Tokens per training sequence; documents are packed back to back."""

_ASK = {
    "en": ("{} {}?", "what about {} and {}?", "tell me about {} {}", "who or what is {} {}", "{}? {}?", "When {} {}?"),
    "vi": ("{} {}?", "{} và {} là gì?", "cho tôi biết về {} {}", "{} {} thế nào?", "khi nào {} {}"),
    "fr": ("{} {} ?", "parlez-moi de {} et {}", "qu'est-ce que {} {} ?"),
    "es": ("¿{} {}?", "háblame de {} y {}", "qué es {} {}"),
    "zh": ("{}{}？", "请告诉我{}和{}", "{}是什么？{}"),
}
_UNKNOWN = {
    "en": "I do not know.",
    "vi": "Tôi không biết.",
    "fr": "Je ne sais pas.",
    "es": "No lo sé.",
    "zh": "我不知道。",
}


@dataclass(frozen=True)
class Sentence:
    text: str
    lang: str
    words: tuple[str, ...]
    """Its content words, rarest first."""


def language_of(name: str) -> str:
    """The language of a text file, from its name: `xquad_vi.txt`, `UD_French-GSD.txt`, else English."""
    for mark, lang in {
        "_vi": "vi",
        "Vietnamese": "vi",
        "_zh": "zh",
        "Chinese": "zh",
        "_es": "es",
        "French": "fr",
    }.items():
        if mark in name:
            return lang
    return "en"


def train_tokenizer(files: list[Path], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2), so that no character is ever unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Small languages twice: Vietnamese is a tenth of the text and half of the default museum's visitors.
    tokenizer.train([str(f) for f in files for _ in range(1 if language_of(f.name) == "en" else 2)], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=1024)
    fast.chat_template = CHAT_TEMPLATE
    return fast


def sentences(files: list[Path]) -> list[Sentence]:
    """The sentences of 6 to 45 words (8 to 60 characters in Chinese), each with its rarest words."""
    found: list[tuple[str, str, list[str]]] = []
    counts: Counter[str] = Counter()
    for file in files:
        lang = language_of(file.name)
        for line in file.read_text(encoding="utf-8").splitlines():
            for sentence in re.split(r"(?<=[.!?])\s+|(?<=[。！？])", line):
                text = " ".join(sentence.split())
                words = re.findall(r"[\u4e00-\u9fff]{2}" if lang == "zh" else r"\w{3,}", text)
                if (8 <= len(text) <= 60) if lang == "zh" else (6 <= len(text.split()) <= 45):
                    found.append((text, lang, words))
                    counts.update(words)
    result = [Sentence(t, lang, tuple(sorted(set(w), key=lambda x: counts[x])[:5])) for t, lang, w in found]
    return [s for s in result if len(s.words) >= 3]


def exercise(pool: dict[str, list[Sentence]], chance: random.Random) -> list[dict[str, str]]:
    """One reading exercise: notes, a question made of one note's rarest words, and that note as the answer."""
    lang = chance.choices(list(pool), weights=[math.sqrt(len(p)) for p in pool.values()])[0]
    count = chance.choice((1, 1, 2, 3))
    *notes, stranger = chance.sample(pool[lang], count + 1)
    known = chance.random() > 0.12
    target = chance.choice(notes) if known else stranger
    words = chance.sample(target.words, 2)
    question = chance.choice(_ASK[lang]).format(*words)
    if chance.random() < 0.5:
        question = question.lower()
    title = chance.choice(chance.choice(pool[lang]).words)
    system = f"You are a museum's guide to {title}. Answer kindly and briefly, only from what the museum knows."
    content = "Museum notes:\n" + "".join(f"- {n.text}\n" for n in notes) + f"\n{question}"
    answer = target.text if known else _UNKNOWN[lang]
    roles = ("system", "user", "assistant")
    return [{"role": r, "content": c} for r, c in zip(roles, (system, content, answer), strict=True)]


def echo(pool: dict[str, list[Sentence]], chance: random.Random) -> str:
    """Two short sentences, said twice: the plainest lesson in copying."""
    first, second = chance.sample(pool[chance.choice(list(pool))], 2)
    return f"{first.text} {second.text}\n{first.text} {second.text}"


def token_stream(
    files: list[Path], tokenizer: PreTrainedTokenizerFast, *, tokens: int, exercise_share: float, seed: int
) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """At least `tokens` ids, shape (n,): shuffled text, and from the beginning `exercise_share` of exercises."""
    chance = random.Random(seed)
    pool: dict[str, list[Sentence]] = {}
    for sentence in sentences(files):
        pool.setdefault(sentence.lang, []).append(sentence)
    paragraphs = [
        p for f in files for p in re.split(r"\n\s*\n|\n(?=\S{3,})", f.read_text(encoding="utf-8")) if p.strip()
    ]
    end = tokenizer.convert_tokens_to_ids(END)
    parts: list[np.ndarray[Any, np.dtype[np.uint16]]] = []
    total = 0
    while total < tokens:
        chance.shuffle(paragraphs)
        for batch in range(0, len(paragraphs), 64):
            documents = ["\n".join(paragraphs[i : i + 4]) for i in range(batch, min(batch + 64, len(paragraphs)), 4)]
            text_ids = [[*ids, end] for ids in tokenizer(documents, add_special_tokens=False)["input_ids"]]
            wanted = sum(map(len, text_ids)) * exercise_share / (1 - exercise_share)
            exercises: list[list[int]] = []
            while sum(map(len, exercises)) < wanted:
                if chance.random() < 0.85:
                    exercises.append(tokenizer.apply_chat_template(exercise(pool, chance), return_dict=False))
                else:
                    exercises.append([*tokenizer.encode(echo(pool, chance), add_special_tokens=False), end])
            mixed = text_ids + exercises
            chance.shuffle(mixed)
            parts.append(np.concatenate([np.asarray(m, dtype=np.uint16) for m in mixed]))
            total += len(parts[-1])
            if total >= tokens:
                break
    return np.concatenate(parts)


class Blocks(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """A token stream cut into sequences of `BLOCK` tokens."""

    def __init__(self, stream: np.ndarray[Any, np.dtype[np.uint16]]) -> None:
        self.stream = stream

    def __len__(self) -> int:
        return len(self.stream) // BLOCK

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.from_numpy(self.stream[index * BLOCK : (index + 1) * BLOCK].astype(np.int64))
        return {"input_ids": ids, "labels": ids.clone()}


def copying_accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, pool: list[Sentence], n: int
) -> float:
    """Share of unseen one-note exercises whose greedy answer is the note, word for word."""
    chance = random.Random(1)
    right = 0
    model.eval()
    for _ in range(n):
        conversation = exercise({"en": pool}, chance)
        ids = tokenizer.apply_chat_template(
            conversation[:2], add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        note = conversation[2]["content"]
        room = len(tokenizer.encode(note)) + 1  # and an end: what is longer is not the note
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=room, do_sample=False)
        right += tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip() == note
    return right / n


def make(
    text: Path,
    out: Path,
    *,
    steps: int = 3500,
    vocab_size: int = 6144,
    seed: int = 7,
    batch: int = 16,
    exercises: int = 60,
) -> None:
    """Trains tokenizer and model from the `*.txt` of a folder and saves both to `out`, bfloat16.

    So many `exercises` tell at the end how well it copies from a note.
    A run that was stopped goes on from its last checkpoint in `out/checkpoints`, also with another number of steps.

    Raises FileNotFoundError when the folder holds no text.
    """
    files = sorted(text.glob("*.txt"))
    if not files:
        raise FileNotFoundError(f"{text}: no *.txt files; give a folder of running text, one document a paragraph")
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(files, vocab_size)
    log.info("tokenizer: %d tokens from %d files", len(tokenizer), len(files))
    stream = token_stream(files, tokenizer, tokens=(steps * batch + 64) * BLOCK, exercise_share=0.55, seed=seed)
    log.info("stream: %.1fM tokens", len(stream) / 1e6)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    log.info("model: %.2fM parameters", model.num_parameters() / 1e6)
    checkpoints = str(out / "checkpoints")
    arguments = TrainingArguments(
        output_dir=checkpoints,
        max_steps=steps,
        per_device_train_batch_size=batch,
        learning_rate=1.5e-3,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.05},
        warmup_steps=max(1, steps // 50),
        weight_decay=0.05,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=25,
        save_steps=500,
        save_total_limit=1,
        seed=seed,
        report_to=[],
    )
    held = 64
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Blocks(stream[: -held * BLOCK]),
        eval_dataset=Blocks(stream[-held * BLOCK :]),
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(checkpoints) if Path(checkpoints).is_dir() else None)
    log.info("loss on the stream's last blocks: %s", trainer.evaluate())
    english = [s for s in sentences(files) if s.lang == "en"]
    log.info("reading exercises answered word for word: %.2f", copying_accuracy(model, tokenizer, english, exercises))
    shutil.rmtree(checkpoints)
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    for file in files:
        log.info("text %s sha256 %s", file.name, hashlib.sha256(file.read_bytes()).hexdigest())
