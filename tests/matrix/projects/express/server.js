const express = require('express')

const app = express()
app.set('trust proxy', 'loopback')
app.use(express.urlencoded({ extended: false }))

const home = (address) => `<!doctype html><title>Express</title>
<body><h1>Hello, limpet</h1>
<a id="address" href="${address}">Who am I?</a>
<form method="post" action="/sign-in"><input name="name"><button>Sign in</button></form></body>`
const address = (request, path) => `${request.protocol}://${request.host}${path}`

app.get('/', (request, response) => response.send(home(address(request, '/who'))))
app.post('/sign-in', (request, response) => {
  response.cookie('name', request.body.name, { httpOnly: true, secure: request.secure })
  response.redirect(address(request, '/who'))
})
app.get('/who', (request, response) => {
  const name = /(?:^|; )name=([^;]*)/.exec(request.get('cookie') ?? '')?.[1] ?? 'nobody'
  response.send(`<!doctype html><title>Who</title><body><p id="name">${name}</p></body>`)
})
app.get('/address', (request, response) => response.json(address(request, '/who')))

const listeners = new Set()
app.get('/events', (request, response) => {
  response.set('Content-Type', 'text/event-stream').write('data: first\n\n')
  listeners.add(response)
  response.on('close', () => listeners.delete(response))
})
app.post('/events', (request, response) => {
  for (const listener of listeners) listener.write('data: second\n\n')
  response.sendStatus(204)
})

const server = app.listen(process.env.PORT || 3000, process.env.HOST, () => {
  console.log(`Listening on http://localhost:${server.address().port}`)
})
