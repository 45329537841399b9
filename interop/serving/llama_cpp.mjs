// Rates of llama.cpp through node-llama-cpp, which chooses the processor's instructions at run time.
//
//   node llama_cpp.mjs MODULES FILE.gguf PROMPT_TOKENS TOKENS THREADS
//
// MODULES is the node_modules folder of `npm i -E node-llama-cpp@3.21.1`. Prints a line of JSON: tokens per second of prefill, of
// decoding with its sampler (greedy), and of decoding without one, where every token is given.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

const [modules, file, ...numbers] = process.argv.slice(2);
const [prompt, count, threads] = numbers.map(Number);
const entry = createRequire(modules + "/").resolve("node-llama-cpp");
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(entry));
const llama = await getLlama({gpu: false, build: "never", maxThreads: threads, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: file, gpuLayers: 0});
const context = await model.createContext({
    contextSize: prompt + 2 * count + 16, batchSize: Math.min(512, prompt), threads
});
const sequence = context.getSequence();
const ids = Array.from({length: prompt}, (_, i) => i * 31 % 40000 + 100);

async function seconds(work) {
    const start = performance.now();
    await work();
    return (performance.now() - start) / 1000;
}

async function sampled() {
    let made = 0, start = 0;
    for await (const _ of sequence.evaluate([ids[0]], {temperature: 0, yieldEogToken: true})) {
        // The first token ends what came before.
        if (!start) start = performance.now();
        else if (++made == count) break;
    }
    return 1000 * made / (performance.now() - start);
}

// The first pass makes its memory.
await sequence.evaluateWithoutGeneratingNewTokens(ids);
await sequence.clearHistory();
const prefill = ids.length / await seconds(() => sequence.evaluateWithoutGeneratingNewTokens(ids));
// Decoding begins behind a short text, as in the other programs: a long one costs reading its cache.
const SHORT = 8;
await sequence.clearHistory();
await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, SHORT));
const decode = await sampled();
await sequence.clearHistory();
await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, SHORT));
const given = count / await seconds(async () => {
    for (let i = 0; i < count; i++)
        await sequence.evaluateWithoutGeneratingNewTokens([ids[i % ids.length]]);
});
console.log(JSON.stringify({prefill, decode, given, cpu: llama.systemInfo}));
process.exit(0);
