/**
 * The process LWK's JavaScript runs in: one JSON request a line in, one JSON answer a line out.
 *
 *     node worker.mjs <folder with node_modules> <service as JSON>
 *
 * A request has a `script`, `values` that become names for it, and the name of a `space`: what scripts of one space
 * declare at the start of a line stays, as in a console. The answer has `result`, or `kind` and `text` of what was
 * thrown. Whole numbers too large for JSON's readers travel as text, see `plain`.
 */

import { webcrypto } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

import { lwkAt } from "./lwk_at.mjs";

const [folder, service] = process.argv.slice(2);
const require = createRequire(resolve(join(folder, "package.json")));

// Node has a WebSocket of its own from version 22 on, and a global crypto from version 19 on.
globalThis.WebSocket ??= require("ws").WebSocket;
globalThis.crypto ??= webcrypto;

const lwk = await lwkAt(
  JSON.parse(service),
  await import(pathToFileURL(require.resolve("lwk_wasm/lwk_wasm_bg.js"))),
  new Uint8Array(await readFile(require.resolve("lwk_wasm/lwk_wasm_bg.wasm"))),
);

const AsyncFunction = (async () => {}).constructor;
const spaces = new Map();
const console_ = { log: (...words) => console.error(...words) };

function spaceOf(name) {
  if (!spaces.has(name)) spaces.set(name, { lwk, console: console_ });
  return spaces.get(name);
}

/** Run a script whose names, those it declares at the start of a line included, are properties of `space`. */
async function run(script, space) {
  const names = new Proxy(space, {
    has: (target, name) => typeof name === "string" && (name in target || !(name in globalThis)),
  });
  const kept = script.replaceAll(/^(?:const|let) (\w+) =/gm, "$1 =");
  await new AsyncFunction("names", `with (names) {\n${kept}\n}`)(names);
}

/** What JSON can say: whole numbers of 64 bits are numbers where they are exact. */
function plain(_key, value) {
  if (typeof value !== "bigint") return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}

async function answer(line) {
  const { script, values, space } = JSON.parse(line);
  const names = spaceOf(space);
  Object.assign(names, values, { result: null });
  try {
    await run(script, names);
    return JSON.stringify({ result: names.result }, plain);
  } catch (error) {
    return JSON.stringify({ kind: String(error?.code ?? error?.name), text: String(error?.message ?? error) });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write((await answer(line)) + "\n");
}
// Connections that scripts have left open would keep the process.
process.exit(0);
