/** Shows the store's tasks, and turns what the user does into changes of the store. Titles are set as text only. */

const MAX_ROWS = 500;
const STATES = { all: [false, true], open: [false], done: [true] };
const IDS = ["add", "find", "list", "row", "count", "status", "notices"];
const [add, find, list, template, count, status, notices] = IDS.map((id) => document.getElementById(id));

/** Show the tasks now and after each change. */
export function show(store) {
  const render = () => {
    const all = store.tasks();
    const key = searchKey(find.text.value);
    const states = STATES[find.state.value];
    const found = all.filter((task) => states.includes(task.is_completed) && searchKey(task.title).includes(key));
    renderRows(found.slice(0, MAX_ROWS));
    setText(count, countText(store, all, found));
    setText(status, statusText(store));
    status.classList.toggle("live", store.isLive);
  };
  store.addEventListener("change", () => queueMicrotask(render)); // not while a row is removed, which ends its editing
  find.addEventListener("input", render);
  find.addEventListener("submit", (event) => event.preventDefault());
  add.addEventListener("submit", (event) => {
    event.preventDefault();
    const title = clean(add.title.value);
    if (title) store.add(title);
    add.reset();
  });
  handleRows(store);
  render();
}

/** Show a message, with an action of the user's if one is named, until it is closed or after some seconds. */
export function notify(text, name, action, seconds) {
  const notice = document.createElement("p");
  notice.append(Object.assign(document.createElement("span"), { textContent: text }));
  for (const [label, act] of [[name, action], ["Close"]].filter(([label]) => label)) {
    const button = Object.assign(document.createElement("button"), { textContent: label });
    button.addEventListener("click", () => {
      notice.remove();
      act?.();
    });
    notice.append(button);
  }
  notices.append(notice);
  if (seconds) setTimeout(() => notice.remove(), seconds * 1000);
}

/** Make the rows those of the tasks, in this order. A row that stays is not moved, so that it keeps the focus. */
function renderRows(tasks) {
  const shown = new Set(tasks.map((task) => task.id));
  const rows = new Map();
  for (const row of [...list.children]) {
    if (shown.has(row.dataset.id)) rows.set(row.dataset.id, row);
    else removeRow(row);
  }
  let at = list.firstElementChild;
  for (const task of tasks) {
    const row = rows.get(task.id) ?? template.content.firstElementChild.cloneNode(true);
    renderRow(row, task);
    if (row === at) at = at.nextElementSibling;
    else list.insertBefore(row, at);
  }
}

/** Remove a row, and give its focus to the same control of a neighbour. */
function removeRow(row) {
  const focused = row.contains(document.activeElement) && document.activeElement.className.replace("edit", "title");
  const neighbour = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  if (focused) (neighbour?.querySelector(`.${focused}`) ?? add.title).focus();
}

function renderRow(row, { id, title, is_completed, isPending }) {
  row.dataset.id = id;
  row.classList.toggle("pending", Boolean(isPending));
  const [done, name, edit, remove] = row.children;
  done.checked = is_completed;
  setText(name, title);
  done.setAttribute("aria-label", title);
  edit.setAttribute("aria-label", `New title of ${title}`);
  remove.setAttribute("aria-label", `Delete ${title}`);
}

function handleRows(store) {
  const rowOf = (event) => event.target.closest("li");
  const titleIn = (row) => row.querySelector(".title").textContent;
  list.addEventListener("click", (event) => {
    const row = rowOf(event);
    const control = event.target.closest(".done, .title, .delete")?.className;
    if (control === "done") store.change(row.dataset.id, titleIn(row), { is_completed: event.target.checked });
    if (control === "title") {
      const edit = showEdit(row, true);
      edit.value = row.dataset.seen = titleIn(row);
      edit.focus();
    }
    if (control === "delete") {
      const title = titleIn(row);
      store.remove(row.dataset.id, title);
      notify(`Deleted “${title}”.`, "Add it again", () => store.add(title), 10);
    }
  });
  const closeEdit = (event, isSaved) => {
    const row = rowOf(event);
    const { hidden, value } = event.target;
    if (hidden) return;
    showEdit(row, false);
    const title = clean(value);
    if (isSaved && title && title !== row.dataset.seen) store.change(row.dataset.id, row.dataset.seen, { title });
  };
  list.addEventListener("keydown", (event) => {
    if (event.target.className !== "edit" || event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();
    closeEdit(event, event.key === "Enter");
    rowOf(event).querySelector(".title").focus();
  });
  list.addEventListener("focusout", (event) => event.target.className === "edit" && closeEdit(event, true));
}

function showEdit(row, isOpen) {
  const [, name, edit] = row.children;
  edit.hidden = !isOpen;
  name.hidden = isOpen;
  return edit;
}

function statusText({ isLive, queue }) {
  const waiting = queue.length === 1 ? "1 change" : `${queue.length} changes`;
  if (isLive) return queue.length ? "Saving…" : "Live";
  return queue.length ? `Connecting… ${waiting} to save` : "Connecting…";
}

function countText({ token }, all, found) {
  if (token === null && !all.length) return "Loading…";
  if (!all.length) return "No tasks yet.";
  const some = found.length < all.length ? `${found.length} of ` : "";
  const counted = `${some}${all.length} ${all.length === 1 ? "task" : "tasks"}`;
  return found.length > MAX_ROWS ? `${counted}; these are the newest ${MAX_ROWS}` : counted;
}

/** The service's key casefold(s), as near as JavaScript comes: ß is ss, and both forms of sigma are one. */
function searchKey(text) {
  return text.normalize("NFC").toLowerCase().toUpperCase().normalize("NFC");
}

function clean(text) {
  return text.toWellFormed().replaceAll(/\p{Cc}+/gu, " ").trim();
}

/** Set a text if it is another one, so that a screen reader announces it once. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
