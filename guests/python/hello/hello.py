"""A greeting and a counter in Python: bare bindings of wasi:http 0.2 and wasi:keyvalue, no library.

`wit_world` and `componentize_py_types` are made from the WIT by the build; nothing of them is kept here.
"""

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports import atomics, store
from wit_world.imports.types import (
    Fields,
    IncomingRequest,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
)


def answer(path: str) -> str:
    """`/count/<key>` counts in the key-value store that the link leads to; any other path is greeted."""
    prefix = "/count/"
    if not path.startswith(prefix):
        return f"Hello from Python at {path}\n"
    key = path.removeprefix(prefix)
    return f"{key}: {atomics.increment(store.open('default'), key, 1)}\n"


class IncomingHandler(exports.IncomingHandler):
    """Answers every request with one line."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = (request.path_with_query() or "/").split("?", 1)[0]
        content = answer(path).encode()
        headers = Fields.from_list([
            ("content-type", b"text/plain; charset=utf-8"),
            ("content-length", str(len(content)).encode()),
        ])
        response = OutgoingResponse(headers)
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        # The stream must be gone before the body is finished.
        with body.write() as stream:
            stream.blocking_write_and_flush(content)
        OutgoingBody.finish(body, None)
