// Calls the service with the client that openapi-typescript generates: node main.js URL USER TOKEN.

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

type Problem = components["schemas"]["Problem"];
type InputErrorCode = components["schemas"]["InputError"]["code"];

declare const process: { argv: [string, string, string, string, string] };

function advice(code: InputErrorCode | undefined): string {
  switch (code) {
    case "title_empty":
      return "Enter a title.";
    case "title_too_long":
      return "Shorten the title.";
    default:
      return "Report a defect.";
  }
}

function explain(problem: Problem | undefined): string {
  switch (problem?.code) {
    case "validation_error":
      return advice(problem.errors?.[0]?.code);
    case "task_not_found":
      return "Remove it from the list.";
    default:
      return "Report a defect.";
  }
}

const [, , baseUrl, user_id, token] = process.argv;
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
const path = { user_id };

const created = await client.POST("/api/{user_id}/tasks", { params: { path }, body: { title: "Buy milk" } });
const listed = await client.GET("/api/{user_id}/tasks", { params: { path, query: { completed: false } } });
const changed = await client.GET("/api/{user_id}/tasks/changes", { params: { path } });
const empty = await client.POST("/api/{user_id}/tasks", { params: { path }, body: { title: " " } });
const long = await client.POST("/api/{user_id}/tasks", { params: { path }, body: { title: "x".repeat(501) } });
const missing = await client.GET("/api/{user_id}/tasks/{task_id}", { params: { path: { user_id, task_id: "none" } } });

console.log(
  JSON.stringify({
    created: created.data?.title,
    listed: listed.data?.tasks.map((task) => task.id === created.data?.id),
    changed: changed.data?.changes.map((change) => (change.op === "put" ? change.task.title : change.id)),
    explained: [empty, long, missing].map(({ error }) => explain(error)),
  }),
);
