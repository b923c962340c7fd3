"""The page and the description of the routes, as Chromium shows them. FLUID_SHOTS=folder keeps pictures."""
import json
import time
import unittest
import urllib.error
import urllib.request

from browser import Browser
from host import MODELS, Host
from hub import Hub

HOSTILE = """<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>
[one](javascript:window.harmed=1) [two](data:text/html,<script>window.harmed=1</script>)
[three](https://example.com/"onclick="window.harmed=1) ![seen](https://example.com/pixel.png)
[four](https://example.com/ok) `<b>` **<i>x</i>** | <svg onload=window.harmed=1>

| <script>window.harmed=1</script> | b |
|---|---|
| <img src=x onerror=window.harmed=1> | y |

```html"><script>window.harmed=1</script>
<script>window.harmed=1</script>
```
<iframe srcdoc="<script>parent.harmed=1</script>"></iframe>
"""


browser = None


def setUpModule():
    global browser
    browser = unittest.enterModuleContext(Browser(microphone=MODELS / "jfk.wav"))


class InBrowser(unittest.TestCase):
    """One server for a class, a fresh page for each test: it may ask its server for things, and nobody else, and may
    not complain."""
    options, variables = (), {}
    # What the console may say: of answers with an error.
    expected = ()

    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host("--no-warm-up", *cls.options, variables=cls.variables))

    def setUp(self):
        self.page = browser.page()

    def tearDown(self):
        page = self.page
        page.js("1")  # Takes the events that are on their way.
        page.close()
        own = (self.host.url, "data:image/svg+xml", f"blob:{self.host.url}")
        self.assertEqual([address[:100] for address in page.addresses if not address.startswith(own)], [])
        unexpected = [line for line in page.complaints if not any(word in line for word in self.expected)]
        self.assertEqual(unexpected, [])

    def open(self, place="/"):
        self.page.go(self.host.url + place)
        if not place.startswith("/docs"):
            self.page.until("models.list.length")
        return self.page

    def no_overflow(self, what):
        self.assertLessEqual(self.page.js("document.documentElement.scrollWidth"), 360, what)


class Chat(InBrowser):
    def say(self, text, tokens=24):
        page = self.page
        page.js(f"$('max-tokens').value = {tokens}; $('temperature').value = 0; 1")
        page.write("#prompt", text)
        page.key("Enter", 13)

    def answered(self, count):
        self.page.until(f"document.querySelectorAll('.figures').length === {count}")
        return self.page.js("document.querySelector('.answer:last-child .md').innerText")

    def test_several_turns_are_answered_with_figures(self):
        page = self.open()
        page.shot("chat-empty")
        self.say("Name three rivers in Europe, as a list.", 40)
        self.assertIn("Danube", self.answered(1))
        self.assertRegex(page.text(".figures"), r"^[0-9.]+ tokens/s · first after \d+ ms · \d+ tokens")
        self.assertEqual(page.js("$('prompt').value"), "")
        page.key("Enter", 13)  # Nothing to send.
        self.say("And one in Asia?")
        self.assertGreater(len(self.answered(2)), 5)
        turns = page.js("chat.turns.map((turn) => turn.role)")
        self.assertEqual(turns, ["user", "assistant"] * 2)
        page.shot("chat")
        page.click("#new-chat")
        self.assertEqual(page.js("document.querySelectorAll('.answer').length + chat.turns.length"), 0)

    def test_settings_are_sent(self):
        page = self.open()
        page.click("#open-settings")
        page.write("#system", "Answer in French.")
        page.write("#temperature", "0.5")
        page.write("#max-tokens", "7")
        page.shot("settings")
        request = page.js("chat.turns = [{ role: 'user', content: 'Hi' }], chatRequest()")
        self.assertEqual([turn["content"] for turn in request["messages"]], ["Answer in French.", "Hi"])
        self.assertEqual((request["temperature"], request["max_tokens"], request["stream"]), (0.5, 7, True))

    def test_escape_stops_and_what_came_stays(self):
        page = self.open()
        self.say("Write a long story about a ship.", 2000)
        page.until("document.querySelector('.answer .md').innerText.length > 40")
        self.assertEqual(page.text("#send"), "Stop")
        page.key("Escape", 27)
        page.until("!chat.running")
        self.assertEqual(page.text("#send"), "Send")
        self.assertGreater(len(page.js("chat.turns.at(-1).content")), 40)
        self.assertEqual(page.js("document.querySelectorAll('#log .error').length"), 0)

    def test_a_new_chat_ends_the_old_one(self):
        page = self.open()
        self.say("Write a long story about a ship.", 2000)
        page.until("document.querySelector('.answer .md').innerText.length > 10")
        page.click("#new-chat")
        self.say("Say hello.", 8)
        self.answered(1)
        self.assertEqual(page.js("chat.turns.length"), 2)

    def test_shift_enter_breaks_the_line(self):
        page = self.open()
        page.write("#prompt", "one")
        page.key("Enter", 13, shift=True)
        page.call("Input.insertText", text="two")
        self.assertEqual(page.js("$('prompt').value"), "one\ntwo")
        self.assertFalse(page.js("Boolean(chat.running)"))

    def draw(self, text):
        """Shows `text` as an answer that comes in pieces, reasoned before."""
        self.page.js("(() => { $('log').replaceChildren(); const view = new Answer(); $('log').append(view.node);"
                     f" view.take({{choices: [{{delta: {{reasoning_content: 'Thus <b>I</b> think.'}}}}]}});"
                     f" for (const part of {json.dumps(text)}.match(/[^]{{1,7}}/g)) {{ view.text += part;"
                     " showMarkdown(view.body, view.text); } view.finish(); })()")

    def test_hostile_text_stays_text(self):
        page = self.open()
        self.draw(HOSTILE)
        time.sleep(0.1)
        self.assertIsNone(page.js("window.harmed"))
        bad = "document.querySelectorAll('.answer :is(img, script, iframe, svg, b, i, [onerror], [onclick], [onload])')"
        self.assertEqual(page.js(f"{bad}.length"), 0)
        links = page.js("[...document.querySelectorAll('.answer a')].map((a) => [a.href, a.rel])")
        self.assertEqual({rel for _, rel in links}, {"noopener noreferrer"})
        self.assertEqual([href for href, _ in links],
                         ["https://example.com/%22onclick=%22window.harmed=1", "https://example.com/pixel.png",
                          "https://example.com/ok"])
        self.assertIn("<script>window.harmed=1</script>", page.text(".answer .code code"))
        # And should text ever become HTML, the policy keeps it from running.
        self.page.js("(() => { const node = document.createElement('div'); node.innerHTML ="
                     " '<img src=data:, onerror=window.harmed=1>'; document.body.append(node); })()")
        time.sleep(0.1)
        self.assertIsNone(page.js("window.harmed"))
        page.js("1")
        refused = [line for line in page.complaints if "Content Security Policy" in line]
        self.assertTrue(refused)
        page.complaints.clear()

    def test_markdown_is_shown_as_meant(self):
        page = self.open()
        self.draw("# Title *one*\n\nSome **bold**, *it*, ~~no~~ and `co<de`: https://x.org/a_b.\nsnake_case_word 2*3*4\n"
                  "\n- one\n- two\n  - inner\n\n    more\n1. first\n2. second\n\n> quoted\n> on\n\n"
                  "| a | b |\n|--|:-:|\n| 1 | `2` |\n\n```rust\nfn main() {}\n\n// end\n```\n***\nlast")
        html = page.js("document.querySelector('.answer .md').innerHTML")
        for part in ("<h1>Title <em>one</em></h1>", "<strong>bold</strong>", "<em>it</em>", "<s>no</s>",
                     "<code>co&lt;de</code>", ">https://x.org/a_b</a>.", "snake_case_word 2*3*4",
                     "<ul><li><p>inner</p><p>more</p></li></ul>", '<ol start="1"><li><p>first</p></li><li><p>second</p></li></ol>',
                     "<blockquote><p>quoted\non</p></blockquote>", "<td>1</td><td><code>2</code></td>",
                     "<code>fn main() {}\n\n// end</code>", "<hr><p>last</p>"):
            self.assertIn(part, html)
        self.assertEqual(page.text(".thought div"), "")  # Folded.
        page.click(".thought summary")
        self.assertEqual(page.text(".thought div"), "Thus <b>I</b> think.")
        page.js("document.querySelector('#log').scrollTop = 0")
        page.shot("markdown")
        page.look(1100, 760, "dark")
        page.shot("markdown-dark")
        page.look(360, 740, "dark")
        page.shot("markdown-narrow")
        self.no_overflow("an answer")

    def test_no_text_takes_long(self):
        page = self.open()
        for piece in ("> ", "- ", "* ", "**", "[", "[a](", "`", "_a ", "| ", "1. ", "\\", "~~", "https://", "#", "\n", "  - a\n"):
            text = json.dumps((piece * 20000)[:40000])
            took = page.js("(() => { const begun = performance.now();"
                           f" showMarkdown(document.createElement('div'), {text}); return performance.now() - begun; }})()")
            self.assertLess(took, 2000, piece)


class Speech(InBrowser):
    def heard(self):
        """The transcript, when it is whole."""
        self.page.until("!speech.running && $('segments').children.length")
        self.assertIn("ask not what your country can do for you", self.page.text("#segments"))

    def test_a_file_is_heard_and_handed_out(self):
        page = self.open("/#speech")
        page.shot("speech-empty")
        page.give("#file", MODELS / "jfk.wav")
        self.heard()
        self.assertEqual(page.text("#audio-name"), "jfk.wav")
        self.assertRegex(page.text("#speech-note"), r"^11\.0 s in [0-9.]+ s · [0-9.]+ × real time · language: en$")
        self.assertTrue(page.js("speech.segments.every(({ start, end }) => 0 <= start && start < end && end <= 11.5)"))
        page.shot("speech")
        page.click("[data-take=srt]")
        self.assertRegex(browser.downloaded("jfk.srt"), r"^1\n00:00:00,\d{3} --> 00:00:\d\d,\d{3}\nAnd so")
        page.click("[data-take=vtt]")
        self.assertRegex(browser.downloaded("jfk.vtt"), r"^WEBVTT\n\n00:00:00\.\d{3} --> 00:00:")
        page.click("[data-take=txt]")
        self.assertIn("country", browser.downloaded("jfk.txt"))
        page.look(360, 740, "dark")
        page.shot("speech-narrow")
        self.no_overflow("a transcript")

    def test_a_dropped_file_is_heard(self):
        page = self.open("/#speech")
        page.drop("#drop", MODELS / "jfk.wav")
        self.heard()

    def test_what_the_microphone_hears_is_written_down(self):
        """And what the browser made of it is heard too, though the server cannot read WebM: the page decodes it."""
        page = self.open("/#speech")
        page.js("""navigator.mediaDevices.getUserMedia({ audio: true }).then((stream) => {
            window.webm = new MediaRecorder(stream);
            webm.ondataavailable = ({ data }) => (window.clip = data);
            webm.start(); })""")
        page.click("#record")
        page.until("speech.recorder && $('record').textContent >= 'Stop (0:03.0)'")
        page.shot("speech-record")
        page.click("#record")
        page.until("!speech.running && $('segments').children.length")
        self.assertIn("fellow America", page.text("#segments"))
        self.assertEqual(page.text("#audio-name"), "recording.wav")
        page.js("webm.stop(); 1")
        page.until("window.clip")
        page.js("transcribe(clip, 'clip.webm'); 1")
        page.until("!speech.running && $('segments').children.length")
        self.assertIn("fellow America", page.text("#segments"))
        self.assertEqual(sum("/v1/audio" in address for address in page.addresses), 3)
        self.expected = ("status of 400",)

    def test_no_audio_is_an_error_in_words(self):
        page = self.open("/#speech")
        page.js("transcribe(new Blob(['this is no audio']), 'letter.txt'); 1")
        page.until("document.querySelector('#speech-error .error')")
        self.assertGreater(len(page.text("#speech-error .error")), 20)
        self.expected = ("status of 400",)


class Models(InBrowser):
    @classmethod
    def setUpClass(cls):
        tiny = (MODELS / "tiny-random-gguf/llama.gguf").read_bytes()
        cls.hub = cls.enterClassContext(Hub({"someone/tiny-GGUF": {"tiny-Q8_0.gguf": tiny}}))
        cls.hub.pause = 0.04
        cls.variables = cls.hub.variables
        super().setUpClass()

    def test_models_are_loaded_and_unloaded(self):
        page = self.open("/#models")
        state = "[...document.querySelectorAll('#list li')].find((row) => row.innerText.includes('smollm2'))?.querySelector('.state').innerText"
        button = "#list [aria-label$=' smollm2.gguf']"
        self.assertEqual(page.js(state), "on disk")
        page.click(button)
        page.until(f"{state} === 'loaded'")
        page.shot("models")
        self.assertIn("(loaded)", page.js("$('chat-model').selectedOptions[0].textContent"))
        page.click(button)
        page.until(f"{state} === 'on disk'")
        page.look(360, 740, "dark")
        page.shot("models-narrow")
        self.no_overflow("models")

    def test_a_download_tells_its_progress(self):
        page = self.open("/#models")
        page.js("window.notes = new Set(); new MutationObserver(() => notes.add($('fetch-note').textContent))"
                ".observe($('fetch-note'), { childList: true }); 1")
        page.write("#repo", "someone/tiny-GGUF")
        page.click("#fetch")
        page.until("$('fetch-progress').value > 0.2 && $('fetch-progress').value < 1")
        page.shot("download")
        page.until("!models.fetching")
        self.assertIn("downloaded", page.text("#fetch-note"))
        notes = page.js("[...notes]")
        self.assertTrue([note for note in notes if "/s" in note and " of " in note], notes)
        page.until("models.list.some(({ id }) => id.includes('tiny'))")

    def test_a_wrong_repository_is_an_error_in_words(self):
        page = self.open("/#models")
        page.write("#repo", "someone/absent")
        page.key("Enter", 13)
        page.until("document.querySelector('#download-error .error')")
        self.assertIn("someone/absent", page.text("#download-error .error"))


class Errors(InBrowser):
    options = ("--api-key", "right")
    expected = ("status of 401", "status of 404", "status of 400")

    def test_a_key_is_asked_for_and_kept(self):
        page = self.page.go(self.host.url)
        page.until("$('key-dialog').open")
        page.shot("key")
        page.write("#key", "wrong")
        page.key("Enter", 13)
        page.until("$('key-dialog').open && $('key').value === ''")
        page.write("#key", "right")
        page.key("Enter", 13)
        page.until("models.list.length")
        self.assertEqual(page.js("sessionStorage.getItem('key')"), "right")
        page.go(self.host.url)
        page.until("models.list.length")
        self.assertFalse(page.js("$('key-dialog').open"))

    def test_the_servers_words_are_shown(self):
        page = self.page.go(self.host.url)
        page.js("sessionStorage.setItem('key', 'right')")
        self.open()
        page.js("$('chat-model').append(el('option', { value: 'absent' }, 'absent')); $('chat-model').value = 'absent'")
        page.write("#prompt", "Hello")
        page.key("Enter", 13)
        page.until("document.querySelector('#log .error')")
        self.assertIn('"absent" is not here', page.text("#log .error"))
        page.shot("error")
        page.js("$('chat-model').selectedIndex = 0; $('max-tokens').value = 4; 1")
        page.click("#log .error button")
        page.until("document.querySelector('.figures')")
        self.assertEqual(page.js("chat.turns.length"), 2)


class Docs(InBrowser):
    def test_the_routes_are_shown_and_can_be_tried(self):
        page = self.open("/docs")
        count = sum(len(methods) for methods in self.host.get("/openapi.json")["paths"].values())
        page.until(f"document.querySelectorAll('article').length === {count}")
        page.shot("docs")
        page.js("document.querySelector('#post-v-chat-completions .try').open = true")
        page.js("document.querySelector('#post-v-chat-completions .try textarea').value ="
                " '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"max_tokens\": 4, \"stream\": true}'")
        page.click("#post-v-chat-completions .try button.main")
        page.until("document.querySelector('#post-v-chat-completions .try pre').innerText.includes('[DONE]')")
        self.assertIn("200 OK", page.text("#post-v-chat-completions .try pre"))
        page.shot("docs-try")
        page.look(360, 740, "dark")
        page.js("document.querySelector('#post-v-models-download').scrollIntoView()")
        page.shot("docs-narrow")
        self.no_overflow("docs")

    def test_programs_get_json_and_browsers_a_page_they_keep(self):
        about = self.host.get("/")
        self.assertEqual(about["endpoints"]["chat"], "/v1/chat/completions")
        ask = urllib.request.Request(self.host.url, headers={"Accept": "text/html"})
        with urllib.request.urlopen(ask) as answer:
            tag, policy = answer.headers["ETag"], answer.headers["Content-Security-Policy"]
            self.assertIn(b"<!doctype html>", answer.read())
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        again = urllib.request.Request(self.host.url, headers={"Accept": "text/html", "If-None-Match": tag})
        with self.assertRaises(urllib.error.HTTPError) as seen:
            urllib.request.urlopen(again)
        self.assertEqual((seen.exception.code, seen.exception.headers["ETag"]), (304, tag))
        seen.exception.close()


if __name__ == "__main__":
    unittest.main()
