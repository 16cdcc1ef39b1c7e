"""Requests as bytes, each with what must become of it: refused, or served once.

A template is Latin-1 text in which `{B}` stands for a body, `{L}` for its length, `{C}` for the body
in chunks, `{K}` for the key's field and `{2}` for a whole second request that nobody may ever serve.
"""

from __future__ import annotations

from dataclasses import dataclass

SERVED = "served"
LOCAL = "local"
"""Answered 200 by Weir itself."""
BROKEN = "broken"
"""Answered 400: the caller left in the middle of a body."""
NOTHING = "nothing"
"""Closed without an answer: the caller left in the middle of a head."""

STATUS = {
    SERVED: 200, LOCAL: 200, BROKEN: 400, NOTHING: 0, "missing": 404, "wrong_method": 405, "json": 400,
    "line": 400, "request_line": 400, "version": 505, "method": 405, "target": 400, "target_size": 414,
    "fold": 400, "name": 400, "underscore": 400, "value": 400, "fields": 431, "head_size": 431, "host": 400,
    "length": 400, "coding": 400, "length_and_coding": 400, "http_1_0_body": 400, "chunk": 400,
    "upgrade": 400, "expect": 417, "content_coding": 415,
}
"""Status of every fate; those that are no kind of `weir_bad_request_total` are in OTHER."""
OTHER = {SERVED, LOCAL, BROKEN, NOTHING, "missing", "wrong_method", "json"}


@dataclass(frozen=True)
class Vector:
    """One connection's bytes and their fate."""

    name: str
    text: str
    fate: str
    pipelined: bool = False
    """More is behind the request: counted, dropped, the connection closed."""
    closes: bool = False
    """Closed although served."""
    fin: bool = False
    """The caller shuts its side down behind the last byte."""

    def bytes(self, body: bytes, key: str, second: bytes) -> bytes:
        """What is sent for this body."""
        filled = self.text.encode("latin-1")
        middle = len(body) // 2
        parts = (body[:middle], body[middle:])
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        for mark, value in {
            b"{C}": chunks + b"0\r\n\r\n", b"{c}": chunks, b"{B}": body, b"{L}": b"%d" % len(body),
            b"{X}": b"%x" % len(body), b"{K}": b"Authorization: Bearer " + key.encode(), b"{2}": second,
        }.items():
            filled = filled.replace(mark, value)
        return filled


PATH = "/v1/chat/completions"
LINE = f"POST {PATH} HTTP/1.1"
LENGTH = "Content-Length: {L}"
CHUNKED = "Transfer-Encoding: chunked"


def post(*fields: str, line: str = LINE, host: str = "Host: weir", body: str = "{B}") -> str:
    """A request with these fields behind Host and key."""
    return "\r\n".join([line, *([host] if host else []), "{K}", *fields, "", body])


def shown(text: str) -> str:
    return text.encode("unicode_escape").decode().replace(" ", "~") or "empty"


def lengths():
    """Content-Length by itself."""
    good = ["Content-Length:{L}", "Content-Length: {L}", "Content-Length:  {L}  ", "Content-Length:\t{L}\t",
            "content-length: {L}", "CONTENT-LENGTH: {L}", "cOnTeNt-LeNgTh: \t {L} \t"]
    bad = ["", " ", "+{L}", "-{L}", "-0", "+0", "0x{X}", "0X{X}", "{X}h", "0b1", "0o7", "{L}_0", "1_0", "{L}.0",
           "{L}e0", "1e2", "{L},", ",{L}", "{L},{L}", "{L}, {L}", "{L};{L}", "{L} {L}", "{L}\t{L}", "0{L}",
           "00{L}", "000000000000000000{L}", "00", "01", "\"{L}\"", "'{L}'", "({L})", "{L};q=1", "{L} bytes",
           "#{L}", "$", "NaN", "Infinity", "null", "true", "\xb2", "\xa0{L}", "{L}\xa0", "\xef\xbc\x91",
           "18446744073709551616", "18446744073709551615", "99999999999999999999", "9" * 40, "9" * 400,
           "{L}\\r\\n", "%31", "{L}/1", "{L}:{L}", "=5", "*", "-", "+", "0x", "0 0"]
    for field in good:
        yield Vector(f"length-good-{shown(field)}", post(field), SERVED)
    for value in bad:
        yield Vector(f"length-bad-{shown(value)}", post(f"Content-Length: {value}"), "length")
    for value in ["\x0b{L}", "{L}\x0c", "\x01{L}", "{L}\x7f", "{L}\x1b"]:
        yield Vector(f"length-control-{shown(value)}", post(f"Content-Length: {value}"), "value")
    names = ["Content-Length", "content-length", "CONTENT-LENGTH"]
    for name in names:
        for value in ["{L}", "0", "1", "+{L}", ""]:
            yield Vector(f"length-twice-{name}-{shown(value)}", post(LENGTH, f"{name}: {value}"), "length")
            yield Vector(f"length-twice-apart-{name}-{shown(value)}",
                         post(f"{name}: {value}", "X-Y: z", LENGTH), "length")
    yield Vector("length-thrice", post(LENGTH, LENGTH, LENGTH), "length")
    for name in ["Content_Length", "content_length"]:
        yield Vector(f"length-underscore-{name}", post(LENGTH, f"{name}: 0"), "underscore")
    for name in ["Content-Length ", "Content-Length\t", " Content-Length", "\tContent-Length", "Content Length"]:
        fate = "fold" if name[0] in " \t" else "name"
        yield Vector(f"length-blank-{shown(name)}", post("X-Y: z", f"{name}: {{L}}"), fate)
    for near in ["Content-Lengths", "Content-Lengt", "X-Content-Length", "Content.Length", "ContentLength",
                 "Content--Length", "-Content-Length"]:
        yield Vector(f"length-near-{near}", post(f"{near}: 0", LENGTH), SERVED)
    yield Vector("length-none", post(body=""), "json")
    yield Vector("length-0", post("Content-Length: 0", body=""), "json")
    yield Vector("length-none-and-a-body", post(), "json", pipelined=True)
    yield Vector("length-0-and-a-body", post("Content-Length: 0"), "json", pipelined=True)
    yield Vector("length-too-long", post("Content-Length: 999"), BROKEN, fin=True)
    yield Vector("length-one-too-long", post("Content-Length: 1{L}"), BROKEN, fin=True)


def codings():
    """Transfer-Encoding by itself and beside Content-Length."""
    for value in ["chunked", "Chunked", "CHUNKED", "cHuNkEd", " chunked ", "\tchunked\t", "  \t chunked"]:
        yield Vector(f"coding-good-{shown(value)}", post(f"Transfer-Encoding:{value}", body="{C}"), SERVED)
    for name in ["transfer-encoding", "TRANSFER-ENCODING", "Transfer-encoding", "tRANSFER-eNCODING"]:
        yield Vector(f"coding-name-{name}", post(f"{name}: chunked", body="{C}"), SERVED)
    bad = ["", " ", ",", "xchunked", "chunkedx", "x-chunked", "chunke", "hunked", "chunk ed", "chun\tked", "chunked,",
           ",chunked", "chunked,,", "chunked ,", " , chunked", "chunked, chunked", "chunked,chunked",
           "Chunked, CHUNKED", "gzip", "gzip, chunked", "gzip,chunked", "chunked, gzip", "deflate, chunked",
           "compress", "br", "identity", "Identity", "identity, chunked", "chunked, identity", "\"chunked\"",
           "'chunked'", "\"chunked", "(chunked)", "[chunked]", "{chunked}", "chunked;", "chunked;q=1", "chunked; a=b",
           "chunked;a=\"b\"", "chunked\\", "chunked\xa0", "\xa0chunked", "chunked\x85", "\xefchunked", "chunked.",
           "=chunked", "chunked=", "chunked/1", "Transfer-Encoding: chunked", "c\xfbunked", "trailers", "1", "0",
           "null", "*", "chun%6bed", "UTF-8", "\xe2\x80\x8bchunked"]
    for value in bad:
        yield Vector(f"coding-bad-{shown(value)}", post(f"Transfer-Encoding: {value}", body="{C}"), "coding")
    for value in ["\x0bchunked", "chunked\x0b", "chunked\x0c", "\x01chunked", "chunked\x7f", "\x08chunked"]:
        yield Vector(f"coding-control-{shown(value)}", post(f"Transfer-Encoding: {value}", body="{C}"), "value")
    for first, second in [("chunked", "chunked"), ("chunked", "gzip"), ("gzip", "chunked"), ("identity", "chunked"),
                          ("chunked", "identity"), ("", "chunked"), ("chunked", ""), ("chunked", "xchunked")]:
        fields = [f"Transfer-Encoding: {first}", f"transfer-encoding: {second}"]
        yield Vector(f"coding-twice-{shown(first)}-{shown(second)}", post(*fields, body="{C}"), "coding")
    for name in ["Transfer-Encoding ", "Transfer-Encoding\t", "Transfer Encoding", "Transfer-Encoding\x0b",
                 "Transfer-Encod\xefng", "\x01Transfer-Encoding", "\"Transfer-Encoding\"", "Transfer-Encoding:X"[:17] + "("]:
        yield Vector(f"coding-odd-name-{shown(name)}", post(LENGTH, f"{name}: chunked"), "name")
    for near in ["Transfer-Encodin", "Transfer-Encodings", "X-Transfer-Encoding", "Transfer.Encoding", "TransferEncoding",
                 "TE", "Trailer"]:
        yield Vector(f"coding-near-{near}", post(f"{near}: chunked", LENGTH), SERVED)
    yield Vector("coding-underscore", post(LENGTH, "Transfer_Encoding: chunked"), "underscore")
    for name in ["Transfer-Encoding", "transfer-encoding", "TRANSFER-ENCODING"]:
        for coding in ["chunked", "Chunked"]:
            for length in ["{L}", "0", "5", "99999"]:
                fields = [f"{name}: {coding}", f"Content-Length: {length}"]
                for order, both in (("te-cl", fields), ("cl-te", fields[::-1])):
                    yield Vector(f"both-{order}-{name}-{coding}-{length}", post(*both, body="{C}"), "length_and_coding")
    yield Vector("both-hidden-request", post(CHUNKED, "Content-Length: 5", body="0\r\n\r\n{2}"), "length_and_coding")
    yield Vector("both-hidden-request-cl-te", post(LENGTH, CHUNKED, body="0\r\n\r\n{2}"), "length_and_coding")
    for value in ["xchunked", "chunked, chunked", "identity", "gzip, chunked"]:
        yield Vector(f"both-odd-{shown(value)}", post(LENGTH, f"Transfer-Encoding: {value}"), "coding")
        yield Vector(f"both-odd-te-first-{shown(value)}", post(f"Transfer-Encoding: {value}", LENGTH), "coding")


def chunks():
    """The chunked body."""
    good = {
        "one": "{X}\r\n{B}\r\n0\r\n\r\n", "two": "{C}", "zeros": "000{X}\r\n{B}\r\n0000\r\n\r\n",
        "extension": "{X};a=b\r\n{B}\r\n0\r\n\r\n", "extension-quoted": "{X};a=\"b;c\"\r\n{B}\r\n0\r\n\r\n",
        "extension-bare": "{X};\r\n{B}\r\n0;\r\n\r\n", "extensions": "{X};a;b=c; d\t=e\r\n{B}\r\n0;last\r\n\r\n",
        "extension-latin": "{X};\xe9\r\n{B}\r\n0\r\n\r\n", "extension-250": "{X};" + "x" * 250 + "\r\n{B}\r\n0\r\n\r\n",
    }
    for name, body in good.items():
        yield Vector(f"chunk-good-{name}", post(CHUNKED, body=body), SERVED)
    sizes = ["0x{X}", "0X{X}", "x{X}", "+{X}", "-{X}", "-1", " {X}", "\t{X}", "{X} ", "{X}\t", "{X} ;a", "{X}\x0b", "{X}\x00",
             "{X}h", "{X}_", "{X}.0", "{X},{X}", "\"{X}\"", "g", "", ";", ";a=b", " ", "_{X}", "{X}\xa0", "\xb2", "ffffffffffffffff",
             "fffffffffffffffff", "10000000000000000", "8000000000000000", "0000000000000000{X}", "{X};a\x00b", "{X};a\x01b",
             "{X};a\x7fb", "{X};a\rb", "{X};a\nb", "{X}\r", "{X};\r", "{X};" + "x" * 300, "{X}a;" + "\n" + "x", "#", "{X}=", "{X}:"]
    for size in sizes:
        yield Vector(f"chunk-size-{shown(size)}", post(CHUNKED, body=size + "\r\n{B}\r\n0\r\n\r\n"), "chunk")
    ends = {
        "size-lf": "{X}\n{B}\r\n0\r\n\r\n", "size-cr": "{X}\r{B}\r\n0\r\n\r\n", "data-lf": "{X}\r\n{B}\n0\r\n\r\n",
        "data-cr": "{X}\r\n{B}\r0\r\n\r\n", "data-nothing": "{X}\r\n{B}0\r\n\r\n", "data-longer": "{X}\r\n{B}x\r\n0\r\n\r\n",
        "data-shorter": "1{X}\r\n{B}\r\n0\r\n\r\n" + "x" * 300, "last-lf": "{c}0\n\r\n", "last-lf-lf": "{c}0\n\n",
        "end-lf": "{c}0\r\n\n", "end-cr": "{c}0\r\n\rx", "all-lf": "{X}\n{B}\n0\n\n", "blank-line-first": "\r\n{C}",
        "blank-line-between": "{c}\r\n0\r\n\r\n", "empty-size-last": "{c}\r\n\r\n", "minus-last": "{c}-0\r\n\r\n",
        "hex-last": "{c}0x0\r\n\r\n", "space-last": "{c}0 \r\n\r\n", "not-chunked": "{B}",
        "hidden-in-lf-extension": "1;\nGET /x HTTP/1.1\r\na\r\n0\r\n\r\n{2}",
        "trailer": "{c}0\r\nX: y\r\n\r\n", "trailer-length": "{c}0\r\nContent-Length: 5\r\n\r\n",
        "trailer-coding": "{c}0\r\nTransfer-Encoding: chunked\r\n\r\n", "trailer-host": "{c}0\r\nHost: other\r\n\r\n",
        "trailer-key": "{c}0\r\nAuthorization: Bearer x\r\n\r\n", "trailer-fold": "{c}0\r\nX: y\r\n z\r\n\r\n",
        "trailer-lf": "{c}0\r\nX: y\n\r\n", "trailer-nul": "{c}0\r\nX: \0\r\n\r\n", "trailer-request": "{c}0\r\n{2}",
    }
    for name, body in ends.items():
        yield Vector(f"chunk-{name}", post(CHUNKED, body=body), "chunk")
    for name, body in {"no-last": "{c}", "half-last": "{c}0", "no-end": "{c}0\r\n", "half-end": "{c}0\r\n\r",
                       "half-size": "{c}1", "half-data": "{X}\r\n{", "nothing": ""}.items():
        yield Vector(f"chunk-cut-{name}", post(CHUNKED, body=body), BROKEN, fin=True)
    yield Vector("chunk-empty", post(CHUNKED, body="0\r\n\r\n"), "json")


CONTROLS = [chr(c) for c in [*range(0x20), 0x7F]]


def line_or(kind: str, c: str) -> str:
    return "line" if c in "\0\r\n" else kind


def fields():
    """Names, colons and values."""
    odd = [*CONTROLS, " ", *"\"(),/;<=>?@[\\]{}", "\x80", "\xa0", "\xff"]
    for c in odd:
        yield Vector(f"name-{shown(c)}", post(LENGTH, f"X{c}Y: z"), line_or("name", c))
        yield Vector(f"name-end-{shown(c)}", post(LENGTH, f"X{c}: z"), line_or("name", c))
    for c in "!#$%&'*+-.^`|~":
        yield Vector(f"name-token-{c}", post(LENGTH, f"X{c}Y: z"), SERVED)
    for c in CONTROLS:
        if c != "\t":
            yield Vector(f"value-{shown(c)}", post(LENGTH, f"X: y{c}z"), line_or("value", c))
    for value in ["\t", "y\tz", "", " ", "\x80", "\xff\xfe", "a: b", ":", "y  z", "\"", "{}", "%00", "\\0", "x" * 4000]:
        yield Vector(f"value-good-{shown(value)[:20]}", post(LENGTH, f"X: {value}"), SERVED)
    for name, field in {"no-colon": "X", "no-name": ": y", "only-colon": ":", "no-colon-te": "Transfer-Encoding chunked",
                        "no-colon-blank": "X y"}.items():
        yield Vector(f"field-{name}", post(LENGTH, field), "name")
    yield Vector("field-two-colons", post(LENGTH, "X:: y"), SERVED)
    for name in ["X_Y", "_X", "X_", "_", "Http_Referer", "x_api_key"]:
        yield Vector(f"underscore-{name}", post(LENGTH, f"{name}: z"), "underscore")
    for fold in [" y", "\ty", " ", "\t", "  Transfer-Encoding: chunked", "\tchunked", " \r"]:
        fate = "line" if "\r" in fold else "fold"
        yield Vector(f"fold-{shown(fold)}", post("X: a", fold, LENGTH), fate)
        yield Vector(f"fold-first-{shown(fold)}", post(LENGTH, line=f"{LINE}\r\n{fold}"), fate)
    for size, fate in [(30 << 10, SERVED), (33 << 10, "head_size"), (200 << 10, "head_size")]:
        yield Vector(f"head-size-{size}", post(LENGTH, "X: " + "y" * size), fate)
        yield Vector(f"head-size-{size}-in-lines", post(LENGTH, *["X: " + "y" * (size // 90)] * 90), fate)
    for count, fate in [(100, SERVED), (101, "fields"), (256, "fields"), (257, "fields"), (1000, "fields")]:
        yield Vector(f"fields-{count}", post(LENGTH, *["X: y"] * (count - 3)), fate)


def lines():
    """Where lines end."""
    good = post(LENGTH)
    whole = good.removesuffix("{B}")
    for number in range(4):
        parts = whole.split("\r\n")
        for name, end in {"lf": "\n", "cr": "\r", "crcrlf": "\r\r\n", "lfcr": "\n\r", "nul": "\0\r\n"}.items():
            text = "\r\n".join(parts[: number + 1]) + end + "\r\n".join(parts[number + 1:])
            yield Vector(f"line-{number}-{name}", text + "{B}", "line")
    yield Vector("line-all-lf", whole.replace("\r\n", "\n") + "{B}", "line")
    yield Vector("line-all-cr", whole.replace("\r\n", "\r") + "{B}", "line")
    yield Vector("line-end-lf", whole[:-2] + "\n{B}", "line")
    yield Vector("line-end-lf-crlf", whole[:-4] + "\n\r\n{B}", "line")
    yield Vector("line-cr-in-value", post(LENGTH, "X: a\rTransfer-Encoding: chunked"), "line")
    yield Vector("line-lf-in-value", post(LENGTH, "X: a\nTransfer-Encoding: chunked"), "line")
    yield Vector("line-nul-in-value", post(LENGTH, "X: a\0"), "line")
    yield Vector("line-empty-first", "\r\n" + good, SERVED)
    yield Vector("line-empty-twice", "\r\n\r\n" + good, "request_line")
    yield Vector("line-empty-lf-first", "\n" + good, "line")
    yield Vector("line-cr-first", "\r" + good, "line")
    yield Vector("line-space-first", " " + good, "request_line")
    yield Vector("line-nul-first", "\0" + good, "line")
    yield Vector("line-bom-first", "\xef\xbb\xbf" + good, "request_line")
    yield Vector("line-tls", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", "line")
    yield Vector("line-ssh", "SSH-2.0-OpenSSH_9\r\n", "request_line")
    yield Vector("line-half", whole[:40], NOTHING, fin=True)
    yield Vector("line-no-end", whole[:-2], NOTHING, fin=True)
    yield Vector("line-nothing", "", NOTHING, fin=True)


def request_lines():
    """Method, target and version."""
    for c in [*CONTROLS, *"\"(),/:;<=>?@[\\]{}", "\x80", "\xff"]:
        yield Vector(f"method-{shown(c)}", post(LENGTH, line=f"PO{c}ST {PATH} HTTP/1.1"), line_or("request_line", c))
    for c in [*CONTROLS, *"\"#<>[\\]^`{|}", "\x80", "\xe9", "\xff"]:
        yield Vector(f"target-{shown(c)}", post(LENGTH, line=f"POST {PATH}?{c} HTTP/1.1"), line_or("target", c))
    for c in "!$%&'()*+,-./:;=?@_~":
        yield Vector(f"target-good-{c}", post(LENGTH, line=f"POST {PATH}?{c} HTTP/1.1"), SERVED)
    for target, fate in {
        "http://weir/v1/chat/completions": "target", "https://weir/v1/chat/completions": "target",
        "HTTP://weir/v1/chat/completions": "target", "http:/v1/chat/completions": "target", "weir:443": "target",
        "weir": "target", "*": "target", "?": "target", "v1/chat/completions": "target", "//weir/v1/chat/completions": "target",
        "//": "target", "\\v1": "target", "/\\weir": "target", "file:///etc/passwd": "target", "": "target",
        "/": "missing", "/v1/chat/completions/": "missing", "/V1/chat/completions": "missing", "/v1//chat/completions": "missing",
        "/v1/./chat/completions": "missing", "/v1/x/../chat/completions": "missing", "/v1/chat%2fcompletions": "missing",
        "/v1/chat/completion%73": "missing", "/v1/chat/completions%00": "missing", "/v1/chat/completions;x": "missing",
        "/v1/%63hat/completions": "missing", "/%2e%2e/v1/chat/completions": "missing",
    }.items():
        yield Vector(f"target-form-{shown(target)}", post(LENGTH, line=f"POST {target} HTTP/1.1"), fate)
    for size, fate in [(2048, SERVED), (2049, "target_size"), (8000, "target_size")]:
        target = PATH + "?" + "q" * (size - len(PATH) - 1)
        yield Vector(f"target-size-{size}", post(LENGTH, line=f"POST {target} HTTP/1.1"), fate)
    for version, fate in {
        "HTTP/0.9": "version", "HTTP/1.2": "version", "HTTP/1.9": "version", "HTTP/2.0": "version", "HTTP/3.0": "version",
        "HTTP/9.9": "version", "HTTP/0.0": "version", "HTTP/2": "request_line", "HTTP/1": "request_line",
        "HTTP/1.": "request_line", "HTTP/.1": "request_line", "HTTP/1.10": "request_line", "HTTP/1.1.1": "request_line",
        "HTTP/01.1": "request_line", "HTTP/1.01": "request_line", "HTTP/1,1": "request_line", "HTTP/1 1": "request_line",
        "HTTP 1.1": "request_line", "HTTP/-1.1": "request_line", "HTTP/1.1\t": "request_line", "HTTP/1.1 ": "request_line",
        "http/1.1": "request_line", "Http/1.1": "request_line", "HTTPS/1.1": "request_line", "HTP/1.1": "request_line",
        "XHTTP/1.1": "request_line", "HTTP/A.1": "request_line", "HTTP/\xb9.1": "request_line", "ICY": "request_line",
        "RTSP/1.0": "request_line", "": "request_line", "HTTP/1.1x": "request_line", "HTTP//1.1": "request_line",
    }.items():
        yield Vector(f"version-{shown(version)}", post(LENGTH, line=f"POST {PATH} {version}"), fate)
    for name, line in {
        "two-spaces": f"POST  {PATH} HTTP/1.1", "two-spaces-late": f"POST {PATH}  HTTP/1.1", "space-first": f" {LINE}",
        "four-words": f"POST {PATH} x HTTP/1.1", "one-word": "POST", "tab-late": f"POST {PATH}\tHTTP/1.1 x",
        "tab": f"POST\t{PATH} HTTP/1.1 x", "no-method": f" {PATH} HTTP/1.1", "colon": f"POST: {PATH} HTTP/1.1",
    }.items():
        yield Vector(f"request-line-{name}", post(LENGTH, line=line), "request_line")
    yield Vector("http-0.9", f"GET {PATH}\r\n", "version")
    yield Vector("http-0.9-fields", f"GET {PATH}\r\nHost: weir\r\n\r\n", "version")
    yield Vector("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version")
    yield Vector("preface-and-frames", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "version")


def methods():
    """Methods Weir has no use for."""
    for line in ["CONNECT weir:443 HTTP/1.1", "CONNECT / HTTP/1.1", f"CONNECT {PATH} HTTP/1.1", "CONNECT weir:443 HTTP/1.0",
                 "CONNECT http://weir/ HTTP/1.1", "TRACE / HTTP/1.1", f"TRACE {PATH} HTTP/1.1", "TRACE * HTTP/1.1"]:
        yield Vector(f"method-{shown(line)}", post(line=line, body=""), "method")
        yield Vector(f"method-hiding-{shown(line)}", post(line=line, body="{2}"), "method")
    for method in ["GET", "PUT", "DELETE", "PATCH", "post", "Post", "connect", "PRI", "FOO", "POSTX", "M-SEARCH", "!"]:
        yield Vector(f"wrong-method-{method}", post(LENGTH, line=f"{method} {PATH} HTTP/1.1"), "wrong_method")
    yield Vector("models", "GET /v1/models HTTP/1.1\r\nHost: weir\r\n\r\n", LOCAL)
    yield Vector("models-with-a-body", "GET /v1/models HTTP/1.1\r\nHost: weir\r\nContent-Length: {L}\r\n\r\n{B}", LOCAL, closes=True)


def hosts():
    """The Host field."""
    good = ["weir", "WEIR", "weir:80", "127.0.0.1:80", "[::1]", "[::1]:80", "[fe80::1%25eth0]", "a_b.c-d", "a..b", "xn--bcher-kva.example",
            "", "weir.", ":80", "weir:", "a!b", "(a)"]
    bad = ["a b", "a\tb", "a/b", "http://weir", "u@weir", "u:p@weir", "a?b", "a#b", "a\\b", "\"a\"", "<a>", "{a}", "a|b", "a^b", "a`b",
           "w\xe9ir", "a\x80"]
    for value in good:
        yield Vector(f"host-good-{shown(value)}", post(LENGTH, host=f"Host: {value}"), SERVED)
    for value in bad:
        yield Vector(f"host-bad-{shown(value)}", post(LENGTH, host=f"Host: {value}"), "host")
    yield Vector("host-none", post(LENGTH, host=""), "host")
    for second in ["weir", "other", ""]:
        for name in ["Host", "host", "HOST"]:
            yield Vector(f"host-twice-{name}-{shown(second)}", post(LENGTH, f"{name}: {second}"), "host")
    yield Vector("host-blank", post(LENGTH, host="Host : weir"), "name")
    yield Vector("host-near", post(LENGTH, "X-Host: other", "Hosts: other", "X-Forwarded-Host: other"), SERVED)


def old():
    """HTTP/1.0."""
    line = f"POST {PATH} HTTP/1.0"
    for name, fields, body, fate in [
        ("length", [LENGTH], "{B}", "http_1_0_body"), ("length-1", ["Content-Length: 1"], "{", "http_1_0_body"),
        ("chunked", [CHUNKED], "{C}", "http_1_0_body"), ("both", [LENGTH, CHUNKED], "{C}", "length_and_coding"),
        ("keep-alive", ["Connection: keep-alive", LENGTH], "{B}", "http_1_0_body"), ("twice", [LENGTH, LENGTH], "{B}", "length"),
        ("coding", ["Transfer-Encoding: identity"], "{B}", "coding"), ("none", [], "", "json"), ("length-0", ["Content-Length: 0"], "", "json"),
        ("expect", ["Expect: 100-continue", LENGTH], "{B}", "http_1_0_body"),
    ]:
        yield Vector(f"old-{name}", post(*fields, line=line, body=body), fate)
    for fields in [[], ["Host: weir"], ["Connection: keep-alive"], ["Connection: close"], ["Content-Length: 0"], ["Expect: 100-continue"]]:
        text = "\r\n".join(["GET /v1/models HTTP/1.0", *fields, "", ""])
        yield Vector(f"old-models-{len(fields)}-{shown(''.join(fields))}", text, LOCAL, closes=True)
    yield Vector("old-without-length-and-a-body", post(line=line), "json", pipelined=True)
    yield Vector("old-second", "GET /v1/models HTTP/1.0\r\n\r\n{2}", LOCAL, pipelined=True)


def asks():
    """Upgrade, Expect, Content-Encoding and Connection."""
    for value in ["websocket", "WebSocket", "h2c, websocket", "websocket, h2c", "h2", "h2c ,", "h2c/1", "TLS/1.0", "HTTP/2.0", "foo", "", "h2cc"]:
        for connection in ["Upgrade", "upgrade, HTTP2-Settings", "keep-alive"]:
            fields = [f"Upgrade: {value}", f"Connection: {connection}", LENGTH]
            yield Vector(f"upgrade-{shown(value)}-{shown(connection)}", post(*fields), "upgrade")
    yield Vector("upgrade-twice", post("Upgrade: h2c", "Upgrade: h2c", LENGTH), "upgrade")
    yield Vector("upgrade-hiding", post("Upgrade: websocket", "Connection: upgrade", LENGTH, body="{B}{2}"), "upgrade", pipelined=True)
    for value in ["h2c", "H2C", " h2c "]:
        for connection in ["Upgrade, HTTP2-Settings", "Upgrade", "close, Upgrade"]:
            fields = [f"Connection: {connection}", f"Upgrade: {value}", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", LENGTH]
            closes = "close" in connection
            yield Vector(f"upgrade-ignored-{shown(value)}-{shown(connection)}", post(*fields), SERVED, closes=closes)
    yield Vector("upgrade-ignored-hiding", post("Upgrade: h2c", "Connection: Upgrade", LENGTH, body="{B}{2}"), SERVED, pipelined=True)
    for value in ["100-Continue", "100-CONTINUE", " 100-continue\t", "100-continue"]:
        yield Vector(f"expect-good-{shown(value)}", post(f"Expect:{value}", LENGTH), SERVED)
        yield Vector(f"expect-good-chunked-{shown(value)}", post(f"Expect:{value}", CHUNKED, body="{C}"), SERVED)
    for value in ["", "100", "100-continu", "100-continuee", "101-continue", "200-ok", "100-continue, x", "100-continue,100-continue",
                  "x, 100-continue", "100-continue;q=1", "\"100-continue\"", "100 continue", "continue", "x=y"]:
        yield Vector(f"expect-bad-{shown(value)}", post(f"Expect: {value}", LENGTH), "expect")
    yield Vector("expect-twice", post("Expect: 100-continue", "Expect: 100-continue", LENGTH), "expect")
    for value in ["identity", "Identity"]:
        yield Vector(f"content-coding-good-{value}", post(f"Content-Encoding: {value}", LENGTH), SERVED)
    for value in ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "gzip, gzip", "identity, gzip", "gzip, identity", "", "x", "aws-chunked",
                  "identity, identity"]:
        yield Vector(f"content-coding-{shown(value)}", post(f"Content-Encoding: {value}", LENGTH), "content_coding")
    yield Vector("content-coding-twice", post("Content-Encoding: identity", "Content-Encoding: gzip", LENGTH), "content_coding")
    for value in ["Content-Length", "Transfer-Encoding", "Host", "Authorization", "close, Content-Length", "keep-alive", "close, close",
                  "", ",", "X-Forwarded-For", "x-forwarded-host, x-forwarded-proto", ":authority", "bad token", "\"Host\"", "\xff",
                  ", ".join(f"x-{n}" for n in range(40)), "close, Host", "TE", "Content-Type, Content-Encoding, Expect"]:
        yield Vector(f"connection-{shown(value)}", post(f"Connection: {value}", LENGTH), SERVED, closes="close" in value)
    for field in ["Keep-Alive: timeout=0", "Proxy-Connection: close", "TE: trailers, chunked", "Trailer: Content-Length", "Via: 1.0 a",
                  "Max-Forwards: 0", "Forwarded: for=x", "X-HTTP-Method-Override: GET", "X-Original-URL: /v1/models", "Proxy-Authorization: x"]:
        yield Vector(f"hop-{shown(field)}", post(field, LENGTH), SERVED)
    yield Vector("connection-twice", post("Connection: keep-alive", "Connection: Host", LENGTH), SERVED)
    yield Vector("connection-close", post("Connection: close", LENGTH), SERVED, closes=True)


def pipelined():
    """More behind a request."""
    for name, more in {
        "request": "{2}", "two": "{2}{2}", "half": "POST /", "byte": "x", "crlf": "\r\n", "nul": "\0", "chunk": "5\r\nhello\r\n0\r\n\r\n",
        "preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "flood": "x" * 200_000,
    }.items():
        yield Vector(f"pipelined-{name}", post(LENGTH, body="{B}" + more), SERVED, pipelined=True)
        yield Vector(f"pipelined-chunked-{name}", post(CHUNKED, body="{C}" + more), SERVED, pipelined=True)
    yield Vector("pipelined-models", "GET /v1/models HTTP/1.1\r\nHost: weir\r\n\r\n{2}", LOCAL, pipelined=True)
    yield Vector("pipelined-refused-first", post(LENGTH, "X : y", body="{B}{2}"), "name")


VECTORS: list[Vector] = [
    vector for table in (lengths, codings, chunks, fields, lines, request_lines, methods, hosts, old, asks, pipelined)
    for vector in table()
]
