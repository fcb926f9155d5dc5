import { Hono } from 'hono'

const app = new Hono()
app.get('/', (context) => context.html('<!doctype html><title>Bun</title><h1>Hello, limpet</h1>'))
const server = Bun.serve({
  port: process.env.PORT,
  hostname: process.env.HOST,
  fetch: app.fetch,
})
console.log(`Listening on ${server.url}`)
