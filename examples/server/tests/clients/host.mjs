// A fluid-server of a test's own, as host.py has it: a model folder made of links, a free port, the log in memory.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../../..");
export const MODELS = process.env.FLUID_MODELS ?? path.join(ROOT, "models");
const SERVER = process.env.FLUID_SERVER ?? path.join(ROOT, "target/release/fluid-server");
const LINKS = {
  "llm/smollm2.gguf": "SmolLM2-135M-Instruct.Q4_1.gguf",
  "whisper/whisper-base": "whisper-base-int8-ov",
  "embedding/minilm.gguf": "minilm-gguf/f16.gguf",
};
const PATIENCE = 60_000;

// Starts a server; `stop` ends it.
export async function start(...options) {
  const folder = mkdtempSync(path.join(tmpdir(), "fluid-server-test-"));
  for (const [place, source] of Object.entries(LINKS)) {
    mkdirSync(path.dirname(path.join(folder, place)), { recursive: true });
    symlinkSync(path.join(MODELS, source), path.join(folder, place));
  }
  const named = ["--llm-model", "smollm2", "--whisper-model", "whisper-base", "--embedding-model", "minilm"];
  const all = ["--port", "0", "--model-path", folder, "--offline", ...named, ...options];
  // Where the library looks for OpenVINO.
  const env = { VIRTUAL_ENV: path.join(ROOT, ".venv"), ...process.env };
  const child = spawn(SERVER, all, { stdio: ["ignore", "pipe", "pipe"], env });
  const url = await address(child);
  const stop = async () => {
    child.kill("SIGTERM");
    if (child.exitCode === null) await new Promise((ended) => child.once("exit", ended));
    rmSync(folder, { recursive: true });
  };
  return { url, stop, client: (more) => new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0, ...more }) };
}

// Waits for the line of the log that names the address.
function address(child) {
  return new Promise((found, failed) => {
    let log = "";
    const take = (text) => {
      log += text;
      const line = /listening on (http:\/\/\S+)\n/.exec(log);
      if (line) found(line[1]);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("error", failed);
    child.once("exit", () => failed(new Error(`no server: ${log}`)));
    setTimeout(() => failed(new Error(`no address in ${PATIENCE / 1000} s: ${log}`)), PATIENCE).unref();
  });
}
