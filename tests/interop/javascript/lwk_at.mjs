/**
 * lwk_wasm 0.13.1, its regtest pointed at an AMP0 service.
 *
 * LWK's service key, WAMP URL and cosigning URL are compiled in. `lwkAt` replaces them in a copy of the WebAssembly
 * code in memory, each at equal length, and refuses a build that does not hold each exactly once.
 *
 * `service` is what `GET /v1/network` answers (`wamp_url`, `cosign_url`, `service_pubkey`, `service_chain_code`) and
 * `service_fingerprint`: the first 4 bytes of HASH160 of the key. All but the URLs are hexadecimal.
 */

const VERSION = "0.13.1";
const WAMP_URL = "ws://localhost:8080/v2/ws";
const COSIGN_URL = "http://127.0.0.1:9908";
const PUBKEY = "036307e560072ed6ce0aa5465534fb5c258a2ccfbc257f369e8e7a181b16d897b3";
const CHAIN_CODE = "b60befcc619bb1c212732770fe181f2f1aa824ab89f8aab49f2e13e3a56f0f04";
const FINGERPRINT = "b5281696";

/** The WebAssembly code with another service in it; the bytes given stay as they are. */
export function patched(code, service) {
  const copy = code.slice();
  for (const [old, now] of [
    // The same machine by the name that fits.
    [WAMP_URL, service.wamp_url.replace("//127.0.0.1:", "//localhost:")],
    [COSIGN_URL, service.cosign_url],
    [PUBKEY, service.service_pubkey],
    [CHAIN_CODE, service.service_chain_code],
    [FINGERPRINT, service.service_fingerprint],
  ]) {
    replaceOnce(copy, old, now);
  }
  return copy;
}

function replaceOnce(code, old, now) {
  if (now.length !== old.length) {
    throw new Error(`${now} is not as long as ${old}, whose place in lwk_wasm it must take`);
  }
  const places = find(code, new TextEncoder().encode(old));
  if (places.length !== 1) {
    throw new Error(`this is not lwk_wasm ${VERSION}: it holds ${old} ${places.length} times instead of once`);
  }
  code.set(new TextEncoder().encode(now), places[0]);
}

function find(code, wanted) {
  const places = [];
  for (let at = code.indexOf(wanted[0]); at !== -1; at = code.indexOf(wanted[0], at + 1)) {
    if (wanted.every((byte, i) => code[at + i] === byte)) places.push(at);
  }
  return places;
}

/**
 * LWK's names. `glue` is the module `lwk_wasm/lwk_wasm_bg.js`, `code` the bytes of `lwk_wasm_bg.wasm`.
 *
 * The package is built for bundlers, which make a module of the WebAssembly file; this does the same by hand.
 */
export async function lwkAt(service, glue, code) {
  const { instance } = await WebAssembly.instantiate(patched(code, service), { "./lwk_wasm_bg.js": glue });
  glue.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start();
  return glue;
}
