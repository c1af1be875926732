// The HTTP hello in JavaScript: bare bindings of wasi:http 0.3, no library.
// Built with QuickJS, so that it fits a gateway: about 1.1 MB.

import { Fields, Response } from "wasi:http/types@0.3.0";

// Text to bytes. The engine has no TextEncoder; a path and these headers are ASCII.
const bytes = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));

export const handler = {
  async handle(request) {
    const path = (request.getPathWithQuery() ?? "/").split("?", 1)[0];
    const body = bytes(`Hello from JavaScript at ${path}\n`);
    const headers = Fields.fromList([
      ["content-type", bytes("text/plain; charset=utf-8")],
      ["content-length", bytes(String(body.length))],
    ]);
    const noTrailers = Promise.resolve({ tag: "ok", val: null });
    const [response] = Response.new(headers, [body], noTrailers);
    return response;
  },
};
