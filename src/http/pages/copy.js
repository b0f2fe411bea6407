// Shows a button that copies the recovery codes, and says when that is done. The page works without it.
"use strict";

const copy = document.getElementById("copy");
const said = document.getElementById("copied");
const codes = document.querySelectorAll(".codes code");

// Browsers have a clipboard for pages over https only.
if (copy && said && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    const lines = Array.from(codes, (code) => code.textContent);
    said.textContent = "";
    try {
      await navigator.clipboard.writeText(`${lines.join("\n")}\n`);
      said.textContent = said.dataset.done;
    } catch {
      said.textContent = said.dataset.failed;
    }
  });
}
