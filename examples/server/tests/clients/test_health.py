"""`/health`: its fields, at once, while models are loaded, when they are idle."""
import shutil
import time
import unittest
from pathlib import Path

import openai

from host import MODELS, PATIENCE, Host

FIELDS = {
    "status": str, "models_loaded": dict, "device": str, "available_devices": list, "memory_usage_gb": float,
    "warmup_status": dict, "version": str, "models": list, "downloads": list, "jobs": int, "uptime_seconds": float,
}
WARM_UP = {"in_progress": bool, "whisper": str, "llm": str, "current_task": str, "elapsed_seconds": int}


def wait_for(host, is_so):
    begun = time.monotonic()
    while not is_so(health := host.get("/health")):
        if time.monotonic() - begun > PATIENCE:
            raise AssertionError(health)
        time.sleep(0.02)
    return health


class Health(unittest.TestCase):
    def check(self, fields, value):
        for name, kind in fields.items():
            self.assertIs(type(value[name]), kind, name)

    def test_models_are_loaded_while_it_answers(self):
        with Host() as host:
            first = host.get("/health")
            self.check(FIELDS, first)
            self.check(WARM_UP, first["warmup_status"])
            self.assertEqual(first["status"], "warming_up")
            task = lambda health: health["warmup_status"]["current_task"]
            wait_for(host, lambda health: "Loading whisper model whisper-base (" in task(health))
            # A request meanwhile waits for its model.
            client = openai.OpenAI(base_url=host.url + "/v1", api_key="none", timeout=PATIENCE)
            answer = client.chat.completions.create(
                model="smollm2", max_tokens=2, messages=[{"role": "user", "content": "Hi"}])
            self.assertEqual(answer.usage.completion_tokens, 2)
            ready = wait_for(host, lambda health: health["status"] == "ready")
            self.assertEqual(ready["models_loaded"], {"llm": True, "whisper": True, "embedding": False})
            self.assertEqual(ready["warmup_status"]["whisper"], "ready")
            self.assertEqual(ready["warmup_status"]["current_task"], "")
            self.assertEqual({model["id"] for model in ready["models"]}, {"smollm2.gguf", "whisper-base"})
            self.assertGreater(ready["memory_usage_gb"], 0.2)
            self.assertEqual(ready["memory_limit_gb"], 4.0)
            self.assertEqual(ready["device"], "CPU")
            self.assertIn("CPU", wait_for(host, lambda health: health["available_devices"])["available_devices"])

    def test_what_fails_to_load_is_told_and_asked_again(self):
        with Host("--llm-model", "nobody/nothing-GGUF", links={}) as host:
            health = wait_for(host, lambda health: health["status"] == "ready")
            self.assertEqual(health["warmup_status"]["llm"], "failed")
            self.assertEqual(health["warmup_status"]["whisper"], "failed")
            self.assertEqual(health["models_loaded"]["llm"], False)
            client = openai.OpenAI(base_url=host.url + "/v1", api_key="none", max_retries=0)
            messages = [{"role": "user", "content": "Hi"}]
            with self.assertRaises(openai.NotFoundError) as raised:
                client.chat.completions.create(model="default", messages=messages)
            self.assertIn("nobody/nothing-GGUF", raised.exception.message)
            shutil.copytree(MODELS / "tiny-random-gguf", host.folder / "llm/nothing-GGUF")
            for file in Path(host.folder / "llm/nothing-GGUF").iterdir():
                if file.name != "llama.gguf":
                    file.unlink()
            answer = client.chat.completions.create(model="nothing-GGUF", max_tokens=1, messages=messages)
            self.assertEqual(answer.usage.completion_tokens, 1)

    def test_idle_models_give_their_memory_back_until_they_are_used(self):
        options = ["--no-warm-up", "--idle-timeout", "0.005", "--idle-check-interval", "0.05"]
        with Host(*options) as host:
            cold = host.get("/health")
            self.assertEqual((cold["status"], cold["warmup_status"], cold["models"]), ("ready", None, []))
            client = openai.OpenAI(base_url=host.url + "/v1", api_key="none", timeout=PATIENCE)
            for _ in range(2):
                answer = client.chat.completions.create(
                    model="default", max_tokens=2, messages=[{"role": "user", "content": "Hi"}])
                self.assertEqual(answer.usage.completion_tokens, 2)
                idle = wait_for(host, lambda health: health["models"][0]["state"] == "unloaded")
                self.assertEqual(idle["models_loaded"]["llm"], False)
                self.assertEqual(idle["memory_usage_gb"], 0.0)


    def test_it_can_end_at_any_time(self):
        for wait in [0.0, 0.1, 0.4]:
            with Host("--no-warm-up", links={}) as host:
                time.sleep(wait)
            self.assertEqual(host.process.returncode, 0)


if __name__ == "__main__":
    unittest.main()
