// A greeting and a counter in JavaScript: bare bindings of wasi:http 0.3 and wasi:keyvalue, no library.
// Built with QuickJS, so that it fits a gateway: about 1.1 MB.

import { Fields, Response } from "wasi:http/types@0.3.0";
import { increment } from "wasi:keyvalue/atomics@0.2.0-draft";
import { open } from "wasi:keyvalue/store@0.2.0-draft";

// Text to bytes. The engine has no TextEncoder; a path and these headers are ASCII.
const bytes = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));

// `/count/<key>` counts in the key-value store that the link leads to; any other path is greeted.
const answer = (path) => {
  if (!path.startsWith("/count/")) return `Hello from JavaScript at ${path}\n`;
  const key = path.slice("/count/".length);
  return `${key}: ${increment(open("default"), key, 1)}\n`;
};

export const handler = {
  async handle(request) {
    const path = (request.getPathWithQuery() ?? "/").split("?", 1)[0];
    const body = bytes(answer(path));
    const headers = Fields.fromList([
      ["content-type", bytes("text/plain; charset=utf-8")],
      ["content-length", bytes(String(body.length))],
    ]);
    const noTrailers = Promise.resolve({ tag: "ok", val: null });
    const [response] = Response.new(headers, [body], noTrailers);
    return response;
  },
};
