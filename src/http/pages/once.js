// Sends a form once, however often its button is pressed: a code that is sent twice was used before. The page works without it.
"use strict";

// After so long it may be sent again: it was stopped, or its answer was lost.
const PATIENCE = 10000;

let sent = -Infinity;

addEventListener("submit", (event) => {
  if (event.timeStamp - sent < PATIENCE) event.preventDefault();
  else sent = event.timeStamp;
});

// A page that one comes back to may have been kept as it was.
addEventListener("pageshow", () => {
  sent = -Infinity;
});
