"""A Hugging Face Hub of plain folders on 127.0.0.1, for the real huggingface_hub and timm.

python tests/hub_server.py FOLDER serves the repositories FOLDER/OWNER/NAME; --demo makes some.
"""

import argparse
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support import hub_repositories as repositories
from tests.support.hub_repositories import LARGE, Fault, blobs_of, commit_of

LOGIN = "Invalid username or password."


@dataclass
class Call:
    """What a client asked, and what its path names; empty where it says nothing."""

    hub: "HubServer"
    method: str
    path: str
    token: str
    range: str
    body: bytes
    name: str = ""
    revision: str = ""
    file: str = ""

    @property
    def folder(self) -> Path:
        return self.hub.root / self.name


@dataclass
class Reply(Exception):
    """An answer, with bytes `span` of `file` as content if named; raised to end work early."""

    status: int
    content: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    span: range = range(0)


def refusal(status: int, code: str, message: str, **headers: str) -> Reply:
    """An error as the Hub words it."""
    known = {"X-Error-Code": code, "X-Error-Message": message}
    return Reply(status, {"error": message}, known | headers)


def admit(call: Call) -> None:
    """Nothing, unless the Hub refuses the call."""
    if not call.token and (call.method == "POST" or "whoami" in call.path):
        raise refusal(401, "", LOGIN)
    if not call.name:
        return
    name, fault = call.name, call.hub.fault_of(call.name)
    fault.seen["request"] += 1
    status = dict(enumerate(fault.first_status, 1)).get(fault.seen["request"], 200)
    if status != 200:
        raise Reply(status, {"error": "no"}, {"Retry-After": "0"} if status == 429 else {})
    if fault.renamed_to:
        raise Reply(307, headers={"Location": call.path.replace(name, fault.renamed_to, 1)})
    stranger = (fault.gated or fault.private) and call.token != fault.token
    if not call.folder.is_dir() or (stranger and fault.private):
        status, says = (404, "Repository not found") if call.token else (401, LOGIN)
        raise refusal(status, "RepoNotFound", says)
    if stranger and "/resolve/" in call.path:
        says = f"Access to model {name} is restricted"
        if call.token:
            raise refusal(403, "GatedRepo", f"{says} and you are not in the authorized list.")
        raise refusal(401, "GatedRepo", f"{says}. You must have access to it and be authenticated.")
    if call.revision not in ("", "main", commit_of(call.folder)):
        raise refusal(404, "RevisionNotFound", f"Invalid rev id: {call.revision}")


def describe(call: Call, name: str) -> dict[str, Any]:
    fault = call.hub.fault_of(name)
    said = {"id": name, "modelId": name, "author": name.split("/")[0]}
    said |= {"gated": "manual" if fault.gated else False, "private": fault.private}
    return said | repositories.description_of(call.hub.root / name, sizes="blobs=" in call.path)


def listing(call: Call) -> Reply:
    asked = parse_qs(urlsplit(call.path).query)
    wanted = {tag for given in asked.get("filter", []) for tag in given.split(",")}
    [author], [search] = asked.get("author", [""]), asked.get("search", [""])
    names = [f"{path.parent.name}/{path.name}" for path in sorted(call.hub.root.glob("*/*/"))]
    known = [describe(call, name) for name in names if search.lower() in name.lower()]
    seen = [one for one in known if not one["private"] and author in ("", one["author"])]
    return Reply(200, [one for one in seen if wanted <= {*one["tags"]}])


def tree(call: Call) -> Reply:
    blobs, inner = blobs_of(call.folder), f"{call.file}/" if call.file else ""
    entries = [blob.entry(path) for path, blob in blobs.items() if path.startswith(inner)]
    if inner and not entries:
        raise refusal(404, "EntryNotFound", f"{call.file} does not exist")
    return Reply(200, entries)


def resolve(call: Call) -> Reply:
    headers = {"X-Repo-Commit": commit_of(call.folder), "Accept-Ranges": "bytes"}
    blob = blobs_of(call.folder).get(call.file)
    if blob is None:
        raise refusal(404, "EntryNotFound", "Entry not found", **headers)
    headers["ETag"] = f'"{blob.sha256 if blob.large else blob.git}"'
    if blob.large:
        headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(blob.size)}
    span = repositories.bytes_of(call.range, blob.size)
    if call.range:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{blob.size}"
    return Reply(206 if call.range else 200, None, headers, blob.path, span)


def create(call: Call) -> Reply:
    asked = json.loads(call.body)
    folder = call.hub.root / (asked.get("organization") or "tester") / asked["name"]
    status = 409 if folder.exists() else 200
    folder.mkdir(parents=True, exist_ok=True)
    return Reply(status, {"url": f"{call.hub.url}/{folder.parent.name}/{folder.name}"})


def preupload(call: Call) -> Reply:
    """Everything may come in the commit; what is here already need not."""
    known = {path: blob.git for path, blob in blobs_of(call.folder).items()}
    paths = [file["path"] for file in json.loads(call.body)["files"]]
    plain = {"uploadMode": "regular", "shouldIgnore": False}
    files = [{"path": path, "oid": known.get(path), **plain} for path in paths]
    return Reply(200, {"files": files})


def commit(call: Call) -> Reply:
    try:
        repositories.change(call.folder, [json.loads(line) for line in call.body.splitlines()])
    except ValueError as error:
        raise refusal(400, "", str(error)) from error
    made = commit_of(call.folder)
    return Reply(200, {"commitUrl": f"{call.hub.url}/{call.name}/commit/{made}", "commitOid": made})


NAME, REVISION = r"(?P<name>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
MODEL = f"/api/(?:models|datasets)/{NAME}"
ROUTES = (
    ("GET HEAD", f"(?:/datasets)?/{NAME}/resolve/{REVISION}/(?P<file>.+)", resolve),
    ("GET", f"{MODEL}(/revision/{REVISION})?", lambda call: Reply(200, describe(call, call.name))),
    ("GET", f"{MODEL}/tree/{REVISION}(/(?P<file>.+))?", tree),
    ("GET", "/api/models", listing),
    ("GET", "/api/whoami-v2", lambda call: Reply(200, {"name": "tester", "orgs": []})),
    ("POST", "/api/repos/create", create),
    ("POST", "/api/validate-yaml", lambda call: Reply(200, {"errors": [], "warnings": []})),
    ("POST", f"{MODEL}/preupload/{REVISION}", preupload),
    ("POST", f"{MODEL}/commit/{REVISION}", commit),
)


class HubServer(ThreadingHTTPServer):
    """A Hub whose repositories are the folders root/OWNER/NAME.

    Attributes:
        faults: by `OWNER/NAME`.
        fault: of all other repositories.
        log: every request so far.
    """

    daemon_threads = False

    def __init__(self, root: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), partial(_Handler, self))
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.root, self.fault, self.verbose = root, Fault(), False
        self.faults: dict[str, Fault] = {}
        self.log: list[Call] = []
        self.closing = threading.Event()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path, with its query, of every request so far."""
        return [(call.method, call.path) for call in list(self.log)]

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """That of a process which has this Hub and no other, and its cache in `home`."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        kept |= {f"HF_HUB_DISABLE_{what}": "1" for what in ("XET", "TELEMETRY", "PROGRESS_BARS")}
        kept |= {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
        return kept | ({"HF_TOKEN": token} if token else {})

    def fault_of(self, name: str) -> Fault:
        return self.faults.get(name, self.fault)

    def answer(self, call: Call) -> Reply:
        """What the Hub says to a call; fills in what its path names."""
        self.log.append(call)
        url = urlsplit(call.path).path
        for methods, pattern, act in ROUTES:
            if call.method in methods.split() and (match := re.fullmatch(pattern, url)):
                for key, word in match.groupdict().items():
                    setattr(call, key, unquote(word or ""))
                try:
                    with self._lock:
                        admit(call)
                        return act(call)
                except Reply as reply:
                    return reply
        return refusal(404, "", f"there is no route {call.method} {url}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: HubServer, *connection: Any) -> None:
        self.hub = hub
        super().__init__(*connection)

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = Call(self.hub, self.command, self.path, token, self.headers.get("Range", ""), body)
        reply = self.hub.answer(call)
        content = b"" if reply.content is None else json.dumps(reply.content).encode()
        self.send_response(reply.status)
        for key, value in {"Connection": "close", **reply.headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(reply.span) or len(content)))
        with suppress(ConnectionError):  # the client may be gone
            self.end_headers()
            if self.command != "HEAD" and reply.file:
                self.send_file(reply.file, reply.span, call.name)
            elif self.command != "HEAD":
                self.wfile.write(content)

    do_HEAD = do_POST = do_GET

    def send_file(self, path: Path, span: range, name: str) -> None:
        """The bytes of a file, as fast, as far and as true as the fault says."""
        fault = self.hub.fault_of(name) if path.suffix in LARGE else Fault()
        fault.seen["body"] += 1
        cut = fault.cut_after is not None and fault.seen["body"] <= fault.times
        end = min(span.stop, span.start + (fault.cut_after or 0)) if cut else span.stop
        speed = fault.bytes_per_second
        with path.open("rb") as file:
            file.seek(at := span.start)
            while at < end and not self.hub.closing.wait(0.05 if speed else 0):
                piece = file.read(min(max(1, speed // 20) if speed else 1 << 20, end - at))
                at += len(piece)
                if fault.wrong_bytes and at == path.stat().st_size:
                    piece = piece[:-1] + bytes([piece[-1] ^ 1])
                self.wfile.write(piece)
        if cut and fault.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        if self.hub.verbose:
            super().log_message(format, *args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--slow", type=int, metavar="BYTES_PER_SECOND")
    parser.add_argument("--demo", action="store_true", help="make repositories demo/* first")
    options = parser.parse_args()
    if options.demo:
        repositories.demo(options.folder)
    with HubServer(options.folder, options.port) as hub:
        hub.fault, hub.verbose = Fault(bytes_per_second=options.slow), True
        hub.faults["demo/gated"] = Fault(gated=True)
        print(f"export HF_ENDPOINT={hub.url}", flush=True)
        with suppress(KeyboardInterrupt):
            hub.closing.wait()


if __name__ == "__main__":
    main()
