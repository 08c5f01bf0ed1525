"""The HTTP surface: contracts, bad input, metrics, streams, visitors who leave."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from httpx_sse import aconnect_sse

from service.app import build_app
from service.engine import ScriptedEngine
from service.settings import Settings
from topics.evidence import Evidence


async def test_an_answer_has_every_field_of_the_contract(client: httpx.AsyncClient) -> None:
    reply = await client.post("/ask", json={"question": "How high is Gull Rock Lighthouse?"})
    body = reply.json()
    assert reply.status_code == 200
    assert set(body) == {
        "id",
        "outcome",
        "answer",
        "lang",
        "source",
        "sources",
        "suggestions",
        "check",
        "gate",
        "release",
        "timings",
    }
    assert set(body["gate"]) == {"on_topic", "score", "kind"}
    assert set(body["timings"]) == {"gate_ms", "first_word_ms", "total_ms"}
    assert (body["outcome"], body["release"]) == ("answered", "stand-in")


async def test_the_stream_ends_in_the_same_body(client: httpx.AsyncClient) -> None:
    asked = {
        "question": "How high is Gull Rock Lighthouse?",
        "history": [{"question": "Who?", "answer": "Ada."}],
        "language": "en",
    }
    names, text, done = [], "", {}
    async with aconnect_sse(client, "POST", "/ask", json=asked, headers={"Accept": "text/event-stream"}) as source:
        async for event in source.aiter_sse():
            names.append(event.event)
            data = json.loads(event.data)
            text += data["text"] if event.event == "delta" else ""
            done = data if event.event == "done" else done
    assert names[0] == "meta" and names[-1] == "done" and set(names[1:-1]) == {"delta"}
    assert text == done["answer"] == "The tower is 38 metres high."


async def test_words_that_turn_out_false_are_taken_back_before_they_are_sent(
    app: FastAPI, client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    guide = app.state.docent.guide
    confidence = replace(guide.evidence.confidence, sure=1.1, likely=0.0)
    app.state.docent.guide = replace(guide, evidence=Evidence(guide.topic, guide.evidence.rows, confidence))
    while not engine.alive:
        await asyncio.sleep(0.01)
    engine.replies.extend(["It was built by Ada Finch. She came from Paris in 1850."] * 2)
    asked = {"question": "who was it that built this tower for the ships"}
    seen = []
    async with aconnect_sse(client, "POST", "/ask", json=asked, headers={"Accept": "text/event-stream"}) as source:
        async for event in source.aiter_sse():
            seen.append((event.event, event.data))
    assert [name for name, _ in seen] == ["meta", "delta", "replace", "done"]
    assert json.loads(seen[2][1])["text"] == json.loads(seen[3][1])["answer"]
    assert not any("Paris" in data for _, data in seen)


BAD = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b"\xff\xfe", 400, "not JSON"),
    (b"[" * 100_000, 400, "not JSON"),
    (b"[]", 422, "the body"),
    (b"{}", 422, "question: field required"),
    (b'{"question": ""}', 422, "question: is empty"),
    (b'{"question": " \\n\\t "}', 422, "question: is empty"),
    (b'{"question": 7}', 422, "question: "),
    (b'{"question": null}', 422, "question: "),
    (b'{"question": "a\\u0000b"}', 422, "control characters"),
    (b'{"question": "a\\ud800b"}', 422, "surrogate"),
    (b'{"question": "Who?", "langauge": "en"}', 422, "langauge: there is no such field"),
    (b'{"question": "Who?", "language": "klingon"}', 422, "this museum speaks en, vi"),
    (b'{"question": "Who?", "language": "\\ud800"}', 422, "language"),
    (b'{"question": "Who?", "history": "yesterday"}', 422, "history"),
    (b'{"question": "Who?", "history": [{"question": "x"}]}', 422, "history.0.answer"),
    (json.dumps({"question": "word " * 2000}).encode(), 422, "ask in fewer words"),
    (json.dumps({"question": "a" * 10_000_000}).encode(), 413, "longer than"),
]


@pytest.mark.parametrize(("body", "status", "detail"), BAD, ids=[str(i) for i in range(len(BAD))])
async def test_bad_input_gets_a_sentence_and_the_service_goes_on(
    client: httpx.AsyncClient, body: bytes, status: int, detail: str
) -> None:
    for accept in ("application/json", "text/event-stream"):
        reply = await client.post("/ask", content=body, headers={"content-type": "application/json", "accept": accept})
        problem = reply.json()
        assert reply.status_code == status == problem["status"]
        assert reply.headers["content-type"] == "application/problem+json"
        assert detail in problem["detail"]
    assert (await client.post("/ask", json={"question": "How high is it?"})).status_code == 200


async def test_other_content_types_paths_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    for reply, status in (
        (await client.post("/ask", content=b"hi", headers={"content-type": "text/plain"}), 415),
        (await client.get("/ask"), 405),
        (await client.get("/nowhere"), 404),
    ):
        assert reply.status_code == status
        assert reply.headers["content-type"] == "application/problem+json"
        assert "POST /ask" in reply.text or status == 415


async def test_an_unforeseen_fault_shows_no_trace(settings: Settings) -> None:
    app = build_app(settings, engine=ScriptedEngine())
    app.state.docent.guide = None
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://m"
    ) as client:
        reply = await client.get("/topic")
    assert reply.status_code == 500
    assert "Traceback" not in reply.text and "NoneType" not in reply.text


async def test_the_topic_gives_a_kiosk_all_it_needs(client: httpx.AsyncClient) -> None:
    body = (await client.get("/topic")).json()
    assert [lang["code"] for lang in body["languages"]] == ["en", "vi"]
    assert body["title"]["vi"] == "hải đăng Gull Rock"
    assert body["texts"]["vi"]["ask"] == "Hỏi"
    assert all(body["suggestions"][code] for code in ("en", "vi"))


async def test_live_at_once_and_ready_after_a_real_token(
    client: httpx.AsyncClient, app: FastAPI, engine: ScriptedEngine
) -> None:
    assert (await client.get("/live")).status_code == 200
    for _ in range(100):
        if (await client.get("/ready")).status_code == 200:
            break
        await asyncio.sleep(0.02)
    assert (await client.get("/ready")).status_code == 200
    assert engine.asked
    app.state.docent.keeper.drain()
    reply = await client.get("/ready")
    assert reply.status_code == 503 and reply.headers["retry-after"]


async def test_a_metric_proves_that_declined_questions_cost_nothing(client: httpx.AsyncClient) -> None:
    for question in (
        "What is the capital of Mongolia?",
        "Hello!",
        "Where are the toilets, please?",
        "How high is Gull Rock Lighthouse?",
    ):
        await client.post("/ask", json={"question": question})
    metrics = (await client.get("/metrics")).text
    assert 'docent_engine_requests_total{purpose="answer"} 0.0' in metrics
    assert 'docent_questions_total{kind="off",lang="en",outcome="declined",source="policy"} 1.0' in metrics


async def test_no_visitors_word_is_logged(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        await client.post("/ask", json={"question": "My name is Rumpelstiltskin, how high is the tower?"})
    assert "Rumpelstiltskin" not in caplog.text
    assert "outcome=" in caplog.text


CHAT = {"model": "lighthouse", "messages": [{"role": "user", "content": "who built the tower then"}]}


@pytest.mark.parametrize(
    ("path", "body", "accept"),
    [
        ("/ask", {"question": "who built the tower then"}, "application/json"),
        ("/ask", {"question": "who built the tower then"}, "text/event-stream"),
        ("/v1/chat/completions", CHAT, "application/json"),
        ("/v1/chat/completions", {**CHAT, "stream": True}, "text/event-stream"),
    ],
)
async def test_a_visitor_who_leaves_stops_the_engine(
    settings: Settings, serve: Callable[[FastAPI], str], path: str, body: dict[str, object], accept: str
) -> None:
    engine = ScriptedEngine(["word " * 1000] * 3, word_s=0.05)
    app = build_app(settings, engine=engine)
    guide = app.state.docent.guide
    confidence = replace(guide.evidence.confidence, sure=1.1, likely=0.0)
    app.state.docent.guide = replace(
        guide, evidence=Evidence(guide.topic, guide.evidence.rows, confidence), deadline_s=60
    )
    address = serve(app)
    engine.replies.clear()
    engine.replies.append("word " * 1000)
    with pytest.raises(httpx.ReadTimeout):
        async with httpx.AsyncClient(timeout=0.6) as client:
            reply = await client.post(f"{address}{path}", json=body, headers={"accept": accept})
            raise AssertionError(reply.text)
    for _ in range(40):
        if engine.cancelled:
            break
        await asyncio.sleep(0.05)
    assert (engine.cancelled, engine.running) == (1, 0)
    metrics = httpx.get(f"{address}/metrics").text
    assert "docent_cancellations_total 1.0" in metrics


async def test_visitors_do_not_wait_for_each_other(
    settings: Settings, serve: Callable[[FastAPI], str], stand_in_release: Path
) -> None:
    address = serve(build_app(settings, engine=ScriptedEngine()))
    async with httpx.AsyncClient() as client:
        asked = [
            client.post(f"{address}/ask", json={"question": q}) for q in ["How high is it?", "Hello", "cat name"] * 10
        ]
        replies = await asyncio.gather(*asked)
    assert {r.status_code for r in replies} == {200}


async def test_an_answer_leads_to_the_passage_it_rests_on(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/ask", json={"question": "How high is Gull Rock Lighthouse?"})).json()
    source = answer["sources"][0]
    passage = (await client.get(f"/sources/{source['id']}")).json()
    assert (passage["title"], passage["section"], passage["lang"]) == (source["title"], source["section"], "en")
    assert "38" in passage["text"]
    missing = await client.get("/sources/atlantis")
    assert missing.status_code == 404 and "answer's `sources`" in missing.json()["detail"]


async def test_what_was_asked_is_not_suggested_again(client: httpx.AsyncClient) -> None:
    question = {"question": "How high is Gull Rock Lighthouse?"}
    first = (await client.post("/ask", json=question)).json()["suggestions"]
    history = [{"question": first[0], "answer": "…"}]
    second = (await client.post("/ask", json={**question, "history": history})).json()["suggestions"]
    assert first and first[0] not in second and question["question"] not in second
