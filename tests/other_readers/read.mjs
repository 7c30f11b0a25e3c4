// Reads every array of a Zarr group with zarrita: node read.mjs CACHE OUT
// Writes each array's bytes to a file in OUT, and prints attributes, dtype, shape and dimension names as JSON.
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import * as zarr from "zarrita";
import { FileSystemStore } from "@zarrita/storage";

const [cache, out, ...paths] = process.argv.slice(2);
const root = zarr.root(new FileSystemStore(resolve(cache)));
const found = {};
for (const [number, path] of paths.entries()) {
  const node = await zarr.open.v3(root.resolve(`/${path}`));
  found[path] = { attributes: node.attrs };
  if (node instanceof zarr.Array) {
    const { data, shape } = await zarr.get(node);
    writeFileSync(`${out}/${number}`, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    Object.assign(found[path], { dtype: node.dtype, shape, dimension_names: node.dimensionNames });
  }
}
console.log(JSON.stringify(found));
