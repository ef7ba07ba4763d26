"""The text example of the README: the answers of a good model to "fetch web content and summarize it"."""

from __future__ import annotations

from typing import Any

WISH = "Build a text processing pipeline that fetches web content and summarizes it"
HEAD = "from typing import Any\n\nfrom wfe import workflow_node\n"


def outline(url: str) -> dict[str, Any]:
    def node(
        name: str, purpose: str, inputs: list[tuple[str, str, Any]], outputs: list[tuple[str, str]]
    ) -> dict[str, Any]:
        return {
            "id": name,
            "function": name,
            "purpose": purpose,
            "inputs": [{"name": key, "type": kind, "value": value} for key, kind, value in inputs],
            "outputs": [{"name": key, "type": kind} for key, kind in outputs],
        }

    return {
        "name": "text_processing_pipeline",
        "description": "Fetch a page, clean its text, summarize it, store the summary and say so.",
        "params": [{"name": "url", "value": url}, {"name": "sentences", "value": 2}],
        "nodes": [
            node("fetch_web_content", "Fetch a page.", [("url", "str", "${url}")], [("html", "str")]),
            node(
                "clean_and_normalize_text",
                "Strip the markup and collapse white space.",
                [("html", "str", "$fetch_web_content.html")],
                [("text", "str")],
            ),
            node(
                "generate_summary",
                "The most telling sentences of a text, in their order.",
                [("text", "str", "$clean_and_normalize_text.text"), ("sentences", "int", "${sentences}")],
                [("summary", "str")],
            ),
            node(
                "store_summary",
                "Write the summary to a file.",
                [("summary", "str", "$generate_summary.summary"), ("target", "Output", "cache/results/summary.txt")],
                [("characters", "int")],
            ),
            node(
                "notify_completion",
                "One line that says what was made.",
                [("characters", "int", "$store_summary.characters"), ("summary", "str", "$generate_summary.summary")],
                [("message", "str")],
            ),
        ],
    }


def nodes(url: str, host: str) -> dict[str, dict[str, Any]]:
    """name -> the answer for it."""
    answers = {
        "fetch_web_content": {
            "code": (
                "from typing import Any\n\nimport requests\n\nfrom wfe import workflow_node\n\n\n"
                '@workflow_node(outputs={"html": str}, dependencies=["requests"], permissions={"network": ["'
                + host
                + '"]})\n'
                "def fetch_web_content(url: str) -> dict[str, Any]:\n"
                '    """The body of the page at `url`."""\n'
                "    answer = requests.get(url, timeout=30)\n    answer.raise_for_status()\n"
                '    return {"html": answer.text}\n'
            ),
            "dependencies": ["requests"],
            "examples": [{"url": url}, {"url": url + "?again"}],
            "test": (
                "from unittest import mock\n\nfrom nodes.custom.fetch_web_content import fetch_web_content\n\n\n"
                'def test_fetch():\n    for text in ("<p>a</p>", "<p>b</p>"):\n'
                '        with mock.patch("requests.get") as get:\n            get.return_value = mock.Mock(text=text)\n'
                '            assert fetch_web_content("http://x/") == {"html": text}\n'
            ),
        },
        "clean_and_normalize_text": {
            "code": "import html as entities\nimport re\n" + HEAD + "\n\n"
            '@workflow_node(outputs={"text": str})\n'
            "def clean_and_normalize_text(html: str) -> dict[str, Any]:\n"
            '    """The text of a page: no markup, no scripts, single spaces."""\n'
            '    bare = re.sub(r"(?is)<(script|style).*?</\\1>", " ", html)\n'
            '    bare = entities.unescape(re.sub(r"(?s)<[^>]*>", " ", bare))\n'
            '    return {"text": " ".join(bare.split())}\n',
            "dependencies": [],
            "examples": [{"html": "<p>One  two</p>"}, {"html": "<b>A</b> &amp; b<script>x</script>"}],
            "test": "from nodes.custom.clean_and_normalize_text import clean_and_normalize_text as clean\n\n\n"
            'def test_clean():\n    assert clean("<p>One\\n two</p>") == {"text": "One two"}\n'
            '    assert clean("<script>evil()</script>a &amp; b") == {"text": "a & b"}\n',
        },
        "generate_summary": {
            "code": "import re\nfrom collections import Counter\n" + HEAD + "\n\n"
            '@workflow_node(outputs={"summary": str})\n'
            "def generate_summary(text: str, sentences: int) -> dict[str, Any]:\n"
            '    """The `sentences` whose words are the most frequent, in the order of the text."""\n'
            '    parts = [part for part in re.split(r"(?<=[.!?])\\s+", text) if part]\n'
            '    counts = Counter(re.findall(r"[a-z]+", text.lower()))\n\n'
            "    def weight(part: str) -> float:\n"
            '        words = re.findall(r"[a-z]+", part.lower())\n'
            "        return sum(counts[word] for word in words) / max(len(words), 1)\n\n"
            "    best = sorted(range(len(parts)), key=lambda at: (-weight(parts[at]), at))[:sentences]\n"
            '    return {"summary": " ".join(parts[at] for at in sorted(best))}\n',
            "dependencies": [],
            "examples": [
                {"text": "A cat. A cat and a dog. Rain.", "sentences": 1},
                {"text": "One. Two.", "sentences": 2},
            ],
            "test": "from nodes.custom.generate_summary import generate_summary\n\n\n"
            'def test_summary():\n    assert generate_summary("A a a. B c.", 1) == {"summary": "A a a."}\n'
            '    assert generate_summary("One. Two.", 2) == {"summary": "One. Two."}\n',
        },
        "store_summary": {
            "code": HEAD.replace("import workflow_node", "import Output, workflow_node") + "\n\n"
            '@workflow_node(outputs={"characters": int})\n'
            "def store_summary(summary: str, target: Output) -> dict[str, Any]:\n"
            '    """How many characters were written to `target`."""\n'
            '    target.write_text(summary + "\\n", encoding="utf-8")\n'
            '    return {"characters": len(summary)}\n',
            "dependencies": [],
            "examples": [{"summary": "s", "target": {"output": "a"}}, {"summary": "", "target": {"output": "b"}}],
            "test": "from nodes.custom.store_summary import store_summary\n\n\n"
            'def test_store(tmp_path):\n    assert store_summary("abc", tmp_path / "f") == {"characters": 3}\n'
            '    assert (tmp_path / "f").read_text() == "abc\\n"\n',
        },
        "notify_completion": {
            "code": HEAD + "\n\n"
            '@workflow_node(outputs={"message": str})\n'
            "def notify_completion(characters: int, summary: str) -> dict[str, Any]:\n"
            '    """A line that says how much was stored and how it begins."""\n'
            '    return {"message": f"stored {characters} characters: {summary[:20]}"}\n',
            "dependencies": [],
            "examples": [{"characters": 3, "summary": "abc"}, {"characters": 0, "summary": ""}],
            "test": "from nodes.custom.notify_completion import notify_completion\n\n\n"
            'def test_notify():\n    assert notify_completion(3, "abc") == {"message": "stored 3 characters: abc"}\n'
            '    assert notify_completion(30, "a" * 30)["message"].endswith("a" * 20)\n',
        },
    }
    return {name: {"name": name, **answer} for name, answer in answers.items()}
