// One message of the view protocol (VIEWS.md) as the websocket carries it: u32 little endian, the head in UTF-8, payload.

/** A message's JSON part: its type, its view, and what the type brings along. */
export interface Head {
  t: string;
  view?: string;
  [field: string]: unknown;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

export function pack(head: Head, payload?: Uint8Array): Uint8Array {
  const text = encoder.encode(JSON.stringify(head));
  const frame = new Uint8Array(4 + text.length + (payload?.length ?? 0));
  new DataView(frame.buffer).setUint32(0, text.length, true);
  frame.set(text, 4);
  if (payload) frame.set(payload, 4 + text.length);
  return frame;
}

/** The head and what follows it; throws on what is no frame. */
export function unpack(frame: ArrayBuffer): [Head, Uint8Array] {
  const size = new DataView(frame).getUint32(0, true);
  const head: unknown = JSON.parse(decoder.decode(new Uint8Array(frame, 4, size)));
  if (typeof head !== "object" || head === null || typeof (head as Head).t !== "string") {
    throw new Error("Cannot read a frame: its head is no message.");
  }
  return [head as Head, new Uint8Array(frame, 4 + size)];
}

/** 32 hexadecimal digits; not randomUUID, which plain http pages do not have. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
