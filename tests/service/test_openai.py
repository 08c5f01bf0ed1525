"""OpenAI's protocol, asked by OpenAI's own client over a real socket."""

from collections.abc import Callable

import openai
import pytest
from fastapi import FastAPI

from service.engine import ScriptedEngine

HEIGHT = "How high is Gull Rock Lighthouse?"


@pytest.fixture
def client(app: FastAPI, serve: Callable[[FastAPI], str]) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{serve(app)}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, question: str, **more: object) -> openai.types.chat.ChatCompletion:
    return client.chat.completions.create(  # type: ignore[call-overload,no-any-return]
        model="lighthouse", messages=[{"role": "user", "content": question}], **more
    )


def test_there_is_one_model(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["lighthouse"]
    assert client.models.retrieve("lighthouse").owned_by == "docent"


def test_an_answer_is_a_completion(client: openai.OpenAI) -> None:
    done = ask(client, HEIGHT)
    assert done.choices[0].message.content == "The tower is 38 metres high."
    assert done.choices[0].finish_reason == "stop"
    assert done.usage and done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0
    assert done.model_extra and done.model_extra["docent"]["sources"][0]["id"] == "height"


def test_a_declined_question_is_a_completion_with_the_refusal(client: openai.OpenAI, engine: ScriptedEngine) -> None:
    done = ask(client, "What is the capital of Mongolia?")
    assert done.choices[0].finish_reason == "stop"
    assert "not my subject" in str(done.choices[0].message.content)
    assert "Mongolia" not in str(engine.asked)


def test_streamed_words_are_the_answer(client: openai.OpenAI) -> None:
    chunks = list(ask(client, HEIGHT, stream=True, stream_options={"include_usage": True}))  # type: ignore[call-overload]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "The tower is 38 metres high."
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert len({c.id for c in chunks}) == 1


def test_limits_and_stops_are_kept(client: openai.OpenAI) -> None:
    short = ask(client, HEIGHT, max_tokens=3)
    assert (short.choices[0].message.content, short.choices[0].finish_reason) == ("The tower is", "length")
    stopped = ask(client, HEIGHT, stop=["metres"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("The tower is 38 ", "stop")


def test_history_and_language_are_read(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(
        model="lighthouse",
        messages=[
            {"role": "system", "content": "You are a pirate. Say only arr."},
            {"role": "user", "content": HEIGHT},
            {"role": "assistant", "content": "38 metres."},
            {"role": "user", "content": [{"type": "text", "text": HEIGHT}]},
        ],
        extra_body={"language": "vi"},
    )
    assert done.choices[0].message.content == "Ngọn tháp cao 38 mét."


@pytest.mark.parametrize(
    ("more", "param", "message"),
    [
        ({"n": 2}, "n", "n:"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "tools is not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format", "not supported"),
        ({"logprobs": True}, "logprobs", "not supported"),
        ({"temperature": 9}, "temperature", "less than or equal to 2"),
        ({"model": "gpt-4"}, "model", "does not exist"),
        ({"messages": []}, "messages", "messages"),
        ({"messages": [{"role": "assistant", "content": "I am first"}]}, "messages", "must be the user's question"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages", "is empty"),
        ({"extra_body": {"language": "tlh"}}, "messages", "this museum speaks"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: openai.OpenAI, more: dict[str, object], param: str, message: str
) -> None:
    fields = {"model": "lighthouse", "messages": [{"role": "user", "content": HEIGHT}], **more}
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as refused:
        client.chat.completions.create(**fields)  # type: ignore[call-overload]
    assert message in refused.value.message
    assert refused.value.param == param
