// Everything else that OpenAI's client for JavaScript has a method for: vectors, speech, models; and errors as its exceptions.
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { File } from "node:buffer";
import path from "node:path";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { MODELS, start } from "./host.mjs";

// Node 18 keeps it in a module.
globalThis.File ??= File;
const speech = () => createReadStream(path.join(MODELS, "jfk.wav"));
const messages = [{ role: "user", content: "Hello!" }];
let host, openai;

before(async () => {
  host = await start();
  openai = host.client();
});
after(() => host.stop());

test("vectors, which the client asks for in base64", async () => {
  const floats = await openai.embeddings.create({ model: "minilm", input: ["Hello", "world"], encoding_format: "float" });
  const decoded = await openai.embeddings.create({ model: "minilm", input: ["Hello", "world"] });
  assert.deepEqual(floats.data.map((one) => one.embedding.length), [384, 384]);
  decoded.data.forEach((one, index) => {
    const wanted = floats.data[index].embedding;
    const difference = Math.max(...one.embedding.map((value, place) => Math.abs(value - wanted[place])));
    assert.ok(difference < 1e-6, `${difference}`);
  });
});

test("a transcription in each form", async () => {
  const ask = (more) => openai.audio.transcriptions.create({ model: "whisper-1", file: speech(), ...more });
  assert.match((await ask({})).text, /your country/);
  const verbose = await ask({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] });
  assert.ok(verbose.segments.length >= 1 && verbose.words.length > 15);
  assert.match(await ask({ response_format: "srt" }), /^1\n00:00:00/);
  assert.match(await ask({ response_format: "vtt" }), /^WEBVTT/);
  assert.match(await ask({ response_format: "text" }), /your country/);
});

test("a streamed transcription", async () => {
  const stream = await openai.audio.transcriptions.create({ model: "whisper-1", file: speech(), stream: true });
  const events = [];
  for await (const event of stream) events.push(event);
  assert.equal(events.at(-1).type, "transcript.text.done");
  const deltas = events.filter((event) => event.type === "transcript.text.delta").map((event) => event.delta);
  assert.equal(deltas.join("").trim(), events.at(-1).text.trim());
});

test("a translation", async () => {
  const answer = await openai.audio.translations.create({ model: "whisper-1", file: speech() });
  assert.match(answer.text, /your country/);
});

test("the models, and each by its id", async () => {
  const listed = [];
  for await (const model of openai.models.list()) listed.push(model);
  assert.ok(listed.some((model) => model.id.includes("smollm2")), JSON.stringify(listed));
  for (const model of listed) assert.equal((await openai.models.retrieve(model.id)).id, model.id);
});

test("errors are the client's exceptions, and name the field", async () => {
  const chat = (more, client = openai) => client.chat.completions.create({ model: "smollm2", messages, ...more });
  const wrong = [
    [() => chat({ temperature: -1 }), OpenAI.BadRequestError, "temperature"],
    [() => chat({ messages: [] }), OpenAI.BadRequestError, "messages"],
    [() => chat({ functions: [{ name: "f" }] }), OpenAI.UnprocessableEntityError, "functions"],
    [() => chat({ model: "nobody/nothing" }), OpenAI.NotFoundError, "model"],
    [() => openai.models.retrieve("nothing"), OpenAI.NotFoundError, "model"],
    [() => openai.embeddings.create({ model: "minilm", input: [] }), OpenAI.BadRequestError, "input"],
  ];
  for (const [ask, kind, param] of wrong) {
    await assert.rejects(ask, (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.equal(error.param, param, String(error));
      return true;
    });
  }
});

test("a server with a key", async () => {
  const guarded = await start("--api-key", "secret", "--no-warm-up");
  try {
    await assert.rejects(guarded.client().models.list(), OpenAI.AuthenticationError);
    const listed = await guarded.client({ apiKey: "secret" }).models.list();
    assert.ok(listed.data.length > 0);
  } finally {
    await guarded.stop();
  }
});

test("a client's time limit, and a server that is gone", async () => {
  const slow = { model: "smollm2", messages, max_completion_tokens: 2000, logit_bias: { 0: -100, 2: -100 } };
  await assert.rejects(openai.chat.completions.create(slow, { timeout: 300 }), OpenAI.APIConnectionTimeoutError);
  const gone = await start("--no-warm-up");
  await gone.stop();
  await assert.rejects(gone.client().models.list(), OpenAI.APIConnectionError);
});
