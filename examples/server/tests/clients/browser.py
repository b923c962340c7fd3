"""Chromium without a window, driven by its DevTools protocol over two pipes: nothing but Python's own library."""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = os.environ.get("FLUID_CHROMIUM") or shutil.which("chromium") or "chromium"
PATIENCE = 30
FLAGS = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-extensions", "--mute-audio", "--hide-scrollbars", "--use-fake-device-for-media-stream",
         "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required"]


class Browser:
    """Starts on entry, ends on exit. `microphone` is the WAV file that the microphone hears."""

    def __init__(self, microphone=None):
        self.flags = [*FLAGS, *([f"--use-file-for-fake-audio-capture={microphone}"] if microphone else [])]

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="fluid-browser-")
        (theirs_in, self.out), (self.inward, theirs_out) = os.pipe(), os.pipe()
        # Chromium reads commands from descriptor 3 and writes to 4; high numbers are not in their way.
        high = [fcntl.fcntl(pipe, fcntl.F_DUPFD, 10) for pipe in (theirs_in, theirs_out)]
        command = ["bash", "-c", f'exec "$@" 3<&{high[0]} 4>&{high[1]}', "bash", CHROMIUM, *self.flags,
                   f"--user-data-dir={self.scratch.name}/profile"]
        self.process = subprocess.Popen(command, pass_fds=high, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for pipe in (theirs_in, theirs_out, *high):
            os.close(pipe)
        self.number, self.rest, self.pages = 0, b"", {}
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=self.scratch.name)
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.out)
            os.close(self.inward)
            self.scratch.cleanup()

    def downloaded(self, name):
        """The text of a file that a page has handed out."""
        file, begun = Path(self.scratch.name) / name, time.monotonic()
        while not file.exists() or not file.stat().st_size:
            if time.monotonic() - begun > PATIENCE:
                raise TimeoutError(f"{name} was not downloaded: {os.listdir(self.scratch.name)}")
            time.sleep(0.02)
        return file.read_text()

    def call(self, method, session=None, **parameters):
        """What Chromium answers; events that come meanwhile go to their pages."""
        self.number += 1
        number = self.number
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("id") == number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']['message']}")
                return said["result"]
            if said.get("sessionId") in self.pages:
                self.pages[said["sessionId"]].take(said["method"], said["params"])

    def _read(self):
        while b"\0" not in self.rest:
            if not select.select([self.inward], [], [], PATIENCE)[0]:
                raise TimeoutError("Chromium says nothing")
            more = os.read(self.inward, 1 << 20)
            if not more:
                raise RuntimeError(f"Chromium has ended: {self.process.wait()}")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def page(self, width=1100, height=760, scheme="light"):
        """A new page with a storage of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=self.scratch.name,
                  browserContextId=context)
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.look(width, height, scheme)
        return page


class Page:
    """A page; `addresses` are all that it has asked for, `complaints` what its console shows as wrong."""

    def __init__(self, browser, session, target):
        self.browser, self.session, self.target = browser, session, target
        self.addresses, self.complaints = [], []

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def take(self, method, event):
        if method == "Network.requestWillBeSent":
            self.addresses.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(event["exceptionDetails"]["exception"].get("description", str(event)))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([part.get("value") for part in event["args"]]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(event["entry"]["text"])

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)

    def look(self, width, height, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def go(self, address):
        failed = self.call("Page.navigate", url=address).get("errorText")
        if failed:
            raise RuntimeError(f"{address}: {failed}")
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return self

    def js(self, expression):
        """The value of an expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True,
                           userGesture=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, expression, patience=PATIENCE):
        """Waits until an expression is true."""
        begun = time.monotonic()
        while not self.js(f"Boolean({expression})"):
            if time.monotonic() - begun > patience:
                raise TimeoutError(f"not yet: {expression}; the page: {self.js('document.body.innerText')}")
            time.sleep(0.03)

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def middle(self, selector):
        return self.js(f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
                       " node.scrollIntoView({block: 'nearest'}); const box = node.getBoundingClientRect();"
                       " return [box.x + box.width / 2, box.y + box.height / 2]; })()")

    def click(self, selector):
        """As a mouse does: what lies above the element gets it."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def write(self, selector, text):
        self.click(selector)
        self.js(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def key(self, name, code, shift=False):
        common = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        text = {"text": "\r"} if name == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def give(self, selector, file):
        """Chooses a file in an `<input type=file>`."""
        node = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", files=[str(file)], objectId=node["result"]["objectId"])

    def drop(self, selector, file):
        x, y = self.middle(selector)
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def shot(self, name):
        """A picture, where FLUID_SHOTS names a folder for them."""
        folder = os.environ.get("FLUID_SHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            picture = self.call("Page.captureScreenshot", format="png")["data"]
            (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(picture))
