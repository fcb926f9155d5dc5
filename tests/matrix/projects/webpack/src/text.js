module.exports = 'Hello, limpet'
