/** The tasks as the service last sent them, and the queue of changes that it has not acknowledged. */

import { uuid7 } from "./api.js";

/** A copy of the user's tasks, kept up to date by entries of the change feed, in any order. */
export class Replica {
  tasks = new Map();
  #removed = new Set(); // ids are never used again

  apply({ op, task, id }) {
    if (op === "delete") {
      this.tasks.delete(id);
      this.#removed.add(id);
    } else if (!this.#removed.has(task.id) && !(this.tasks.get(task.id)?.version >= task.version)) {
      this.tasks.set(task.id, task);
    }
  }
}

/** Dispatches `change` after each change. The queue survives a reload of the page. */
export class Store extends EventTarget {
  replica = new Replica();
  token = null; // the state of the replica; null: it is to be loaded
  isLive = false;
  #name;

  constructor(user) {
    super();
    this.#name = `queue of ${user}`;
    this.queue = JSON.parse(sessionStorage.getItem(this.#name) ?? "[]");
  }

  add(title) {
    this.#enqueue({ kind: "add", id: uuid7(), title });
  }

  /** Rename, complete or reopen a task; `seen` is the title that the user saw. */
  change(id, seen, changes) {
    this.#enqueue({ kind: "change", id, seen, changes });
  }

  remove(id, seen) {
    this.#enqueue({ kind: "remove", id, seen });
  }

  #enqueue(change) {
    this.queue.push({ key: uuid7(), ...change });
    this.keep();
  }

  /** Remove the first change of the queue: it was acknowledged or rejected. */
  settle() {
    this.queue.shift();
    this.keep();
  }

  /** Keep the queue in the tab's storage, after it was changed. */
  keep() {
    sessionStorage.setItem(this.#name, JSON.stringify(this.queue));
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  /** Return the tasks with the queued changes applied, newest first. */
  tasks() {
    const tasks = new Map(this.replica.tasks);
    for (const { kind, id, title, changes } of this.queue) {
      const task = tasks.get(id) ?? (kind === "add" && { id, title, is_completed: false, created_at: "9999" });
      if (kind === "remove") tasks.delete(id);
      else if (task) tasks.set(id, { ...task, ...changes, isPending: true });
    }
    const order = ({ created_at, id }) => created_at + id;
    return [...tasks.values()].sort((a, b) => (order(a) < order(b) ? 1 : -1));
  }
}
