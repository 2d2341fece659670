// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime as a peer of `make bench`: one thread, float32.
// usage: node peer_onnxruntime.js BATCH FOLDER      FOLDER holds NETWORK.onnx. Says `ready VERSION` or `absent REASON`;
// then, per line `NETWORK CALLS` on standard input, runs so many forward passes and says the CPU seconds that they took.
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');

const INPUTS = {'small-cnn': [1, 28, 28], 'ds-cnn': [1, 49, 10], 'resnet8': [3, 32, 32]};

async function main() {
  let ort;
  try {
    ort = require('onnxruntime-node');
  } catch (e) {
    console.log('absent ' + String(e.message).split('\n')[0]);
    return;
  }
  const batch = Number(process.argv[2]);
  const ready = {};
  for (const [name, [c, h, w]] of Object.entries(INPUTS)) {
    const session = await ort.InferenceSession.create(
        path.join(process.argv[3], name + '.onnx'),
        {intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential', graphOptimizationLevel: 'all'});
    const data = Float32Array.from({length: batch * c * h * w}, Math.random);
    const feeds = {input: new ort.Tensor('float32', data, [batch, c, h, w])};
    for (let i = 0; i < 3; ++i) await session.run(feeds);
    ready[name] = {session, feeds};
  }
  const where = require.resolve('onnxruntime-node');
  const found = path.join(where.slice(0, where.lastIndexOf('onnxruntime-node')), 'onnxruntime-node', 'package.json');
  console.log('ready ONNX Runtime ' + JSON.parse(fs.readFileSync(found)).version);
  for await (const line of readline.createInterface({input: process.stdin})) {
    const [name, calls] = line.split(' ');
    const before = process.cpuUsage();
    for (let i = 0; i < Number(calls); ++i) await ready[name].session.run(ready[name].feeds);
    console.log(process.cpuUsage(before).user / 1e6);
  }
}
main();
