// Says how easily the new password is guessed while it is typed. The page works the same without it.
"use strict";

// How many letters of a password count: not those that repeat or continue the one before, and not the username's.
function counted(password, username) {
  const letters = Array.from(password);
  const lower = password.toLowerCase();
  const name = username.toLowerCase().split("@")[0];
  const known = name.length > 2 && lower.includes(name) ? Array.from(name).length : 0;
  const codes = Array.from(lower, (letter) => letter.codePointAt(0));
  const followed = codes.filter((code, at) => at > 0 && Math.abs(code - codes[at - 1]) <= 1).length;
  const few = new Set(codes).size;
  return Math.max(0, Math.min(letters.length - known - followed, 3 * few - 3));
}

const field = document.getElementById("new_password");
const hint = document.getElementById("strength");
const username = document.getElementById("username");

if (field && hint && username) {
  field.addEventListener("input", () => {
    const count = counted(field.value, username.value);
    const words = count < 10 ? "weak" : count < 15 ? "fair" : "good";
    const text = field.value === "" ? "" : hint.dataset[words];
    hint.className = field.value === "" ? "strength" : `strength ${words}`;
    // Only a change is announced.
    if (hint.textContent !== text) hint.textContent = text;
  });
}
