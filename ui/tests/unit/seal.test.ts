import { describe, expect, it } from "vitest";
import { capabilities, tone, worstFirst } from "../../src/lib/seal";
import type { Process, Wall } from "../../src/lib/types";

function process(name: string, ...states: Wall["state"][]): Process {
  const walls = states.map((state, at) => ({ name: String(at), state, kernel: true, setting: "" }));
  return { name, walls } as Process;
}

describe("the seal", () => {
  it("is red where what was asked for is missing, amber where settings leave something out", () => {
    expect(tone(process("a", "holds", "holds"))).toBe("good");
    expect(tone(process("a", "holds", "left_out"))).toBe("warn");
    expect(tone(process("a", "left_out", "missing"))).toBe("bad");
  });

  it("shows a hole first, and leaves the rest in order", () => {
    const all = [process("gateway", "left_out"), process("spawner", "holds"), process("worker", "missing")];
    expect(worstFirst(all).map((one) => one.name)).toEqual(["worker", "gateway", "spawner"]);
  });

  it("counts capabilities of a mask, however long", () => {
    expect(capabilities("0000000000000000")).toBe(0);
    expect(capabilities("000000000080000e")).toBe(4);
    expect(capabilities("000001ffffffffff")).toBe(41);
  });
});
