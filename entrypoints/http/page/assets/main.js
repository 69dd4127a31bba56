/** Starts the page with the token that the tab kept, in development with the one in its address, or asks for one. */

import { Api } from "./api.js";
import { Store } from "./store.js";
import { synchronize } from "./sync.js";
import { notify, show } from "./view.js";

const [signIn, field, reason, signOut, tasks] = ["sign-in", "token", "reason", "sign-out", "tasks"].map((id) =>
  document.getElementById(id),
);

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  // In development only: elsewhere a link could sign somebody in as another user, who would get what they write.
  if (location.pathname === "/") sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname);
}
addEventListener("hashchange", () => location.reload());
signIn.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", field.value.trim());
  location.reload();
});

const token = sessionStorage.getItem("token");
if (token) start(token);
else signIn.hidden = false;

function start(token) {
  let api;
  try {
    api = new Api(token, document.querySelector("meta[name=user-claim]").content);
  } catch {
    askForToken("This is not a token.");
    return;
  }
  const store = new Store(api.user);
  const warn = (event) => store.queue.length && event.preventDefault();
  addEventListener("beforeunload", warn);
  signOut.addEventListener("click", () => {
    if (store.queue.length && !confirm("Some changes are not saved yet. Discard them?")) return;
    removeEventListener("beforeunload", warn);
    sessionStorage.clear();
    location.reload();
  });
  signOut.title = `You are ${api.user}`;
  tasks.hidden = signOut.hidden = false;
  show(store);
  synchronize(api, store, notify).catch((problem) => {
    removeEventListener("beforeunload", warn); // the queue is kept for the next token
    if (!problem.status) throw problem;
    askForToken(problem.message);
  });
}

function askForToken(text) {
  reason.textContent = text;
  tasks.hidden = true;
  signIn.hidden = false;
  field.focus();
}
