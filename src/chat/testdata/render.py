"""Fills "expected" (or "error") of cases.json by rendering with jinja2, set up as Hugging Face's
transformers does. Run in this folder, with jinja2 installed, after changing a case."""

import json

import jinja2
from jinja2 import ext, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(ext.Extension):
    """The tag that marks what a trainer learns from; it prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


env = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception

with open("cases.json", encoding="utf-8") as file:
    cases = json.load(file)
for case in cases:
    case.pop("expected", None)
    case.pop("error", None)
    with open(case["template"], encoding="utf-8") as file:
        template = env.from_string(file.read())
    try:
        case["expected"] = template.render(
            case["extra"], messages=case["messages"], tools=case["tools"],
            add_generation_prompt=case["gen"], bos_token="<s>", eos_token="</s>")
    except jinja2.TemplateError as error:
        case["error"] = str(error)
with open("cases.json", "w", encoding="utf-8") as file:
    json.dump(cases, file, indent=1, ensure_ascii=False)
    file.write("\n")
