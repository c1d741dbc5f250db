import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import Negotiator from "negotiator";
import { type HandlerResponse, headerOf, type RequestHeaders } from "./http-exchange.ts";

// Below this a packet is a packet.
const WORTH_IT_BYTES = 1024;
// The default of brotli, 11, takes seconds for a megabyte.
const QUALITY = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };

const encoders = {
  br: (body: Uint8Array) => promisify(brotliCompress)(body, QUALITY),
  gzip: (body: Uint8Array) => promisify(gzip)(body),
};
const offered = [...Object.keys(encoders), "identity"];

type Encoding = keyof typeof encoders;

/** What was compressed, for as long as the body itself is kept: one that is given to many is compressed once. */
const known = new WeakMap<Uint8Array, Map<Encoding, Promise<Uint8Array>>>();

function encoded(body: Uint8Array, encoding: Encoding): Promise<Uint8Array> {
  const forms = known.get(body) ?? new Map<Encoding, Promise<Uint8Array>>();
  known.set(body, forms);
  const form = forms.get(encoding) ?? encoders[encoding](body);
  forms.set(encoding, form);
  return form;
}

// Its declarations are older than the second parameter.
const preferred = (negotiator: Negotiator): string | undefined =>
  (negotiator.encoding as (available: string[], options: object) => string | undefined).call(negotiator, offered, {
    preferred: ["br", "gzip"],
  });

/**
 * The answer in an encoding that the client takes, by its q-values. Only answers that say `compressible` are: the
 * length of a compressed answer tells of a secret in it to whoever can put text beside it and count bytes (BREACH).
 */
export async function compressed(response: HandlerResponse, requestHeaders: RequestHeaders): Promise<HandlerResponse> {
  const { body, headers } = response;
  if (response.compressible !== true || !(body instanceof Uint8Array)) return response;
  const varied = { ...response, headers: { ...headers, vary: "Accept-Encoding" } };
  const accepted = headerOf(requestHeaders, "accept-encoding");
  if (accepted === undefined || body.byteLength < WORTH_IT_BYTES) return varied;
  const encoding = preferred(new Negotiator({ headers: { "accept-encoding": accepted } }));
  if (encoding !== "br" && encoding !== "gzip") return varied;
  const small = await encoded(body, encoding);
  return {
    ...varied,
    body: small,
    headers: { ...varied.headers, "content-encoding": encoding, "content-length": String(small.byteLength) },
  };
}
