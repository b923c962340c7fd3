"""A hub on loopback that speaks Hugging Face's protocol: revisions, lists of files, files with ranges, and some of
what can go wrong."""
import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """`repos` maps "owner/name" to {path: bytes}. `gated` repositories are refused; of a file in `cuts` the first
    answers break off after so many bytes; `pause` seconds pass between two pieces of a file."""

    def __init__(self, repos):
        self.repos, self.gated, self.cuts, self.pause = repos, set(), {}, 0.0
        self.asked = []
        self.sending = 0

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def variables(self):
        """What a server is told of the hub."""
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": "", "HF_HUB_OFFLINE": "0"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(path)
        of_list = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path)
        of_file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repo, revision = (of_list or of_file)[1], (of_list and of_list[3]) or (of_file and of_file[2])
        if repo not in self.hub.repos:
            self.refuse(404, "RepoNotFound")
        elif repo in self.hub.gated:
            self.refuse(403 if of_file else 401, "GatedRepo")
        elif revision not in ("main", COMMIT):
            self.refuse(404, "RevisionNotFound")
        elif of_file:
            self.send_file(repo, of_file[3])
        elif of_list[2] == "tree":
            self.send_json([self.entry(name, data) for name, data in self.hub.repos[repo].items()])
        else:
            files = [{"rfilename": name} for name in self.hub.repos[repo]]
            self.send_json({"id": repo, "sha": COMMIT, "private": False, "gated": False, "siblings": files})

    @staticmethod
    def entry(name, data):
        sha256 = hashlib.sha256(data).hexdigest()
        lfs = {"oid": sha256, "size": len(data), "pointerSize": 134}
        return {"type": "file", "oid": "1" * 40, "size": len(data), "path": name, "lfs": lfs}

    def send_file(self, repo, name):
        data = self.hub.repos[repo].get(name)
        if data is None:
            return self.refuse(404, "EntryNotFound")
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Linked-Size", str(len(data)))
        self.end_headers()
        self.send_pieces(data[start:], self.hub.cuts.pop(name, None))

    def send_pieces(self, data, cut):
        self.hub.sending += 1
        try:
            for at in range(0, len(data), 1 << 16):
                if cut is not None and at >= cut:
                    self.close_connection = True
                    return self.connection.shutdown(2)
                self.wfile.write(data[at:at + (1 << 16)])
                time.sleep(self.hub.pause)
        except OSError:
            self.close_connection = True
        finally:
            self.hub.sending -= 1

    def send_json(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, code):
        body = json.dumps({"error": code}).encode()
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
