// Chats, completions and responses, as OpenAI's client for JavaScript asks for them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { start } from "./host.mjs";

const messages = [{ role: "user", content: "What is the capital of France? Answer in one sentence." }];
const request = { model: "smollm2", messages, temperature: 0, max_completion_tokens: 24 };
const city = { type: "object", properties: { city: { enum: ["Paris", "Rome"] } }, required: ["city"], additionalProperties: false };
const weather = { name: "weather", description: "The weather in a city", parameters: city };
const tools = [{ type: "function", function: weather }];
let host, openai;

before(async () => {
  host = await start();
  openai = host.client();
});
after(() => host.stop());

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

const said = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

test("an answer", async () => {
  const answer = await openai.chat.completions.create(request);
  assert.equal(answer.object, "chat.completion");
  assert.match(answer.choices[0].message.content, /Paris/);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("a stream says the same as the answer, token by token, and counts", async () => {
  const answer = await openai.chat.completions.create(request);
  const streamed = { ...request, stream: true, stream_options: { include_usage: true } };
  const chunks = await collect(await openai.chat.completions.create(streamed));
  assert.equal(said(chunks), answer.choices[0].message.content);
  assert.ok(chunks.length > 5, `${chunks.length} chunks`);
  assert.ok(chunks.every((chunk) => chunk.id === chunks[0].id && chunk.object === "chat.completion.chunk"));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, answer.usage.completion_tokens);
});

test("the client puts a streamed tool call together", async () => {
  const asked = { ...request, tools, tool_choice: "required", max_completion_tokens: 48 };
  const answer = await openai.chat.completions.stream(asked).finalChatCompletion();
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  const [call] = answer.choices[0].message.tool_calls;
  assert.equal(call.function.name, "weather");
  assert.ok(["Paris", "Rome"].includes(JSON.parse(call.function.arguments).city));
});

test("a tool's result becomes part of the conversation", async () => {
  const call = { id: "call_1", type: "function", function: { name: "weather", arguments: '{"city": "Paris"}' } };
  const conversation = [
    ...messages,
    { role: "assistant", content: null, tool_calls: [call] },
    { role: "tool", tool_call_id: "call_1", content: "Sunny, 21 degrees" },
  ];
  const answer = await openai.chat.completions.create({ ...request, messages: conversation, tools });
  assert.ok(answer.usage.prompt_tokens > 40);
});

test("an answer of a given form", async () => {
  const response_format = { type: "json_schema", json_schema: { name: "city", strict: true, schema: city } };
  const answer = await openai.chat.completions.parse({ ...request, response_format });
  assert.deepEqual(answer.choices[0].message.parsed, { city: "Paris" });
});

test("several answers, with the log-probabilities of their tokens", async () => {
  const answer = await openai.chat.completions.create({ ...request, n: 2, seed: 1, temperature: 1, logprobs: true, top_logprobs: 2 });
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1]);
  for (const { logprobs } of answer.choices) {
    assert.ok(logprobs.content.every((token) => token.logprob <= 0 && token.top_logprobs.length === 2));
  }
});

test("a completion, whole and streamed", async () => {
  const asked = { model: "smollm2", prompt: "The capital of France is", max_tokens: 8, temperature: 0 };
  const answer = await openai.completions.create(asked);
  const chunks = await collect(await openai.completions.create({ ...asked, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""), answer.choices[0].text);
});

test("a response, whole and streamed, and one that goes on from it", async () => {
  const asked = { model: "smollm2", input: messages[0].content, temperature: 0, max_output_tokens: 24 };
  const answer = await openai.responses.create(asked);
  assert.match(answer.output_text, /Paris/);
  const events = await collect(await openai.responses.create({ ...asked, stream: true }));
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.equal(deltas.map((event) => event.delta).join(""), answer.output_text);
  const next = await openai.responses.create({ ...asked, input: "And of Italy?", previous_response_id: answer.id });
  assert.ok(next.usage.input_tokens > answer.usage.total_tokens - 2, JSON.stringify(next.usage));
});

test("a client that aborts frees its slot", async () => {
  // One worker: an answer can only begin when the one before has ended.
  const long = { ...request, stream: true, max_completion_tokens: 2000, logit_bias: { 0: -100, 2: -100 } };
  const controller = new AbortController();
  const stream = await openai.chat.completions.create(long, { signal: controller.signal });
  let chunks = 0;
  for await (const _ of stream) {
    chunks += 1;
    if (chunks === 5) controller.abort();
  }
  assert.ok(controller.signal.aborted);
  const begun = performance.now();
  await openai.chat.completions.create({ ...request, max_completion_tokens: 1 });
  assert.ok(performance.now() - begun < 5000, `${performance.now() - begun} ms`);
});
