"""A chat server with a real batch endpoint: it takes files and returns files, and fails as such servers do.

Each request of a file is handled as by the chat server; lines come out in another order than they went in. Two
functions choose the status of a batch and the HTTP status of each request.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web
from chat_server import ChatServer

ERROR_FILE = ("expired", "429", "500", "400", "too long")


class BatchServer(ChatServer):
    """A chat server with batches; n counts from 0.

    status: the status of a batch when it is polled for the n-th time.
    refuse: the HTTP status that refuses the n-th request to a path; 0: accept it, -1: accept it and lose the answer.
    """

    def __init__(
        self,
        *args: Any,
        status: Callable[[dict[str, Any], int], str] | None = None,
        refuse: Callable[[str, int], int] | None = None,
        lists_batches: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.status = status or (lambda batch, looks: "completed")
        self.refuse = refuse or (lambda path, number: 0)
        self.lists_batches = lists_batches
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        """Requests by method and path, ids left out."""
        self.submitted: Counter[str] = Counter()
        """How often each prompt stood in a batch."""
        self.forms: list[dict[str, str]] = []

    def add_routes(self, app: web.Application) -> None:
        super().add_routes(app)
        for method, path, handler in (
            ("POST", "/v1/files", self.take_file),
            ("GET", "/v1/files/{id}/content", self.give_file),
            ("POST", "/v1/batches", self.take_batch),
            ("GET", "/v1/batches", self.list_batches),
            ("GET", "/v1/batches/{id}", self.look),
        ):
            app.router.add_route(method, path, self._counted(f"{method} {path}", handler))

    def _counted(self, path: str, handler: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            refused = self.refuse(path, self.calls[path])
            self.calls[path] += 1
            if refused == -1:  # the work is done, and the answer is lost on the way
                await handler(request)
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            if refused:
                return web.json_response({"error": {"message": f"no, {refused}"}}, status=refused)
            return await handler(request)

        return handle

    async def take_file(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        self.forms.append({"purpose": str(form["purpose"]), "filename": file.filename})
        name = f"file-{len(self.files) + 1}"
        self.files[name] = file.file.read()
        return web.json_response({"id": name, "object": "file", "bytes": len(self.files[name])})

    async def give_file(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def take_batch(self, request: web.Request) -> web.Response:
        asked = await request.json()
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        for line in lines:
            assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
            self.submitted["\n".join(message["content"] for message in line["body"]["messages"])] += 1
        name = f"batch-{len(self.batches) + 1}"
        self.batches[name] = {
            "id": name, "object": "batch", "status": "validating", "input_file_id": asked["input_file_id"],
            "endpoint": asked["endpoint"], "metadata": asked["metadata"], "expires_at": 1_800_000_000,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0}, "looks": 0,
        }  # fmt: skip
        return web.json_response(self.batches[name])

    async def list_batches(self, request: web.Request) -> web.Response:
        if not self.lists_batches:
            return web.json_response({"error": {"message": "no such path"}}, status=404)
        return web.json_response({"object": "list", "data": list(self.batches.values())[::-1], "has_more": False})

    async def look(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        if batch["status"] not in ("completed", "failed", "expired", "cancelled"):
            batch["status"] = self.status(batch, batch["looks"])
            batch["looks"] += 1
            if batch["status"] in ("completed", "expired", "cancelled"):
                await self._work_on(request, batch)
            elif batch["status"] == "failed":
                batch["errors"] = {"object": "list", "data": [{"code": "bad", "message": "line 1 is no request"}]}
        return web.json_response(batch)

    async def _work_on(self, request: web.Request, batch: dict[str, Any]) -> None:
        """Answers and errors in two files, the last question first."""
        good, bad = [], []
        for line in reversed([json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]):
            asked = line["body"]
            prompt = "\n".join(message["content"] for message in asked["messages"])
            behaviour = self.behaviour(asked, prompt, self.requests[prompt])
            done: dict[str, Any] = {"id": "r", "custom_id": line["custom_id"], "response": None, "error": None}
            if behaviour == "expired":
                done["error"] = {"code": "batch_expired", "message": "This request could not be executed in time."}
                bad.append(json.dumps(done))
                continue
            if behaviour == "missing":
                continue
            self.requests[prompt] += 1
            shown = "good" if behaviour in ("twice", "unknown id", "garbage line") else behaviour
            response = await self.reply(request, asked, prompt, shown)
            assert isinstance(response, web.Response)
            try:
                body = json.loads(response.text or "")
            except ValueError:
                body = response.text
            done["response"] = {"status_code": response.status, "request_id": "req-9", "body": body}
            if behaviour == "unknown id":
                done["custom_id"] = "somebody else's"
            written = '{"custom_id": "cut' if behaviour == "garbage line" else json.dumps(done)
            (bad if response.status != 200 else good).extend([written] * (2 if behaviour == "twice" else 1))
        batch["request_counts"] |= {"completed": len(good), "failed": len(bad)}
        for field, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                name = f"file-{len(self.files) + 1}"
                self.files[name] = "\n".join(lines).encode() + b"\n"
                batch[field] = name
