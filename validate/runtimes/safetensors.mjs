// The safetensors file format, as far as golden inputs, probes and outputs need it: https://github.com/huggingface/safetensors
//
//     const golden = await open(read);   await golden.rows("input.image", 8);   encode({logits: {data, shape}})
//     const probes = await open(read);   await probes.bytes("file.image.0");
//
// `read(start, end)` gives these bytes of a file, so that nothing else of it comes into memory. An array is
// {data: a typed array, shape}; of booleans, which JavaScript has no array of, a Uint8Array.

const TYPES = {
  F32: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};
const NAMES = new Map(Object.entries(TYPES).map(([name, Type]) => [Type, name === "BOOL" ? "U8" : name]));
const HEADER_AT = 8; // after the header's length

/** What is in a file: {names, rows, bytes}. */
export async function open(read) {
  const length = Number(new DataView(toBuffer(await read(0, HEADER_AT))).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(await read(HEADER_AT, HEADER_AT + length)));

  /** The first `count` rows of a tensor, or all if there are fewer. */
  async function rows(name, count) {
    const { dtype, shape, data_offsets: offsets } = header[name];
    if (!(dtype in TYPES)) throw new TypeError(`${name} is ${dtype}; ${Object.keys(TYPES)} are known here`);
    const cut = [Math.min(count, shape[0]), ...shape.slice(1)];
    const start = HEADER_AT + length + offsets[0];
    const end = start + size(cut) * TYPES[dtype].BYTES_PER_ELEMENT;
    return { data: new TYPES[dtype](toBuffer(await read(start, end))), shape: cut };
  }

  /** A uint8 tensor. */
  async function bytes(name) {
    const { dtype, data_offsets: offsets } = header[name];
    if (dtype !== "U8") throw new TypeError(`${name} is ${dtype}, not U8`);
    return new Uint8Array(await read(...offsets.map((offset) => HEADER_AT + length + offset)));
  }
  return { names: Object.keys(header).filter((name) => name !== "__metadata__"), rows, bytes };
}

/** The bytes of a file with these arrays; plain ones are written as float32. */
export function encode(named) {
  const typed = ({ data, shape }) => ({ data: Array.isArray(data) ? Float32Array.from(data, Number) : data, shape });
  const arrays = Object.fromEntries(Object.entries(named).map(([name, array]) => [name, typed(array)]));
  const header = {};
  let end = 0;
  for (const [name, { data, shape }] of Object.entries(arrays)) {
    if (data.length !== size(shape)) throw new RangeError(`${name}: ${data.length} values for shape [${shape}]`);
    if (!NAMES.has(data.constructor)) throw new TypeError(`${name}: a ${data.constructor.name} has no type there`);
    header[name] = { dtype: NAMES.get(data.constructor), shape, data_offsets: [end, (end += data.byteLength)] };
  }
  const json = JSON.stringify(header);
  const text = new TextEncoder().encode(json + " ".repeat(-new TextEncoder().encode(json).length & 7)); // data aligned
  const bytes = new Uint8Array(HEADER_AT + text.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, HEADER_AT);
  for (const [name, { data }] of Object.entries(arrays)) {
    const stored = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    bytes.set(stored, HEADER_AT + text.length + header[name].data_offsets[0]);
  }
  return bytes;
}

/** How many values an array of a shape has. */
export const size = (shape) => shape.reduce((product, length) => product * length, 1);

/** Bytes of their own, aligned for any type. */
const toBuffer = (bytes) => new Uint8Array(bytes).slice().buffer;
