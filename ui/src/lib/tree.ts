/** Groups one inside another. Pure. */

export interface Lying {
  id: string;
  name: string;
  parent_id: string | null;
}

export interface Branch<T> {
  group: T;
  within: Branch<T>[];
}

/** The outermost groups with all that lies within, by name. A group whose outer one is not to be seen is outermost. */
export function grown<T extends Lying>(groups: readonly T[]): Branch<T>[] {
  const here = new Set(groups.map((group) => group.id));
  const within = new Map<string | null, T[]>();
  for (const group of [...groups].sort((a, b) => a.name.localeCompare(b.name))) {
    const around = group.parent_id !== null && here.has(group.parent_id) ? group.parent_id : null;
    within.set(around, [...(within.get(around) ?? []), group]);
  }
  const branches = (around: string | null): Branch<T>[] =>
    (within.get(around) ?? []).map((group) => ({ group, within: branches(group.id) }));
  return branches(null);
}

/** Those whose name holds the text, with the way to them. */
export function pruned<T extends Lying>(branches: readonly Branch<T>[], text: string): Branch<T>[] {
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return [...branches];
  return branches.flatMap((branch) => {
    const within = pruned(branch.within, text);
    const itself = branch.group.name.toLowerCase().includes(wanted);
    return itself || within.length > 0 ? [{ group: branch.group, within }] : [];
  });
}

/** In the order of a list, each with how deep it lies. */
export const listed = <T extends Lying>(branches: readonly Branch<T>[], depth = 0): { group: T; depth: number }[] =>
  branches.flatMap((branch) => [{ group: branch.group, depth }, ...listed(branch.within, depth + 1)]);

/** Where a group may be put: anywhere but into itself or what lies within it. */
export function placesFor<T extends Lying>(branches: readonly Branch<T>[], id: string): { group: T; depth: number }[] {
  const without = (some: readonly Branch<T>[]): Branch<T>[] =>
    some.filter((branch) => branch.group.id !== id).map((branch) => ({ ...branch, within: without(branch.within) }));
  return listed(without(branches));
}
