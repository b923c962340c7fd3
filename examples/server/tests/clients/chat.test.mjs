// Chat, as OpenAI's client for JavaScript asks for it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { start } from "./host.mjs";

const messages = [{ role: "user", content: "What is the capital of France? Answer in one sentence." }];
const request = { model: "smollm2", messages, temperature: 0, max_completion_tokens: 24 };
let host, openai;

before(async () => {
  host = await start();
  openai = host.client();
});
after(() => host.stop());

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const said = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

test("an answer", async () => {
  const answer = await openai.chat.completions.create(request);
  assert.equal(answer.object, "chat.completion");
  assert.match(answer.choices[0].message.content, /Paris/);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a stream says the same as the answer, token by token", async () => {
  const answer = await openai.chat.completions.create(request);
  const chunks = await collect(await openai.chat.completions.create({ ...request, stream: true }));
  assert.equal(said(chunks), answer.choices[0].message.content);
  assert.ok(chunks.length > 5, `${chunks.length} chunks`);
  assert.ok(chunks.every((chunk) => chunk.id === chunks[0].id && chunk.object === "chat.completion.chunk"));
});

test("what is wrong in a request is a BadRequestError that names the field", async () => {
  await assert.rejects(openai.chat.completions.create({ ...request, temperature: -1 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.equal(error.param, "temperature");
    return true;
  });
});

test("a model that is not here is a NotFoundError", async () => {
  await assert.rejects(openai.chat.completions.create({ ...request, model: "nobody/nothing" }), OpenAI.NotFoundError);
});
