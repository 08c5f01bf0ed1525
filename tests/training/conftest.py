"""Tiny bases of the studies' architectures, made here: random weights, and a tokenizer learned from the fixtures."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BertConfig,
    FalconConfig,
    LlamaConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    T5Config,
)

from tests.conftest import LIGHTHOUSE

STUDIES = Path(__file__).parents[1] / "fixtures" / "studies"
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<end>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_SIZES = {"vocab_size": 600, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
_MADE = {
    "llama": (
        AutoModelForCausalLM,
        LlamaConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
            max_position_embeddings=1024, **_SIZES,
        ),
    ),
    "falcon": (
        AutoModelForCausalLM,
        FalconConfig(hidden_size=64, num_hidden_layers=20, num_attention_heads=4, **_SIZES),
    ),
    "opt": (
        AutoModelForCausalLM,
        OPTConfig(
            hidden_size=64, ffn_dim=128, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=1024,
            word_embed_proj_dim=64, **_SIZES,
        ),
    ),
    "t5": (
        AutoModelForSeq2SeqLM,
        T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, decoder_start_token_id=0, **_SIZES),
    ),
    "bert": (
        AutoModelForSequenceClassification,
        BertConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=600,
            pad_token_id=0, initializer_range=0.3,  # or its random features would all be alike
        ),
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    files = [*STUDIES.iterdir(), LIGHTHOUSE / "questions.jsonl"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<pad>", "<end>", "<start>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train([str(f) for f in sorted(files)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", bos_token="<start>", unk_token="<unk>"
    )


@pytest.fixture(scope="session")
def tiny(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A function: the folder of a tiny `llama`, `falcon`, `opt`, `t5` or `bert`; `-chat` adds a chat template."""
    made: dict[str, str] = {}

    def base(name: str) -> str:
        if name not in made:
            kind, config = _MADE[name.removesuffix("-chat")]
            folder = tmp_path_factory.mktemp("tiny") / name
            torch.manual_seed(0)
            kind.from_config(config).save_pretrained(folder)
            tokenizer.chat_template = CHAT if name.endswith("-chat") else None
            tokenizer.save_pretrained(folder)
            made[name] = str(folder)
        return made[name]

    return base
