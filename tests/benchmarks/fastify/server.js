// The same calls from Fastify and postgres.js, which pipelines: one process, one statement each, tokens cached.
// Reads DATABASE_URL, JWT_SECRET, PORT and STATEMENTS, the SQL as JSON.
import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import { createVerifier } from 'fast-jwt'
import postgres from 'postgres'

const statements = JSON.parse(process.env.STATEMENTS)
const sql = postgres(process.env.DATABASE_URL, { max: 10 })
const verify = createVerifier({ key: process.env.JWT_SECRET, algorithms: ['HS256'], cache: 10_000 })
const execute = (name, parameters) => sql.unsafe(statements[name], parameters, { prepare: true })

const time = { type: 'string', format: 'date-time' }
const task = {
  type: 'object',
  properties: {
    id: { type: 'string' },
    user_id: { type: 'string' },
    title: { type: 'string' },
    is_completed: { type: 'boolean' },
    completed_at: { ...time, nullable: true },
    created_at: time,
    updated_at: time,
    version: { type: 'integer' },
  },
}
const page = {
  type: 'object',
  properties: { tasks: { type: 'array', items: task }, next_cursor: { type: 'string', nullable: true } },
}
const body = {
  type: 'object',
  properties: { title: { type: 'string', minLength: 1, maxLength: 500 } },
  required: ['title'],
  additionalProperties: false,
}

function read(row) {
  row.is_completed = row.completed_at !== null
  return row
}

async function one(reply, name, parameters) {
  const [row] = await execute(name, parameters)
  if (row === undefined) reply.code(404)
  return row === undefined ? { title: 'Not found' } : read(row)
}

// UUIDv7, as hextasks makes it.
function newId() {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(Date.now(), 0, 6)
  bytes[6] = 0x70 | (bytes[6] & 0x0f)
  bytes[8] = 0x80 | (bytes[8] & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

const app = Fastify()

app.get('/health/ready', async () => ({ status: 'ok' }))

app.register(async (tasks) => {
  tasks.addHook('onRequest', async (request, reply) => {
    let claims
    try {
      claims = verify(request.headers.authorization?.slice('Bearer '.length))
    } catch {
      return reply.code(401).send({ title: 'Invalid token' })
    }
    if (claims.sub !== request.params.user) return reply.code(403).send({ title: 'Not your tasks' })
  })

  tasks.get('/', { schema: { response: { 200: page } } }, async ({ params }) => {
    const rows = await execute('list', [params.user, 51])
    const more = rows.length > 50
    return { tasks: rows.slice(0, 50).map(read), next_cursor: more ? rows[49].id : null }
  })
  tasks.post('/', { schema: { body, response: { 201: task } } }, async ({ params, body }, reply) => {
    const [row] = await execute('create', [params.user, newId(), body.title, new Date()])
    reply.code(201)
    return read(row)
  })
  tasks.get('/:id', { schema: { response: { 200: task } } }, ({ params }, reply) =>
    one(reply, 'get', [params.user, params.id]),
  )
  tasks.put('/:id', { schema: { body, response: { 200: task } } }, ({ params, body }, reply) =>
    one(reply, 'update', [params.user, params.id, body.title, new Date()]),
  )
  tasks.patch('/:id/complete', { schema: { response: { 200: task } } }, ({ params }, reply) =>
    one(reply, 'complete', [params.user, params.id, new Date()]),
  )
  tasks.delete('/:id', async ({ params }, reply) => {
    const rows = await execute('delete', [params.user, params.id, new Date()])
    return reply.code(rows.length ? 204 : 404).send()
  })
}, { prefix: '/api/:user/tasks' })

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
