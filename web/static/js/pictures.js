// Pictures that come within a text. A few bytes may stand for one that takes the browser seconds to draw, so their size
// is read first.

const PICTURE = /^data:image\/(png|jpeg|gif|webp);base64,([a-zA-Z0-9+/=]+)$/;
const MOST_PIXELS = 4_000_000;

/** Whether this is the address of a picture that may be shown. @param {string} address */
export function isPicture(address) {
  const [, kind, data] = PICTURE.exec(address) ?? [];
  return Boolean(kind) && pixels(kind, data) <= MOST_PIXELS;
}

/** @param {string} kind @param {string} data in base64 @returns {number} how many there are; no end of them where nothing tells */
function pixels(kind, data) {
  try {
    return inside(kind, Uint8Array.from(atob(data), (character) => character.charCodeAt(0)));
  } catch {
    return Infinity; // It is no base64, or ends before it says how large it is.
  }
}

/** @param {string} kind @param {Uint8Array<ArrayBuffer>} picture */
function inside(kind, picture) {
  const view = new DataView(picture.buffer);
  const mark = String.fromCharCode(...picture.slice(12, 16));
  if (kind === "gif") return view.getUint16(6, true) * view.getUint16(8, true);
  if (kind === "png") return view.getUint32(16) * view.getUint32(20);
  if (kind === "jpeg") return ofJpeg(view);
  if (mark === "VP8L") return (1 + (view.getUint32(21, true) & 0x3fff)) * (1 + ((view.getUint32(21, true) >>> 14) & 0x3fff));
  if (mark === "VP8X") return (1 + (view.getUint32(24, true) & 0xffffff)) * (1 + (view.getUint32(26, true) >>> 8));
  return (view.getUint16(26, true) & 0x3fff) * (view.getUint16(28, true) & 0x3fff);
}

/** The size stands in the segment that begins a frame. @param {DataView} view */
function ofJpeg(view) {
  for (let at = 2; ; at += 2 + view.getUint16(at + 2)) {
    const kind = view.getUint8(at + 1);
    const isFrame = kind >= 0xc0 && kind <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(kind);
    if (isFrame) return view.getUint16(at + 5) * view.getUint16(at + 7);
    if (view.getUint8(at) !== 0xff || kind === 0xd9 || kind === 0xda) return Infinity;
  }
}
