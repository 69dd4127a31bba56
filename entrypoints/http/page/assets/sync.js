/** Follows the user's changes, and sends the queued ones in order, each until the service has acknowledged it. */

import { Problem } from "./api.js";
import { Replica } from "./store.js";

const MAX_BACKOFF_MS = 8_000;
const HIDDEN_MS = 20_000; // a hidden page ends its stream, because browsers open only six connections to a service
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const once = (target, event) => new Promise((resolve) => target.addEventListener(event, resolve, { once: true }));

/** Run until a token is rejected, then throw that Problem. `notify` shows a text with the name of an action. */
export function synchronize(api, store, notify) {
  return Promise.all([follow(api, store), send(api, store, notify)]);
}

/** Wait after a temporary problem: longer each time, and at least as long as the service asks for. */
async function wait(problem, attempt) {
  if (!problem.isTemporary) throw problem;
  const backoff = Math.min(MAX_BACKOFF_MS, 500 * 2 ** attempt) * (0.5 + Math.random() / 2);
  if (problem.retryAfter) await sleep(Math.max(backoff, problem.retryAfter * 1000));
  else await Promise.race([sleep(backoff), once(window, "online")]);
}

async function follow(api, store) {
  let stream, timer;
  const stopWhenHidden = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => stream.abort(), HIDDEN_MS);
  };
  document.addEventListener("visibilitychange", stopWhenHidden);
  for (let attempt = 0, pause = 1000; ; attempt++) {
    stream = new AbortController();
    try {
      await catchUp(api, store);
      stopWhenHidden();
      for await (const { event, id, data, retry } of api.events(store.token, stream.signal)) {
        if (event === "resync") throw new Problem(410);
        if (event === "change") store.replica.apply(JSON.parse(data));
        if (id) store.token = id;
        if (retry) pause = Number(retry);
        attempt = 0;
        store.isLive = true;
        store.changed();
      }
      await sleep(pause);
    } catch (problem) {
      store.isLive = false;
      if (problem.status === 410) store.token = null;
      store.changed();
      if (!stream.signal.aborted) await wait(problem, attempt);
      else if (document.hidden) await once(document, "visibilitychange");
    }
  }
}

/** Read the changes since the state of the store page by page; without one, read all tasks into a new replica. */
async function catchUp(api, store) {
  let token = store.token;
  const replica = token === null ? new Replica() : store.replica;
  for (let page = { has_more: true }; page.has_more; token = page.next) {
    page = await api.call("GET", `/changes?limit=500${token === null ? "" : `&since=${token}`}`);
    page.changes.forEach((change) => replica.apply(change));
  }
  Object.assign(store, { replica, token });
  store.changed();
}

async function send(api, store, notify) {
  for (let attempt = 0; ; ) {
    while (store.token === null || !store.queue.length) await once(store, "change");
    const change = store.queue[0];
    try {
      const task = await deliver(api, store, change);
      store.replica.apply(task ? { op: "put", task } : { op: "delete", id: change.id });
      store.settle();
      attempt = 0;
    } catch (problem) {
      if (problem.status === 412) Object.assign(change, { version: undefined, isStale: true });
      else if (problem.isTemporary || problem.status === 401) await wait(problem, attempt++);
      else reject(store, change, problem, notify);
    }
  }
}

/**
 * Send a change of the version that is known when it is first sent; a retry is the same request, with the same key. A
 * title that the user has not seen is neither replaced nor deleted; other changes are made to the newest version.
 */
async function deliver(api, store, change) {
  const { kind, id, key, title, seen, changes } = change;
  const headers = { "Idempotency-Key": key };
  if (kind === "add") return api.call("POST", "", { body: { id, title }, headers });
  if (change.isStale) store.replica.apply({ op: "put", task: await api.call("GET", `/${id}`) });
  change.isStale = false;
  if (!change.version) {
    const task = store.replica.tasks.get(id);
    if (!task) throw new Problem(404);
    const isReplaced = kind === "remove" || ("title" in changes && changes.title !== task.title);
    if (isReplaced && task.title !== seen) throw new Problem(409);
    change.version = task.version;
    store.keep();
  }
  headers["If-Match"] = `"${change.version}"`;
  if (kind === "remove") return api.call("DELETE", `/${id}`, { headers });
  if (changes.is_completed) return api.call("PATCH", `/${id}/complete`, { headers });
  return api.call("PUT", `/${id}`, { body: changes, headers });
}

/** Drop a change that cannot be made, and offer what the user may have wanted instead. */
function reject(store, { kind, id, seen, title, changes }, problem, notify) {
  const mine = title ?? changes?.title ?? seen;
  const theirs = store.replica.tasks.get(id)?.title;
  if (problem.status === 404) {
    store.replica.apply({ op: "delete", id });
    if (kind === "change") notify(`“${mine}” was deleted elsewhere.`, "Add it again", () => store.add(mine));
  } else if (problem.status !== 409 || kind === "add") {
    notify(`“${mine}” was not saved: ${problem.message}`);
  } else if (kind === "remove") {
    notify(`“${mine}” was not deleted: it is now “${theirs}”.`, "Delete it", () => store.remove(id, theirs));
  } else {
    const useMine = () => store.change(id, theirs, changes);
    notify(`“${mine}” was not saved: “${seen}” is now “${theirs}”.`, "Use mine", useMine);
  }
  store.settle();
}
