"""The part of curl that the documentation uses, for machines without it.

python curl.py [-s] [-S] [-i] [-X METHOD] [-H 'Name: value'] [-d DATA] [-o FILE] [-w FORMAT] URL
"""

import argparse
import http.client
import sys
from pathlib import Path
from urllib.parse import urlsplit


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-S", "--show-error", action="store_true")
    parser.add_argument("-i", "--include", action="store_true")
    parser.add_argument("-X", "--request", default="")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data", "--data-binary", "--data-raw")
    parser.add_argument("-o", "--output", default="-")
    parser.add_argument("-w", "--write-out", default="")
    parser.add_argument("url")
    given = parser.parse_args(arguments)

    url = urlsplit(given.url)
    headers = {name.strip(): value.strip() for name, _, value in
               (header.partition(":") for header in given.header)}  # fmt: skip
    body = None
    if given.data is not None:
        body = Path(given.data[1:]).read_bytes() if given.data[:1] == "@" else given.data.encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    connection = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=30)
    method = given.request or ("GET" if body is None else "POST")
    connection.request(
        method, (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers
    )
    answer = connection.getresponse()
    head = f"HTTP/1.1 {answer.status} {answer.reason}\n{answer.headers}" if given.include else ""
    written = head.encode() + answer.read()
    if given.output == "-":
        sys.stdout.buffer.write(written)
    else:
        Path(given.output).write_bytes(written)
    sys.stdout.write(given.write_out.replace("%{http_code}", str(answer.status)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
