"""Answers over HTTP as bytes, for the scripted agent to send as they are (`raw <file>`)."""

import zlib

EVENTS = "text/event-stream"


def whole(kind: str, body: bytes, *headers: str) -> bytes:
    """Return one with its length, and more lines of its head."""
    lines = ["HTTP/1.1 200 OK", f"content-type: {kind}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(kind: str, *chunks: bytes) -> bytes:
    """Return one in these chunks."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(data), data) for data in chunks) + b"0\r\n\r\n"


def zipped(kind: str, *pieces: bytes) -> bytes:
    """Return one in gzip, made piece by piece: what it stands for need not fit into memory."""
    made = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    body = b"".join(map(made.compress, pieces)) + made.flush()
    return whole(kind, body, "content-encoding: gzip")
