const listeners = new Set()
const encoder = new TextEncoder()

export const prerender = false

export function GET() {
  let mine
  const body = new ReadableStream({
    start(controller) {
      mine = controller
      listeners.add(controller)
      controller.enqueue(encoder.encode('data: first\n\n'))
    },
    cancel: () => listeners.delete(mine),
  })
  return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
}

export function POST() {
  for (const listener of listeners) listener.enqueue(encoder.encode('data: second\n\n'))
  return new Response(null, { status: 204 })
}
