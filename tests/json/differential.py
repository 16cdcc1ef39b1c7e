"""The differential (S12, S13): whatever Weir accepts, every parser reads the same in what steers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import reading
from judges import Judges

# Why others may refuse what Weir passes: PostgreSQL's text has no NUL and its numbers an end, and some
# read the halves of surrogate pairs even where nobody looks. Who refuses a document bills nothing for it.
REFUSALS = [
    ("postgres", "\\u0000 cannot be converted", "nul"),
    ("postgres", "numeric", "numeric"),
    ("postgres", "surrogate", "surrogate"),
    ("jq", "surrogate", "surrogate"),
    ("serde", "surrogate", "surrogate"),
    ("serde", "hex escape", "surrogate"),
]


@dataclass
class Report:
    """What came of a batch."""

    documents: int = 0
    accepted: int = 0
    refused: Counter = field(default_factory=Counter)
    refused_elsewhere: Counter = field(default_factory=Counter)
    disagreements: list[dict] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.documents += other.documents
        self.accepted += other.accepted
        self.refused += other.refused
        self.refused_elsewhere += other.refused_elsewhere
        self.disagreements += other.disagreements


def check(judges: Judges, documents: list[bytes]) -> Report:
    """Judges the documents, and what becomes of those that are accepted."""
    told = judges.weir(documents)
    report = Report(documents=len(documents))
    report.refused.update(judged["refused"] for judged in told if "refused" in judged)
    accepted = [(document, judged) for document, judged in zip(documents, told) if "refused" not in judged]
    report.accepted = len(accepted)
    sent = []
    for document, judged in accepted:
        try:
            wrong = _weir_reads_as_python(document.decode(), judged)
        except (ValueError, RecursionError, AttributeError) as error:
            wrong = f"python: {error!r}"
        if wrong:
            report.disagreements.append(_said(document, wrong))
        else:
            sent.append((document, judged))
    texts = [document.decode() for document, _ in sent] + [judged["forwarded"] for _, judged in sent]
    wanted = [reading.read(reading.parse(text)) for text in texts]
    for name, answers in judges.others(texts).items():
        for text, answer, values in zip(texts, answers, wanted):
            why = _differs(name, answer, values, report)
            if why:
                report.disagreements.append(_said(text.encode(), why))
    return report


def _weir_reads_as_python(text: str, judged: dict) -> str | None:
    """What of Weir's reading, or of what it sends, is not as Python reads it; `None` if nothing."""
    document = reading.parse(text)
    values = reading.read(document)
    if any(reading.read(document, *way) != values for way in reading.WAYS):
        return "depends on which key wins"
    wanted = reading.as_weir(values)
    wrong = [key for key, value in wanted.items() if judged[key] != value]
    if wrong:
        return f"weir reads {[(key, judged[key], wanted[key]) for key in wrong]}"
    tools = [value for key, value in document if key == "tools"]
    if len(tools) < 2 and judged["has_tools"] != any(type(value) is list and value for value in tools):
        return "weir sees other tools"
    if judged["forwarded"] is None:
        return "what is sent is not UTF-8"
    sent = reading.parse(judged["forwarded"])
    if sent != reading.forwarded(document, judged):
        return f"weir sends {judged['forwarded']}"
    values = [reading.read(sent, *way) for way in reading.WAYS]
    if any(value != values[0] for value in values) or values[0][0] != judged["edit"]["model"]:
        return f"the model sent depends on which key wins: {judged['forwarded']}"
    return None


def _differs(name: str, answer: object, values: list, report: Report) -> str | None:
    if answer == values:
        return None
    if isinstance(answer, dict):
        for judge, part, short in REFUSALS:
            if name == judge and part in answer["refused"]:
                report.refused_elsewhere[f"{name}: {short}"] += 1
                return None
        return f"{name} refuses: {answer['refused']}"
    pairs = zip(reading.PATHS, values, answer)
    return f"{name} reads {[(path, was, other) for path, was, other in pairs if was != other]}"


def _said(document: bytes, why: str) -> dict:
    return {"document": document[:4096].decode("latin-1"), "why": why[:2000]}
