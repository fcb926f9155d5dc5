export const words = 'said by a script'
