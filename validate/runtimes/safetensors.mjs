// The safetensors file format, as far as golden inputs, probes and outputs need it: https://github.com/huggingface/safetensors
//
//     const golden = await open(read);   await golden.rows("input.image", 8);   encode({logits: {data, shape}})
//     const probes = await open(read);   await probes.bytes("file.image.0");
//
// `read(start, end)` gives these bytes of a file, so that nothing else of it comes into memory. An array is
// {data, shape}.

const BYTES = 4; // of a float32
const HEADER_AT = 8; // after the header's length

/** What is in a file: {names, rows, bytes}. */
export async function open(read) {
  const length = Number(new DataView(toBuffer(await read(0, HEADER_AT))).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(await read(HEADER_AT, HEADER_AT + length)));

  /** The first `count` rows of a float32 tensor, or all if there are fewer. */
  async function rows(name, count) {
    const { dtype, shape, data_offsets: offsets } = header[name];
    if (dtype !== "F32") throw new TypeError(`${name} is ${dtype}, not F32`);
    const cut = [Math.min(count, shape[0]), ...shape.slice(1)];
    const start = HEADER_AT + length + offsets[0];
    return { data: new Float32Array(toBuffer(await read(start, start + size(cut) * BYTES))), shape: cut };
  }

  /** A uint8 tensor. */
  async function bytes(name) {
    const { dtype, data_offsets: offsets } = header[name];
    if (dtype !== "U8") throw new TypeError(`${name} is ${dtype}, not U8`);
    return new Uint8Array(await read(...offsets.map((offset) => HEADER_AT + length + offset)));
  }
  return { names: Object.keys(header).filter((name) => name !== "__metadata__"), rows, bytes };
}

/** The bytes of a file with these float32 arrays. */
export function encode(arrays) {
  const header = {};
  let end = 0;
  for (const [name, { data, shape }] of Object.entries(arrays)) {
    if (data.length !== size(shape)) throw new RangeError(`${name}: ${data.length} values for shape [${shape}]`);
    header[name] = { dtype: "F32", shape, data_offsets: [end, (end += data.length * BYTES)] };
  }
  const json = JSON.stringify(header);
  const text = new TextEncoder().encode(json + " ".repeat(-new TextEncoder().encode(json).length & 7)); // data aligned
  const bytes = new Uint8Array(HEADER_AT + text.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, HEADER_AT);
  for (const [name, { data }] of Object.entries(arrays)) {
    const floats = Float32Array.from(data, Number);
    bytes.set(new Uint8Array(floats.buffer), HEADER_AT + text.length + header[name].data_offsets[0]);
  }
  return bytes;
}

/** How many values an array of a shape has. */
export const size = (shape) => shape.reduce((product, length) => product * length, 1);

/** Bytes of their own, aligned for any type. */
const toBuffer = (bytes) => new Uint8Array(bytes).slice().buffer;
