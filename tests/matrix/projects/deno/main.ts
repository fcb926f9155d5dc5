import { Hono } from 'hono'

const app = new Hono()
app.get('/', (context) => context.html('<!doctype html><title>Deno</title><h1>Hello, limpet</h1>'))
Deno.serve(
  { port: Number(Deno.env.get('PORT') ?? 8000), hostname: Deno.env.get('HOST') },
  app.fetch,
)
