/** Days as date fields have them, and files made here. */

/** The day of a moment, here: `2026-11-01`. */
export function isoDay(ms: number): string {
  const at = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** When a day such as `2026-11-01` begins here, in milliseconds; 0 for what is no day. */
export function dayStart(day: string): number {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(day) ? Date.parse(`${day}T00:00:00`) : Number.NaN;
  return Number.isNaN(at) ? 0 : Math.max(0, at);
}

/** Hands a file over that was made here; it goes nowhere else. */
export function saved(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
