// SPDX-License-Identifier: Apache-2.0
// Models through onnxruntime.
//   node peer_onnx.mjs FOLDER-OF-node_modules model MODEL X.f32 Y.f32 all|disabled DIM...
//     raw float32 numbers; DIM... are those of the input, the batch first
//   node peer_onnx.mjs FOLDER-OF-node_modules nodes NODES.json
//     the cases as 0.onnx, 1.onnx, ... in this folder: says which of them come out differently
//   node peer_onnx.mjs FOLDER-OF-node_modules layers LAYERS.json
//     each layer from the inputs it has here: how many outputs are so many steps apart
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const CLOSE = 1e-5;
const [where, mode, ...args] = process.argv.slice(2);
const ort = createRequire(join(where, "peer.cjs"))("onnxruntime-node");

async function outputs(model, level, x, dims) {
  const session = await ort.InferenceSession.create(model, { graphOptimizationLevel: level, intraOpNumThreads: 1 });
  const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", x, dims) };
  return (await session.run(feeds))[session.outputNames[0]];
}

function floats(file) {
  const bytes = readFileSync(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

async function runLayers(file) {
  const steps = {};
  for (const l of JSON.parse(readFileSync(file))) {
    const options = { graphOptimizationLevel: "disabled", intraOpNumThreads: 1, logSeverityLevel: 3 };
    const session = await ort.InferenceSession.create(l.model, options);
    const feeds = {};
    for (const i of l.inputs) feeds[i.name] = new ort.Tensor("float32", floats(i.file), i.dims);
    const y = (await session.run(feeds))[session.outputNames[0]].data;
    const expected = floats(l.output);
    if (y.length !== expected.length) throw new Error(`${l.layer}: ${y.length} outputs, expected ${expected.length}`);
    y.forEach((v, i) => {
      const apart = Math.abs(Math.round((v - expected[i]) / l.step));
      steps[apart] = (steps[apart] ?? 0) + 1;
    });
  }
  console.log(JSON.stringify(steps));
}

async function runModel(model, from, to, level, ...dims) {
  const y = (await outputs(model, level, floats(from), dims.map(Number))).data;
  writeFileSync(to, Buffer.from(y.buffer, y.byteOffset, y.byteLength));
}

async function runNodes(file) {
  const different = [];
  const cases = JSON.parse(readFileSync(file)).cases;
  for (const [k, c] of cases.entries()) {
    const y = await outputs(`${k}.onnx`, "all", Float32Array.from(c.input.values), c.input.dims);
    const expected = c.output.values;
    const same = y.data.length === expected.length &&
      expected.every((v, i) => Math.abs(v - y.data[i]) <= CLOSE * Math.max(1, Math.abs(v)));
    if (!same) different.push(c.name);
  }
  console.log(JSON.stringify({ cases: cases.length, different }));
}

await { nodes: runNodes, layers: runLayers, model: runModel }[mode](...args);
