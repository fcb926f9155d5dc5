export const text = 'Hello, limpet'
