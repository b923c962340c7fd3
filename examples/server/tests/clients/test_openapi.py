"""The description of the routes against the routes that the server has."""
import http.client
import re
import unittest

from host import ROOT, Host

ROUTES = ROOT / "examples/server/src/routes"
# Others spell these so; they are described under the paths of OpenAI's.
ALIASES = {"/reranking": "/v1/rerank", "/v1/reranking": "/v1/rerank"}


class Description(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = cls.enterClassContext(Host("--no-warm-up", links={}))
        cls.document = cls.host.get("/openapi.json")

    def methods(self, path):
        """What the server takes at a path: it says so when it is asked for what it does not take."""
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=10)
        connection.request("PROPFIND", re.sub(r"\{.*?\}", "some", path))
        answer = connection.getresponse()
        connection.close()
        if answer.status == 404:
            return set()
        self.assertEqual(answer.status, 405, path)
        return {method.strip().lower() for method in answer.headers["Allow"].split(",")} - {"head"}

    def test_each_route_is_described_and_no_other(self):
        described = {(path, method) for path, item in self.document["paths"].items() for method in item}
        there = {(path, method) for path, _ in described for method in self.methods(path)}
        self.assertEqual(described - there, set(), "described, and not there")
        sources = "\n".join(file.read_text() for file in ROUTES.rglob("*.rs"))
        for path in set(re.findall(r'"(/[a-z0-9_./{}*-]*)"', sources)):
            name = path.replace("{*", "{")
            name = name if name in self.document["paths"] else ALIASES.get(name, f"/v1{name}")
            there = self.methods(path)
            self.assertEqual({method for known, method in described if known == name} & there, there,
                             f"{path} lacks a description in src/openapi")

    def test_references_lead_somewhere_and_operations_have_names(self):
        def references(value):
            if isinstance(value, dict):
                yield from [value["$ref"]] if "$ref" in value else []
                value = list(value.values())
            if isinstance(value, list):
                for part in value:
                    yield from references(part)

        for reference in set(references(self.document)):
            place = self.document
            for name in reference.removeprefix("#/").split("/"):
                place = place[name]
        operations = [operation for item in self.document["paths"].values() for operation in item.values()]
        names = [operation["operationId"] for operation in operations]
        self.assertEqual(len(names), len(set(names)))
        for operation in operations:
            self.assertTrue(operation["summary"] and operation["tags"] and operation["responses"], operation)
        self.assertEqual(self.document["openapi"].split(".")[:2], ["3", "1"])


if __name__ == "__main__":
    unittest.main()
