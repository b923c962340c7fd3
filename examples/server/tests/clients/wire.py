"""Plain HTTP, for what OpenAI's client would hide or repair."""
import http.client
import json
import uuid
from typing import NamedTuple

PATIENCE = 60


class Answer(NamedTuple):
    status: int
    headers: dict  # names in lower case
    body: bytes

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The data of a stream's events, [DONE] left out."""
        lines = self.body.decode().split("\n")
        data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
        return [json.loads(one) for one in data if one != "[DONE]"]


def send(host, method, path, body=None, headers=None):
    """One request; `body` is bytes, or a value sent as JSON."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())
    finally:
        connection.close()


def upload(host, path, file, **fields):
    """A form with the file `file` and more fields; a list gives a field several times."""
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{one}\r\n'.encode())
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'
    body = b"".join([*parts, head.encode(), file.read_bytes(), f"\r\n--{boundary}--\r\n".encode()])
    return send(host, "POST", path, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
