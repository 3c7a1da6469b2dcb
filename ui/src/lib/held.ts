import type { Model } from "./types";

/** Inspection found something, and nobody has released it since. Older servers say nothing of it. */
export const isHeld = (model: Pick<Model, "quarantine" | "released"> | undefined): boolean =>
  (model?.quarantine?.length ?? 0) > 0 && (model?.released ?? null) === null;
