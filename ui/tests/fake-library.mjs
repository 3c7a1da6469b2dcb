/**
 * The fake server's model library: a catalogue of made-up figures for real names, and pulls that move by themselves.
 *
 * Knobs are words in the source: `missing` is not found, `evil` fails the inspection, `suspicious` is held back,
 * `patchy` breaks off once at 40%, `elsewhere` is refused before it begins. `world.gate` (0 to 1, or null) is how far
 * any pull may get: a test that moves it has all the time it needs to look.
 */

import { createHash } from "node:crypto";

const TEMPLATE = "hf:{publisher}/{name}-GGUF";
const FREE = { schools: "yes", hospitals: "yes", business: "yes" };
const LICENCES = {
  apache: {
    id: "apache-2.0",
    words: "Anyone may use, change and pass it on, also for money. Keep the licence text with it.",
    ...FREE,
  },
  mit: { id: "mit", words: "Anyone may use, change and pass it on, also for money. Keep the notice with it.", ...FREE },
  llama: {
    id: "llama3.1",
    words:
      "Free to use, also in business, with a list of forbidden uses and the words “Built with Llama” where others see it. Firms with more than 700 million users need a permission.",
    schools: "yes",
    hospitals: "conditions",
    business: "conditions",
  },
  gemma: {
    id: "gemma",
    words: "Free to use, also in business, as long as Google's list of forbidden uses is kept and passed on.",
    schools: "yes",
    hospitals: "conditions",
    business: "conditions",
  },
  research: {
    id: "mnpl-0.1",
    words: "For research and trying out only. Work in production needs a paid licence from its publisher.",
    schools: "conditions",
    hospitals: "no",
    business: "no",
  },
  rail: {
    id: "bigscience-bloom-rail-1.0",
    words: "Free to use, also in business, but not for the uses its list forbids, medical advice among them.",
    schools: "yes",
    hospitals: "conditions",
    business: "conditions",
  },
};

/** id, name, publisher, family, tasks, modalities, parameters, active, context, released, licence, summary, [quantisation, bytes]… */
// biome-ignore format: a table is read by its rows
const ROWS = [
  ["qwen3-8b", "Qwen3 8B", "Qwen", "Qwen3", ["chat", "code"], ["text"], 8.19e9, 8.19e9, 40960, "2025-04", "apache",
    "A strong all-rounder: explains, drafts, translates in over a hundred languages, and thinks before it answers when asked to.",
    [["Q4_K_M", 5.03e9], ["Q5_K_M", 5.85e9], ["Q8_0", 8.71e9]]],
  ["qwen3-4b-2507", "Qwen3 4B Instruct", "Qwen", "Qwen3", ["chat"], ["text"], 4.02e9, 4.02e9, 262144, "2025-07", "apache",
    "Small and quick, and better than its size suggests. A good first model for a machine without a graphics card.",
    [["Q4_K_M", 2497281120], ["Q8_0", 4.28e9]]],
  ["qwen3-coder-30b-a3b", "Qwen3 Coder 30B", "Qwen", "Qwen3", ["code", "chat"], ["text"], 30.5e9, 3.3e9, 262144, "2025-07", "apache",
    "Writes and repairs programs across many files. Only a tenth of it works at once, so it is fast for its size.",
    [["Q4_K_M", 18.6e9], ["Q3_K_M", 14.7e9], ["Q2_K", 11.3e9]]],
  ["devstral-small", "Devstral Small", "Mistral AI", "Mistral", ["code"], ["text"], 23.6e9, 23.6e9, 131072, "2025-07", "apache",
    "Made to work as a programming assistant: reads a code base, plans, and edits.",
    [["Q4_K_M", 14.3e9]]],
  ["qwen2.5-coder-7b", "Qwen2.5 Coder 7B", "Qwen", "Qwen2.5", ["code"], ["text"], 7.62e9, 7.62e9, 131072, "2024-11", "apache",
    "Completes and explains code in ninety programming languages, on an ordinary machine.",
    [["Q4_K_M", 4.68e9], ["Q8_0", 8.1e9]]],
  ["gemma-4-12b", "Gemma 4 12B", "Google", "Gemma 4", ["vision", "chat"], ["text", "image"], 12.2e9, 12.2e9, 131072, "2026-03", "gemma",
    "Looks at photographs, scans and diagrams, and talks about them. Careful with sources, good in European languages.",
    [["Q4_0", 6.9e9], ["Q8_0", 12.9e9]]],
  ["gemma-3-4b", "Gemma 3 4B", "Google", "Gemma 3", ["vision", "chat"], ["text", "image"], 4.3e9, 4.3e9, 131072, "2025-03", "gemma",
    "Reads pictures and letters on a small machine.",
    [["Q4_0", 3.16e9]]],
  ["llama-3.1-8b", "Llama 3.1 8B", "Meta", "Llama 3", ["chat"], ["text"], 8.03e9, 8.03e9, 131072, "2024-07", "llama",
    "The well-known workhorse: sound answers in eight languages, and much help for it elsewhere.",
    [["Q4_K_M", 4.92e9], ["Q8_0", 8.54e9]]],
  ["llama-3.1-405b", "Llama 3.1 405B", "Meta", "Llama 3", ["chat", "code"], ["text"], 405.9e9, 405.9e9, 131072, "2024-07", "llama",
    "One of the largest open models. It needs a room of machines, not one.",
    [["Q4_K_M", 243e9]]],
  ["llama-4-scout", "Llama 4 Scout", "Meta", "Llama 4", ["vision", "chat"], ["text", "image"], 108.6e9, 17.2e9, 10485760, "2025-04", "llama",
    "Takes in whole books and pictures at once; a sixth of it works at a time.",
    [["Q3_K_S", 46.8e9]]],
  ["mistral-small-3.2", "Mistral Small 3.2", "Mistral AI", "Mistral", ["chat", "vision"], ["text", "image"], 24e9, 24e9, 131072, "2025-06", "apache",
    "Precise and brief, at home in French, German, Spanish and Italian.",
    [["Q4_K_M", 14.3e9], ["Q3_K_M", 11.5e9]]],
  ["codestral-22b", "Codestral 22B", "Mistral AI", "Mistral", ["code"], ["text"], 22.2e9, 22.2e9, 32768, "2024-05", "research",
    "Fills in code between what is there. Its licence keeps it to research.",
    [["Q4_K_M", 13.3e9]]],
  ["deepseek-r1-distill-7b", "DeepSeek R1 Distill 7B", "DeepSeek", "DeepSeek R1", ["chat"], ["text"], 7.62e9, 7.62e9, 131072, "2025-01", "mit",
    "Thinks aloud through mathematics and riddles before it answers. Slower, and often right where others guess.",
    [["Q4_K_M", 4.68e9]]],
  ["deepseek-v4-flash", "DeepSeek V4 Flash", "DeepSeek", "DeepSeek V4", ["chat", "code"], ["text"], 284e9, 13e9, 1048576, "2026-07", "mit",
    "A frontier model that stays sparse: very large, with little of it at work at once.",
    [["MXFP4", 155e9]]],
  ["bloom-7b1", "BLOOM 7B", "BigScience", "BLOOM", ["chat"], ["text"], 7.07e9, 7.07e9, 2048, "2022-07", "rail",
    "Made in the open by a thousand researchers, in 46 languages. Historic rather than strong.",
    [["Q4_K_M", 4.6e9]]],
  ["embeddinggemma-300m", "EmbeddingGemma 300M", "Google", "Gemma 3", ["embedding"], ["text"], 308e6, 308e6, 2048, "2025-09", "gemma",
    "Finds passages by meaning in more than a hundred languages. Tiny and quick.",
    [["Q8_0", 329e6]]],
  ["qwen3-embedding-0.6b", "Qwen3 Embedding 0.6B", "Qwen", "Qwen3", ["embedding"], ["text"], 596e6, 596e6, 32768, "2025-06", "apache",
    "Finds long documents and code by meaning; among the best of its size.",
    [["Q8_0", 639e6]]],
  ["bge-reranker-v2-m3", "BGE Reranker v2 M3", "BAAI", "BGE", ["rerank"], ["text"], 568e6, 568e6, 8192, "2024-03", "mit",
    "Puts found passages in the right order before a model reads them.",
    [["Q8_0", 636e6]]],
  ["whisper-large-v3-turbo", "Whisper Large v3 Turbo", "OpenAI", "Whisper", ["speech"], ["audio"], 809e6, 809e6, 448, "2024-10", "mit",
    "Writes down what is said, in nearly a hundred languages.",
    [["F16", 1.62e9]]],
];

const MACHINE = { memory_bytes: 16_600_000_000, budget_bytes: 11_000_000_000, vram_bytes: 0, cores: 8 };
const DISK_BYTES = 512_000_000_000;
const OTHERS_BYTES = 176_000_000_000;
const BANDWIDTH = 42e9;
const gigabytes = (size) => `${(size / 1e9).toFixed(1)} GB`;

function fitOf(size, parameters, active, context) {
  const tokens = Math.min(context, 16_384);
  const memory = Math.round(size * 1.06 + 350e6 + tokens * 60_000);
  const rate = BANDWIDTH / (size * (active / parameters));
  const budget = MACHINE.budget_bytes;
  if (memory > budget)
    return {
      verdict: "no",
      because: `It needs ${gigabytes(memory)}, and ${gigabytes(budget)} are there for models.`,
      memory_bytes: memory,
      context_tokens: Math.min(context, 4096),
      tokens_per_s: null,
    };
  const tight = memory > budget * 0.75;
  return {
    verdict: tight ? "tight" : "comfortable",
    because: tight
      ? `It needs ${gigabytes(memory)} of ${gigabytes(budget)}: nothing else large can run beside it.`
      : `It needs ${gigabytes(memory)} of ${gigabytes(budget)}, with room for a second model.`,
    memory_bytes: memory,
    context_tokens: tight ? Math.min(context, 8192) : tokens,
    tokens_per_s: Math.round(rate * 10) / 10,
  };
}

export function catalogue(world) {
  const library = world.models.reduce((sum, one) => sum + one.size_bytes, 0);
  const entries = ROWS.map(
    ([
      id,
      name,
      publisher,
      family,
      tasks,
      modalities,
      parameters,
      active,
      context,
      released,
      licence,
      summary,
      sizes,
    ]) => ({
      id,
      name,
      publisher,
      family,
      summary,
      tasks,
      modalities,
      parameters,
      active_parameters: active,
      context_tokens: context,
      released,
      licence: LICENCES[licence],
      variants: sizes.map(([quantisation, size]) => {
        const source = `${TEMPLATE.replace("{publisher}", publisher.replaceAll(" ", "")).replace("{name}", name.replaceAll(" ", "-"))}/${name.replaceAll(" ", "-")}-${quantisation}.gguf`;
        return {
          id: `${id}-${quantisation.toLowerCase()}`,
          quantisation,
          format: "gguf",
          size_bytes: Math.round(size),
          size_known: id !== "bloom-7b1",
          source,
          files: [
            {
              name: source.split("/").at(-1),
              role: "weights",
              sha256: quantisation === "Q5_K_M" ? null : createHash("sha256").update(source).digest("hex"),
              size_bytes: Math.round(size),
            },
          ],
          pinned: quantisation !== "Q5_K_M",
          servable: tasks[0] !== "speech",
          installed: world.models.find((one) => one.source === source || one.catalogued === source)?.name ?? null,
          fit: fitOf(size, parameters, active, context),
        };
      }),
    }),
  );
  return {
    dated: "2026-11-01",
    source: "built in",
    signed_by: "intramural release key 2026",
    entries,
    machine: MACHINE,
    disk: {
      total_bytes: DISK_BYTES,
      free_bytes: DISK_BYTES - OTHERS_BYTES - library,
      library_bytes: library,
    },
  };
}

export const FINDINGS = [
  {
    code: "template_attribute_walk",
    message: "The chat template reaches for “__class__”, which no template needs.",
    line: 14,
  },
  { code: "template_loop_unbounded", message: "A loop has no bound that can be seen.", line: 31 },
];

const ENDED = new Set(["shelved", "quarantined", "refused", "stopped", "cancelled"]);
const STEPS = ["resolving", "fetching", "verifying", "inspecting", "shelving"];
const TICKS = 40; // of fetching
const RATE = 26_000_000;

export function newPull(world, given) {
  const variant = catalogue(world)
    .entries.flatMap((entry) => entry.variants)
    .find((one) => one.source === given.source);
  const pull = {
    id: `pull_${createHash("sha256").update(`${given.source} ${world.pulls.length} ${Math.random()}`).digest("hex").slice(0, 26)}`,
    source: given.source,
    name: given.name ?? null,
    model: null,
    state: "running",
    step: "resolving",
    done_bytes: 0,
    total_bytes: null,
    bytes_per_s: null,
    left_s: null,
    code: null,
    message: null,
    hint: null,
    requested_by: given.by,
    created_ms: Date.now(),
    ended_ms: null,
  };
  world.pulls.unshift(pull);
  world.moves.set(pull.id, {
    total: variant?.size_bytes ?? 1_200_000_000,
    broken: false,
    timer: null,
    listeners: new Set(),
  });
  return pull;
}

export function told(world, pull) {
  const listeners = world.moves.get(pull.id)?.listeners ?? new Set();
  for (const response of listeners) {
    response.write(`data: ${JSON.stringify(pull)}\n\n`);
    if (pull.state !== "running") response.end();
  }
  if (pull.state !== "running") listeners.clear();
}

function ended(world, pull, state, why = {}) {
  const step = { shelved: "shelved", quarantined: "shelved", refused: "refused" }[state] ?? "stopped";
  Object.assign(pull, { state, step, bytes_per_s: null, left_s: null, ended_ms: Date.now(), ...why });
  told(world, pull);
}

/** Moves a pull on, now and then, until it is over or paused. `shelve(pull, held)` puts the model on the shelf. */
export function run(world, pull, shelve) {
  const move = world.moves.get(pull.id);
  clearTimeout(move.timer);
  move.timer = setTimeout(() => {
    if (pull.state !== "running") return;
    step(world, pull, move, shelve);
    if (pull.state === "running") run(world, pull, shelve);
  }, world.pace_ms * 3);
  move.timer.unref?.();
}

function step(world, pull, move, shelve) {
  const has = (knob) => pull.source.includes(knob);
  if (pull.step === "resolving") {
    if (has("missing"))
      return ended(world, pull, "refused", {
        code: "source_not_found",
        message: "There is no such model at the source.",
        hint: "Check the spelling, capital letters too.",
      });
    Object.assign(pull, { step: "fetching", total_bytes: move.total });
  } else if (pull.step === "fetching") {
    const limit = world.gate === null ? 1 : world.gate;
    const at = Math.min(pull.done_bytes / move.total + 1 / TICKS, Math.max(limit, pull.done_bytes / move.total));
    if (has("patchy") && !move.broken && at >= 0.4) {
      move.broken = true;
      return ended(world, pull, "stopped", {
        code: "connection_lost",
        message: "The connection to the source was lost.",
        hint: "What came is kept; resume when the network is back.",
      });
    }
    pull.done_bytes = Math.min(move.total, Math.round(at * move.total));
    pull.bytes_per_s = RATE;
    pull.left_s = (move.total - pull.done_bytes) / RATE;
    if (pull.done_bytes >= move.total) Object.assign(pull, { step: "verifying", bytes_per_s: null, left_s: null });
  } else if (pull.step === "inspecting" && has("evil"))
    return ended(world, pull, "refused", {
      code: "tensor_past_end",
      message: "A tensor of this file points past its end: the file is not what it says it is.",
      hint: "Do not use it elsewhere either. Get it from its publisher.",
    });
  else if (pull.step === "shelving") {
    const held = has("suspicious");
    pull.model = shelve(pull, held);
    return ended(world, pull, held ? "quarantined" : "shelved");
  } else pull.step = STEPS[STEPS.indexOf(pull.step) + 1];
  told(world, pull);
}

export function pause(world, pull) {
  Object.assign(pull, { state: "paused", step: "stopped", bytes_per_s: null, left_s: null });
  told(world, pull);
}

export function cancel(world, pull) {
  pull.done_bytes = 0;
  ended(world, pull, "cancelled");
}

export function resume(world, pull, shelve) {
  Object.assign(pull, { state: "running", step: "resolving", code: null, message: null, hint: null, ended_ms: null });
  told(world, pull);
  run(world, pull, shelve);
}

export const hasEnded = (pull) => ENDED.has(pull.state);
