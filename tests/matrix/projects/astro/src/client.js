import { words } from './words.js'

const show = (words) => (document.getElementById('words').textContent = words)

show(words)
import.meta.hot?.accept('./words.js', (fresh) => show(fresh.words))
