import { text } from './text.js'

const show = (words) => {
  document.querySelector('h1').textContent = words
}
show(text)
import.meta.hot?.accept('./text.js', (fresh) => show(fresh.text))
