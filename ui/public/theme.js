// Runs before the first paint, so that a chosen theme never flashes into the other one.
(() => {
  try {
    const theme = localStorage.getItem("intramural.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden; the system's theme is used.
  }
})();
