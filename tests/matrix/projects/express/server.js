const express = require('express')

const app = express()
app.get('/', (request, response) => {
  response.send('<!doctype html><title>Express</title><h1>Hello, limpet</h1>')
})
const server = app.listen(process.env.PORT || 3000, process.env.HOST, () => {
  console.log(`Listening on http://localhost:${server.address().port}`)
})
